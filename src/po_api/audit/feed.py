"""The feed of an organisation: its events with numbers 1, 2, 3 … in the order of their commits, and their seals.

Ids of events are taken before the transaction ends, so a reader that follows them misses what commits late. The relay
numbers events after their commit, one process at a time, in a statement that begins after the feed was locked.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    any_,
    bindparam,
    cast,
    delete,
    exists,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from po_api.audit.chain import NO_SEAL, SEALED_COLUMNS, seal
from po_api.audit.events import RELAY, AuditEvent, EventOutbox
from po_api.core.clock import utc_now
from po_api.db.bulk_write import NOW, as_json, insert_from, json_rows
from po_api.db.database import Database
from po_api.db.models import Base, TenantRow
from po_api.db.query import (
    ORGANISATION_ID,
    AnyColumn,
    NoRow,
    Query,
    QueryExecutor,
    TransactionExecutor,
    tenant_transaction,
)
from po_api.db.schema_info import SchemaInfo
from po_api.db.wakeups import notify_after_commit

# The most events that one call of `relay` numbers.
BATCH = 500
# Around a migration, the version before may write events without rows in the outbox.
BEFORE_MIGRATION, AFTER_MIGRATION = timedelta(hours=1), timedelta(days=1)


class EventFeed(TenantRow, Base):
    """The position of an organisation's feed; `last_number` is 0 and `last_seal` NO_SEAL before the first event.

    A restore ends the feed and begins another one at the same position, since numbers are given again from there on.
    """

    __tablename__ = "event_feeds"
    __table_args__ = (
        UniqueConstraint("organisation_id", "feed"),
        Index("uq_event_feeds_current", "organisation_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        CheckConstraint("last_number >= 0", name="last_number"),
    )

    feed: Mapped[str] = mapped_column(server_default=text("left(replace(gen_random_uuid()::text, '-', ''), 16)"))
    last_number: Mapped[int] = mapped_column(server_default="0")
    last_seal: Mapped[str] = mapped_column(server_default=NO_SEAL)
    sealed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class EventLogEntry(Base):
    """The number and the seal of an event. The application's role may insert and read entries, nothing else."""

    __tablename__ = "event_log"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "event_id"], ["audit_events.organisation_id", "audit_events.id"]),
        UniqueConstraint("organisation_id", "event_id"),
        CheckConstraint("number > 0", name="number"),
    )

    organisation_id: Mapped[int] = mapped_column(
        ForeignKey("organisations.id", name="fk_event_log_organisation_id"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int]
    seal: Mapped[str]


class _Id(NamedTuple):
    event_id: int


class _Position(NamedTuple):
    """Where a feed is."""

    last_number: int
    last_seal: str


class _Sealed(NamedTuple):
    """The columns of an event that its seal covers; `before` and `after` as JSON texts."""

    organisation_id: int
    id: int
    actor_kind: str | None
    actor_id: int | None
    action: str
    entity: str
    entity_id: int
    entity_version: int | None
    before: str | None
    after: str | None
    request_id: str | None
    created_at: datetime


_POSITION = (EventFeed.last_number, EventFeed.last_seal)
_IS_CURRENT = (EventFeed.organisation_id == ORGANISATION_ID, EventFeed.ended_at.is_(None))

# Another process that relays the same feed is not waited for.
_LOCK = Query(
    "events.lock_feed",
    select(*_POSITION).where(*_IS_CURRENT).with_for_update(key_share=True, skip_locked=True),
    _Position,
)
_CURRENT = Query("events.current_feed", select(*_POSITION).where(*_IS_CURRENT), _Position)
_OPEN = Query(
    "events.open_feed",
    insert(EventFeed).values(organisation_id=ORGANISATION_ID).on_conflict_do_nothing().returning(*_POSITION),
    _Position,
)


def _column(name: str) -> AnyColumn:
    column = AuditEvent.__table__.c[name]
    return cast(column, Text).label(name) if name in ("before", "after") else column


_WAITING = Query(
    "events.waiting",
    select(*map(_column, SEALED_COLUMNS))
    .join_from(EventOutbox, AuditEvent, EventOutbox.event_id == AuditEvent.id)
    .where(EventOutbox.organisation_id == ORGANISATION_ID, AuditEvent.organisation_id == ORGANISATION_ID)
    .order_by(EventOutbox.event_id)
    .limit(literal_column(str(BATCH))),
    _Sealed,
)


def _numbering() -> Query[NoRow]:
    """Insert the entries of the log, delete their rows of the outbox, and advance the feed."""
    log = EventLogEntry.__table__
    entries = insert_from(log, json_rows("entries", *log.c["number", "event_id", "seal"])).returning(log.c.event_id)
    relayed = (
        delete(EventOutbox)
        .where(
            EventOutbox.organisation_id == ORGANISATION_ID,
            EventOutbox.event_id == any_(bindparam("event_ids", type_=ARRAY(BigInteger))),
        )
        .returning(EventOutbox.event_id)
    )
    position = {name: bindparam(name, type_=EventFeed.__table__.c[name].type) for name in ("last_number", "last_seal")}
    feed = update(EventFeed).where(*_IS_CURRENT).values(sealed_at=NOW, **position).returning(EventFeed.last_number)
    parts = (part.cte(f"change_{n}") for n, part in enumerate((entries, relayed, feed)))
    return Query("events.number", select(literal_column("1")).add_cte(*parts), NoRow)


_NUMBER = _numbering()


def _missing() -> Query[_Id]:
    """Insert rows into the outbox for events that are neither in it nor in the log."""
    known = [
        exists().where(table.c.organisation_id == ORGANISATION_ID, table.c.event_id == AuditEvent.id)
        for table in (EventOutbox.__table__, EventLogEntry.__table__)
    ]
    migrated = bindparam("migrated_at", type_=SchemaInfo.updated_at.type)
    events = select(AuditEvent.organisation_id, AuditEvent.id).where(
        AuditEvent.organisation_id == ORGANISATION_ID,
        AuditEvent.created_at.between(migrated - BEFORE_MIGRATION, migrated + AFTER_MIGRATION),
        *(~found for found in known),
    )
    statement = insert(EventOutbox).from_select(["organisation_id", "event_id"], events)
    return Query("events.queue_missing", statement.on_conflict_do_nothing().returning(EventOutbox.event_id), _Id)


_MISSING = _missing()


async def relay(executor: QueryExecutor, organisation_id: int) -> int:
    """Number and seal the committed events of an organisation, at most BATCH, and return how many there were.

    The tenant has been entered, and the caller commits. 0 if nothing is waiting, or if another process is doing it.
    """
    # In a statement before: one that had waited for the lock would see the outbox as it was before it waited.
    position = await executor.row(_LOCK, organisation_id=organisation_id)
    position = position or await _open(executor, organisation_id)
    if position is None:
        return 0
    events = await executor.rows(_WAITING, organisation_id=organisation_id)
    if not events:
        return 0
    entries = _sealed(position, events)
    await executor.execute(
        _NUMBER,
        organisation_id=organisation_id,
        now=utc_now(),
        entries=as_json(entries),
        event_ids=[event.id for event in events],
        last_number=entries[-1]["number"],
        last_seal=entries[-1]["seal"],
    )
    return len(events)


async def _open(executor: QueryExecutor, organisation_id: int) -> _Position | None:
    """Begin the feed; None if there is one, which another process has locked.

    Only if there is none: a conflict would wait for that process.
    """
    if await executor.row(_CURRENT, organisation_id=organisation_id) is not None:
        return None
    return await executor.row(_OPEN, organisation_id=organisation_id)


async def relay_in(database: Database, organisation_id: int) -> bool:
    """The relay in a transaction of its own, as a task of the worker; returns whether it numbered any event."""
    async with tenant_transaction(database.engine, organisation_id) as executor:
        return await relay(executor, organisation_id) > 0


async def queue_missing(session: AsyncSession, organisation_id: int) -> int:
    """Queue the events that the version before revision 033 wrote while it was replaced; returns their number.

    Only those from around the last migration: any other event without a number was not written by the application, and
    is for the verification to find. The tenant has been entered, and the caller commits.
    """
    # In a statement before: the table is on another server than those of organisations.
    migrated_at = await session.scalar(select(SchemaInfo.updated_at))
    parameters = {"organisation_id": organisation_id, "migrated_at": migrated_at}
    missing = await TransactionExecutor(session).rows(_MISSING, **parameters)
    notify_after_commit(session, RELAY)
    return len(missing)


def _sealed(position: _Position, events: Sequence[_Sealed]) -> list[dict[str, object]]:
    """The entries of the log for the events after a position."""
    entries, last = [], position.last_seal
    for number, event in enumerate(events, start=position.last_number + 1):
        last = seal(last, event._asdict())
        entries.append({"number": number, "event_id": event.id, "seal": last})
    return entries
