"""What purchase orders take of the requests: the door that the purchase orders' feature uses."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core import audit
from po_api.core.errors import FieldError
from po_api.core.reading import TransactionReader
from po_api.core.tenancy import Tenant
from po_api.porfs import errors
from po_api.porfs.domain import (
    MACHINE,
    MAX_LINES,
    PorfAction,
    PorfStatus,
    content_hash,
    orderable,
    ordering_status,
    remaining,
)
from po_api.porfs.models import Porf, PorfLine
from po_api.porfs.reading import PorfReading
from po_api.porfs.repository import PorfRepository


@dataclass(frozen=True)
class Wanted:
    """So much of a line; `pointer` is where the caller said so."""

    line_id: int
    quantity: Decimal | None
    pointer: str


@dataclass(frozen=True)
class Taken:
    """A line, and how much of it was taken."""

    line: PorfLine
    quantity: Decimal


@dataclass(frozen=True)
class Locked:
    """Requests and all of their lines, locked until the transaction ends."""

    porfs: Sequence[Porf]
    lines: Sequence[PorfLine]


class PorfOrdering:
    """Takes and gives back quantities; the requests and then their lines are locked, each in the order of their ids."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant
        self._repository = PorfRepository(session, tenant)
        self._reading = PorfReading(TransactionReader(session), tenant)

    async def lock(self, porf_ids: Collection[int]) -> Locked:
        """The requests and their lines; PorfNotFound if the caller sees one of them not."""
        porfs = await self._repository.locked(porf_ids)
        if len(porfs) != len(set(porf_ids)):
            raise errors.PorfNotFound
        return Locked(porfs, await self._repository.locked_lines(porf_ids))

    async def take(self, locked: Locked, wanted: Sequence[Wanted]) -> list[Taken]:
        """Take the wanted quantities of the locked requests' lines, or all that is left of them.

        Raises what the guards say, ApprovalMismatch, UnknownLine, DuplicateLine, NothingLeft, TooManyLines or
        QuantityExceedsRemaining.
        """
        for porf in locked.porfs:
            MACHINE.require(PorfAction.CONVERT, await self._reading.facts(porf.id), self._tenant)
            await self._require_approval(porf, locked.lines)
        taken = self._choose(locked.lines, wanted)
        if not taken:
            raise errors.NothingLeft
        if len(taken) > MAX_LINES:
            raise errors.TooManyLines
        for item in taken:
            item.line.ordered_quantity += item.quantity
        self._derive(locked, "porf.convert")
        await self._session.flush()
        return taken

    async def give_back(self, locked: Locked, quantities: Mapping[int, Decimal]) -> None:
        """Give back what cancelled orders held, by line id. What a closed request gets back stays closed."""
        closed = {porf.id for porf in locked.porfs if porf.status == PorfStatus.CLOSED}
        for line in locked.lines:
            quantity = quantities.get(line.id, Decimal(0))
            line.ordered_quantity -= quantity
            if line.porf_id in closed:
                line.closed_quantity += min(quantity, remaining(line))
        self._derive(locked, "porf.release")
        await self._session.flush()

    async def _require_approval(self, porf: Porf, lines: Sequence[PorfLine]) -> None:
        own = sorted((line for line in lines if line.porf_id == porf.id), key=lambda line: line.position)
        if await self._repository.approved_hash(porf) != content_hash(porf, own):
            raise errors.ApprovalMismatch

    @staticmethod
    def _choose(lines: Sequence[PorfLine], wanted: Sequence[Wanted]) -> list[Taken]:
        if not wanted:
            ordered = sorted(lines, key=lambda line: (line.porf_id, line.position))
            return [Taken(line, left) for line in ordered if (left := remaining(line)) > 0]
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
            taken.append(Taken(line, quantity))
        if problems:
            raise errors.QuantityExceedsRemaining("; ".join(item.detail for item in problems), errors=tuple(problems))
        return taken

    def _derive(self, locked: Locked, action: str) -> None:
        """The statuses follow from the quantities; each request gets its audit event."""
        for porf in locked.porfs:
            before = {"status": porf.status}
            if porf.status != PorfStatus.CLOSED:
                porf.status = ordering_status([line for line in locked.lines if line.porf_id == porf.id])
            porf.version += 1
            audit.record(
                self._session,
                organisation_id=self._tenant.organisation_id,
                actor_id=self._tenant.user_id,
                change=audit.Change(action, "porf", porf.id, before, {"status": porf.status}),
            )
