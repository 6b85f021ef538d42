"""What purchase orders take of the requests: the door that the purchase orders' feature uses."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.porfs import errors
from po_api.porfs.domain import (
    MACHINE,
    MAX_LINES,
    LineQuantities,
    PorfAction,
    PorfStatus,
    content_hash,
    orderable,
    ordering_status,
    remaining,
)
from po_api.porfs.read_service import facts_of
from po_api.porfs.repository import PorfRepository, state_of

_NONE = Decimal(0)


@dataclass(frozen=True)
class RequestedLine:
    """So much of a line; `pointer` is where the caller said so."""

    line_id: int
    quantity: Decimal | None
    pointer: str


@dataclass(frozen=True)
class AllocatedLine:
    """A line, and how much of it was taken."""

    line: Any
    quantity: Decimal


@dataclass(frozen=True)
class Locked:
    """Requests and all of their lines, locked until the transaction ends."""

    porfs: Sequence[Any]
    lines: Sequence[Any]


class AllocationService:
    """Takes and gives back quantities; the requests and then their lines are locked, each in the order of their ids."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._actor = actor
        self._repository = PorfRepository(session, actor)

    async def lock(self, porf_ids: Collection[int]) -> Locked:
        """The requests and their lines; PorfNotFound if the caller sees one of them not."""
        porfs = await self._repository.locked(porf_ids)
        if len(porfs) != len(set(porf_ids)):
            raise errors.PorfNotFound
        return Locked(porfs, await self._repository.locked_lines(porf_ids))

    async def choose(self, locked: Locked, wanted: Sequence[RequestedLine]) -> list[AllocatedLine]:
        """The wanted quantities of the locked requests' lines, or all that is left of them.

        Raises what the guards say, ApprovalMismatch, UnknownLine, DuplicateLine, NothingLeft, TooManyLines or
        QuantityExceedsRemaining.
        """
        approvals = await self._repository.approvals([porf.id for porf in locked.porfs])
        by_porf = _by_porf(locked.lines)
        for porf, approval in zip(locked.porfs, approvals, strict=True):
            MACHINE.require(PorfAction.CONVERT, facts_of(approval), self._actor)
            content = sorted(by_porf[porf.id], key=lambda line: line.position)
            if approval.approved_hash != content_hash(porf, content):
                raise errors.ApprovalMismatch
        taken = self._choose(locked.lines, wanted)
        if not taken:
            raise errors.NothingLeft
        if len(taken) > MAX_LINES:
            raise errors.TooManyLines
        return taken

    async def take(self, locked: Locked, taken: Sequence[AllocatedLine]) -> None:
        """Write down that what was chosen is ordered."""
        quantities = {item.line.id: item.quantity for item in taken}
        lines = [LineQuantities.of(line, ordered=quantities.get(line.id, _NONE)) for line in locked.lines]
        await self._write("porf.convert", locked, lines, quantities.keys())

    async def release(self, locked: Locked, quantities: Mapping[int, Decimal]) -> None:
        """Give back what cancelled orders held, by line id. What a closed request gets back stays closed."""
        closed = {porf.id for porf in locked.porfs if porf.status == PorfStatus.CLOSED}
        lines = []
        for line in locked.lines:
            quantity = quantities.get(line.id, _NONE)
            given_back = LineQuantities.of(line, ordered=-quantity)
            if line.porf_id in closed:
                given_back = LineQuantities.of(given_back, closed=min(quantity, remaining(given_back)))
            lines.append(given_back)
        await self._write("porf.release", locked, lines, quantities.keys())

    @staticmethod
    def _choose(lines: Sequence[Any], wanted: Sequence[RequestedLine]) -> list[AllocatedLine]:
        if not wanted:
            ordered = sorted(lines, key=lambda line: (line.porf_id, line.position))
            return [AllocatedLine(line, left) for line in ordered if (left := remaining(line)) > 0]
        if len({item.line_id for item in wanted}) != len(wanted):
            raise errors.DuplicateLine
        by_id = {line.id: line for line in lines}
        taken, problems = [], []
        for item in wanted:
            line = by_id.get(item.line_id)
            if line is None:
                raise errors.UnknownLine(
                    errors=(FieldError(f"{item.pointer}/line_id", errors.UnknownLine.code, errors.UnknownLine.title),)
                )
            quantity = remaining(line) if item.quantity is None else item.quantity
            if quantity > orderable(line) or quantity == 0:
                code = errors.QuantityExceedsRemaining.code
                detail = f"line {line.position}: {orderable(line).normalize():f} left"
                problems.append(FieldError(f"{item.pointer}/quantity", code, detail))
            taken.append(AllocatedLine(line, quantity))
        if problems:
            raise errors.QuantityExceedsRemaining("; ".join(item.detail for item in problems), errors=tuple(problems))
        return taken

    async def _write(
        self, action: str, locked: Locked, lines: Sequence[LineQuantities], changed: Collection[int]
    ) -> None:
        """The statuses follow from the quantities of all lines; each request gets its audit event."""
        states, changes = [], []
        by_porf = _by_porf(lines)
        for porf in locked.porfs:
            is_closed = porf.status == PorfStatus.CLOSED
            status = porf.status if is_closed else ordering_status(by_porf[porf.id])
            states.append(state_of(porf, status=status))
            changes.append(audit.Change(action, "porf", porf.id, {"status": porf.status}, {"status": status}))
        written = [line for line in lines if line.id in changed]
        await self._repository.change(states, changes, now=utc_now(), lines=written)


def _by_porf(lines: Iterable[Any]) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for line in lines:
        found[line.porf_id].append(line)
    return found
