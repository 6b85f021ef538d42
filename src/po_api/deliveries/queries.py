"""Reading deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Text, and_, bindparam, case, func, select, type_coerce

from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, condition
from po_api.db.leases import WorkStatus
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, PlanCacheMode, Query, QueryExecutor, columns_for
from po_api.deliveries.domain import DeliveryStatus
from po_api.deliveries.errors import DeliveryNotFound
from po_api.members.projections import member_name
from po_api.purchase_orders.delivery_models import Delivery
from po_api.purchase_orders.models import PurchaseOrder
from po_api.purchase_orders.read_service import PurchaseOrderReadService

SORTS = ("created_at",)


class DeliveryRow(NamedTuple):
    """A delivery, with the number of its order and the name of who requested it."""

    id: int
    status: str
    purchase_order_id: int
    number: str
    revision: int
    channel: str
    to_addresses: Sequence[str]
    cc_addresses: Sequence[str]
    reply_to: str | None
    subject: str | None
    body: str | None
    locale: str | None
    file_digest: str | None
    message_id: str | None
    attempts: int
    next_attempt_at: datetime | None
    error_code: str | None
    error_detail: str | None
    requested_by_id: int
    requested_by_name: str
    queued_at: datetime
    finished_at: datetime | None
    bounced_at: datetime | None
    created_at: datetime

    @property
    def sent_at(self) -> datetime | None:
        return self.finished_at if self.status in {DeliveryStatus.SENT, DeliveryStatus.BOUNCED} else None


def _status() -> AnyColumn:
    """The status as it is shown: a queued row whose lease has not ended is being sent."""
    is_leased = and_(Delivery.status == str(WorkStatus.QUEUED), Delivery.leased_until > func.now())
    return type_coerce(case((is_leased, str(DeliveryStatus.SENDING)), else_=Delivery.status), Text)


_OWN = [column for column in Delivery.__table__.c if column.name != "status"]
_DELIVERIES = (
    select(
        *_OWN,
        _status().label("status"),
        PurchaseOrder.number,
        member_name(Delivery.requested_by_id).label("requested_by_name"),
    )
    .where(
        Delivery.organisation_id == ORGANISATION_ID,
        PurchaseOrder.organisation_id == ORGANISATION_ID,
        PurchaseOrder.id == Delivery.purchase_order_id,
    )
    .subquery("deliveries_shown")
)


@dataclass(frozen=True)
class _Chosen:
    """The deliveries that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = [condition(_DELIVERIES, name) for name in sorted(self.narrowed_by)]
        return select(_DELIVERIES).where(_DELIVERIES.c.organisation_id == ORGANISATION_ID, *conditions)


_LIST = Listing("deliveries.list", _DELIVERIES, DeliveryRow, sorts=SORTS, default="-created_at")
_ONE = Query(
    "deliveries.get",
    select(*columns_for(DeliveryRow, _DELIVERIES)).where(
        _DELIVERIES.c.organisation_id == ORGANISATION_ID,
        _DELIVERIES.c.id == bindparam("delivery_id", type_=BigInteger),
    ),
    DeliveryRow,
)


class DeliveryQueries:
    """Reads the deliveries of the actor's organisation. Raises MissingRole."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor
        self._tenant = {"organisation_id": actor.organisation_id}

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[DeliveryRow]:
        self._actor.require(Permission.DELIVERIES_READ)
        given = filters.parameters()
        plans = PlanCacheMode.CUSTOM if given else PlanCacheMode.GENERIC
        await self._executor.enter_tenant(self._actor.organisation_id, plan_cache_mode=plans)
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, {**self._tenant, **given})

    async def of_order(self, order_id: int, request: PageRequest) -> PageOf[DeliveryRow]:
        """The deliveries of an order, the newest first. Raises PurchaseOrderNotFound."""
        self._actor.require(Permission.DELIVERIES_READ)
        await PurchaseOrderReadService(self._executor, self._actor).facts(order_id)
        return await self.page(Filters(purchase_order_id=order_id), request)

    async def get(self, delivery_id: int) -> DeliveryRow:
        """Raises DeliveryNotFound."""
        self._actor.require(Permission.DELIVERIES_READ)
        await self._executor.enter_tenant(self._actor.organisation_id)
        row = await self._executor.row(_ONE, **self._tenant, delivery_id=delivery_id)
        if row is None:
            raise DeliveryNotFound
        return row
