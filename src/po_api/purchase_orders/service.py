"""Purchase orders: created from requests, issued with a number, cancelled, closed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.addresses.service import AddressService
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.money import PricedLine, Totals
from po_api.core.offload import offload
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import ChangeWarning, Listeners
from po_api.db.query import TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.exchange_rates.domain import base_amounts, recorded
from po_api.exchange_rates.errors import RateMissing
from po_api.organisations.domain import DocumentType
from po_api.organisations.events import BaseCurrencyChanging
from po_api.organisations.numbering import Numbering
from po_api.porfs.allocation import Allocated, AllocationService, RequestedLine
from po_api.porfs.amounts import net_of, totals_of_nets
from po_api.porfs.content import LINE_FIELDS
from po_api.porfs.errors import CommentRequired, UnknownSupplier
from po_api.porfs.queries import LockedPorf, PorfLineRow
from po_api.purchase_orders import errors
from po_api.purchase_orders.document_queries import OrderDocumentQueries
from po_api.purchase_orders.documents import Source
from po_api.purchase_orders.domain import (
    CURRENT_TEMPLATE,
    MACHINE,
    PurchaseOrderAction,
    PurchaseOrderFacts,
    PurchaseOrderStatus,
)
from po_api.purchase_orders.events import DeliveryRequest, OrderIssued
from po_api.purchase_orders.line_service import OrderLineService
from po_api.purchase_orders.projections import TRADE_TERMS
from po_api.purchase_orders.read_service import PurchaseOrderReadService
from po_api.purchase_orders.renderings import RENDERINGS
from po_api.purchase_orders.repository import ApprovedRow, LockedOrder, PurchaseOrderRepository, state_of
from po_api.purchase_orders.sheets import sheet_of
from po_api.structure.service import StructureService
from po_api.suppliers.errors import SupplierChanged, SupplierInactive
from po_api.suppliers.identity import (
    SINCE_APPROVAL,
    SINCE_CREATION,
    digest_of,
    identity_hash,
    require_unchanged,
)
from po_api.suppliers.queries import SupplierRow
from po_api.suppliers.service import SupplierService

_DELIVERY = ("delivery_address_id", "delivery_address")


@dataclass(frozen=True)
class Conversion:
    """The parameters of a conversion. Without `lines`, all that remains of the requests is ordered.

    `supplier_id` is required unless a request names the supplier. `terms` are columns of an order: its terms and its
    delivery address; what is missing is that of the requests, of the supplier or of the organisation.
    """

    porf_ids: Sequence[int]
    lines: Sequence[RequestedLine] = ()
    supplier_id: int | None = None
    terms: Mapping[str, Any] = field(default_factory=dict)


class PurchaseOrderService:
    """Creates, issues, cancels and closes orders; the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = PurchaseOrderRepository(session, actor)
        self._allocation = AllocationService(session, actor)
        executor = TransactionExecutor(session)
        self._orders = PurchaseOrderReadService(executor, actor)
        self._documents = OrderDocumentQueries(executor, actor)
        self._addresses = AddressService(session, actor)
        self._structure = StructureService(session, actor)

    async def convert(self, conversion: Conversion, *, expected: ExpectedVersions = None) -> JsonDocument:
        """Create a draft order from approved requests of one supplier, currency and tax rounding (buyers, admins).

        `expected` are versions of the request; with several requests it is not used.
        """
        self._actor.require(Permission.PURCHASE_ORDERS_WRITE)
        allocated = await self._allocation.allocate(
            conversion.porf_ids, conversion.lines, require_compatible=_require_compatible, expected=expected
        )
        porfs = allocated.porfs
        terms = await self._terms(porfs, conversion)
        supplier = await self._supplier(porfs, conversion.supplier_id)
        for porf, approved in zip(porfs, allocated.supplier_hashes, strict=True):
            # Again, on the data that the order gets: the supplier is not locked.
            require_unchanged(porf.number, approved, identity_hash(supplier), SINCE_APPROVAL)
        codes = await self._structure.codes_of_cost_centres(item.line.cost_centre_id for item in allocated.lines)
        lines, totals = await offload(len(allocated.lines), _ordered, allocated, codes)
        order: dict[str, object] = {
            **_supplied_by(supplier),
            "created_by_id": self._actor.member_id,
            "currency": porfs[0].currency,
            "tax_rounding": porfs[0].tax_rounding,
            "net": totals.net,
            "tax": totals.tax,
            "total": totals.total,
            **_with_payment(terms, supplier),
        } | _of_lines(lines)
        after = {"porfs": [porf.number for porf in porfs], "total": totals.total, "supplier": supplier.name}
        change = audit.Change("purchase_order.create", "purchase_order", None, None, after, version=1)
        return await self._orders.whole(await self._repository.create(order, lines, change, now=utc_now()))

    async def update(self, order_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]) -> JsonDocument:
        """Change a draft's terms or delivery address. Raises TwoAddresses or UnknownAddress."""
        order = await self._locked(order_id, PurchaseOrderAction.EDIT, expected)
        before, after = merge_patch.differing(order, values)
        address_id, text = (after.get(name, getattr(order, name)) for name in _DELIVERY)
        await self._addresses.require_delivery(address_id, text, is_new="delivery_address_id" in after)
        if after:
            change = _change("purchase_order.update", order, before, after)
            await self._repository.change(state_of(order, **after), change, now=utc_now())
        return await self._orders.whole(order_id)

    async def update_line(
        self, order_id: int, line_id: int, *, expected: ExpectedVersions, values: Mapping[str, object]
    ) -> JsonDocument:
        """Change a draft's line; its order may be issued if its net is within what was approved.

        Raises OrderLineNotFound, TaxCategoryMismatch, QuantityExceedsRemaining or AmountTooLarge.
        """
        lock = partial(self._locked, order_id, PurchaseOrderAction.EDIT, expected)
        await OrderLineService(self._session, self._actor).update(order_id, line_id, values, lock_order=lock)
        return await self._orders.whole(order_id)

    async def issue(
        self,
        order_id: int,
        *,
        expected: ExpectedVersions,
        listeners: Listeners,
        delivery: DeliveryRequest | None = None,
    ) -> JsonDocument:
        """Assign the number, freeze the content, and store what the documents are rendered from.

        With a `delivery`, one of the `listeners` queues it: in the same transaction, so that neither is without the
        other.

        Nothing is typeset here, while rows are locked. The number is taken by the statement that writes: its row stays
        locked until the transaction ends, and other orders of the organisation wait for it. A worker renders the
        document soon after, or the first reader before it.
        """
        order = await self._locked(order_id, PurchaseOrderAction.ISSUE, expected)
        lines = await self._orders.content(order_id)
        buyer = await self._documents.buyer(order_id)
        source = Source(order, buyer, lines, buyer.approvals)
        now = utc_now()
        sheet = await sheet_of(source, now, source.language)
        issued = {"status": MACHINE.target(PurchaseOrderAction.ISSUE, PurchaseOrderStatus(order.status))}
        base = vars(base_amounts(order.net, order.total, order))
        change = _change("purchase_order.issue", order, {"status": order.status}, issued | recorded(base))
        frozen = {
            "purchase_order_id": order_id,
            "revision": order.revision,
            "template": CURRENT_TEMPLATE,
            "timezone": buyer.timezone,
            "language": source.language,
            "logo_digest": buyer.printed_logo,
        }
        state = state_of(order, **issued, **base, issued_at=now)
        numbering = Numbering.of(buyer, DocumentType.PURCHASE_ORDER, now)
        await self._repository.issue(state, frozen, sheet, change, numbering=numbering, now=now)
        notify_after_commit(self._session, RENDERINGS.name)
        requesters = frozenset(line.requester_id for line in lines)
        await listeners.notify(self._session, OrderIssued(self._actor, order_id, requesters, delivery))
        return await self._orders.whole(order_id)

    async def locked_for_delivery(self, order_id: int, *, expected: ExpectedVersions) -> LockedOrder:
        """An issued order to send to its supplier (buyers, admins), locked until the transaction ends."""
        return await self._locked(order_id, PurchaseOrderAction.DELIVER, expected)

    async def cancel(self, order_id: int, *, expected: ExpectedVersions, comment: str | None = None) -> JsonDocument:
        """Cancel the order and release its allocations. It keeps its number.

        Raises CommentRequired for an issued order without a comment: the supplier has it.
        """
        # Checked again under the lock. For members who may not cancel, the order's requests may not be visible.
        MACHINE.require(PurchaseOrderAction.CANCEL, await self._orders.facts(order_id), self._actor)
        porf_ids = {line.porf_id for line in await self._orders.content(order_id)}
        lock_order = partial(self._locked_to_cancel, order_id, expected, comment)
        order = await self._allocation.release(porf_ids, lock_holder=lock_order)
        state, change = _finished(order, PurchaseOrderAction.CANCEL, comment)
        await self._repository.cancel(state, order.revision, change, now=utc_now())
        notify_after_commit(self._session, RENDERINGS.name)
        return await self._orders.whole(order_id)

    async def close(self, order_id: int, *, expected: ExpectedVersions, comment: str | None = None) -> JsonDocument:
        """Close an issued order: no more deliveries are expected."""
        order = await self._locked(order_id, PurchaseOrderAction.CLOSE, expected)
        state, change = _finished(order, PurchaseOrderAction.CLOSE, comment)
        await self._repository.close(state, change, now=utc_now())
        return await self._orders.whole(order_id)

    async def _locked(self, order_id: int, action: PurchaseOrderAction, expected: ExpectedVersions) -> LockedOrder:
        order = await self._repository.lock(order_id)
        if order is None:
            raise errors.PurchaseOrderNotFound
        # The lines of the first version are as approved.
        is_changed = action is PurchaseOrderAction.ISSUE and order.version > 1
        approved = await self._repository.approved(order_id) if is_changed else None
        exceeds = approved is not None and approved.is_exceeded
        status = PurchaseOrderStatus(order.status)
        supplier = (order.supplier_is_active, order.supplier_has_changed)
        facts = PurchaseOrderFacts(status, *supplier, order.currency, order.lacks_rate, exceeds)
        refused = MACHINE.refusal(action, facts, self._actor)
        if refused is SupplierChanged:
            await self._require_same_supplier(order)
        if refused is RateMissing:
            raise RateMissing.of(order.currency)
        if refused is errors.AboveApproved and approved is not None:
            raise errors.AboveApproved(_excess(order, approved))
        MACHINE.require(action, facts, self._actor)
        require_version(order.version, expected)
        return order

    async def _locked_to_cancel(
        self, order_id: int, expected: ExpectedVersions, comment: str | None
    ) -> tuple[LockedOrder, Mapping[int, Decimal]]:
        """The locked order, and the quantities that it holds of the lines of requests, by their ids."""
        order = await self._locked(order_id, PurchaseOrderAction.CANCEL, expected)
        if order.status == PurchaseOrderStatus.ISSUED and comment is None:
            raise CommentRequired.at("/comment")
        # Under the lock, since the quantities of drafts change. Each line is allocated from one line of a request.
        lines = await self._orders.content(order_id)
        return order, {line.porf_line_id: line.quantity - line.released_quantity for line in lines}

    async def _require_same_supplier(self, order: LockedOrder) -> None:
        """Raise SupplierChanged with the fields that have changed."""
        supplier = await SupplierService(self._session, self._actor).find_active(order.supplier_id)
        if supplier is not None:
            created = order.supplier_hash or digest_of(order.supplier_name, order.supplier_tax_id)
            require_unchanged("the draft", created, identity_hash(supplier), SINCE_CREATION)

    async def _terms(self, porfs: Sequence[LockedPorf], conversion: Conversion) -> Mapping[str, object]:
        """The terms of the conversion, with the delivery address of the requests unless it has one itself."""
        given = {name: conversion.terms.get(name) for name in ("terms", "delivery_address", *TRADE_TERMS)}
        address_id, text = conversion.terms.get("delivery_address_id"), conversion.terms.get("delivery_address")
        await self._addresses.require_delivery(address_id, text)
        if address_id is not None or text is not None:
            return given
        requested = {(porf.delivery_address_id, porf.delivery_address) for porf in porfs} - {(None, None)}
        if len(requested) > 1:
            raise errors.MixedDeliveryAddresses
        address_id, text = next(iter(requested), (None, None))
        return {**given, "delivery_address_id": address_id, "delivery_address": text}

    async def _supplier(self, porfs: Sequence[LockedPorf], named: int | None) -> SupplierRow:
        chosen = {
            supplier_id for supplier_id in (named, *(porf.supplier_id for porf in porfs)) if supplier_id is not None
        }
        if len(chosen) > 1:
            raise errors.MixedSuppliers
        if not chosen:
            raise errors.SupplierRequired.at("/supplier_id")
        supplier = await SupplierService(self._session, self._actor).find_active(chosen.pop())
        if supplier is not None:
            return supplier
        if named is None:
            raise SupplierInactive
        raise UnknownSupplier.at("/supplier_id")


def _require_compatible(porfs: Sequence[LockedPorf]) -> None:
    """Raise unless one order can contain these requests: with its currency and its tax rounding."""
    if len({porf.currency for porf in porfs}) > 1:
        raise errors.MixedCurrencies
    if len({porf.tax_rounding for porf in porfs}) > 1:
        raise errors.MixedTaxRounding


def _ordered(allocated: Allocated, codes: Mapping[int | None, str]) -> tuple[list[dict[str, object]], Totals]:
    """The lines of an order with the allocated quantities, and its totals. `codes` are those of cost centres by id."""
    porf, by_id = allocated.porfs[0], {porf.id: porf for porf in allocated.porfs}
    lines: list[dict[str, object]] = []
    nets = []
    for position, item in enumerate(allocated.lines, start=1):
        line = item.line
        net = net_of(PricedLine(item.quantity, line.unit_price, line.discount_percent, line.tax_rate), porf.currency)
        copied = {name: getattr(line, name) for name in LINE_FIELDS}
        own = {"position": position, "quantity": item.quantity, "net": net, "porf_line_id": line.id}
        lines.append({**copied, **_of_request(line, by_id, codes), **own})
        nets.append((line.tax_rate, net))
    return lines, totals_of_nets(nets, currency=porf.currency, tax_rounding=porf.tax_rounding)


def _of_request(
    line: PorfLineRow, porfs: Mapping[int, LockedPorf], codes: Mapping[int | None, str]
) -> dict[str, object]:
    """What a line of an order has of the requested line or, where that says nothing, of the request."""
    porf = porfs[line.porf_id]
    own_code = codes.get(line.cost_centre_id)
    return {
        "cost_centre": porf.cost_centre if own_code is None else own_code,
        "cost_centre_id": porf.cost_centre_id if own_code is None else line.cost_centre_id,
        "needed_by": line.needed_by or porf.needed_by,
    }


def _of_lines(lines: Iterable[Mapping[str, Any]]) -> dict[str, object]:
    """What an order says about its lines, as columns: their cost centres, and the earliest date of one."""
    found = list(lines)
    cost_centres = {code for line in found if (code := line["cost_centre"]) is not None}
    dates = (day for line in found if (day := line["needed_by"]) is not None)
    return {"cost_centres": sorted(cost_centres), "delivery_date": min(dates, default=None)}


def _with_payment(terms: Mapping[str, object], supplier: SupplierRow) -> Mapping[str, object]:
    """The terms with the supplier's terms of payment, unless they have their own."""
    if terms["payment_days"] is not None or terms["payment_terms"] is not None:
        return terms
    return {**terms, "payment_days": supplier.payment_days, "payment_terms": supplier.payment_terms}


def _supplied_by(supplier: SupplierRow) -> dict[str, object]:
    """The supplier snapshot: the current data of the supplier, as columns of an order."""
    copied = {f"supplier_{name}": getattr(supplier, name) for name in ("name", "email", "tax_id", "address")}
    return {"supplier_id": supplier.id, "supplier_hash": identity_hash(supplier), **copied}


def _finished(
    order: LockedOrder, action: PurchaseOrderAction, comment: str | None
) -> tuple[dict[str, object], audit.Change]:
    """The order's state after the action, and the event that records it."""
    status = MACHINE.target(action, PurchaseOrderStatus(order.status))
    after = {"status": status} | ({} if comment is None else {"comment": comment})
    return state_of(order, status=status), _change(f"purchase_order.{action}", order, {"status": order.status}, after)


def _change(action: str, order: LockedOrder, before: Mapping[str, object], after: Mapping[str, object]) -> audit.Change:
    return audit.Change(action, "purchase_order", order.id, before, after, order.version + 1)


def _excess(order: LockedOrder, approved: ApprovedRow) -> str:
    """In which way an order exceeds what was approved, for people."""
    if not approved.exceeds_net:
        return (
            f"with tax, the part of the request {approved.over_limit} is above what the limits of its approvers permit;"
            " cancel this draft, and reopen the request"
        )
    return (
        f"the net of {order.net:f} {order.currency} exceeds the approved {approved.approved_net:f}; cancel this draft,"
        " and reopen the request"
    )


async def find_orders(session: AsyncSession, event: BaseCurrencyChanging) -> list[ChangeWarning]:
    """A warning about the orders of the organisation, if there are any."""
    count = await PurchaseOrderRepository(session, event.actor).count()
    return [ChangeWarning("purchase_orders", f"purchase orders: {count}")] if count else []
