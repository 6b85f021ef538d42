"""A database's revision: which one it is at, and how it gets to another."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
from alembic import command
from sqlalchemy import Connection, Table, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from po_api.core.sqlstate import DEADLOCK
from po_api.db.database import primary_at
from po_api.db.schema_info import SchemaInfo
from po_api.operations.losses import lossy
from po_api.operations.progress import Progress
from po_api.operations.revisions import Revision, Step, alembic_config, is_known, route
from po_api.operations.schema import Schema, find_defects, read_schema
from po_api.tables import metadata

# Any constant will do, as long as all processes that migrate this application's databases use the same.
MIGRATION_LOCK = 7_302_251_100
LOCK_POLL_SECONDS = 0.2
CONNECT_SECONDS = 60
WAIT_SECONDS = 3600

# Whoever wants a table that a migration waits for waits behind it: so it gives up soon, and comes again.
LOCK_TIMEOUT = "2s"
PAUSES = (0.5, 1, 2, 4, 8, 15, 30, 30, 30)
_LOCK_NOT_AVAILABLE = "55P03"

# A statement may hold its lock for so long. What takes longer by its nature locks nobody out: `ddl` lifts the limit.
STATEMENT_TIMEOUT = "30s"

# The application's role may add to these and read them, no more (domain.md, invariant 5).
APPEND_ONLY = frozenset({"approval_decisions", "audit_events", "purchase_order_files"})
# And this it may only read: the migrations write it.
READ_ONLY = frozenset({SchemaInfo.__tablename__})


class MigrationError(Exception):
    """One clear line for the person who migrates."""


def configure_options() -> dict[str, Any]:
    """How Alembic's context is configured, online and offline: each revision in a transaction of its own."""
    return {
        "target_metadata": metadata,
        "transaction_per_migration": True,
        "include_object": _is_ours,
    }


def _is_ours(_item: object, name: str | None, kind: str, reflected: bool, _compared: object) -> bool:
    """The search indexes belong to the search functions of revision 007; no model knows them."""
    return not (kind == "index" and reflected and name is not None and name.endswith("_search"))


@asynccontextmanager
async def owner_connection(
    owner_url: str, progress: Progress, *, wait_seconds: float = WAIT_SECONDS
) -> AsyncIterator[AsyncConnection]:
    """A connection as the tables' owner, alone in migrating.

    Several replicas may start at once. Each polls for the lock on a connection of its own: a session that waits in
    `pg_advisory_lock` holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait in turn. MigrationError if
    another process has the lock for so long.
    """

    def hear(_: Any, said: Any) -> None:
        # Backfills say INFO how far they are; what the server itself has to say is a NOTICE.
        if said.severity == "INFO":
            progress.batch(said.message)

    async def connect(**_: Any) -> Any:
        timeouts = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": STATEMENT_TIMEOUT}
        connection = await connect_as_owner(owner_url, timeouts)
        connection.add_log_listener(hear)
        return connection

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool)
    lock = await connect_as_owner(owner_url)
    try:
        await _take_lock(lock, progress, wait_seconds)
        async with engine.connect() as connection:
            yield connection
    finally:
        await lock.close()
        await engine.dispose()


async def connect_as_owner(owner_url: str, settings: dict[str, str] | None = None) -> Any:
    """The driver's own connection to the server that takes writes.

    Its end is noticed there within a minute, so that the lock is free when a machine that migrated is gone. It is not
    ended for being idle, so that the lock is kept till then.
    """
    always = {
        "application_name": "po-api migrate",
        "idle_session_timeout": "0",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }
    servers = primary_at(owner_url, seconds=CONNECT_SECONDS)
    return await servers.connect(server_settings=always | (settings or {}))


async def _take_lock(lock: Any, progress: Progress, wait_seconds: float) -> None:
    started = time.monotonic()
    told = False
    while not await lock.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):
        if time.monotonic() - started >= wait_seconds:
            raise MigrationError(f"another process is migrating this database; gave up after {wait_seconds:g} s")
        if not told:
            progress.waits("another process is migrating this database: waiting for it to finish")
            told = True
        await asyncio.sleep(LOCK_POLL_SECONDS)


async def run_patiently(connection: AsyncConnection, migrate: Callable[[Connection], None], progress: Progress) -> None:
    """Migrate and commit; after a lock time-out, all again: revisions done are done, the others can be restarted.

    MigrationError, with the database's reason, when that was in vain or would be.
    """
    for pause in (*PAUSES, None):
        try:
            await connection.run_sync(migrate)
            await connection.commit()
        except SQLAlchemyError as error:
            cause = _cause(error)
            if isinstance(cause, asyncio.CancelledError):  # by Ctrl-C
                raise cause from error
            if getattr(cause, "sqlstate", None) not in {_LOCK_NOT_AVAILABLE, DEADLOCK}:
                raise MigrationError(_first_line(cause)) from error
            await connection.rollback()
            # The statement that failed may have left time-outs of its own behind.
            await connection.execute(text("RESET ALL"))
            holders = await _holders(connection)
            await connection.commit()
            if pause is None:
                raise MigrationError(f"{_first_line(cause)}, {len(PAUSES) + 1} times; in use: {holders}") from error
            progress.waits(f"waiting for a lock, trying again in {pause:g} s; in use: {holders}")
            await asyncio.sleep(pause)
        else:
            return


def _cause(error: BaseException) -> BaseException:
    """What the server said: Alembic's and SQLAlchemy's clearing up may have failed after it, and be all one sees."""
    while not isinstance(error, asyncpg.PostgresError) and error.__context__ is not None:
        error = error.__context__
    return error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


async def _holders(connection: AsyncConnection) -> str:
    """Which sessions hold locks on tables now, for whoever has to find out what the migration waits for."""
    query = text(
        """
        SELECT format('%s by process %s (%s)', string_agg(DISTINCT c.relname, ', '), pid,
                      coalesce(nullif(application_name, ''), usename))
        FROM pg_locks l JOIN pg_class c ON c.oid = relation JOIN pg_stat_activity a USING (pid)
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND granted AND pid <> pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        GROUP BY pid, application_name, usename ORDER BY pid LIMIT 5
        """
    )
    found = (await connection.scalars(query)).all()
    return "; ".join(found) or "no tables"


def grant_to_application(connection: Connection, role: str) -> None:
    """Give the application's role what it needs of the schema as it is now, and take what it must not have."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    existing = set(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")))
    tables: list[Table] = [table for table in metadata.sorted_tables if table.name in existing]
    for table in tables:
        connection.execute(text(f"REVOKE ALL ON {table.name} FROM {quoted}"))
        connection.execute(text(f"GRANT {_rights(table.name)} ON {table.name} TO {quoted}"))
    if "alembic_version" in existing:
        connection.execute(text(f"GRANT SELECT ON alembic_version TO {quoted}"))
    searches = (
        "SELECT proname FROM pg_proc WHERE proname LIKE 'search\\_%' AND pronamespace = current_schema()::regnamespace"
    )
    for function in connection.scalars(text(searches)).all():
        connection.execute(text(f"GRANT EXECUTE ON FUNCTION {function}(text) TO {quoted}"))


def _rights(table: str) -> str:
    if table in READ_ONLY:
        return "SELECT"
    return "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"


def application_role(owner_url: str, app_url: str) -> str | None:
    """The application's role, if it is another than the owner."""
    app = make_url(app_url).username
    return app if app != make_url(owner_url).username else None


async def upgrade(
    *,
    owner_url: str,
    app_url: str,
    to: str = "head",
    may_lose_data: bool = False,
    prepare: Callable[[], Awaitable[None]] | None = None,
    wait_seconds: float = WAIT_SECONDS,
    progress: Progress | None = None,
) -> tuple[str | None, str | None]:
    """Migrate to a later or earlier revision; returns the revisions before and after.

    `prepare` is called before the first step of a database that is not empty, while nobody else can migrate it. To a
    database of a later version that is compatible with this one, nothing is done on the way to head.
    UnknownRevision; MigrationError when a step fails or would lose data, or the schema is not sound in the end.
    """
    progress = progress or Progress()
    async with owner_connection(owner_url, progress, wait_seconds=wait_seconds) as connection:
        schema = await read_schema(connection)
        before = schema.revision
        await connection.rollback()
        if to == "head" and schema.is_later:
            progress.warns(f"the database is at revision {before} of a later version, compatible with this one")
            return before, before
        steps = route(before, to)
        if not may_lose_data:
            await forbid_loss(connection, steps)
        if prepare is not None and steps and before is not None:
            await prepare()
        for step in steps:
            await _take(connection, step, progress)
        await finish(connection, application_role(owner_url, app_url), progress, changed=bool(steps))
    return before, steps[-1].target if steps else before


async def forbid_loss(connection: AsyncConnection, steps: Sequence[Step]) -> None:
    """Raise MigrationError, saying what would be lost, if one of the steps would lose rows or values."""
    undone = [step.revision for step in steps if not step.is_upgrade]
    lost = await connection.run_sync(lossy, undone)
    await connection.rollback()
    if lost:
        names = "; ".join(f"{revision.name}: {revision.loses}" for revision in lost)
        raise MigrationError(f"downgrading would lose {names}. To allow it: --allow-data-loss")


async def _take(connection: AsyncConnection, step: Step, progress: Progress) -> None:
    started = time.monotonic()
    try:
        await run_patiently(connection, partial(_run, step=step), progress)
    except MigrationError as error:
        raise MigrationError(f"revision {step.revision.name} is not finished, and can be run again: {error}") from error
    progress.finished(step, time.monotonic() - started)


def _run(connection: Connection, step: Step) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    (command.upgrade if step.is_upgrade else command.downgrade)(config, step.target or "base")


async def finish(connection: AsyncConnection, role: str | None, progress: Progress, *, changed: bool) -> None:
    """Give the application's role its rights, and see that the schema is sound.

    MigrationError if it is not, after it was changed. If it was not, an index may be under construction or broken by
    somebody else: no reason for a container not to start.
    """
    if role is not None:
        await connection.run_sync(grant_to_application, role)
        await connection.commit()
    defects = await find_defects(connection)
    if defects and changed:
        raise MigrationError(f"migrated, but the schema is not sound: {'; '.join(defects)}")
    for defect in defects:
        progress.warns(defect)


@dataclass(frozen=True)
class Status:
    """Where a database is; `schema.problem` says what is wrong with its revision."""

    schema: Schema
    pending: Sequence[Revision]
    defects: Sequence[str]
    is_migrating: bool


async def find_status(owner_url: str) -> Status:
    """Where the database at `owner_url` is. It asks only: it waits for nobody who migrates."""
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda **_: connect_as_owner(owner_url))
    try:
        async with engine.connect() as connection:
            schema = await read_schema(connection)
            steps = route(schema.revision) if is_known(schema.revision) else []
            return Status(
                schema,
                [step.revision for step in steps],
                await find_defects(connection),
                await is_migrating(connection),
            )
    finally:
        await engine.dispose()


async def is_migrating(connection: AsyncConnection) -> bool:
    """Whether a process is migrating this database now."""
    query = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
        " AND (classid::bigint << 32) + objid::bigint = :key"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    return bool(await connection.scalar(query, {"key": MIGRATION_LOCK}))
