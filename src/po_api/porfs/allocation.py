"""Allocating quantities of requests' lines to purchase orders: the interface for the purchase orders' feature."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.offload import offload
from po_api.core.versions import ExpectedVersions, require_version
from po_api.porfs import errors
from po_api.porfs.content import MAX_LINES, is_approved_content
from po_api.porfs.domain import (
    MACHINE,
    LineQuantities,
    PorfAction,
    PorfStatus,
    orderable,
    ordering_status,
    remaining,
)
from po_api.porfs.queries import LockedPorf, PorfLineRow
from po_api.porfs.repository import ApprovedFacts, PorfRepository, state_of
from po_api.suppliers.errors import SupplierChanged
from po_api.suppliers.identity import SINCE_APPROVAL, require_unchanged

_NONE = Decimal(0)
H = TypeVar("H")
L = TypeVar("L", PorfLineRow, LineQuantities)


@dataclass(frozen=True)
class RequestedLine:
    """A quantity of a line, None for all that remains; `pointer` is the JSON pointer into the request's body."""

    line_id: int
    quantity: Decimal | None
    pointer: str


@dataclass(frozen=True)
class AllocatedLine:
    """A line, and the quantity of it that was allocated."""

    line: PorfLineRow
    quantity: Decimal


@dataclass(frozen=True)
class Allocated:
    """The result of an allocation, with the requests in the order of their ids.

    `supplier_hashes` are the approved identities of their suppliers (suppliers.identity); None where there is none.
    """

    porfs: Sequence[LockedPorf]
    lines: Sequence[AllocatedLine]
    supplier_hashes: Sequence[str | None]


@dataclass(frozen=True)
class _Locked:
    """Requests and all of their lines, locked until the transaction ends."""

    porfs: Sequence[LockedPorf]
    lines: Sequence[PorfLineRow]


class AllocationService:
    """Allocates and releases quantities. Requests and then lines are locked, each in the order of their ids."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._actor = actor
        self._repository = PorfRepository(session, actor)

    async def allocate(
        self,
        porf_ids: Collection[int],
        requested: Sequence[RequestedLine],
        *,
        require_compatible: Callable[[Sequence[LockedPorf]], None],
        expected: ExpectedVersions = None,
    ) -> Allocated:
        """Allocate the requested quantities of approved requests, or all that remains of them.

        `require_compatible` raises unless one order can contain all of the locked requests; it is called before all
        other checks. `expected` is compared last, and only for a single request: after a lost race the response has the
        remaining quantity (409), not an outdated ETag (412).

        Raises PorfNotFound if any of the requests is not visible to the actor, the errors of the guards,
        SupplierChanged, ApprovalMismatch, UnknownLine, DuplicateLine, NothingLeft, TooManyLines,
        QuantityExceedsRemaining or PreconditionFailed.
        """
        locked = await self._lock(porf_ids)
        require_compatible(locked.porfs)
        approvals = await self._require_approved(locked)
        allocated = await offload(len(locked.lines), _chosen, locked.lines, requested)
        if len(locked.porfs) == 1:
            require_version(locked.porfs[0].version, expected)
        quantities = {item.line.id: item.quantity for item in allocated}
        lines = await offload(len(locked.lines), _with_ordered, locked.lines, quantities)
        await self._write("porf.convert", locked.porfs, lines, quantities.keys())
        return Allocated(locked.porfs, allocated, [approval.approved_supplier_hash for approval in approvals])

    async def release(
        self, porf_ids: Collection[int], *, lock_holder: Callable[[], Awaitable[tuple[H, Mapping[int, Decimal]]]]
    ) -> H:
        """Release the quantities of a cancelled order; those of a closed request become closed quantities.

        `lock_holder` locks the order, raises if it cannot be cancelled, and returns it with the quantities that it
        holds of the requests' lines, by their ids. It is called after the requests have been locked (domain.md, lock
        order), before anything is written.
        """
        locked = await self._lock(porf_ids)
        holder, quantities = await lock_holder()
        closed = {porf.id for porf in locked.porfs if porf.status == PorfStatus.CLOSED}
        lines = await offload(len(locked.lines), _without_released, locked.lines, quantities, closed)
        await self._write("porf.release", locked.porfs, lines, quantities.keys())
        return holder

    async def resize(self, porf_id: int, line_id: int, *, lock_holder: Callable[[], Awaitable[tuple[H, Decimal]]]) -> H:
        """Change the quantity of a line that is allocated to a draft order: up to what may be ordered, or down.

        `lock_holder` locks the order after the request (domain.md, lock order), and returns it with the difference of
        the quantities. What is given back to a closed request becomes a closed quantity.

        Raises PorfNotFound or QuantityExceedsRemaining.
        """
        locked = await self._lock([porf_id])
        holder, difference = await lock_holder()
        if difference == 0:
            return holder
        closed = {porf.id for porf in locked.porfs if porf.status == PorfStatus.CLOSED}
        line = next(line for line in locked.lines if line.id == line_id)
        left = _NONE if closed else orderable(line)
        if difference > left:
            detail = f"line {line.position}: {left.normalize():f} left"
            raise errors.QuantityExceedsRemaining.at("/quantity", detail=detail)
        lines = await offload(len(locked.lines), _without_released, locked.lines, {line_id: -difference}, closed)
        action = "porf.convert" if difference > 0 else "porf.release"
        await self._write(action, locked.porfs, lines, {line_id})
        return holder

    async def _lock(self, porf_ids: Collection[int]) -> _Locked:
        porfs = await self._repository.lock(porf_ids)
        if len(porfs) != len(set(porf_ids)):
            raise errors.PorfNotFound
        return _Locked(porfs, await self._repository.lock_lines(porf_ids))

    async def _require_approved(self, locked: _Locked) -> Sequence[ApprovedFacts]:
        """The approvals. Raises unless each request may be ordered, with exactly the content that was approved."""
        approvals = await self._repository.approvals([porf.id for porf in locked.porfs])
        by_porf = _by_porf(locked.lines)
        for porf, approval in zip(locked.porfs, approvals, strict=True):
            if MACHINE.refusal(PorfAction.CONVERT, approval, self._actor) is SupplierChanged:
                require_unchanged(porf.number, approval.approved_supplier_hash, approval.supplier_hash, SINCE_APPROVAL)
            MACHINE.require(PorfAction.CONVERT, approval, self._actor)
            content = sorted(by_porf[porf.id], key=lambda line: line.position)
            approved, version = approval.approved_hash, approval.hash_version
            if not await offload(
                len(content), is_approved_content, porf, content, approved_hash=approved, version=version
            ):
                raise errors.ApprovalMismatch
        return approvals

    async def _write(
        self, action: str, porfs: Sequence[LockedPorf], lines: Sequence[LineQuantities], changed: Collection[int]
    ) -> None:
        """Write the lines that changed, the statuses that follow from all lines, and an audit event per request."""
        states, changes = [], []
        by_porf = _by_porf(lines)
        for porf in porfs:
            is_closed = porf.status == PorfStatus.CLOSED
            status = porf.status if is_closed else ordering_status(by_porf[porf.id])
            states.append(state_of(porf, status=status))
            before, after = {"status": porf.status}, {"status": status}
            changes.append(audit.Change(action, "porf", porf.id, before, after, porf.version + 1))
        written = [line for line in lines if line.id in changed]
        await self._repository.change(states, changes, now=utc_now(), lines=written)


def _chosen(lines: Sequence[PorfLineRow], requested: Sequence[RequestedLine]) -> list[AllocatedLine]:
    """The requested quantities, or all that remains. Raises NothingLeft or TooManyLines."""
    chosen = _named(lines, requested) if requested else _remainders(lines)
    if not chosen:
        raise errors.NothingLeft
    if len(chosen) > MAX_LINES:
        raise errors.TooManyLines
    return chosen


def _remainders(lines: Iterable[PorfLineRow]) -> list[AllocatedLine]:
    ordered = sorted(lines, key=lambda line: (line.porf_id, line.position))
    return [AllocatedLine(line, left) for line in ordered if (left := remaining(line)) > 0]


def _named(lines: Iterable[PorfLineRow], requested: Sequence[RequestedLine]) -> list[AllocatedLine]:
    if len({item.line_id for item in requested}) != len(requested):
        raise errors.DuplicateLine
    by_id = {line.id: line for line in lines}
    allocated, problems = [], []
    for item in requested:
        line = by_id.get(item.line_id)
        if line is None:
            raise errors.UnknownLine.at(f"{item.pointer}/line_id")
        quantity = remaining(line) if item.quantity is None else item.quantity
        if quantity > orderable(line) or quantity == 0:
            code = errors.QuantityExceedsRemaining.code
            detail = f"line {line.position}: {orderable(line).normalize():f} left"
            problems.append(FieldError(f"{item.pointer}/quantity", code, detail))
        allocated.append(AllocatedLine(line, quantity))
    if problems:
        raise errors.QuantityExceedsRemaining("; ".join(item.detail for item in problems), errors=tuple(problems))
    return allocated


def _with_ordered(lines: Iterable[PorfLineRow], quantities: Mapping[int, Decimal]) -> list[LineQuantities]:
    return [LineQuantities.of(line, ordered=quantities.get(line.id, _NONE)) for line in lines]


def _without_released(
    lines: Iterable[PorfLineRow], quantities: Mapping[int, Decimal], closed: Collection[int]
) -> list[LineQuantities]:
    """The lines without the released quantities; those of the requests `closed` become closed quantities."""
    after = []
    for line in lines:
        quantity = quantities.get(line.id, _NONE)
        released = LineQuantities.of(line, ordered=-quantity)
        if line.porf_id in closed:
            released = LineQuantities.of(released, closed=min(quantity, remaining(released)))
        after.append(released)
    return after


def _by_porf(lines: Iterable[L]) -> defaultdict[int, list[L]]:
    found: defaultdict[int, list[L]] = defaultdict(list)
    for line in lines:
        found[line.porf_id].append(line)
    return found
