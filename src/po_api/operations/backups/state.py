"""The application's state after a restore: all sessions and feeds are ended, nothing leaves the house, and an operator
has to confirm the restore.

A comment on Alembic's table marks a restored database that is not confirmed: it is visible to every worker and machine,
the table exists at every revision, its owner may comment on it, and it is written in the transaction of the restore.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.core.clock import utc_now
from po_api.db.work import Queue
from po_api.operations.migrations import connect_as_owner
from po_api.work import QUEUES

_MARK = "restored: "
_COMMENT = """
SELECT mark FROM obj_description(to_regclass('alembic_version'), 'pg_class') AS mark WHERE mark LIKE 'restored: %'
"""

# Otherwise sessions ended since would be live again, and responses for undone changes would be replayed. Each feed of
# events ends, and another one begins at its position: its next numbers may have been given before, to other events.
# Earlier revisions lack some of the tables.
_SETTLE = """
DO $$ BEGIN
    IF to_regclass('sessions') IS NOT NULL THEN
        UPDATE sessions SET revoked_at = now() WHERE revoked_at IS NULL;
    END IF;
    IF to_regclass('sign_in_attempts') IS NOT NULL THEN
        DELETE FROM sign_in_attempts;
        DELETE FROM sign_in_codes;
    END IF;
    IF to_regclass('idempotency_records') IS NOT NULL THEN
        DELETE FROM idempotency_records;
    END IF;
    {held}
    IF to_regclass('event_feeds') IS NOT NULL THEN
        UPDATE event_feeds SET ended_at = now() WHERE ended_at IS NULL;
        INSERT INTO event_feeds (organisation_id, last_number, last_seal, sealed_at)
        SELECT organisation_id, last_number, last_seal, sealed_at FROM event_feeds WHERE ended_at = now();
    END IF;
END $$;
COMMENT ON TABLE alembic_version IS '{mark}';
"""


def settle_sql(what: str, *, queues: Iterable[Queue] = QUEUES) -> str:
    """SQL that ends sessions, sign-ins and feeds, deletes idempotency records, holds what would leave the house, and
    marks the database as restored.

    `what` describes what was restored, for operators.
    """
    mark = f"{_MARK}{what}, at {utc_now():%Y-%m-%dT%H:%M:%SZ}".replace("'", "''")
    return _SETTLE.replace("{mark}", mark).replace("{held}", _held_sql(queues))


def _held_sql(queues: Iterable[Queue]) -> str:
    """Statements that hold the queued rows of what leaves the house: much of it was sent after the time of the backup,
    and somebody has to look at each. Until the restore is confirmed, workers do nothing of it anyway."""
    return " ".join(
        f"""
        IF to_regclass('{queue.table.name}') IS NOT NULL THEN
            UPDATE {queue.table.name} SET status = 'held', next_attempt_at = NULL, leased_until = NULL
            WHERE status = 'queued';
        END IF;
        """  # noqa: S608 - names of tables
        for queue in queues
        if queue.leaves_the_house
    )


async def unconfirmed(connection: AsyncConnection) -> str | None:
    """The description of an unconfirmed restore; None if there is none."""
    mark: str | None = await connection.scalar(text(_COMMENT))
    return mark.removeprefix(_MARK) if mark else None


async def settle(owner_url: str, what: str) -> bool:
    """Execute `settle_sql`, as the tables' owner. Returns False if the database has no schema."""
    async with _owner(owner_url) as connection:
        if await connection.fetchval("SELECT to_regclass('alembic_version') IS NULL"):
            return False
        await connection.execute(settle_sql(what))  # several statements in one call are one transaction
        return True


async def confirm(owner_url: str) -> str | None:
    """Remove the mark, as the tables' owner; returns its description, or None if there was none."""
    async with _owner(owner_url) as connection:
        mark: str | None = await connection.fetchval(_COMMENT)
        if mark is None:
            return None
        await connection.execute("COMMENT ON TABLE alembic_version IS NULL")
        return mark.removeprefix(_MARK)


@asynccontextmanager
async def _owner(url: str) -> AsyncIterator[Any]:
    """A connection of the driver: where only the API runs, psql may not be installed."""
    connection = await connect_as_owner(url)
    try:
        yield connection
    finally:
        await connection.close()
