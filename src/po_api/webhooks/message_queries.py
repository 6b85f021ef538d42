"""Adding messages of events with their deliveries, and deleting old ones."""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Interval,
    any_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from po_api.db.bulk_write import NOW, json_rows
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, AnyColumn, Query
from po_api.webhooks.domain import WebhookDeliveryStatus
from po_api.webhooks.models import WebhookDelivery, WebhookMessage

# The rows of one statement that deletes what is old.
PURGED = 10_000
# A message that is older is kept for its whole time again when it gets another delivery.
RENEWED = literal_column("interval '1 day'", Interval)


class _Key(NamedTuple):
    id: int


class _MessageKey(NamedTuple):
    id: int
    event_id: int


_DELIVERIES, _MESSAGES = WebhookDelivery.__table__, WebhookMessage.__table__
_ENDPOINT_ID = bindparam("endpoint_id", type_=BigInteger)
_FINISHED = (str(WebhookDeliveryStatus.DELIVERED), str(WebhookDeliveryStatus.FAILED))

QUEUED = {
    "status": str(WebhookDeliveryStatus.QUEUED),
    "attempts": 0,
    "next_attempt_at": func.now(),
    "leased_until": null(),
    "finished_at": null(),
}


def _adding_messages() -> Query[_Key]:
    """Insert the messages of events, unless they are there: an old one becomes a new one, which is not purged."""
    rows = json_rows("messages", *_MESSAGES.c["event_id", "webhook_id", "body"])
    values: dict[str, AnyColumn] = {"organisation_id": ORGANISATION_ID, "created_at": NOW}
    values |= {str(column.key): column for column in rows.c}
    new = insert(WebhookMessage).from_select(list(values), select(*values.values()), include_defaults=False)
    renewed = new.on_conflict_do_update(
        index_elements=["organisation_id", "event_id"],
        set_={"created_at": new.excluded.created_at},
        # A time minus an interval would depend on the time zone, which a distributed database refuses here.
        where=new.excluded.created_at - WebhookMessage.created_at > RENEWED,
    )
    return Query("webhooks.add_messages", renewed.returning(WebhookMessage.id), _Key)


ADD_MESSAGES = _adding_messages()
# In a statement after it: this one also sees the messages that another worker has inserted at the same time.
OF_EVENTS = Query(
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
        set_=QUEUED | {"next_attempt_at": new.excluded.next_attempt_at},
        where=WebhookDelivery.status != str(WebhookDeliveryStatus.QUEUED),
    )
    return Query("webhooks.add_deliveries", again.returning(WebhookDelivery.id), _Key)


ADD_DELIVERIES = _adding_deliveries()

_BEFORE = bindparam("before", type_=Timestamp)


def _purging(name: str, model: type[WebhookDelivery | WebhookMessage], *conditions: ColumnElement[bool]) -> Query[_Key]:
    """Delete at most PURGED rows of an organisation that fulfil the conditions, and that nobody uses now."""
    own = model.organisation_id == ORGANISATION_ID
    some = select(model.id).where(own, *conditions).limit(literal_column(str(PURGED)))
    some = some.with_for_update(skip_locked=True, of=model)
    return Query(name, delete(model).where(own, model.id.in_(some)).returning(model.id), _Key)


PURGE_DELIVERIES = _purging(
    "webhooks.purge_deliveries",
    WebhookDelivery,
    WebhookDelivery.finished_at < _BEFORE,
    WebhookDelivery.status.in_(_FINISHED),
)
PURGE_MESSAGES = _purging(
    "webhooks.purge_messages",
    WebhookMessage,
    WebhookMessage.created_at < _BEFORE,
    ~exists().where(
        WebhookDelivery.organisation_id == ORGANISATION_ID, WebhookDelivery.message_id == WebhookMessage.id
    ),
)
