"""Migrating a database: upgrades and downgrades under a lock, grants, and the status."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from po_api.core import database_url
from po_api.core.sqlstate import DEADLOCK
from po_api.db.database import primary_at
from po_api.db.schema_info import SchemaInfo
from po_api.operations.losses import lossy
from po_api.operations.progress import Progress
from po_api.operations.revisions import Revision, Step, alembic_config, is_known, route, scripts
from po_api.operations.schema import Schema, find_defects, read_schema
from po_api.tables import metadata

# An arbitrary constant, which all processes that migrate databases of this application have to share.
MIGRATION_LOCK = 7_302_251_100
LOCK_POLL_SECONDS = 0.2
CONNECT_SECONDS = 60
WAIT_SECONDS = 3600

# Other statements on a table queue behind a migration that waits for a lock: hence a short time-out, and retries.
LOCK_TIMEOUT = "2s"
PAUSES = (0.5, 1, 2, 4, 8, 15, 30, 30, 30)
_LOCK_NOT_AVAILABLE = "55P03"

# The longest time that a statement may hold its locks. `ddl` lifts it for long statements that block no others.
STATEMENT_TIMEOUT = "30s"

# Tables that the application's role may only insert into and read (domain.md, invariant 5).
APPEND_ONLY = frozenset(
    {"approval_decisions", "audit_events", "document_logos", "event_log"}
    | {"purchase_order_files", "purchase_order_sheets"}
)
# Of these it may only change some columns: approvals are what they were when they were submitted, but for whom a step
# asks after its people have left.
UPDATABLE = {
    "approval_runs": ("status", "closed_at", "content_hash", "hash_version"),
    "approval_steps": (
        *("status", "skip_reason", "seq", "activated_at", "closed_at"),
        *("kind", "pool_group_id", "required_count"),
    ),
    "approval_slots": ("status",),
}
# Tables that it may only read: migrations write them.
READ_ONLY = frozenset({SchemaInfo.__tablename__})


class MigrationError(Exception):
    """An error with a one-line message for the operator."""


def configure_options() -> dict[str, Any]:
    """The options of Alembic's context, online and offline: each revision in a transaction of its own."""
    return {
        "target_metadata": metadata,
        "transaction_per_migration": True,
        "include_object": _is_ours,
    }


def _is_ours(_item: object, name: str | None, kind: str, reflected: bool, _compared: object) -> bool:
    """The search indexes belong to the search functions of revision 007, and are in no model."""
    return not (kind == "index" and reflected and name is not None and name.endswith("_search"))


@asynccontextmanager
async def owner_connection(
    owner_url: str, progress: Progress, *, wait_seconds: float = WAIT_SECONDS
) -> AsyncIterator[AsyncConnection]:
    """A connection as the tables' owner, with the exclusive right to migrate.

    Several processes may start at once. Each polls for the lock on a connection of its own: a session that waits in
    `pg_advisory_lock` holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait in turn. Raises MigrationError
    if another process holds the lock for `wait_seconds`.
    """

    def report(_: Any, message: Any) -> None:
        # Backfills raise INFO with their progress, and a WARNING for what an operator has to decide; the server's own
        # messages are NOTICEs.
        if message.severity == "INFO":
            progress.batch(message.message)
        elif message.severity == "WARNING":
            progress.warn(message.message)

    async def connect(**_: Any) -> Any:
        timeouts = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": STATEMENT_TIMEOUT}
        connection = await connect_as_owner(owner_url, timeouts)
        connection.add_log_listener(report)
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
    """A connection of the driver to the server that accepts writes.

    The server detects its loss within a minute, so that the lock is released after the loss of a machine. It has no
    idle time-out, so that the lock is kept until then.
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
    is_reported = False
    while not await lock.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):
        if time.monotonic() - started >= wait_seconds:
            raise MigrationError(f"another process is migrating this database; gave up after {wait_seconds:g} s")
        if not is_reported:
            progress.wait("another process is migrating this database: waiting for it to finish")
            is_reported = True
        await asyncio.sleep(LOCK_POLL_SECONDS)


async def run_with_retries(
    connection: AsyncConnection, migrate: Callable[[Connection], None], progress: Progress
) -> None:
    """Migrate and commit; retried after lock time-outs and deadlocks: the steps of an unfinished revision can be
    repeated.

    Raises MigrationError with the database's reason after the last retry, and for other errors.
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
            # The failed step may not have reset its time-outs.
            await connection.execute(text("RESET ALL"))
            holders = await _holders(connection)
            await connection.commit()
            if pause is None:
                raise MigrationError(f"{_first_line(cause)}, {len(PAUSES) + 1} times; in use: {holders}") from error
            progress.wait(f"waiting for a lock, trying again in {pause:g} s; in use: {holders}")
            await asyncio.sleep(pause)
        else:
            return


def _cause(error: BaseException) -> BaseException:
    """The server's error: `error` may be that of a failed clean-up of Alembic or SQLAlchemy after it."""
    while not isinstance(error, asyncpg.PostgresError) and error.__context__ is not None:
        error = error.__context__
    return error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


async def _holders(connection: AsyncConnection) -> str:
    """The sessions that hold locks on tables now, so that the operator can find the one that blocks the migration."""
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
    """Grant the application's role the rights that it needs in the current schema, and revoke all others."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    # In a distributed database (Citus): else `organisations`, which is on every server, could not follow others.
    connection.execute(text("SET LOCAL citus.multi_shard_modify_mode = 'sequential'"))
    existing = set(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")))
    tables_by_rights: dict[str, list[str]] = {}
    for table in metadata.tables:
        if table in existing:
            tables_by_rights.setdefault(_rights(table), []).append(table)
    for rights, tables in tables_by_rights.items():
        connection.execute(text(f"REVOKE ALL ON {', '.join(tables)} FROM {quoted}"))
        connection.execute(text(f"GRANT {rights} ON {', '.join(tables)} TO {quoted}"))
    if "alembic_version" in existing:
        connection.execute(text(f"GRANT SELECT ON alembic_version TO {quoted}"))
    # Those with the owner's rights are closed to others; the ones of triggers need no right to be called.
    functions = (
        "SELECT oid::regprocedure FROM pg_proc WHERE prosecdef AND prorettype <> 'trigger'::regtype"
        " AND pronamespace = current_schema()::regnamespace"
    )
    for function in connection.scalars(text(functions)).all():
        connection.execute(text(f"GRANT EXECUTE ON FUNCTION {function} TO {quoted}"))


def _rights(table: str) -> str:
    if table in READ_ONLY:
        return "SELECT"
    if table in UPDATABLE:
        return f"SELECT, INSERT, UPDATE ({', '.join(UPDATABLE[table])})"
    return "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"


def application_role(owner_url: str, app_url: str) -> str | None:
    """The application's role; None if it is the owner."""
    owner, app = (database_url.parse(url, may_have_settings=True).user for url in (owner_url, app_url))
    return app if app != owner else None


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

    `prepare` is called before the first step on a database that is not empty, under the lock. With `head`, a database
    of a later version that is compatible with this one is not changed. Raises UnknownRevision, and MigrationError if a
    step fails or would lose data, or if the schema has defects at the end.
    """
    progress = progress or Progress()
    async with owner_connection(owner_url, progress, wait_seconds=wait_seconds) as connection:
        schema = await read_schema(connection)
        before = schema.revision
        await connection.rollback()
        if to == "head" and schema.is_later:
            progress.warn(f"the database is at revision {before} of a later version, compatible with this one")
            return before, before
        steps = route(before, to)
        if not may_lose_data:
            await forbid_loss(connection, steps)
        if prepare is not None and steps and before is not None:
            await prepare()
        # Read once: each step would read the files of all revisions.
        directory = scripts()
        for step in steps:
            await _take(connection, directory, step, progress)
        await finish(connection, application_role(owner_url, app_url), progress, changed=bool(steps))
    return before, steps[-1].target if steps else before


async def forbid_loss(connection: AsyncConnection, steps: Sequence[Step]) -> None:
    """Raise MigrationError with what would be lost if one of the steps would lose rows or values."""
    undone = [step.revision for step in steps if not step.is_upgrade]
    lost = await connection.run_sync(lossy, undone)
    await connection.rollback()
    if lost:
        names = "; ".join(f"{revision.name}: {revision.loses}" for revision in lost)
        raise MigrationError(f"downgrading would lose {names}. To allow it: --allow-data-loss")


async def _take(connection: AsyncConnection, directory: ScriptDirectory, step: Step, progress: Progress) -> None:
    started = time.monotonic()
    try:
        await run_with_retries(connection, partial(_run, directory=directory, step=step), progress)
    except MigrationError as error:
        raise MigrationError(f"revision {step.revision.name} is not finished, and can be run again: {error}") from error
    progress.finished(step, time.monotonic() - started)


def _run(connection: Connection, directory: ScriptDirectory, step: Step) -> None:
    """What `alembic upgrade` or `alembic downgrade` does for one step; nothing if an attempt before has done it."""
    script = directory.get_revision(step.revision.name)
    make = MigrationStep.upgrade_from_script if step.is_upgrade else MigrationStep.downgrade_from_script

    def remaining(heads: tuple[str, ...], _context: MigrationContext) -> list[MigrationStep]:
        return [] if [*heads] == [name for name in [step.target] if name] else [make(directory.revision_map, script)]

    config = alembic_config()
    config.attributes["connection"] = connection
    with EnvironmentContext(config, directory, fn=remaining):
        directory.run_env()


async def finish(connection: AsyncConnection, role: str | None, progress: Progress, *, changed: bool) -> None:
    """Grant the application's rights, and check the schema for defects.

    Raises MigrationError if there are any and the schema was `changed`. If it was not, they are only reported: another
    session may be building an index, which must not prevent the start of a container.
    """
    if role is not None:
        await connection.run_sync(grant_to_application, role)
        await connection.commit()
    defects = await find_defects(connection)
    if defects and changed:
        raise MigrationError(f"migrated, but the schema is not sound: {'; '.join(defects)}")
    for defect in defects:
        progress.warn(defect)


@dataclass(frozen=True)
class Status:
    """The state of a database's schema; `schema.problem` is the problem with its revision, if there is one."""

    schema: Schema
    pending: Sequence[Revision]
    defects: Sequence[str]
    is_migrating: bool


async def find_status(owner_url: str) -> Status:
    """The status of the database at `owner_url`. Only reads, and does not wait for a process that migrates."""
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
