"""Reading an order by its link, as its supplier: nothing but what the document says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, Text, and_, bindparam, func, or_, select

from po_api.core.actor import Actor, ActorKind
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor, columns_for
from po_api.deliveries.domain import DeliveryStatus
from po_api.deliveries.errors import SupplierLinkNotFound
from po_api.deliveries.links import LinkToken
from po_api.organisations.models import Organisation
from po_api.purchase_orders.delivery_models import Delivery, DeliveryLink
from po_api.purchase_orders.models import PurchaseOrder, PurchaseOrderLine

# A link of a mail that was never to be sent, or has reached nobody that it was meant for.
_DEAD = (str(DeliveryStatus.CANCELLED), str(DeliveryStatus.BOUNCED))


@dataclass(frozen=True)
class LinkedOrderRow:
    """An order, and its link."""

    link_id: int
    delivery_id: int
    purchase_order_id: int
    locale: str
    viewed_at: datetime | None
    viewed_by_name: str | None
    number: str
    status: str
    revision: int
    buyer_name: str
    supplier_name: str
    currency: str
    net: Decimal
    tax: Decimal
    total: Decimal
    terms: str | None
    delivery_date: date | None
    issued_at: datetime


class LinkedLineRow(NamedTuple):
    """A line of the order, as its document has it."""

    position: int
    description: str
    sku: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal
    needed_by: date | None
    net: Decimal


_BUYER = select(Organisation.name).where(Organisation.id == ORGANISATION_ID).scalar_subquery()
_ORDER = Query(
    "deliveries.linked_order",
    select(
        DeliveryLink.id.label("link_id"),
        DeliveryLink.delivery_id,
        Delivery.purchase_order_id,
        Delivery.locale,
        DeliveryLink.viewed_at,
        DeliveryLink.viewed_by_name,
        PurchaseOrder.number,
        PurchaseOrder.status,
        PurchaseOrder.revision,
        _BUYER.label("buyer_name"),
        PurchaseOrder.supplier_name,
        PurchaseOrder.currency,
        PurchaseOrder.net,
        PurchaseOrder.tax,
        PurchaseOrder.total,
        PurchaseOrder.terms,
        PurchaseOrder.delivery_date,
        PurchaseOrder.issued_at,
    ).where(
        DeliveryLink.organisation_id == ORGANISATION_ID,
        DeliveryLink.token_digest == bindparam("token_digest", type_=Text),
        or_(DeliveryLink.expires_at.is_(None), DeliveryLink.expires_at > func.now()),
        Delivery.organisation_id == ORGANISATION_ID,
        Delivery.id == DeliveryLink.delivery_id,
        Delivery.status.not_in(_DEAD),
        PurchaseOrder.organisation_id == ORGANISATION_ID,
        PurchaseOrder.id == Delivery.purchase_order_id,
    ),
    LinkedOrderRow,
)
_LINES = Query(
    "deliveries.linked_lines",
    select(*columns_for(LinkedLineRow, PurchaseOrderLine.__table__))
    .where(
        and_(
            PurchaseOrderLine.organisation_id == ORGANISATION_ID,
            PurchaseOrderLine.purchase_order_id == bindparam("order_id", type_=BigInteger),
        )
    )
    .order_by(PurchaseOrderLine.position),
    LinkedLineRow,
)


def supplier_actor(organisation_id: int) -> Actor:
    """Who has a link: inside the organisation, without any role."""
    return Actor(organisation_id, None, frozenset(), kind=ActorKind.SUPPLIER)


class LinkQueries:
    """Reads the order of a link. Raises SupplierLinkNotFound, whatever the reason."""

    def __init__(self, executor: QueryExecutor, token: LinkToken) -> None:
        self._executor = executor
        self._token = token
        self._tenant = {"organisation_id": token.organisation_id}

    async def order(self) -> LinkedOrderRow:
        await self._executor.enter_tenant(self._token.organisation_id)
        order = await self._executor.row(_ORDER, **self._tenant, token_digest=self._token.digest)
        if order is None:
            raise SupplierLinkNotFound
        return order

    async def lines(self, order: LinkedOrderRow) -> Sequence[LinkedLineRow]:
        return await self._executor.rows(_LINES, **self._tenant, order_id=order.purchase_order_id)
