"""Requests and their content: raised, read, edited, copied, deleted. What happens to them is in `actions`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core import audit, changes
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.reading import TransactionReader
from po_api.core.representations import Shown
from po_api.core.tenancy import Tenant
from po_api.core.versions import ExpectedVersions, require_version
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
)
from po_api.porfs.models import Porf, PorfComment, PorfLine
from po_api.porfs.reading import PorfReading
from po_api.porfs.repository import PorfRepository
from po_api.suppliers.service import SupplierService
from po_api.users.service import Leftover


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

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant
        self._repository = PorfRepository(session, tenant)
        self._reading = PorfReading(TransactionReader(session), tenant)

    async def create(self, wanted: PorfInput, *, copied_from: int | None = None) -> Shown:
        """A new draft of the caller's, numbered, with its lines."""
        self._tenant.require(*RAISERS)
        if len(wanted.lines) > MAX_LINES:
            raise errors.TooManyLines
        await self._require_supplier(wanted.supplier_id)
        organisations = OrganisationService(self._session)
        organisation = await organisations.get(self._tenant.organisation_id)
        currency = wanted.currency or organisation.currency
        totals = totals_of(wanted.lines, currency=currency, tax_rounding=organisation.tax_rounding)
        require_equal(totals.total, wanted.total, "/total")
        nets = self._nets(wanted.lines, currency)
        porf = Porf(
            organisation_id=organisation.id,
            number=await organisations.next_number(organisation, DocumentType.PORF),
            title=wanted.title,
            justification=wanted.justification,
            cost_centre=wanted.cost_centre,
            needed_by=wanted.needed_by,
            currency=currency,
            tax_rounding=organisation.tax_rounding,
            supplier_id=wanted.supplier_id,
            requester_id=self._tenant.user_id,
            net=totals.net,
            tax=totals.tax,
            total=totals.total,
        )
        self._session.add(porf)
        await self._session.flush()
        rows = [
            self._row(porf.id, position, line, net, organisation.over_order_percent)
            for position, (line, net) in enumerate(zip(wanted.lines, nets, strict=True), start=1)
        ]
        await self._repository.add_lines(rows)
        after = {"number": porf.number, "title": porf.title, "total": porf.total, "copied_from": copied_from}
        await self._record("porf.create", porf, None, after)
        return await self._reading.whole(porf.id)

    async def update(self, porf_id: int, *, expected: ExpectedVersions, values: Mapping[str, Any]) -> Shown:
        """Change a draft's header. Another currency rounds every line anew."""
        porf = await self._editable(porf_id, expected)
        await self._require_supplier(values.get("supplier_id"))
        before, after = changes.apply(porf, values)
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

    async def copy(self, porf_id: int) -> Shown:
        """A new draft of the caller's with the same content; an inactive supplier is left out."""
        header, lines = await self._reading.content(porf_id)
        MACHINE.require(PorfAction.COPY, await self._reading.facts(porf_id), self._tenant)
        supplier = await self._supplier(header.supplier_id)
        fields = LineInput.__dataclass_fields__.keys() - {"net"}
        wanted = PorfInput(
            title=header.title,
            justification=header.justification,
            cost_centre=header.cost_centre,
            needed_by=header.needed_by,
            currency=header.currency,
            supplier_id=supplier,
            lines=[LineInput(**{name: getattr(line, name) for name in fields}) for line in lines],
        )
        return await self.create(wanted, copied_from=porf_id)

    async def add_line(self, porf_id: int, wanted: LineInput, *, expected: ExpectedVersions) -> tuple[PorfLine, int]:
        """Append a line to a draft; returns it with the request's new version."""
        porf = await self._editable(porf_id, expected)
        count, last = await self._repository.positions(porf_id)
        if count >= MAX_LINES:
            raise errors.TooManyLines
        organisation = await OrganisationService(self._session).get(self._tenant.organisation_id)
        (net,) = self._nets([wanted], porf.currency, prefix="")
        line = PorfLine(**self._row(porf_id, last + 1, wanted, net, organisation.over_order_percent))
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
        before, after = changes.apply(line, values)
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
        self._tenant.require(*COMMENTERS)
        comment = PorfComment(
            organisation_id=self._tenant.organisation_id,
            porf_id=porf_id,
            author_id=self._tenant.user_id,
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
        found = await self._repository.locked([porf_id])
        if not found:
            raise errors.PorfNotFound
        MACHINE.require(action, await self._reading.facts(porf_id), self._tenant)
        require_version(found[0].version, expected)
        return found[0]

    async def _line(self, porf_id: int, line_id: int) -> PorfLine:
        line = await self._repository.line(porf_id, line_id)
        if line is None:
            raise errors.LineNotFound
        return line

    async def _supplier(self, supplier_id: int | None) -> int | None:
        """The supplier's id, if one may order from it."""
        if supplier_id is None:
            return None
        supplier = await SupplierService(self._session, self._tenant).find_active(supplier_id)
        return None if supplier is None else supplier.id

    async def _require_supplier(self, supplier_id: int | None) -> None:
        if supplier_id is not None and await self._supplier(supplier_id) is None:
            detail = errors.UnknownSupplier.title
            raise errors.UnknownSupplier(errors=(FieldError("/supplier_id", errors.UnknownSupplier.code, detail),))

    @staticmethod
    def _nets(lines: Sequence[LineInput], currency: str, prefix: str = "/lines/{}") -> list[Decimal]:
        nets = [net_of(line, currency) for line in lines]
        for index, (line, net) in enumerate(zip(lines, nets, strict=True)):
            require_equal(net, line.net, f"{prefix.format(index)}/net")
        return nets

    def _row(self, porf_id: int, position: int, line: LineInput, net: Decimal, tolerance: Decimal) -> dict[str, Any]:
        return {
            **{name: getattr(line, name) for name in LineInput.__dataclass_fields__},
            "net": net,
            "organisation_id": self._tenant.organisation_id,
            "porf_id": porf_id,
            "position": position,
            "over_order_percent": tolerance,
        }

    async def _reprice(self, porf: Porf) -> None:
        lines = await self._repository.lines(porf.id)
        await self._repository.set_nets(
            [
                {"organisation_id": line.organisation_id, "id": line.id, "net": net}
                for line in lines
                if (net := net_of(line, porf.currency)) != line.net
                or net.as_tuple().exponent != line.net.as_tuple().exponent
            ]
        )

    async def _retotal(self, porf: Porf) -> None:
        lines = await self._repository.lines(porf.id)
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
            organisation_id=self._tenant.organisation_id,
            actor_id=self._tenant.user_id,
            change=audit.Change(action, "porf", porf.id, before, after),
        )
        await self._session.flush()


async def left_without_approver(session: AsyncSession, tenant: Tenant) -> Leftover | None:
    """The requests that wait in vain once a member's rights have changed, if there are any."""
    porfs = await PorfRepository(session, tenant).without_approver()
    if not porfs:
        return None
    return Leftover("no_approver_left", "nobody active could approve these requests any more", porfs)
