"""The events of the audit trail, and the outbox of those that have no number in the feed yet.

The application's role may add events and read them, nothing else (domain.md, invariant 5).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import structlog
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Insert, Integer, func, literal_column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.db.bulk_write import Rows, as_json, combine, insert_from, json_rows
from po_api.db.models import Base, TenantRow
from po_api.db.query import AnyColumn, TransactionExecutor
from po_api.db.separate_writes import SeparateWrites
from po_api.db.wakeups import notify_after_commit

# The work of numbering events, of which the worker in this process is told when they are committed.
RELAY = "events.relay"

# The kinds of entities that have events. A session is one of its user's in the organisation that they were in.
AuditedEntity = Literal[
    "address",
    "api_key",
    "approval_delegation",
    "approval_group",
    "approval_policy",
    "category",
    "cost_centre",
    "exchange_rate",
    "delivery",
    "external_reference",
    "filing",
    "invitation",
    "organisation",
    "porf",
    "purchase_order",
    "session",
    "supplier",
    "team",
    "user",
    "webhook_endpoint",
]


class AuditEvent(TenantRow, Base):
    """Who did what to which entity; `actor_id` is set exactly for members and API keys.

    `entity_version` is the version of the entity after the change; None for entities without versions, for deletions,
    and in events of before revision 033. `actor_kind` is None in events of the version before revision 014, which may
    be running at the same time.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "actor_id"], ["members.organisation_id", "members.user_id"]),
        CheckConstraint(
            "actor_kind IN ('member', 'api_key', 'command_line', 'system', 'invitee', 'supplier')", name="actor_kind"
        ),
        CheckConstraint("(actor_kind IN ('member', 'api_key')) = (actor_id IS NOT NULL)", name="actor"),
        Index("ix_audit_events_entity", "organisation_id", "entity", "entity_id", "created_at", "id"),
        Index("ix_audit_events_organisation_id_created_at", "organisation_id", "created_at", "id"),
        # For the filters of the organisation's events. Most actors are members: the list is in the order of those.
        Index("ix_audit_events_action", "organisation_id", "action", "created_at", "id"),
        Index("ix_audit_events_actor", "organisation_id", "actor_id", "created_at", "id"),
        Index(
            "ix_audit_events_actor_kind",
            "organisation_id",
            "actor_kind",
            "created_at",
            "id",
            postgresql_where=text("actor_kind <> 'member'"),
        ),
    )

    actor_kind: Mapped[str | None]
    actor_id: Mapped[int | None]
    action: Mapped[str]
    entity: Mapped[str]
    entity_id: Mapped[int]
    entity_version: Mapped[int | None] = mapped_column(Integer)
    before: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    request_id: Mapped[str | None]
    created_at: Mapped[datetime]


class EventOutbox(Base):
    """An event that has no number in the feed of its organisation yet (`feed`); written by the event's statement."""

    __tablename__ = "event_outbox"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "event_id"], ["audit_events.organisation_id", "audit_events.id"]),
    )

    organisation_id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(primary_key=True)


_OF_CHANGE = (
    *("actor_kind", "actor_id", "action", "entity", "entity_id", "entity_version"),
    *("before", "after", "request_id"),
)


@dataclass(frozen=True)
class Change:
    """The change of an entity; `before` and `after` hold the attributes that differ.

    `entity_id` is None for the entity that the same statement inserts. `version` is that of the entity after the
    change, if it has one.
    """

    action: str
    entity: AuditedEntity
    entity_id: int | None
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    version: int | None = None


async def record(session: AsyncSession, actor: Actor, *changes: Change) -> None:
    """Flush the session, and write an event of each change in a statement of their own."""
    await session.flush()
    executor, now = TransactionExecutor(session), utc_now()
    if executor.is_distributed:
        await insert_separately(SeparateWrites(session, actor.organisation_id, now), actor, changes)
        return
    await executor.execute(_RECORD, **parameters(actor, changes, now=now, rows={}))
    notify_after_commit(session, RELAY)


def _columns(actor: Actor, change: Change) -> dict[str, object]:
    """The columns of one event, but for its organisation and its time."""
    return {
        "actor_kind": actor.kind,
        "actor_id": actor.user_id,
        "action": change.action,
        "entity": change.entity,
        "entity_id": change.entity_id,
        "entity_version": change.version,
        "before": _as_json(change.before),
        "after": _as_json(change.after),
        "request_id": structlog.contextvars.get_contextvars().get("request_id"),
    }


def insert_events(*, after: Mapping[str, AnyColumn] | None = None, **others: AnyColumn) -> Insert:
    """The part of a statement that adds its events, and their rows in the outbox; `others` as in
    `bulk_write.insert_from`. `after` are attributes that the statement determines, beside those of its changes.

    Call `notify_after_commit(session, RELAY)` afterwards.
    """
    table = AuditEvent.__table__
    rows = json_rows("events", *table.c[_OF_CHANGE])
    if after:
        pairs = [part for name, value in after.items() for part in (literal_column(f"'{name}'"), value)]
        others["after"] = rows.c.after.op("||")(func.jsonb_build_object(*pairs))
    events = insert_from(table, rows, **others).returning(AuditEvent.id.label("event_id")).cte("events")
    return insert_from(EventOutbox.__table__, events).returning(EventOutbox.event_id)


_RECORD = combine("audit.record", insert_events())


def parameters(
    actor: Actor, changes: Iterable[Change], *, now: datetime, rows: Mapping[str, Rows]
) -> dict[str, object]:
    """The parameters of a statement that `insert_events` is part of.

    `rows` are those of each `bulk_write.json_rows` in it; an event is added for each of the `changes`.
    """
    texts = {name: as_json(table) for name, table in {**rows, "events": _rows(actor, changes)}.items()}
    return {"organisation_id": actor.organisation_id, "now": now, **texts}


async def insert_separately(
    writes: SeparateWrites, actor: Actor, changes: Iterable[Change], *, entity_id: int | None = None
) -> None:
    """Add the events of changes that are made by `writes`; `entity_id` is that of the entity that was inserted."""
    others = {} if entity_id is None else {"entity_id": entity_id}
    added = await writes.insert(AuditEvent.__table__, _rows(actor, changes), "id", **others)
    await writes.insert(EventOutbox.__table__, [{"event_id": event_id} for (event_id,) in added])
    notify_after_commit(writes.session, RELAY)


def _rows(actor: Actor, changes: Iterable[Change]) -> list[dict[str, object]]:
    return [_columns(actor, change) for change in changes]


def _as_json(values: Mapping[str, object] | None) -> dict[str, object] | None:
    return None if values is None else {name: _json_value(value) for name, value in values.items()}


def _json_value(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(item) for item in value]
    return value
