"""Requests and their content: raised, read, edited, copied, deleted. What happens to them is in `actions`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.money import Totals
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import ChangeWarning
from po_api.db.query import TransactionExecutor
from po_api.organisations.domain import DocumentType
from po_api.organisations.service import OrganisationService
from po_api.porfs import errors
from po_api.porfs.domain import (
    COMMENTERS,
    MACHINE,
    MAX_LINES,
    RAISERS,
    PorfAction,
    net_of,
    require_equal,
    totals_of,
    totals_of_nets,
)
from po_api.porfs.models import Porf, PorfComment, PorfLine
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository
from po_api.suppliers.service import SupplierService
from po_api.users.events import MemberChanged

_COPIED = ("title", "justification", "cost_centre", "needed_by", "supplier_id")


@dataclass(frozen=True)
class LineInput:
    """A line as somebody wants it; `net` is what they think it comes to."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    sku: str | None = None
    unit: str = "C62"
    discount_percent: Decimal = Decimal(0)
    tax_rate: Decimal = Decimal(0)
    needed_by: date | None = None
    net: Decimal | None = None


@dataclass(frozen=True)
class PorfInput:
    """A request as somebody wants it; `total` is what they think it comes to."""

    title: str
    justification: str | None = None
    cost_centre: str | None = None
    needed_by: date | None = None
    currency: str | None = None
    supplier_id: int | None = None
    total: Decimal | None = None
    lines: Sequence[LineInput] = field(default_factory=tuple)


class PorfService:
    """What can be done with a request's content; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = PorfRepository(session, actor)
        self._reading = PorfReadService(TransactionExecutor(session), actor)

    async def create(self, wanted: PorfInput, *, copied_from: int | None = None) -> JsonDocument:
        """A new draft of the caller's, numbered, with its lines."""
        self._actor.require(*RAISERS)
        if len(wanted.lines) > MAX_LINES:
            raise errors.TooManyLines
        organisation = await self._repository.basis(wanted.supplier_id)
        if wanted.supplier_id is not None and not organisation.supplier_is_active:
            raise _unknown_supplier()
        currency, tax_rounding = wanted.currency or organisation.currency, organisation.tax_rounding
        nets, totals = _reckoned(wanted, currency=currency, tax_rounding=tax_rounding)
        now = utc_now()
        number = await OrganisationService(self._session).next_number(organisation, DocumentType.PORF, now)
        porf = {name: getattr(wanted, name) for name in _COPIED} | {
            "number": number,
            "requester_id": self._actor.user_id,
            "currency": currency,
            "tax_rounding": tax_rounding,
            "net": totals.net,
            "tax": totals.tax,
            "total": totals.total,
        }
        lines = (
            _row(position, line, net, organisation.over_order_percent)
            for position, (line, net) in enumerate(zip(wanted.lines, nets, strict=True), start=1)
        )
        after = {"number": number, "title": wanted.title, "total": totals.total, "copied_from": copied_from}
        change = audit.Change("porf.create", "porf", None, None, after)
        return await self._reading.whole(await self._repository.create(porf, lines, change, now=now))

    async def update(self, porf_id: int, *, expected: ExpectedVersions, values: Mapping[str, Any]) -> JsonDocument:
        """Change a draft's header. Another currency rounds every line anew."""
        porf = await self._editable(porf_id, expected)
        await self._require_supplier(values.get("supplier_id"))
        before, after = merge_patch.apply(porf, values)
        if after:
            if "currency" in after:
                await self._reprice(porf)
            await self._retotal(porf)
            await self._touch("porf.update", porf, before, after)
        return await self._reading.whole(porf_id)

    async def delete(self, porf_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a draft that was never submitted. Its number is not given again."""
        porf = await self._locked(porf_id, PorfAction.DELETE, expected)
        await self._record("porf.delete", porf, {"number": porf.number, "title": porf.title}, None)
        await self._session.delete(porf)
        await self._session.flush()

    async def copy(self, porf_id: int) -> JsonDocument:
        """A new draft of the caller's with the same content; an inactive supplier is left out."""
        header, lines = await self._reading.content(porf_id)
        MACHINE.require(PorfAction.COPY, await self._reading.facts(porf_id), self._actor)
        supplier = await self._supplier(header.supplier_id)
        copied = {name: getattr(header, name) for name in _COPIED} | {"supplier_id": supplier}
        fields = LineInput.__dataclass_fields__.keys() - {"net"}
        wanted = PorfInput(
            **copied,
            currency=header.currency,
            lines=[LineInput(**{name: getattr(line, name) for name in fields}) for line in lines],
        )
        return await self.create(wanted, copied_from=porf_id)

    async def add_line(self, porf_id: int, wanted: LineInput, *, expected: ExpectedVersions) -> tuple[PorfLine, int]:
        """Append a line to a draft; returns it with the request's new version."""
        porf = await self._editable(porf_id, expected)
        count, last = await self._repository.positions(porf_id)
        if count >= MAX_LINES:
            raise errors.TooManyLines
        organisation = await OrganisationService(self._session).get(self._actor.organisation_id)
        net = net_of(wanted, porf.currency)
        require_equal(net, wanted.net, "/net")
        row = _row(last + 1, wanted, net, organisation.over_order_percent)
        line = PorfLine(organisation_id=porf.organisation_id, porf_id=porf_id, **row)
        self._session.add(line)
        await self._session.flush()
        await self._retotal(porf)
        await self._touch("porf.add_line", porf, None, {"line_id": line.id, "description": line.description})
        return line, porf.version

    async def update_line(
        self, porf_id: int, line_id: int, *, expected: ExpectedVersions, values: Mapping[str, Any]
    ) -> tuple[PorfLine, int]:
        """Change a line of a draft; returns it with the request's new version."""
        porf = await self._editable(porf_id, expected)
        line = await self._line(porf_id, line_id)
        before, after = merge_patch.apply(line, values)
        if after:
            line.net = net_of(line, porf.currency)
            await self._session.flush()
            await self._retotal(porf)
            await self._touch("porf.update_line", porf, {"line_id": line_id, **before}, {"line_id": line_id, **after})
        return line, porf.version

    async def delete_line(self, porf_id: int, line_id: int, *, expected: ExpectedVersions) -> None:
        """Take a line out of a draft; the other lines keep their positions."""
        porf = await self._editable(porf_id, expected)
        line = await self._line(porf_id, line_id)
        await self._session.delete(line)
        await self._session.flush()
        await self._retotal(porf)
        await self._touch("porf.delete_line", porf, {"line_id": line_id, "description": line.description}, None)

    async def comment(self, porf_id: int, text: str) -> PorfComment:
        """Say something about a request that one may see; auditors only read."""
        await self._reading.header(porf_id)
        self._actor.require(*COMMENTERS)
        comment = PorfComment(
            organisation_id=self._actor.organisation_id,
            porf_id=porf_id,
            author_id=self._actor.user_id,
            text=text,
            created_at=utc_now(),
        )
        self._session.add(comment)
        await self._session.flush()
        return comment

    async def _editable(self, porf_id: int, expected: ExpectedVersions) -> Porf:
        return await self._locked(porf_id, PorfAction.EDIT, expected)

    async def _locked(self, porf_id: int, action: PorfAction, expected: ExpectedVersions) -> Porf:
        """The request, locked, if the caller may do this now on the version they have seen."""
        porf = await self._repository.editable(porf_id)
        if porf is None:
            raise errors.PorfNotFound
        MACHINE.require(action, await self._reading.facts(porf_id), self._actor)
        require_version(porf.version, expected)
        return porf

    async def _line(self, porf_id: int, line_id: int) -> PorfLine:
        line = await self._repository.line(porf_id, line_id)
        if line is None:
            raise errors.LineNotFound
        return line

    async def _supplier(self, supplier_id: int | None) -> int | None:
        """The supplier's id, if one may order from it."""
        if supplier_id is None:
            return None
        supplier = await SupplierService(self._session, self._actor).find_active(supplier_id)
        return None if supplier is None else supplier.id

    async def _require_supplier(self, supplier_id: int | None) -> None:
        if supplier_id is not None and await self._supplier(supplier_id) is None:
            raise _unknown_supplier()

    async def _reprice(self, porf: Porf) -> None:
        lines = await self._reading.lines(porf.id)
        await self._repository.set_nets(
            [
                {"organisation_id": line.organisation_id, "id": line.id, "net": net}
                for line in lines
                if (net := net_of(line, porf.currency)) != line.net
                or net.as_tuple().exponent != line.net.as_tuple().exponent
            ]
        )

    async def _retotal(self, porf: Porf) -> None:
        lines = await self._reading.lines(porf.id)
        totals = totals_of(lines, currency=porf.currency, tax_rounding=porf.tax_rounding)
        porf.net, porf.tax, porf.total = totals.net, totals.tax, totals.total

    async def _touch(
        self, action: str, porf: Porf, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        porf.version += 1
        await self._record(action, porf, before, after)

    async def _record(
        self, action: str, porf: Porf, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        audit.record(
            self._session,
            organisation_id=self._actor.organisation_id,
            actor_id=self._actor.user_id,
            change=audit.Change(action, "porf", porf.id, before, after),
        )
        await self._session.flush()


def _reckoned(wanted: PorfInput, *, currency: str, tax_rounding: str) -> tuple[list[Decimal], Totals]:
    """The lines' nets and the totals; AmountTooLarge, TotalMismatch."""
    nets = [net_of(line, currency) for line in wanted.lines]
    taxed = ((line.tax_rate, net) for line, net in zip(wanted.lines, nets, strict=True))
    totals = totals_of_nets(taxed, currency=currency, tax_rounding=tax_rounding)
    require_equal(totals.total, wanted.total, "/total")
    for index, (line, net) in enumerate(zip(wanted.lines, nets, strict=True)):
        require_equal(net, line.net, f"/lines/{index}/net")
    return nets, totals


def _row(position: int, line: LineInput, net: Decimal, tolerance: Decimal) -> dict[str, Any]:
    """The columns of a line, but for whose it is."""
    return {**vars(line), "net": net, "position": position, "over_order_percent": tolerance}


def _unknown_supplier() -> errors.UnknownSupplier:
    error = FieldError("/supplier_id", errors.UnknownSupplier.code, errors.UnknownSupplier.title)
    return errors.UnknownSupplier(errors=(error,))


async def warn_of_missing_approvers(session: AsyncSession, event: MemberChanged) -> list[ChangeWarning]:
    """A warning that names the pending requests that nobody can approve now, if there are any."""
    porfs = await PorfRepository(session, event.actor).without_approver()
    if not porfs:
        return []
    return [ChangeWarning("no_approver_left", "no active member may approve these requests", porfs)]
