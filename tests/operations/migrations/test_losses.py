"""Downgrades: refused exactly if rows or values would be lost."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from po_api.operations import revisions
from po_api.operations.losses import lossy
from support.clusters import Cluster
from support.forked import alembic, po_api
from support.later_versions import HEAD
from support.migrations import REVISIONS, Fresh, columns_of, insert_everywhere, migrated_database

TO_BASE = [(po_api, "migrate", "--no-backup", "--to", "base"), (alembic, "downgrade", "base")]
Command = tuple[Callable[[], None], *tuple[str, ...]]


async def _lossy(database: Fresh, revision: str) -> set[str]:
    """The revisions whose downgrade loses data, from `revision`, the database's current one, to base."""

    def ask(connection: Connection) -> set[str]:
        return {found.name for found in lossy(connection, revisions.up_to(revision))}

    engine = create_async_engine(database.owner.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(ask)
    finally:
        await engine.dispose()


@pytest.mark.parametrize("command", TO_BASE, ids=["po-api", "alembic"])
async def test_an_empty_schema_goes_back_to_nothing(cluster: Cluster, command: Command) -> None:
    async with migrated_database(cluster) as database:
        status, output, errors = await database.call(*command)
        assert status == 0, output + errors
        assert await database.fetch("SELECT FROM pg_tables WHERE schemaname = 'public'") == []


@pytest.mark.parametrize("command", TO_BASE, ids=["po-api", "alembic"])
async def test_only_what_is_there_counts(cluster: Cluster, command: Command) -> None:
    async with migrated_database(cluster) as database:
        await database.fetch("INSERT INTO organisations (name) VALUES ('Company')")
        status, output, errors = await database.call(*command)
        assert status != 0
        assert "001: " in output + errors
        assert "010: " not in output + errors
        assert len(await database.fetch("SELECT FROM organisations")) == 1
        # With Alembic, each revision is a transaction of its own: those above are undone.
        (row,) = await database.fetch("SELECT version_num FROM alembic_version")
        assert row["version_num"] == (HEAD if command[0] is po_api else "001")


async def _columns(database: Fresh) -> set[tuple[str, str]]:
    return {(table, column) for table, columns in (await columns_of(database)).items() for column in columns}


_LANDED = [pytest.mark.exhaustive, pytest.mark.thorough]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["base", *REVISIONS[:-1]], marks=_LANDED, id="landed ones"),
        pytest.param(REVISIONS[-2:], id="the last one"),
    ],
)
async def test_each_revision_looks_for_all_that_it_takes_away(cluster: Cluster, names: list[str]) -> None:
    async with migrated_database(cluster, names[0]) as database:
        before = await _columns(database)
        for revision in [known for known in revisions.chain() if known.name in names[1:]]:
            await database.to(revision.name)
            assert await _lossy(database, revision.name) == set()
            now = await _columns(database)
            looked_for = " ".join([*(revision.lost_rows or ()), *revision.moved_rows.values()])
            tables = {table for table, _ in before}
            for table, column in now - before - {("porfs", "requester_id")}:  # renamed by 004, and back
                if table in tables:
                    assert f"{table} WHERE" in looked_for, (revision.name, table, column)
                    assert column in looked_for, (revision.name, table, column)
                else:
                    # Members are copies until a later revision; only former ones are lost.
                    assert table in (revision.lost_rows or ()) or f"{table} WHERE" in looked_for, (revision.name, table)
            before = now


async def test_what_was_renamed_since_may_be_there(cluster: Cluster) -> None:
    async with migrated_database(cluster) as database:
        await database.fetch("ALTER TABLE rotated_tokens RENAME TO used_tokens")
        assert await _lossy(database, HEAD) == {"010"}


async def test_on_full_tables_each_revision_loses_what_it_declares(cluster: Cluster) -> None:
    async with migrated_database(cluster) as database:
        await insert_everywhere(database)
        # Each is about one thing.
        await database.fetch(
            "UPDATE notifications SET porf_id = NULL, approval_delegation_id = (SELECT min(d.id)"
            " FROM approval_delegations d WHERE d.organisation_id = notifications.organisation_id)"
        )
        expected = {revision.name for revision in revisions.chain() if revision.loses is not None}
        assert await _lossy(database, HEAD) == expected
        assert {"001", "010"} <= expected <= set(REVISIONS)
