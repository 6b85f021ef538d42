"""Purchase orders: made from requests, issued under a number, cancelled, closed."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core import audit, changes
from po_api.core.clock import utc_now
from po_api.core.errors import FieldError
from po_api.core.reading import TransactionReader
from po_api.core.representations import Shown
from po_api.core.tenancy import Role, Tenant
from po_api.core.versions import ExpectedVersions, require_version
from po_api.organisations.domain import DocumentType
from po_api.organisations.models import Organisation
from po_api.organisations.service import OrganisationService
from po_api.porfs.domain import net_of, totals_of
from po_api.porfs.errors import UnknownSupplier
from po_api.porfs.models import Porf
from po_api.porfs.ordering import PorfOrdering, Taken, Wanted
from po_api.purchase_orders import errors
from po_api.purchase_orders.documents import DocumentLine, Party, PurchaseOrderDocument, render
from po_api.purchase_orders.domain import (
    MACHINE,
    PurchaseOrderAction,
    PurchaseOrderFacts,
    PurchaseOrderStatus,
)
from po_api.purchase_orders.models import Allocation, PurchaseOrder, PurchaseOrderFile, PurchaseOrderLine
from po_api.purchase_orders.reading import PurchaseOrderReading
from po_api.purchase_orders.repository import PurchaseOrderRepository
from po_api.suppliers.models import Supplier
from po_api.suppliers.service import SupplierService

_COPIED = ("description", "sku", "unit", "unit_price", "discount_percent", "tax_rate", "needed_by")


@dataclass(frozen=True)
class Conversion:
    """What to order: all that is left of the requests, or the wanted lines; the supplier may be named by them."""

    porf_ids: Sequence[int]
    wanted: Sequence[Wanted] = ()
    supplier_id: int | None = None
    terms: str | None = None
    delivery_address: str | None = None


class PurchaseOrderService:
    """What can be done with orders; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession, tenant: Tenant) -> None:
        self._session = session
        self._tenant = tenant
        self._repository = PurchaseOrderRepository(session, tenant)
        self._ordering = PorfOrdering(session, tenant)
        self._reading = PurchaseOrderReading(TransactionReader(session), tenant)

    async def convert(self, conversion: Conversion, *, expected: ExpectedVersions = None) -> Shown:
        """A draft order from approved requests of one supplier and currency (buyers, admins).

        `expected` is about the request, if there is one. What is left is judged before the version: who loses a race
        is told what remains (409), not that the ETag is old (412).
        """
        self._tenant.require(Role.BUYER, Role.ADMIN)
        locked = await self._ordering.lock(conversion.porf_ids)
        porfs = locked.porfs
        if len({porf.currency for porf in porfs}) > 1:
            raise errors.MixedCurrencies
        taken = await self._ordering.take(locked, conversion.wanted)
        if len(porfs) == 1:
            # `take` has added one to the version that the caller knows.
            require_version(porfs[0].version - 1, expected)
        supplier = await self._supplier(porfs, conversion.supplier_id)
        order = await self._add(porfs[0], supplier, taken, conversion)
        after = {"porfs": [porf.number for porf in porfs], "total": order.total, "supplier": supplier.name}
        await self._record("purchase_order.create", order, None, after)
        return await self._reading.whole(order.id)

    async def update(self, order_id: int, *, expected: ExpectedVersions, values: Mapping[str, Any]) -> Shown:
        """Change a draft's terms or delivery address."""
        order = await self._locked(order_id, PurchaseOrderAction.EDIT, expected)
        before, after = changes.apply(order, values)
        if after:
            await self._touch("purchase_order.update", order, before, after)
        return await self._reading.whole(order_id)

    async def issue(self, order_id: int, *, expected: ExpectedVersions) -> Shown:
        """Give the order its number, freeze it and store its document.

        The number comes last: until the transaction ends, the organisation's other orders wait for theirs, and a
        rollback leaves no gap. The document shows it and may take seconds to make, so it is made before, with the
        number that is likely to come, and once more only if another order was faster.
        """
        order = await self._locked(order_id, PurchaseOrderAction.ISSUE, expected)
        before = {"status": order.status}
        organisations = OrganisationService(self._session)
        organisation = await organisations.get(self._tenant.organisation_id)
        header, lines = await self._reading.header(order_id), await self._reading.content(order_id)
        order.status = MACHINE.target(PurchaseOrderAction.ISSUE)
        order.issued_at = utc_now()
        likely = await organisations.likely_number(organisation, DocumentType.PURCHASE_ORDER)
        order.number = likely
        content = await asyncio.to_thread(render, _document(order, organisation, header.created_by_name, lines))
        order.number = await organisations.next_number(organisation, DocumentType.PURCHASE_ORDER)
        if order.number != likely:
            content = await asyncio.to_thread(render, _document(order, organisation, header.created_by_name, lines))
        self._session.add(
            PurchaseOrderFile(
                organisation_id=order.organisation_id,
                purchase_order_id=order.id,
                revision=order.revision,
                content=content,
                digest=hashlib.sha256(content).hexdigest(),
                created_at=order.issued_at,
            )
        )
        after = {"status": order.status, "number": order.number}
        await self._touch("purchase_order.issue", order, before, after)
        return await self._reading.whole(order_id)

    async def cancel(self, order_id: int, *, expected: ExpectedVersions, comment: str | None = None) -> Shown:
        """Cancel the order: its requests get back what it held, its number stays its own."""
        header = await self._reading.header(order_id)
        # Asked again under the lock; whoever may not do it anyway need not see all of the order's requests.
        MACHINE.require(
            PurchaseOrderAction.CANCEL, PurchaseOrderFacts(PurchaseOrderStatus(header.status)), self._tenant
        )
        held = await self._repository.allocations(order_id)
        porf_ids = {line.porf_id for line in await self._reading.content(order_id)}
        # Requests and lines are locked before the order (domain.md, lock order).
        locked = await self._ordering.lock(porf_ids)
        order = await self._locked(order_id, PurchaseOrderAction.CANCEL, expected)
        await self._ordering.give_back(
            locked, {item.porf_line_id: item.quantity - item.released_quantity for item in held}
        )
        for item in held:
            item.released_quantity = item.quantity
        return await self._finish(order, PurchaseOrderAction.CANCEL, comment)

    async def close(self, order_id: int, *, expected: ExpectedVersions, comment: str | None = None) -> Shown:
        """Close an issued order: nothing more is expected of it."""
        order = await self._locked(order_id, PurchaseOrderAction.CLOSE, expected)
        return await self._finish(order, PurchaseOrderAction.CLOSE, comment)

    async def _locked(self, order_id: int, action: PurchaseOrderAction, expected: ExpectedVersions) -> PurchaseOrder:
        order = await self._repository.locked(order_id)
        if order is None:
            raise errors.PurchaseOrderNotFound
        MACHINE.require(action, PurchaseOrderFacts(PurchaseOrderStatus(order.status)), self._tenant)
        require_version(order.version, expected)
        return order

    async def _supplier(self, porfs: Sequence[Porf], named: int | None) -> Supplier:
        wanted = {chosen for chosen in (named, *(porf.supplier_id for porf in porfs)) if chosen is not None}
        if len(wanted) > 1:
            raise errors.MixedSuppliers
        if not wanted:
            raise errors.SupplierRequired(
                errors=(FieldError("/supplier_id", errors.SupplierRequired.code, errors.SupplierRequired.title),)
            )
        supplier = await SupplierService(self._session, self._tenant).find_active(wanted.pop())
        if supplier is not None:
            return supplier
        if named is None:
            raise errors.SupplierInactive
        raise UnknownSupplier(errors=(FieldError("/supplier_id", UnknownSupplier.code, UnknownSupplier.title),))

    async def _add(
        self, porf: Porf, supplier: Supplier, taken: Sequence[Taken], conversion: Conversion
    ) -> PurchaseOrder:
        lines = [
            PurchaseOrderLine(
                organisation_id=self._tenant.organisation_id,
                position=position,
                quantity=item.quantity,
                **{name: getattr(item.line, name) for name in _COPIED},
            )
            for position, item in enumerate(taken, start=1)
        ]
        for line in lines:
            line.net = net_of(line, porf.currency)
        totals = totals_of(lines, currency=porf.currency, tax_rounding=porf.tax_rounding)
        order = PurchaseOrder(
            organisation_id=self._tenant.organisation_id,
            supplier_id=supplier.id,
            supplier_name=supplier.name,
            supplier_email=supplier.email,
            supplier_tax_id=supplier.tax_id,
            supplier_address=supplier.address,
            created_by_id=self._tenant.user_id,
            currency=porf.currency,
            tax_rounding=porf.tax_rounding,
            net=totals.net,
            tax=totals.tax,
            total=totals.total,
            terms=conversion.terms,
            delivery_address=conversion.delivery_address,
            lines=lines,
        )
        self._session.add(order)
        await self._session.flush()
        self._session.add_all(
            Allocation(
                organisation_id=order.organisation_id,
                purchase_order_line_id=line.id,
                porf_line_id=item.line.id,
                quantity=item.quantity,
            )
            for line, item in zip(lines, taken, strict=True)
        )
        await self._session.flush()
        return order

    async def _finish(self, order: PurchaseOrder, action: PurchaseOrderAction, comment: str | None) -> Shown:
        before = {"status": order.status}
        order.status = MACHINE.target(action)
        after = {"status": order.status} | ({} if comment is None else {"comment": comment})
        await self._touch(f"purchase_order.{action}", order, before, after)
        return await self._reading.whole(order.id)

    async def _touch(
        self, action: str, order: PurchaseOrder, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        order.version += 1
        await self._record(action, order, before, after)

    async def _record(
        self, action: str, order: PurchaseOrder, before: Mapping[str, Any] | None, after: Mapping[str, Any]
    ) -> None:
        audit.record(
            self._session,
            organisation_id=self._tenant.organisation_id,
            actor_id=self._tenant.user_id,
            change=audit.Change(action, "purchase_order", order.id, before, after),
        )
        await self._session.flush()


def _document(
    order: PurchaseOrder, organisation: Organisation, prepared_by: str, lines: Sequence[Any]
) -> PurchaseOrderDocument:
    """What the document shows; its date is the organisation's."""
    assert order.number is not None and order.issued_at is not None
    return PurchaseOrderDocument(
        number=order.number,
        revision=order.revision,
        issued_on=order.issued_at.astimezone(ZoneInfo(organisation.timezone)).date(),
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
        prepared_by=prepared_by or None,
    )
