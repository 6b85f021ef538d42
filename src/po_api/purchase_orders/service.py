"""Purchase orders: made from requests, issued under a number, cancelled, closed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.money import PricedLine, Totals
from po_api.core.permissions import Role
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.query import TransactionExecutor
from po_api.organisations.domain import DocumentType
from po_api.organisations.reading import OrganisationReading
from po_api.organisations.service import OrganisationService
from po_api.porfs.allocation import AllocatedLine, AllocationService, RequestedLine
from po_api.porfs.domain import net_of, totals_of, totals_of_nets
from po_api.porfs.errors import UnknownSupplier
from po_api.purchase_orders import errors
from po_api.purchase_orders.documents import DocumentLine, Party, PurchaseOrderDocument, rendered
from po_api.purchase_orders.domain import MACHINE, PurchaseOrderAction, PurchaseOrderFacts, PurchaseOrderStatus
from po_api.purchase_orders.read_service import PurchaseOrderReadService
from po_api.purchase_orders.repository import PurchaseOrderRepository, state_of
from po_api.suppliers.service import SupplierService

_COPIED = ("description", "sku", "unit", "unit_price", "discount_percent", "tax_rate", "needed_by")


@dataclass(frozen=True)
class Conversion:
    """What to order: all that is left of the requests, or the wanted lines; the supplier may be named by them."""

    porf_ids: Sequence[int]
    wanted: Sequence[RequestedLine] = ()
    supplier_id: int | None = None
    terms: str | None = None
    delivery_address: str | None = None


class PurchaseOrderService:
    """What can be done with orders; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._repository = PurchaseOrderRepository(session, actor)
        self._allocation = AllocationService(session, actor)
        executor = TransactionExecutor(session)
        self._reading = PurchaseOrderReadService(executor, actor)
        self._organisations = OrganisationReading(executor)

    async def convert(self, conversion: Conversion, *, expected: ExpectedVersions = None) -> JsonDocument:
        """A draft order from approved requests of one supplier and currency (buyers, admins).

        `expected` is about the request, if there is one. What is left is judged before the version: who loses a race
        is told what remains (409), not that the ETag is old (412).
        """
        self._actor.require(Role.BUYER, Role.ADMIN)
        locked = await self._allocation.lock(conversion.porf_ids)
        porfs = locked.porfs
        if len({porf.currency for porf in porfs}) > 1:
            raise errors.MixedCurrencies
        taken = await self._allocation.choose(locked, conversion.wanted)
        if len(porfs) == 1:
            require_version(porfs[0].version, expected)
        supplier = await self._supplier(porfs, conversion.supplier_id)
        lines, totals = _ordered(porfs[0], taken)
        order = _supplied_by(supplier) | {
            "created_by_id": self._actor.user_id,
            "currency": porfs[0].currency,
            "tax_rounding": porfs[0].tax_rounding,
            "net": totals.net,
            "tax": totals.tax,
            "total": totals.total,
            "terms": conversion.terms,
            "delivery_address": conversion.delivery_address,
        }
        after = {"porfs": [porf.number for porf in porfs], "total": totals.total, "supplier": supplier.name}
        change = audit.Change("purchase_order.create", "purchase_order", None, None, after)
        await self._allocation.take(locked, taken)
        return await self._reading.whole(await self._repository.create(order, lines, change, now=utc_now()))

    async def update(self, order_id: int, *, expected: ExpectedVersions, values: Mapping[str, Any]) -> JsonDocument:
        """Change a draft's terms or delivery address."""
        order = await self._locked(order_id, PurchaseOrderAction.EDIT, expected)
        before, after = merge_patch.differing(order, values)
        if after:
            change = _change("purchase_order.update", order, before, after)
            await self._repository.change(state_of(order, **after), change, now=utc_now())
        return await self._reading.whole(order_id)

    async def issue(self, order_id: int, *, expected: ExpectedVersions) -> JsonDocument:
        """Give the order its number, freeze it and store its document.

        The number comes last: until the transaction ends, the organisation's other orders wait for theirs, and a
        rollback leaves no gap. The document shows it and may take seconds to make, so it is made before, with the
        number that is likely to come, and once more only if another order was faster.
        """
        order = await self._locked(order_id, PurchaseOrderAction.ISSUE, expected)
        organisation = await self._organisations.own(self._actor)
        lines = await self._reading.content(order_id)
        now = utc_now()
        numbers = OrganisationService(self._session)
        likely = await numbers.likely_number(organisation, DocumentType.PURCHASE_ORDER, now)
        content = await rendered(_document(order, organisation, lines, likely, now))
        number = await numbers.next_number(organisation, DocumentType.PURCHASE_ORDER, now)
        if number != likely:
            content = await rendered(_document(order, organisation, lines, number, now))
        issued = {"status": MACHINE.target(PurchaseOrderAction.ISSUE), "number": number}
        change = _change("purchase_order.issue", order, {"status": order.status}, issued)
        digest = hashlib.sha256(content).hexdigest()
        file = {"purchase_order_id": order_id, "revision": order.revision, "digest": digest}
        await self._repository.issue(state_of(order, **issued, issued_at=now), file, content, change, now=now)
        return await self._reading.whole(order_id)

    async def cancel(self, order_id: int, *, expected: ExpectedVersions, comment: str | None = None) -> JsonDocument:
        """Cancel the order: its requests get back what it held, its number stays its own."""
        header = await self._reading.header(order_id)
        # Asked again under the lock; whoever may not do it anyway need not see all of the order's requests.
        MACHINE.require(PurchaseOrderAction.CANCEL, PurchaseOrderFacts(PurchaseOrderStatus(header.status)), self._actor)
        lines = await self._reading.content(order_id)
        # Requests and lines are locked before the order (domain.md, lock order).
        locked = await self._allocation.lock({line.porf_id for line in lines})
        order = await self._locked(order_id, PurchaseOrderAction.CANCEL, expected)
        # Each line takes all of its quantity from one line of a request.
        held = {line.porf_line_id: line.quantity - line.released_quantity for line in lines}
        await self._allocation.release(locked, held)
        state, change = _finished(order, PurchaseOrderAction.CANCEL, comment)
        await self._repository.cancel(state, change, now=utc_now())
        return await self._reading.whole(order_id)

    async def close(self, order_id: int, *, expected: ExpectedVersions, comment: str | None = None) -> JsonDocument:
        """Close an issued order: nothing more is expected of it."""
        order = await self._locked(order_id, PurchaseOrderAction.CLOSE, expected)
        state, change = _finished(order, PurchaseOrderAction.CLOSE, comment)
        await self._repository.change(state, change, now=utc_now())
        return await self._reading.whole(order_id)

    async def _locked(self, order_id: int, action: PurchaseOrderAction, expected: ExpectedVersions) -> Any:
        order = await self._repository.locked(order_id)
        if order is None:
            raise errors.PurchaseOrderNotFound
        MACHINE.require(action, PurchaseOrderFacts(PurchaseOrderStatus(order.status)), self._actor)
        require_version(order.version, expected)
        return order

    async def _supplier(self, porfs: Sequence[Any], named: int | None) -> Any:
        wanted = {chosen for chosen in (named, *(porf.supplier_id for porf in porfs)) if chosen is not None}
        if len(wanted) > 1:
            raise errors.MixedSuppliers
        if not wanted:
            raise errors.SupplierRequired(
                errors=(FieldError("/supplier_id", errors.SupplierRequired.code, errors.SupplierRequired.title),)
            )
        supplier = await SupplierService(self._session, self._actor).find_active(wanted.pop())
        if supplier is not None:
            return supplier
        if named is None:
            raise errors.SupplierInactive
        raise UnknownSupplier(errors=(FieldError("/supplier_id", UnknownSupplier.code, UnknownSupplier.title),))


def _ordered(porf: Any, taken: Sequence[AllocatedLine]) -> tuple[list[dict[str, Any]], Totals]:
    """The lines of an order that takes these, and its totals."""
    lines = []
    for position, item in enumerate(taken, start=1):
        copied = {name: getattr(item.line, name) for name in _COPIED}
        priced = PricedLine(item.quantity, item.line.unit_price, item.line.discount_percent, item.line.tax_rate)
        own = {"position": position, "quantity": item.quantity, "net": net_of(priced, porf.currency)}
        lines.append({**copied, **own, "porf_line_id": item.line.id})
    nets = ((line["tax_rate"], line["net"]) for line in lines)
    return lines, totals_of_nets(nets, currency=porf.currency, tax_rounding=porf.tax_rounding)


def _supplied_by(supplier: Any) -> dict[str, Any]:
    """The supplier's particulars as they are now."""
    copied = {f"supplier_{name}": getattr(supplier, name) for name in ("name", "email", "tax_id", "address")}
    return {"supplier_id": supplier.id, **copied}


def _finished(order: Any, action: PurchaseOrderAction, comment: str | None) -> tuple[dict[str, Any], audit.Change]:
    """What the action makes of the order, and the event that tells of it."""
    became = {"status": MACHINE.target(action)}
    told = became | ({} if comment is None else {"comment": comment})
    return state_of(order, **became), _change(f"purchase_order.{action}", order, {"status": order.status}, told)


def _change(action: str, order: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> audit.Change:
    return audit.Change(action, "purchase_order", order.id, before, after)


def _document(
    order: Any, organisation: Any, lines: Sequence[Any], number: str, issued_at: datetime
) -> PurchaseOrderDocument:
    """What the document shows; its date is the organisation's."""
    return PurchaseOrderDocument(
        number=number,
        revision=order.revision,
        issued_on=issued_at.astimezone(ZoneInfo(organisation.timezone)).date(),
        currency=order.currency,
        buyer=Party(organisation.name, organisation.address, organisation.tax_id),
        supplier=Party(order.supplier_name, order.supplier_address, order.supplier_tax_id, order.supplier_email),
        lines=tuple(
            DocumentLine(**{name: getattr(line, name) for name in DocumentLine.__dataclass_fields__}) for line in lines
        ),
        totals=totals_of(lines, currency=order.currency, tax_rounding=order.tax_rounding),
        terms=order.terms,
        delivery_address=order.delivery_address,
        requests=tuple(sorted({line.porf_number for line in lines})),
        prepared_by=order.created_by_name or None,
    )
