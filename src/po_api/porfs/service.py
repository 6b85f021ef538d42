"""The content of requests: create, edit, copy, delete. Changes of the status are in `actions`."""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.addresses.service import AddressService
from po_api.approvals.eligibility import authors_of
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.currencies import last_day, require_current
from po_api.core.money import Totals
from po_api.core.offload import offload
from po_api.core.permissions import Permission
from po_api.core.records import extract
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import ChangeWarning
from po_api.db.query import TransactionExecutor
from po_api.files.service import FileService
from po_api.members.events import MemberChanged
from po_api.organisations.domain import DocumentType
from po_api.organisations.events import BaseCurrencyChanging
from po_api.organisations.numbering import Numbering
from po_api.organisations.queries import OrganisationQueries
from po_api.organisations.service import OrganisationService
from po_api.porfs import errors
from po_api.porfs.amounts import net_of, require_equal, totals_of, totals_of_nets
from po_api.porfs.content import HEADER_FIELDS, MAX_LINES, LineInput, PorfInput
from po_api.porfs.domain import MACHINE, PorfAction
from po_api.porfs.models import Porf, PorfLine
from po_api.porfs.queries import PorfLineRow
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import CreationRules, PorfRepository
from po_api.structure.domain import Classification
from po_api.structure.service import StructureService, named_code
from po_api.suppliers.service import SupplierService


class PorfService:
    """Creates and changes requests; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = PorfRepository(session, actor)
        self._porfs = PorfReadService(TransactionExecutor(session), actor)
        self._addresses = AddressService(session, actor)
        self._structure = StructureService(session, actor)
        self._files = FileService(session, actor)

    async def base_currency(self) -> str:
        """The currency of requests that name none."""
        return (await OrganisationQueries(TransactionExecutor(self._session)).own(self._actor)).currency

    async def known_codes(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """The ids of the active categories and cost centres, by the keys of their codes."""
        return await self._structure.known_categories(), await self._structure.known_cost_centres()

    async def create(self, requested: PorfInput, *, copied_from: int | None = None) -> JsonDocument:
        """Create a draft of the caller with its number and lines."""
        self._actor.require(Permission.PORFS_WRITE)
        if len(requested.lines) > MAX_LINES:
            raise errors.TooManyLines
        takes_default = copied_from is None and requested.cost_centre is None and requested.cost_centre_id is None
        rules = await self._repository.creation_rules(requested, takes_default=takes_default)
        if requested.supplier_id is not None and not rules.supplier_is_active:
            raise errors.UnknownSupplier.at("/supplier_id")
        await self._structure.require_active(requested.lines, pointer="/lines/{}")
        await self._addresses.require_delivery(requested.delivery_address_id, requested.delivery_address)
        currency = requested.currency or rules.currency
        if (last := last_day(currency)) is not None:
            raise _withdrawn(last)
        lines, totals = await offload(len(requested.lines), _priced, requested, rules, currency)
        now = utc_now()
        numbering = Numbering.of(rules, DocumentType.PORF, now)
        porf = {name: getattr(requested, name) for name in HEADER_FIELDS} | {
            "cost_centre": _code_of(requested, rules, takes_default=takes_default),
            "cost_centre_id": rules.cost_centre_id,
            "requester_id": self._actor.member_id,
            "author_ids": [self._actor.member_id],
            "currency": currency,
            "tax_rounding": rules.tax_rounding,
            "net": totals.net,
            "tax": totals.tax,
            "total": totals.total,
        }
        after = {"title": requested.title, "total": totals.total, "copied_from": copied_from}
        change = audit.Change("porf.create", "porf", None, None, after, version=1)
        created = await self._repository.create(porf, lines, change, numbering=numbering, now=now)
        return await self._porfs.whole(created)

    async def update(self, porf_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]) -> JsonDocument:
        """Change a draft's header. Another currency rounds every line again."""
        porf = await self._editable(porf_id, expected)
        if isinstance(supplier_id := values.get("supplier_id"), int):
            await self._require_supplier(supplier_id)
        before, after = merge_patch.apply(porf, await self._with_cost_centre(porf, values))
        is_new = "delivery_address_id" in after
        await self._addresses.require_delivery(porf.delivery_address_id, porf.delivery_address, is_new=is_new)
        if after:
            if "currency" in after:
                require_current(porf.currency)
                await self._reprice(porf)
            await self._retotal(porf)
            await self._touch("porf.update", porf, before, after)
        return await self._porfs.whole(porf_id)

    async def delete(self, porf_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a draft that was never submitted, with its files. Its number is not reused."""
        porf = await self._locked(porf_id, PorfAction.DELETE, expected)
        deleted = {"number": porf.number, "title": porf.title}
        await audit.record(self._session, self._actor, audit.Change("porf.delete", "porf", porf.id, deleted))
        contents = await self._files.digests_of_porf(porf_id)
        await self._session.delete(porf)
        await self._session.flush()
        await self._files.drop_unused(contents)

    async def copy(self, porf_id: int) -> JsonDocument:
        """Create a draft of the caller with the same content, except what is inactive: the supplier, the address, the
        cost centres and categories."""
        header, lines = await self._porfs.content(porf_id)
        MACHINE.require(PorfAction.COPY, await self._porfs.facts(porf_id), self._actor)
        supplier_id = await self._active(header.supplier_id)
        categories = await self._structure.active_categories(line.category_id for line in lines)
        named = (header.cost_centre_id, *(line.cost_centre_id for line in lines))
        cost_centres = await self._structure.active_cost_centres(named)
        copied = await offload(len(lines), _copied, lines, categories, cost_centres)
        address_id = await self._addresses.deliverable(header.delivery_address_id)
        others = {"supplier_id": supplier_id, "delivery_address_id": address_id}
        if header.cost_centre_id is not None and header.cost_centre_id not in cost_centres:
            others |= {"cost_centre": None, "cost_centre_id": None}
        draft = extract(PorfInput, header, **others, total=None, lines=copied)
        return await self.create(draft, copied_from=porf_id)

    async def add_line(self, porf_id: int, requested: LineInput, *, expected: ExpectedVersions) -> tuple[PorfLine, int]:
        """Append a line to a draft; returns it with the request's new version."""
        porf = await self._editable(porf_id, expected)
        count, last = await self._repository.positions(porf_id)
        if count >= MAX_LINES:
            raise errors.TooManyLines
        organisation = await OrganisationService(self._session).get(self._actor.organisation_id)
        await self._structure.require_active([requested])
        net = net_of(requested, porf.currency)
        require_equal(net, requested.net, "/net")
        columns = _columns(last + 1, requested, net, organisation.over_order_percent)
        line = PorfLine(organisation_id=porf.organisation_id, porf_id=porf_id, **columns)
        self._session.add(line)
        await self._session.flush()
        await self._retotal(porf)
        await self._touch("porf.add_line", porf, None, {"line_id": line.id, "description": line.description})
        return line, porf.version

    async def update_line(
        self, porf_id: int, line_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> tuple[PorfLine, int]:
        """Change a line of a draft; returns it with the request's new version."""
        porf = await self._editable(porf_id, expected)
        line = await self._line(porf_id, line_id)
        before, after = merge_patch.apply(line, values)
        await self._structure.require_active([Classification(after.get("category_id"), after.get("cost_centre_id"))])
        if after:
            line.net = net_of(line, porf.currency)
            await self._session.flush()
            await self._retotal(porf)
            await self._touch("porf.update_line", porf, {"line_id": line_id, **before}, {"line_id": line_id, **after})
        return line, porf.version

    async def delete_line(self, porf_id: int, line_id: int, *, expected: ExpectedVersions) -> None:
        """Delete a line of a draft; the other lines keep their positions."""
        porf = await self._editable(porf_id, expected)
        line = await self._line(porf_id, line_id)
        await self._session.delete(line)
        await self._session.flush()
        await self._retotal(porf)
        await self._touch("porf.delete_line", porf, {"line_id": line_id, "description": line.description}, None)

    async def _with_cost_centre(self, porf: Porf, values: Mapping[str, object]) -> Mapping[str, object]:
        """The changes of a draft's header, with the cost centre and its code in step."""
        cost_centre_id, code = values.get("cost_centre_id"), values.get("cost_centre")
        text = code if isinstance(code, str) else None
        if isinstance(cost_centre_id, int):
            if cost_centre_id == porf.cost_centre_id:
                return {**values, "cost_centre": named_code(porf.cost_centre, text)}
            return {**values, "cost_centre": await self._structure.require_cost_centre(cost_centre_id, text)}
        if text is not None:
            named = await self._structure.cost_centre_named(text, porf.cost_centre_id)
            return {**values, "cost_centre_id": named}
        if {"cost_centre", "cost_centre_id"} & values.keys():
            return {**values, "cost_centre": None, "cost_centre_id": None}
        return values

    async def _editable(self, porf_id: int, expected: ExpectedVersions) -> Porf:
        return await self._locked(porf_id, PorfAction.EDIT, expected)

    async def _locked(self, porf_id: int, action: PorfAction, expected: ExpectedVersions) -> Porf:
        """The request, locked. Raises unless the actor may perform the action now, on one of the expected versions."""
        porf = await self._repository.editable(porf_id)
        if porf is None:
            raise errors.PorfNotFound
        MACHINE.require(action, await self._porfs.facts(porf_id), self._actor)
        require_version(porf.version, expected)
        return porf

    async def _line(self, porf_id: int, line_id: int) -> PorfLine:
        line = await self._repository.line(porf_id, line_id)
        if line is None:
            raise errors.LineNotFound
        return line

    async def _active(self, supplier_id: int | None) -> int | None:
        """The id of the supplier if it is active, else None."""
        if supplier_id is None:
            return None
        supplier = await SupplierService(self._session, self._actor).find_active(supplier_id)
        return None if supplier is None else supplier.id

    async def _require_supplier(self, supplier_id: int) -> None:
        if await self._active(supplier_id) is None:
            raise errors.UnknownSupplier.at("/supplier_id")

    async def _reprice(self, porf: Porf) -> None:
        lines = await self._porfs.lines(porf.id)
        nets = await offload(len(lines), _changed_nets, lines, porf.currency)
        await self._repository.set_nets([{"organisation_id": porf.organisation_id, **net} for net in nets])

    async def _retotal(self, porf: Porf) -> None:
        lines = await self._porfs.lines(porf.id)
        totals = await offload(len(lines), totals_of, lines, currency=porf.currency, tax_rounding=porf.tax_rounding)
        porf.net, porf.tax, porf.total = totals.net, totals.tax, totals.total

    async def _touch(
        self, action: str, porf: Porf, before: Mapping[str, object] | None, after: Mapping[str, object] | None
    ) -> None:
        porf.version += 1
        porf.author_ids = authors_of(porf, self._actor.user_id)
        change = audit.Change(action, "porf", porf.id, before, after, porf.version)
        await audit.record(self._session, self._actor, change)


def _withdrawn(last: date) -> errors.WithdrawnBaseCurrency:
    detail = f"the organisation's base currency was legal tender until {last}; state a current currency"
    return errors.WithdrawnBaseCurrency.at("/currency", detail=detail)


def _priced(requested: PorfInput, rules: CreationRules, currency: str) -> tuple[Sequence[Mapping[str, object]], Totals]:
    """The columns of the lines, and the totals. Raises AmountTooLarge or TotalMismatch."""
    nets = [net_of(line, currency) for line in requested.lines]
    taxed = ((line.tax_rate, net) for line, net in zip(requested.lines, nets, strict=True))
    totals = totals_of_nets(taxed, currency=currency, tax_rounding=rules.tax_rounding)
    require_equal(totals.total, requested.total, "/total")
    for index, (line, net) in enumerate(zip(requested.lines, nets, strict=True)):
        require_equal(net, line.net, f"/lines/{index}/net")
    columns = [
        _columns(position, line, net, rules.over_order_percent)
        for position, (line, net) in enumerate(zip(requested.lines, nets, strict=True), start=1)
    ]
    return columns, totals


def _code_of(requested: PorfInput, rules: CreationRules, *, takes_default: bool) -> str | None:
    """The code or the text of the cost centre. Raises UnknownCostCentre or CostCentreMismatch."""
    if takes_default:
        return rules.cost_centre
    if requested.cost_centre_id is None:
        return requested.cost_centre
    return named_code(rules.cost_centre, requested.cost_centre)


def _copied(lines: Iterable[PorfLineRow], categories: Container[int], cost_centres: Container[int]) -> list[LineInput]:
    """The lines with those of their categories and cost centres that are active."""
    return [
        extract(
            LineInput,
            line,
            net=None,
            category_id=line.category_id if line.category_id in categories else None,
            cost_centre_id=line.cost_centre_id if line.cost_centre_id in cost_centres else None,
        )
        for line in lines
    ]


def _changed_nets(lines: Iterable[PorfLineRow], currency: str) -> list[dict[str, object]]:
    """The ids and the nets of the lines whose nets another currency changes."""
    return [
        {"id": line.id, "net": net}
        for line in lines
        if (net := net_of(line, currency)) != line.net or net.as_tuple().exponent != line.net.as_tuple().exponent
    ]


def _columns(position: int, line: LineInput, net: Decimal, tolerance: Decimal) -> dict[str, object]:
    """The columns of a line, without the key of its request."""
    return {**vars(line), "net": net, "position": position, "over_order_percent": tolerance}


async def warn_of_missing_approvers(session: AsyncSession, event: MemberChanged) -> list[ChangeWarning]:
    """A warning with the pending requests that no active member may approve now, if there are any."""
    porfs = await PorfRepository(session, event.actor).without_approver()
    if not porfs:
        return []
    return [ChangeWarning("no_approver_left", "no active member may approve these requests", porfs)]


async def find_porfs(session: AsyncSession, event: BaseCurrencyChanging) -> list[ChangeWarning]:
    """A warning about the requests of the organisation, if there are any."""
    count = await PorfRepository(session, event.actor).count()
    return [ChangeWarning("porfs", f"purchase order requests: {count}")] if count else []
