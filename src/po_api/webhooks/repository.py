"""Locks and changes rows of endpoints, messages and deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.audit import EventFeed
from po_api.db.bulk_write import as_json
from po_api.db.leases import Job
from po_api.db.locks import lock_in_organisation
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.events.domain import Position
from po_api.webhooks.domain import WebhookDeliveryStatus
from po_api.webhooks.message_queries import (
    ADD_DELIVERIES,
    ADD_MESSAGES,
    OF_EVENTS,
    PURGE_DELIVERIES,
    PURGE_MESSAGES,
    QUEUED,
)
from po_api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMessage


class _Key(NamedTuple):
    id: int


class _Count(NamedTuple):
    row_count: int


class Attempt(NamedTuple):
    """What is known of an attempt: where it was sent, when, for how long (ms), and the answer if there was one."""

    url: str
    attempted_at: datetime
    duration_ms: int
    response_status: int | None
    response_body: str | None


class PreparedRow(NamedTuple):
    """What an attempt needs to know; `number` is None for a ping."""

    endpoint_id: int
    number: int | None
    webhook_id: str
    body: str
    url: str
    is_active: bool
    failing_since: datetime | None
    secret: str
    previous_secret: str | None
    previous_secret_until: datetime | None


_DELIVERIES, _MESSAGES = WebhookDelivery.__table__, WebhookMessage.__table__
_ID = bindparam("id", type_=BigInteger)
_ENDPOINT_ID = bindparam("endpoint_id", type_=BigInteger)
_OF_ENDPOINT = (WebhookDelivery.organisation_id == ORGANISATION_ID, WebhookDelivery.endpoint_id == _ENDPOINT_ID)
_FINISHED = (str(WebhookDeliveryStatus.DELIVERED), str(WebhookDeliveryStatus.FAILED))

_COUNT = Query(
    "webhooks.count",
    select(func.count().label("row_count")).where(WebhookEndpoint.organisation_id == ORGANISATION_ID),
    _Count,
)
_PREPARED = Query(
    "webhooks.prepared",
    select(
        WebhookDelivery.endpoint_id,
        WebhookDelivery.number,
        WebhookMessage.webhook_id,
        WebhookMessage.body,
        WebhookEndpoint.url,
        WebhookEndpoint.is_active,
        WebhookEndpoint.failing_since,
        WebhookEndpoint.secret,
        WebhookEndpoint.previous_secret,
        WebhookEndpoint.previous_secret_until,
    )
    .join_from(WebhookDelivery, WebhookMessage, WebhookDelivery.message_id == WebhookMessage.id)
    .join(WebhookEndpoint, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
    .where(
        WebhookDelivery.organisation_id == ORGANISATION_ID,
        WebhookMessage.organisation_id == ORGANISATION_ID,
        WebhookEndpoint.organisation_id == ORGANISATION_ID,
        WebhookDelivery.id == _ID,
    ),
    PreparedRow,
)

_ATTEMPT = {name: bindparam(name, type_=_DELIVERIES.c[name].type) for name in Attempt._fields}
_RECORD_SUCCESS = Query(
    "webhooks.record_success",
    update(WebhookDelivery)
    .where(WebhookDelivery.organisation_id == ORGANISATION_ID, WebhookDelivery.id == _ID)
    .values(**_ATTEMPT)
    .returning(WebhookDelivery.id),
    _Key,
)
# While the lease is the job's: its row may have been given to another worker meanwhile.
_RECORD_FAILURE = Query(
    "webhooks.record_failure",
    update(WebhookDelivery)
    .where(
        WebhookDelivery.organisation_id == ORGANISATION_ID,
        WebhookDelivery.id == _ID,
        WebhookDelivery.attempts == bindparam("attempts", type_=Integer),
        WebhookDelivery.leased_until == bindparam("leased_until", type_=Timestamp),
    )
    .values(**_ATTEMPT)
    .returning(WebhookDelivery.id),
    _Key,
)
# A position is no change by a person: the time of the last one stays.
_MOVE = Query(
    "webhooks.move",
    update(WebhookEndpoint)
    .where(WebhookEndpoint.organisation_id == ORGANISATION_ID, WebhookEndpoint.id == _ENDPOINT_ID)
    .values(
        feed=bindparam("feed", type_=Text),
        number=bindparam("number", type_=BigInteger),
        updated_at=WebhookEndpoint.updated_at,
    )
    .returning(WebhookEndpoint.id),
    _Key,
)
_RECOVERED = Query(
    "webhooks.recovered",
    update(WebhookEndpoint)
    .where(
        WebhookEndpoint.organisation_id == ORGANISATION_ID,
        WebhookEndpoint.id == _ENDPOINT_ID,
        WebhookEndpoint.failing_since.is_not(None),
    )
    .values(failing_since=None, updated_at=WebhookEndpoint.updated_at)
    .returning(WebhookEndpoint.id),
    _Key,
)

_RELEASE = Query(
    "webhooks.release",
    update(WebhookDelivery)
    .where(*_OF_ENDPOINT, WebhookDelivery.status == str(WebhookDeliveryStatus.HELD))
    .values(**QUEUED)
    .returning(WebhookDelivery.id),
    _Key,
)
_DELETE_DELIVERIES = Query(
    "webhooks.delete_deliveries", delete(WebhookDelivery).where(*_OF_ENDPOINT).returning(WebhookDelivery.id), _Key
)


def _is_behind(organisation_id: int) -> ColumnElement[bool]:
    """Whether the endpoint is not at the end of the current feed."""
    return exists().where(
        EventFeed.organisation_id == organisation_id,
        EventFeed.ended_at.is_(None),
        or_(WebhookEndpoint.feed.is_distinct_from(EventFeed.feed), WebhookEndpoint.number < EventFeed.last_number),
    )


def _unfinished(organisation_id: int, limit: int) -> ColumnElement[int]:
    """The number of unfinished deliveries to the endpoint, at most `limit`."""
    some = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.organisation_id == organisation_id,
            WebhookDelivery.endpoint_id == WebhookEndpoint.id,
            WebhookDelivery.next_attempt_at.is_not(None),
        )
        .limit(limit)
        .correlate(WebhookEndpoint)
        .subquery()
    )
    return select(func.count()).select_from(some).scalar_subquery()


class MessageRow(NamedTuple):
    """A new message of an event."""

    event_id: int
    number: int
    type: str
    webhook_id: str
    body: str


class WebhookRepository:
    """The rows of one organisation, whose tenant has been entered."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._executor = TransactionExecutor(session)
        self._organisation_id = organisation_id

    async def lock_organisation(self) -> None:
        """Let the additions of endpoints of an organisation happen one after the other, until the transaction ends."""
        await lock_in_organisation(self._session, "webhook endpoints", self._organisation_id)

    async def count(self) -> int:
        found = await self._executor.row(_COUNT, organisation_id=self._organisation_id)
        return 0 if found is None else found.row_count

    async def locked(self, endpoint_id: int) -> WebhookEndpoint | None:
        statement = (
            select(WebhookEndpoint)
            .where(WebhookEndpoint.organisation_id == self._organisation_id, WebhookEndpoint.id == endpoint_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def locked_delivery(self, endpoint_id: int, delivery_id: int) -> WebhookDelivery | None:
        statement = (
            select(WebhookDelivery)
            .where(
                WebhookDelivery.organisation_id == self._organisation_id,
                WebhookDelivery.endpoint_id == endpoint_id,
                WebhookDelivery.id == delivery_id,
            )
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def next_behind(self, waiting: int) -> WebhookEndpoint | None:
        """Lock an active endpoint that is behind the feed and has fewer unfinished deliveries than `waiting`.

        Endpoints that another worker has locked are passed over.
        """
        statement = select(WebhookEndpoint).where(
            WebhookEndpoint.organisation_id == self._organisation_id,
            WebhookEndpoint.is_active,
            _is_behind(self._organisation_id),
            _unfinished(self._organisation_id, waiting) < waiting,
        )
        locked = (
            statement.order_by(WebhookEndpoint.number, WebhookEndpoint.id)
            .limit(1)
            .with_for_update(key_share=True, skip_locked=True)
        )
        return (await self._session.scalars(locked.execution_options(populate_existing=True))).one_or_none()

    async def add_messages(self, messages: Sequence[MessageRow], now: datetime) -> None:
        """Add the messages of events, unless they are there."""
        rows = [{name: getattr(message, name) for name in ("event_id", "webhook_id", "body")} for message in messages]
        key = {"organisation_id": self._organisation_id, "now": now}
        await self._executor.rows(ADD_MESSAGES, messages=as_json(rows), **key)

    async def add_deliveries(self, endpoint_id: int, messages: Sequence[MessageRow], now: datetime) -> None:
        """Queue the messages of events, which have been added, for an endpoint."""
        key = {"organisation_id": self._organisation_id, "now": now}
        event_ids = [message.event_id for message in messages]
        of_events = await self._executor.rows(OF_EVENTS, organisation_id=self._organisation_id, event_ids=event_ids)
        ids = {message.event_id: message.id for message in of_events}
        deliveries = as_json(
            {"message_id": ids[message.event_id], "type": message.type, "number": message.number}
            for message in messages
        )
        await self._executor.rows(ADD_DELIVERIES, endpoint_id=endpoint_id, deliveries=deliveries, **key)

    async def move(self, endpoint_id: int, position: Position | None) -> None:
        """Let an endpoint continue from a position, or from the beginning."""
        feed, number = (None, 0) if position is None else (position.feed, position.number)
        key = {"organisation_id": self._organisation_id, "endpoint_id": endpoint_id}
        await self._executor.rows(_MOVE, feed=feed, number=number, **key)

    async def release(self, endpoint_id: int) -> None:
        """Queue the deliveries of an endpoint that are held."""
        await self._executor.rows(_RELEASE, organisation_id=self._organisation_id, endpoint_id=endpoint_id)

    async def delete(self, endpoint: WebhookEndpoint) -> None:
        """Delete an endpoint with its deliveries."""
        await self._executor.rows(_DELETE_DELIVERIES, organisation_id=self._organisation_id, endpoint_id=endpoint.id)
        await self._session.delete(endpoint)
        await self._session.flush()

    async def prepared(self, delivery_id: int) -> PreparedRow | None:
        return await self._executor.row(_PREPARED, organisation_id=self._organisation_id, id=delivery_id)

    async def record_success(self, job: Job, attempt: Attempt) -> None:
        """Write a success, in the transaction that ends the attempt."""
        key = {"organisation_id": self._organisation_id, "id": job.id}
        await self._executor.rows(_RECORD_SUCCESS, **key, **attempt._asdict())

    async def recover(self, endpoint_id: int) -> None:
        """Note that an endpoint has accepted a message."""
        await self._executor.rows(_RECOVERED, organisation_id=self._organisation_id, endpoint_id=endpoint_id)

    async def record_failure(self, job: Job, attempt: Attempt) -> bool:
        """Write a failed attempt; returns False if the row is no longer the job's."""
        token = {"id": job.id, "attempts": job.attempts, "leased_until": job.leased_until}
        parameters = {"organisation_id": self._organisation_id, **token, **attempt._asdict()}
        return await self._executor.row(_RECORD_FAILURE, **parameters) is not None

    async def purge(self, before: datetime) -> int:
        """Delete deliveries that were finished before or, if there are none, messages that no delivery refers to.

        At most PURGED rows; returns their number.
        """
        parameters = {"organisation_id": self._organisation_id, "before": before}
        deliveries = await self._executor.rows(PURGE_DELIVERIES, **parameters)
        return len(deliveries or await self._executor.rows(PURGE_MESSAGES, **parameters))
