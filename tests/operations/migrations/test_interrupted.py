"""Revisions on tables in use: they can be run again after a kill at any point, and block no other sessions."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import asyncpg
import pytest
from sqlalchemy import Connection, Engine, event

from po_api.db.database import libpq_url
from po_api.operations import migrations
from po_api.operations.migrations import MigrationError
from po_api.operations.progress import Progress
from support.clusters import Cluster
from support.migrations import (
    REVISIONS,
    Fresh,
    alembic_until,
    assert_sound,
    fresh_database,
    insert_everywhere,
    migrated_database,
    steps,
)
from support.polling import until

pytestmark = pytest.mark.heavy

# Statements that change nothing in a run that nothing came before; Alembic's own questions are among them.
READING = ("SELECT", "SHOW", "SET", "RESET", "select", "show", "DROP INDEX CONCURRENTLY IF EXISTS")
# Databases at once, each with a process and at most three connections: a revision may have sixty statements. More
# processes would wait for each other until their time-outs, and other tests need connections as well.
AT_ONCE = 3
# All points of the last revisions are tried. Earlier ones have landed: they are never edited, and all of theirs were.
NEW = 3
LANDED_POINTS = 3
KILLED = -9
Filled = Callable[[str], Awaitable[str]]


@contextmanager
def _recorded() -> Iterator[list[bool]]:
    """For each statement that changes the database: whether it commits by itself."""
    found: list[bool] = []

    def record(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().startswith(READING):
            found.append(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")

    event.listen(Engine, "after_cursor_execute", record)
    try:
        yield found
    finally:
        event.remove(Engine, "after_cursor_execute", record)


async def _upgrade(database: Fresh, to: str, progress: Progress | None = None) -> None:
    """With one role, which owns the tables and uses them: grants follow the migration, and are not tested here."""
    await migrations.upgrade(owner_url=database.owner, app_url=database.owner, to=to, progress=progress)


async def _alembic(revision: str, database: Fresh, point: int) -> int:
    """The exit status of `alembic upgrade` in a process that is killed after some statements."""
    status, _, _ = await database.call(alembic_until, str(point), json.dumps(READING), "upgrade", revision)
    return status


@pytest.fixture(scope="module")
async def filled(cluster: Cluster) -> AsyncIterator[Filled]:
    """The name of a database at a revision, with some hundred rows and no connections; made when it is asked for."""
    names = {"base": "template1"}

    async def at(revision: str) -> str:
        if revision not in names:
            database = await stack.enter_async_context(migrated_database(cluster, revision))
            await insert_everywhere(database, organisations=20)
            await database.connection.close()
            names[revision] = database.name
        return names[revision]

    async with AsyncExitStack() as stack:
        yield at


@pytest.fixture(scope="module")
async def undisturbed(cluster: Cluster, filled: Filled) -> list[str]:
    """The schema of a database that was migrated to 004 without interruption."""
    async with fresh_database(cluster, await filled("004")) as database:
        return await database.schema()


async def _kill_and_run_again(
    cluster: Cluster, template: str, to: str, point: int, alone: asyncio.Lock
) -> tuple[list[str], list[str]]:
    """The schema and the requests after an upgrade killed at the point and an uninterrupted one.

    Both go no further: later revisions find what they find after an uninterrupted upgrade. That is done here, holding
    `alone`, as Alembic's context is global: another process would take ten times as long.
    """
    async with fresh_database(cluster, template) as database:
        assert await _alembic(to, database, point) == KILLED
        async with alone:
            await _upgrade(database, to)
        await assert_sound(database, to)
        return await database.schema(), await _requests(database)


def _spread(points: list[int]) -> list[int]:
    """Some of the points, the first and the last one among them."""
    last = len(points) - 1
    return sorted({points[last * n // (LANDED_POINTS - 1)] for n in range(LANDED_POINTS)})


async def _requests(database: Fresh) -> list[str]:
    who = "requester_id" if await _has_column(database, "requester_id") else "user_id"
    rows = await database.fetch(
        f"SELECT ROW(organisation_id, id, number, title, {who})::text AS row FROM porfs ORDER BY 1"
    )
    return [row["row"] for row in rows]


async def _has_column(database: Fresh, column: str) -> bool:
    found = await database.fetch("SELECT FROM pg_attribute WHERE attrelid = 'porfs'::regclass AND attname = $1", column)
    return bool(found)


@pytest.mark.parametrize(("before", "after"), steps(["base", *REVISIONS]))
async def test_an_upgrade_killed_anywhere_is_run_again(
    cluster: Cluster, filled: Filled, before: str, after: str
) -> None:
    async with fresh_database(cluster, await filled(before)) as database:
        with _recorded() as committed:
            await _upgrade(database, after)
        undisturbed, requests = await database.schema(), await _requests(database)
    # Wherever it is that a transaction ends unfinished, it leaves the same: one point inside the last one, and its end.
    steps = [point for point, alone in enumerate(committed, start=1) if alone]
    points = sorted({*steps, len(steps) + 1, len(committed)})
    assert not any(committed[len(steps) :])
    if after not in REVISIONS[-NEW:]:
        points = _spread(points)
    template, at_once, alone = await filled(before), asyncio.Semaphore(AT_ONCE), asyncio.Lock()

    async def check(point: int) -> None:
        async with at_once:
            schema, found = await _kill_and_run_again(cluster, template, after, point, alone)
        assert schema == undisturbed
        assert found == requests

    async with asyncio.TaskGroup() as group:
        for point in points:
            group.create_task(check(point))


class Waits(Progress):
    """The reasons for which a migration waits; `came` is set by each."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.came = asyncio.Event()

    def wait(self, reason: str) -> None:
        self.reasons.append(reason)
        self.came.set()


@asynccontextmanager
async def _held(database: Fresh, statement: str) -> AsyncIterator[None]:
    """An open transaction that began with this statement."""
    connection = await asyncpg.connect(libpq_url(database.owner))
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute(statement)
            yield
    finally:
        await connection.close()


async def _waiting(database: Fresh, statement: str) -> int:
    """Wait until a statement that begins like this waits for a lock, and return the server's process."""
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND query LIKE $1"
    )
    found = await until(lambda: database.fetch(waiting, f"{statement}%"), f"{statement} that waits for a lock")
    pid: int = found[0]["pid"]
    return pid


async def _building(database: Fresh) -> int:
    """Wait until an index is being built, and return the server's process that waits for older transactions to end."""
    return await _waiting(database, "CREATE INDEX CONCURRENTLY")


async def test_other_sessions_read_and_write_while_indexes_are_built(cluster: Cluster, filled: Filled) -> None:
    add = (
        "INSERT INTO porfs (organisation_id, number, title, user_id)"
        " SELECT organisation_id, 'new', title, user_id FROM porfs LIMIT 1 RETURNING id"
    )
    async with fresh_database(cluster, await filled("003")) as database:
        # A transaction with an old snapshot and no lock: builds wait for it, nothing else does.
        async with _held(database, "SELECT 1"):
            migrating = asyncio.create_task(_upgrade(database, "004"))
            await _building(database)
            await database.fetch("SET lock_timeout = '10ms'")
            (new,) = await database.fetch(add)
            (changed,) = await database.fetch(
                "UPDATE porfs SET title = 'changed' WHERE id = $1 RETURNING user_id", new[0]
            )
            assert await database.fetch("SELECT FROM porfs WHERE title = 'changed'") != []
            assert not migrating.done()
        await migrating
        (found,) = await database.fetch("SELECT requester_id, status FROM porfs WHERE id = $1", new[0])
        assert tuple(found) == (changed["user_id"], "draft")


async def test_an_index_left_invalid_is_built_again(cluster: Cluster, filled: Filled, undisturbed: list[str]) -> None:
    async with fresh_database(cluster, await filled("003")) as database:
        async with _held(database, "SELECT 1"):
            migrating = asyncio.create_task(_upgrade(database, "004"))
            await database.fetch("SELECT pg_terminate_backend($1)", await _building(database))
            with pytest.raises(MigrationError, match=r"revision 004 is not finished, .*: terminating connection"):
                await migrating
        assert await database.fetch("SELECT FROM pg_index WHERE NOT indisvalid") != []
        await _upgrade(database, "004")
        await assert_sound(database, "004")
        assert await database.schema() == undisturbed


async def test_a_migration_that_is_called_off_ends_and_is_run_again(
    cluster: Cluster, filled: Filled, undisturbed: list[str]
) -> None:
    async with fresh_database(cluster, await filled("003")) as database:
        async with _held(database, "SELECT FROM porfs"):
            migrating = asyncio.create_task(_upgrade(database, "004"))
            await _waiting(database, "ALTER TABLE porfs ADD COLUMN")
            migrating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await migrating
        await _upgrade(database, "004")
        await assert_sound(database, "004")
        assert await database.schema() == undisturbed


async def test_a_migration_gives_way_and_comes_again(
    cluster: Cluster, filled: Filled, undisturbed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits()
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "20ms")
    async with fresh_database(cluster, await filled("003")) as database:
        async with _held(database, "SELECT FROM porfs"):
            monkeypatch.setattr(migrations, "PAUSES", (0, 0))
            with pytest.raises(MigrationError, match=r"revision 004 .*lock timeout, 3 times; in use: porfs by process"):
                await _upgrade(database, "004", waits)
            assert len(waits.reasons) == 2
            monkeypatch.setattr(migrations, "PAUSES", (0.05,) * 1000)
            waits.came.clear()
            migrating = asyncio.create_task(_upgrade(database, "004", waits))
            await waits.came.wait()
        await migrating
        await assert_sound(database, "004")
        assert await database.schema() == undisturbed
