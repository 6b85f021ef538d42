"""Locks and changes rows of endpoints, messages and deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Interval,
    Text,
    any_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.audit import EventFeed
from po_api.db.bulk_write import NOW, as_json, json_rows
from po_api.db.leases import Job
from po_api.db.locks import lock_in_organisation
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, AnyColumn, Query, TransactionExecutor
from po_api.events.domain import Position
from po_api.webhooks.domain import DeliveryStatus
from po_api.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMessage

# The rows of one statement that deletes what is old.
PURGED = 10_000
# A message that is older is kept for its whole time again when it gets another delivery.
RENEWED = literal_column("interval '1 day'", Interval)


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
_FINISHED = (str(DeliveryStatus.DELIVERED), str(DeliveryStatus.FAILED))

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

_QUEUED = {
    "status": str(DeliveryStatus.QUEUED),
    "attempts": 0,
    "next_attempt_at": func.now(),
    "leased_until": null(),
    "finished_at": null(),
}
_RELEASE = Query(
    "webhooks.release",
    update(WebhookDelivery)
    .where(*_OF_ENDPOINT, WebhookDelivery.status == str(DeliveryStatus.HELD))
    .values(**_QUEUED)
    .returning(WebhookDelivery.id),
    _Key,
)
_DELETE_DELIVERIES = Query(
    "webhooks.delete_deliveries", delete(WebhookDelivery).where(*_OF_ENDPOINT).returning(WebhookDelivery.id), _Key
)


class _MessageKey(NamedTuple):
    id: int
    event_id: int


def _adding_messages() -> Query[_Key]:
    """Insert the messages of events, unless they are there: an old one becomes a new one, which is not purged."""
    rows = json_rows("messages", *_MESSAGES.c["event_id", "webhook_id", "body"])
    values: dict[str, AnyColumn] = {"organisation_id": ORGANISATION_ID, "created_at": NOW}
    values |= {str(column.key): column for column in rows.c}
    new = insert(WebhookMessage).from_select(list(values), select(*values.values()), include_defaults=False)
    renewed = new.on_conflict_do_update(
        index_elements=["organisation_id", "event_id"],
        set_={"created_at": new.excluded.created_at},
        where=WebhookMessage.created_at < new.excluded.created_at - RENEWED,
    )
    return Query("webhooks.add_messages", renewed.returning(WebhookMessage.id), _Key)


_ADD_MESSAGES = _adding_messages()
# In a statement after it: this one also sees the messages that another worker has inserted at the same time.
_OF_EVENTS = Query(
    "webhooks.messages_of_events",
    select(WebhookMessage.id, WebhookMessage.event_id).where(
        WebhookMessage.organisation_id == ORGANISATION_ID,
        WebhookMessage.event_id == any_(bindparam("event_ids", type_=ARRAY(BigInteger))),
    ),
    _MessageKey,
)


def _adding_deliveries() -> Query[_Key]:
    """Insert deliveries of messages to an endpoint, in the order of their numbers.

    One that is finished or held is queued again (replay); one that is queued stays as it is.
    """
    rows = json_rows("deliveries", *_DELIVERIES.c["message_id", "type", "number"])
    values: dict[str, AnyColumn] = {"organisation_id": ORGANISATION_ID, "endpoint_id": _ENDPOINT_ID}
    values |= {"next_attempt_at": NOW, "created_at": NOW, **{str(column.key): column for column in rows.c}}
    added = select(*values.values()).order_by(rows.c.number)
    new = insert(WebhookDelivery).from_select(list(values), added, include_defaults=False)
    again = new.on_conflict_do_update(
        index_elements=["organisation_id", "endpoint_id", "message_id"],
        set_=_QUEUED | {"next_attempt_at": new.excluded.next_attempt_at},
        where=WebhookDelivery.status != str(DeliveryStatus.QUEUED),
    )
    return Query("webhooks.add_deliveries", again.returning(WebhookDelivery.id), _Key)


_ADD_DELIVERIES = _adding_deliveries()

_BEFORE = bindparam("before", type_=Timestamp)


def _purging(name: str, model: type[WebhookDelivery | WebhookMessage], *conditions: ColumnElement[bool]) -> Query[_Key]:
    """Delete at most PURGED rows of an organisation that fulfil the conditions, and that nobody uses now."""
    own = model.organisation_id == ORGANISATION_ID
    some = select(model.id).where(own, *conditions).limit(literal_column(str(PURGED)))
    some = some.with_for_update(skip_locked=True, of=model)
    return Query(name, delete(model).where(own, model.id.in_(some)).returning(model.id), _Key)


_PURGE_DELIVERIES = _purging(
    "webhooks.purge_deliveries",
    WebhookDelivery,
    WebhookDelivery.finished_at < _BEFORE,
    WebhookDelivery.status.in_(_FINISHED),
)
_PURGE_MESSAGES = _purging(
    "webhooks.purge_messages",
    WebhookMessage,
    WebhookMessage.created_at < _BEFORE,
    ~exists().where(
        WebhookDelivery.organisation_id == ORGANISATION_ID, WebhookDelivery.message_id == WebhookMessage.id
    ),
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
        await self._executor.rows(_ADD_MESSAGES, messages=as_json(rows), **key)

    async def add_deliveries(self, endpoint_id: int, messages: Sequence[MessageRow], now: datetime) -> None:
        """Queue the messages of events, which have been added, for an endpoint."""
        key = {"organisation_id": self._organisation_id, "now": now}
        event_ids = [message.event_id for message in messages]
        of_events = await self._executor.rows(_OF_EVENTS, organisation_id=self._organisation_id, event_ids=event_ids)
        ids = {message.event_id: message.id for message in of_events}
        deliveries = as_json(
            {"message_id": ids[message.event_id], "type": message.type, "number": message.number}
            for message in messages
        )
        await self._executor.rows(_ADD_DELIVERIES, endpoint_id=endpoint_id, deliveries=deliveries, **key)

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
        deliveries = await self._executor.rows(_PURGE_DELIVERIES, **parameters)
        return len(deliveries or await self._executor.rows(_PURGE_MESSAGES, **parameters))
