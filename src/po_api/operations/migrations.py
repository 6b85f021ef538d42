"""The schema's revisions: which one a database is at, and how it gets to another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from po_api.core.database import libpq_url
from po_api.core.logging import get_logger
from po_api.tables import metadata

PROJECT = Path(__file__).parents[3]

# Any constant will do, as long as all processes that migrate this application's databases use the same.
MIGRATION_LOCK = 7_302_251_100
LOCK_POLL_SECONDS = 0.2

# Whoever wants a table that a migration waits for waits behind it: so it gives up soon, and comes again.
LOCK_TIMEOUT = "2s"
LOCK_NOT_AVAILABLE = "55P03"
PAUSES = (0.5, 1, 2, 4, 8, 15, 30, 30, 30)

# The application's role may add to these and read them, no more (domain.md, invariant 5).
APPEND_ONLY = frozenset({"approval_decisions", "audit_events", "purchase_order_files"})

_log = get_logger(__name__)


def alembic_config() -> Config:
    return Config(PROJECT / "alembic.ini")


def head_revision() -> str:
    """The revision that this version of the application was written for."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision the database is at; None for an empty one."""
    return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


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
async def owner_connection(owner_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection as the tables' owner, alone in migrating.

    Several replicas may start at once. Each polls for the lock on a connection of its own: a session that waits in
    `pg_advisory_lock` holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait in turn.
    """

    async def connect(**_: Any) -> Any:
        return await asyncpg.connect(libpq_url(owner_url), server_settings={"lock_timeout": LOCK_TIMEOUT})

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool)
    lock = await asyncpg.connect(libpq_url(owner_url))
    try:
        while not await lock.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):
            await asyncio.sleep(LOCK_POLL_SECONDS)
        async with engine.connect() as connection:
            yield connection
    finally:
        await lock.close()
        await engine.dispose()


async def run_patiently(connection: AsyncConnection, migrate: Callable[[Connection], None]) -> None:
    """Migrate and commit; after a lock time-out, all again: revisions done are done, the others can be restarted."""
    for pause in PAUSES:
        try:
            await connection.run_sync(migrate)
            await connection.commit()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            await connection.rollback()
            _log.warning("migration_waits_for_a_lock", again_in_seconds=pause)
            await asyncio.sleep(pause)
        else:
            return
    await connection.run_sync(migrate)
    await connection.commit()


def grant_to_application(connection: Connection, role: str) -> None:
    """Give the application's role what it needs of the schema as it is now, and take what it must not have."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    existing = set(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")))
    tables: list[Table] = [table for table in metadata.sorted_tables if table.name in existing]
    for table in tables:
        rights = "SELECT, INSERT" if table.name in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
        connection.execute(text(f"REVOKE ALL ON {table.name} FROM {quoted}"))
        connection.execute(text(f"GRANT {rights} ON {table.name} TO {quoted}"))
    if "alembic_version" in existing:
        connection.execute(text(f"GRANT SELECT ON alembic_version TO {quoted}"))
    searches = (
        "SELECT proname FROM pg_proc WHERE proname LIKE 'search\\_%' AND pronamespace = current_schema()::regnamespace"
    )
    for function in connection.scalars(text(searches)).all():
        connection.execute(text(f"GRANT EXECUTE ON FUNCTION {function}(text) TO {quoted}"))


def application_role(owner_url: str, app_url: str) -> str | None:
    """The application's role, if it is another than the owner."""
    app = make_url(app_url).username
    return app if app != make_url(owner_url).username else None


async def upgrade(*, owner_url: str, app_url: str, to: str = "head") -> tuple[str | None, str | None]:
    """Migrate to a later or earlier revision; returns the revisions before and after."""
    async with owner_connection(owner_url) as connection:
        before = await current_revision(connection)
        await connection.rollback()
        await run_patiently(connection, partial(_run, to=to))
        after = await current_revision(connection)
        role = application_role(owner_url, app_url)
        if role is not None:
            await connection.run_sync(grant_to_application, role)
        await connection.commit()
    return before, after


def _run(connection: Connection, to: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    ahead = current is not None and to != "head" and to in _ancestors(script, current)
    (command.downgrade if ahead or to == "base" else command.upgrade)(config, to)


def _ancestors(script: ScriptDirectory, revision: str) -> set[str]:
    return {item.revision for item in script.iterate_revisions(revision, "base")} - {revision}


class StaleSchema(Exception):
    """The database's schema is not the one this version of the application was written for."""


async def require_head(connection: AsyncConnection) -> None:
    """Raise StaleSchema, naming both revisions, unless the schema is the application's own."""
    found = await current_revision(connection)
    if found != head_revision():
        raise StaleSchema(
            f"the database is at revision {found or 'none'}, this version needs {head_revision()}: run `po-api migrate`"
        )


async def find_revision(owner_url: str) -> str | None:
    """The revision of the database at `owner_url`; None for an empty one."""
    async with owner_connection(owner_url) as connection:
        return await current_revision(connection)


def is_revision(name: str) -> bool:
    """Whether `name` is something to migrate to."""
    known = {item.revision for item in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    return name in known | {"head", "base"}
