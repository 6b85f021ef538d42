"""`ddl.backfill_by_key`: all rows are filled, organisation by organisation, also after an interruption."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_api.operations import migrations
from po_api.operations.progress import Progress
from support.clusters import Cluster, connected
from support.later_versions import being, project_with
from support.migrations import Fresh, insert_everywhere, migrated_database
from support.polling import Deadline

BODY = """
expands = True
loses = None


def upgrade():
    with ddl.steps():
        ddl.backfill_by_key("porfs", "region = '100% ' || organisation_id", where="region IS NULL", rows=50)
        ddl.backfill_by_key("users", "region = 'all'", where="region IS NULL", key=("id",), rows=2)


def downgrade():
    pass
"""
COUNTS = "SELECT count(*) AS all, count(region) AS done FROM porfs"


class Batches(Progress):
    """The reported progress of batches."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def batch(self, done: str) -> None:
        self.said.append(done)


@pytest.fixture
async def database(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Fresh]:
    """A database at head with some hundred requests of two organisations, and a further revision that fills columns."""
    async with migrated_database(cluster) as made:
        await insert_everywhere(made)
        await made.fetch(
            "INSERT INTO porfs (organisation_id, number, title, requester_id)"
            " SELECT organisation_id, 'N' || n, 'a title', requester_id FROM porfs, generate_series(1, 120) n"
        )
        await made.fetch("ALTER TABLE porfs ADD COLUMN region text")
        await made.fetch("ALTER TABLE users ADD COLUMN region text")
        with being(project_with(tmp_path, {"998": BODY})):
            yield made


async def _upgrade(database: Fresh, progress: Progress | None = None) -> None:
    await migrations.upgrade(owner_url=database.owner, app_url=database.app, progress=progress)


async def _counts(database: Fresh) -> tuple[int, int]:
    (row,) = await database.fetch(COUNTS)
    return row["all"], row["done"]


async def test_all_rows_are_filled_in_batch_by_batch(database: Fresh) -> None:
    batches = Batches()
    await _upgrade(database, batches)
    found = await database.fetch("SELECT DISTINCT region = '100% ' || organisation_id AS right FROM porfs")
    assert [row["right"] for row in found] == [True]
    assert await database.fetch("SELECT FROM users WHERE region IS NULL") == []
    # Of each organisation three batches, none of them of two organisations.
    assert [line for line in batches.said if line.startswith("porfs")] == [
        f"porfs, backfill: {done} of 242 rows" for done in (50, 100, 121, 171, 221, 242)
    ]
    assert [line for line in batches.said if line.startswith("users")] == ["users, backfill: 2 of 2 rows"]


async def test_a_row_in_use_holds_up_no_other_and_what_was_done_is_kept(database: Fresh) -> None:
    async with connected(database.owner) as connection:
        locking = connection.transaction()
        await locking.start()
        await connection.execute("SELECT FROM porfs WHERE number = 'N7' FOR UPDATE")
        migrating = asyncio.create_task(_upgrade(database))
        try:
            deadline = Deadline("all rows but the locked ones")
            while (counts := await _counts(database))[0] - counts[1] > 2:
                deadline.check()
                assert not migrating.done(), migrating
                await asyncio.sleep(0.05)
        finally:
            # Interrupted, all batches but those of the locked rows have been committed.
            migrating.cancel()
            await asyncio.wait({migrating})
            await locking.rollback()
    before = await database.fetch("SELECT xmin::text, id FROM porfs WHERE region IS NOT NULL ORDER BY id")
    await _upgrade(database)
    counts = await _counts(database)
    assert counts[0] == counts[1]
    kept = {(row["xmin"], row["id"]) for row in await database.fetch("SELECT xmin::text, id FROM porfs")}
    assert {(row["xmin"], row["id"]) for row in before} <= kept
