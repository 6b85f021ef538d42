"""Reading the feed of events, and its newest seal."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import BigInteger, Text, and_, any_, bindparam, case, cast, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.audit import AuditEvent, EventFeed, EventLogEntry
from po_api.audit.chain import NO_SEAL
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.json_sql import shown
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor, columns_for
from po_api.events.domain import ACTIONS, EVENT_TYPES, UNKNOWN, Position, Shape, continuation, data_of
from po_api.events.errors import FeedChanged, UnknownPosition
from po_api.members.projections import member_name
from po_api.porfs.models import Porf
from po_api.purchase_orders.models import PurchaseOrder

# The most events that one request looks at: a filter may exclude most of them.
SCANNED = 5_000

_FEEDS, _LOG, _EVENTS = EventFeed.__table__, EventLogEntry.__table__, AuditEvent.__table__


class FeedRow(NamedTuple):
    """A feed of the organisation; `ended_at` is None for the current one."""

    feed: str
    last_number: int
    last_seal: str
    sealed_at: datetime | None
    ended_at: datetime | None


class EventRow(NamedTuple):
    """An event with its number; `before` and `after` are JSON texts, the `order_` columns those of an order's event."""

    id: int
    number: int
    action: str
    created_at: datetime
    actor_kind: str | None
    actor_id: int | None
    actor_name: str | None
    entity: str
    entity_id: int
    entity_number: str | None
    entity_version: int | None
    before: str | None
    after: str | None
    order_supplier_id: int | None
    order_total: str | None
    order_currency: str | None


@dataclass(frozen=True)
class EventsPage:
    """Events in the order of their numbers, and the position after the last one that was looked at.

    `position` is None before the organisation's first event has a number.
    """

    items: Sequence[Mapping[str, object]]
    position: Position | None
    has_more: bool


@dataclass(frozen=True)
class Seal:
    """The newest seal of the audit trail; without a feed, `number` is 0."""

    feed: str | None
    number: int
    seal: str
    at: datetime | None


_OF_ORGANISATION = Query(
    "events.feeds",
    select(*columns_for(FeedRow, _FEEDS)).where(EventFeed.organisation_id == ORGANISATION_ID).order_by(EventFeed.id),
    FeedRow,
)


@lru_cache(maxsize=256)
def _page(limit: int, *, has_types: bool) -> Query[EventRow]:
    """Events after a number. Parameters: `organisation_id`, `after`, `upto`, and with types `actions`."""
    after, upto = bindparam("after", type_=BigInteger), bindparam("upto", type_=BigInteger)
    order = and_(
        PurchaseOrder.organisation_id == ORGANISATION_ID,
        PurchaseOrder.id == AuditEvent.entity_id,
        AuditEvent.entity == "purchase_order",
    )
    porf_number = (
        select(Porf.number)
        .where(Porf.organisation_id == ORGANISATION_ID, Porf.id == AuditEvent.entity_id)
        .scalar_subquery()
    )
    statement = (
        select(
            *_EVENTS.c["id",],
            _LOG.c.number,
            *_EVENTS.c["action", "created_at", "actor_kind", "actor_id"],
            member_name(_EVENTS.c.actor_id).label("actor_name"),
            *_EVENTS.c["entity", "entity_id"],
            case((AuditEvent.entity == "porf", porf_number), else_=PurchaseOrder.number).label("entity_number"),
            _EVENTS.c.entity_version,
            *(cast(_EVENTS.c[name], Text).label(name) for name in ("before", "after")),
            PurchaseOrder.supplier_id.label("order_supplier_id"),
            shown(PurchaseOrder.total).label("order_total"),
            PurchaseOrder.currency.label("order_currency"),
        )
        .join_from(_LOG, _EVENTS, EventLogEntry.event_id == AuditEvent.id)
        .outerjoin(PurchaseOrder, order)
        .where(
            EventLogEntry.organisation_id == ORGANISATION_ID,
            AuditEvent.organisation_id == ORGANISATION_ID,
            EventLogEntry.number > after,
            EventLogEntry.number <= upto,
        )
        .order_by(EventLogEntry.number)
        .limit(literal_column(str(limit)))
    )
    if has_types:
        statement = statement.where(AuditEvent.action == any_(bindparam("actions", type_=ARRAY(Text))))
    return Query("events.page", statement, EventRow)


class EventQueries:
    """Reads the feed of the actor's organisation (admins, auditors)."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._actor = actor

    async def page(self, after: Position | None, types: Collection[str], limit: int) -> EventsPage:
        """The events after a position, or from the beginning. Raises FeedChanged or UnknownPosition.

        A page with fewer events than `limit` may have successors: at most SCANNED events are compared with the types.
        """
        self._actor.require(Permission.EVENTS_READ)
        feeds = await self._feeds()
        start = _start(after, feeds)
        if not feeds:
            return EventsPage([], None, has_more=False)
        current = feeds[-1]
        # Numbers up to the feed's, which was read before: they are all there.
        upto = min(current.last_number, start + SCANNED)
        actions = {"actions": [ACTIONS[name] for name in types]} if types else {}
        rows = await self._executor.rows(
            _page(limit, has_types=bool(types)),
            organisation_id=self._actor.organisation_id,
            after=start,
            upto=upto,
            **actions,
        )
        last = rows[-1].number if len(rows) == limit else upto
        return EventsPage([*map(_item, rows)], Position(current.feed, last), has_more=last < current.last_number)

    async def seal(self) -> Seal:
        """The newest seal."""
        self._actor.require(Permission.AUDIT_READ)
        feeds = await self._feeds()
        if not feeds:
            return Seal(None, 0, NO_SEAL, None)
        current = feeds[-1]
        return Seal(current.feed, current.last_number, current.last_seal, current.sealed_at)

    async def _feeds(self) -> Sequence[FeedRow]:
        """All feeds, the current one last."""
        organisation_id = self._actor.organisation_id
        await self._executor.enter_tenant(organisation_id)
        return await self._executor.rows(_OF_ORGANISATION, organisation_id=organisation_id)


def _start(after: Position | None, feeds: Sequence[FeedRow]) -> int:
    """The number after which a page begins; the current feed is the last. Raises FeedChanged or UnknownPosition."""
    if after is None:
        return 0
    if not feeds:
        raise FeedChanged(None)
    *ended, current = feeds
    if after.feed != current.feed:
        raise FeedChanged(str(Position(current.feed, continuation(after, ended))))
    if after.number > current.last_number:
        raise UnknownPosition
    return after.number


def _item(row: EventRow) -> dict[str, object]:
    """The representation of an event, for the schema of its type."""
    type_ = EVENT_TYPES.get(row.action, UNKNOWN)
    before, after = (None if change is None else json.loads(change) for change in (row.before, row.after))
    data = data_of(type_, row.entity_version, before, after)
    if type_.shape is Shape.PURCHASE_ORDER:
        # They never change after the order was created.
        data |= {"supplier_id": row.order_supplier_id, "total": row.order_total, "currency": row.order_currency}
    return {
        "id": row.id,
        "number": row.number,
        "type": type_.name,
        "at": row.created_at,
        "actor": {"kind": row.actor_kind, "id": row.actor_id, "name": row.actor_name},
        "entity": row.entity,
        "entity_id": row.entity_id,
        "entity_number": row.entity_number,
        "data": data,
    }
