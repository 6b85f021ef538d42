"""Endpoints follow the feed of events, each from its own position: a delivery for each event of its types."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import func, select

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.database import Database, enter_tenant
from po_api.db.query import Query, QueryExecutor, TransactionExecutor
from po_api.db.wakeups import notify_after_commit
from po_api.events.domain import Position
from po_api.events.errors import FeedChanged
from po_api.events.queries import EventQueries
from po_api.webhooks.domain import MAX_WAITING
from po_api.webhooks.repository import MessageRow, WebhookRepository
from po_api.webhooks.signing import new_message_id

FOLLOW, QUEUE = "webhooks.follow", "webhooks"
# The most events for which one transaction adds deliveries.
_BATCH = 100


class _OrganisationRow(NamedTuple):
    organisation_id: int


_BEHIND = Query(
    "webhooks.organisations_behind",
    select(func.organisations_behind_feed().label("organisation_id")),
    _OrganisationRow,
)


async def organisations_behind(executor: QueryExecutor) -> Sequence[int]:
    """The organisations with an active endpoint that is not at the end of the feed; no tenant is entered."""
    return [row.organisation_id for row in await executor.rows(_BEHIND)]


async def follow_in(database: Database, organisation_id: int) -> bool:
    """Let one endpoint of an organisation read on; returns whether one was behind, and could."""
    async with database.sessions.begin() as session:
        await enter_tenant(session, organisation_id)
        repository = WebhookRepository(session, organisation_id)
        endpoint = await repository.next_behind(MAX_WAITING)
        if endpoint is None:
            return False
        # Read after the endpoint was locked: it has the position that another worker has left.
        position = None if endpoint.feed is None else Position(endpoint.feed, endpoint.number)
        events = EventQueries(TransactionExecutor(session), Actor.system(organisation_id))
        try:
            page = await events.page(position, endpoint.event_types or (), _BATCH)
        except FeedChanged as changed:
            # After a restore: events that did not happen were delivered, and are not mentioned again.
            found = None if changed.next is None else Position.parse(changed.next)
        else:
            found = page.position
            if page.items:
                messages, now = [*map(_message, page.items)], utc_now()
                await repository.add_messages(messages, now)
                await repository.add_deliveries(endpoint.id, messages, now)
                notify_after_commit(session, QUEUE)
        await repository.move(endpoint.id, found)
    return True


def _message(event: Mapping[str, object]) -> MessageRow:
    """The message of an event in the form of `GET /events`."""
    body = message_body(str(event["type"]), event["at"], event)
    return MessageRow(
        event_id=int(str(event["id"])),
        number=int(str(event["number"])),
        type=str(event["type"]),
        webhook_id=new_message_id(),
        body=body,
    )


def message_body(type_: str, at: object, data: Mapping[str, object]) -> str:
    """The body of a message as JSON; times as the API shows them."""
    body = {"type": type_, "timestamp": at, "data": data}
    return json.dumps(body, default=_time, ensure_ascii=False, separators=(",", ":"))


def _time(value: object) -> str:
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
