"""Reading endpoints and their deliveries."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, FromClause, bindparam, select

from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, Query, QueryExecutor, columns_for
from po_api.webhooks.errors import WebhookDeliveryNotFound, WebhookEndpointNotFound
from po_api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMessage

SORTS = ("created_at",)


class EndpointRow(NamedTuple):
    """An endpoint, without its secrets."""

    id: int
    url: str
    description: str | None
    event_types: list[str] | None
    is_active: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    number: int
    version: int
    created_at: datetime
    updated_at: datetime


class DeliveryRow(NamedTuple):
    """A delivery, without the texts."""

    id: int
    webhook_id: str
    type: str
    number: int | None
    status: str
    attempts: int
    next_attempt_at: datetime | None
    attempted_at: datetime | None
    duration_ms: int | None
    response_status: int | None
    error_code: str | None
    created_at: datetime
    finished_at: datetime | None


class DeliveryTextsRow(NamedTuple):
    """What was sent last, and the beginning of the body of the answer."""

    url: str | None
    body: str
    response_body: str | None


_ENDPOINTS, _DELIVERIES, _MESSAGES = WebhookEndpoint.__table__, WebhookDelivery.__table__, WebhookMessage.__table__
_ENDPOINT_ID = bindparam("endpoint_id", type_=BigInteger)
_DELIVERY_ID = bindparam("delivery_id", type_=BigInteger)


def _of_message(deliveries: FromClause, column: AnyColumn) -> AnyColumn:
    """A column of the message of the delivery of the outer query."""
    found = select(column).where(
        WebhookMessage.organisation_id == ORGANISATION_ID, WebhookMessage.id == deliveries.c.message_id
    )
    return found.correlate(deliveries).scalar_subquery()


def _show(deliveries: FromClause) -> AnySelect:
    webhook_id = _of_message(deliveries, _MESSAGES.c.webhook_id).label("webhook_id")
    return select(*(webhook_id if name == "webhook_id" else deliveries.c[name] for name in DeliveryRow._fields))


_ENDPOINT_LIST = Listing("webhooks.endpoints", _ENDPOINTS, EndpointRow, sorts=SORTS, default="created_at")
_DELIVERY_LIST = Listing(
    "webhooks.deliveries", _DELIVERIES, DeliveryRow, sorts=SORTS, default="-created_at", show=_show
)
_ENDPOINT = Query(
    "webhooks.endpoint",
    select(*columns_for(EndpointRow, _ENDPOINTS)).where(
        WebhookEndpoint.organisation_id == ORGANISATION_ID, WebhookEndpoint.id == _ENDPOINT_ID
    ),
    EndpointRow,
)
_IS_DELIVERY = (
    WebhookDelivery.organisation_id == ORGANISATION_ID,
    WebhookDelivery.endpoint_id == _ENDPOINT_ID,
    WebhookDelivery.id == _DELIVERY_ID,
)
_DELIVERY = Query("webhooks.delivery", _show(_DELIVERIES).where(*_IS_DELIVERY), DeliveryRow)
_TEXTS = Query(
    "webhooks.delivery_texts",
    select(
        _DELIVERIES.c.url, _of_message(_DELIVERIES, _MESSAGES.c.body).label("body"), _DELIVERIES.c.response_body
    ).where(*_IS_DELIVERY),
    DeliveryTextsRow,
)


def _of_organisation() -> AnySelect:
    return select(_ENDPOINTS).where(WebhookEndpoint.organisation_id == ORGANISATION_ID)


@dataclass(frozen=True)
class _OfEndpoint:
    """The deliveries to an endpoint that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = [condition(_DELIVERIES, name) for name in sorted(self.narrowed_by)]
        return select(_DELIVERIES).where(
            WebhookDelivery.organisation_id == ORGANISATION_ID, WebhookDelivery.endpoint_id == _ENDPOINT_ID, *conditions
        )


class WebhookQueries:
    """Reads the endpoints of the actor's organisation (admins)."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def page(self, request: PageRequest) -> PageOf[EndpointRow]:
        parameters = await self._enter()
        return await _ENDPOINT_LIST.page(self._executor, _of_organisation, request, parameters)

    async def get(self, endpoint_id: int) -> EndpointRow:
        """Raises WebhookEndpointNotFound."""
        endpoint = await self._executor.row(_ENDPOINT, endpoint_id=endpoint_id, **await self._enter())
        if endpoint is None:
            raise WebhookEndpointNotFound
        return endpoint

    async def deliveries(self, endpoint_id: int, filters: Filters, request: PageRequest) -> PageOf[DeliveryRow]:
        """The deliveries to an endpoint, newest first. Raises WebhookEndpointNotFound."""
        await self.get(endpoint_id)
        given = filters.parameters()
        parameters = {**await self._enter(), "endpoint_id": endpoint_id, **given}
        return await _DELIVERY_LIST.page(self._executor, _OfEndpoint(frozenset(given)), request, parameters)

    async def delivery(self, endpoint_id: int, delivery_id: int) -> tuple[DeliveryRow, DeliveryTextsRow]:
        """Raises WebhookEndpointNotFound or WebhookDeliveryNotFound."""
        await self.get(endpoint_id)
        key = {**await self._enter(), "endpoint_id": endpoint_id, "delivery_id": delivery_id}
        delivery, texts = await self._executor.row(_DELIVERY, **key), await self._executor.row(_TEXTS, **key)
        if delivery is None or texts is None:
            raise WebhookDeliveryNotFound
        return delivery, texts

    async def _enter(self) -> dict[str, object]:
        """Enter the tenant; returns the parameter of all statements."""
        self._actor.require(Permission.WEBHOOKS)
        await self._executor.enter_tenant(self._actor.organisation_id)
        return {"organisation_id": self._actor.organisation_id}
