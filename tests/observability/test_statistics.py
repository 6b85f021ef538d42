"""The metrics of the database: with the application's role, of migrations, WAL archiving and extensions."""

import asyncio

import pytest
from fastapi import FastAPI
from sqlalchemy.engine import make_url

from po_api.operations.migrations import MIGRATION_LOCK
from po_api.operations.revisions import head_revision
from support.clusters import Cluster, connected
from support.metrics import Scrape, metrics_of
from support.polling import Deadline

pytestmark = pytest.mark.heavy


async def test_what_another_role_does_is_hidden_and_yet_counted(urls: tuple[str, str], app: FastAPI) -> None:
    if urls[0] == urls[1]:
        pytest.skip("there is one role for all")
    async with metrics_of(urls[1]) as scraped:
        before = await scraped()
        async with connected(urls[0]) as owner, connected(urls[1]) as own:
            await owner.execute("BEGIN")
            await own.execute("BEGIN")
            await own.execute("SELECT 1")
            during = await scraped()
        assert during.value("po_db_up") == 1
        assert _more(before, during, "hidden") == 1
        assert _more(before, during, "idle in transaction") == 1
        assert (during.value("po_db_longest_transaction_seconds") or 0) > 0
        assert (during.value("po_db_longest_idle_in_transaction_seconds") or 0) > 0


def _more(before: Scrape, after: Scrape, state: str) -> float:
    return (after.value("po_db_connections", state=state) or 0) - (before.value("po_db_connections", state=state) or 0)


async def test_who_watches_sees_all(cluster: Cluster, app: FastAPI) -> None:
    async with metrics_of(cluster.url("po_api", "postgres")) as scraped:
        found = await scraped()
    assert found.value("po_db_connections", state="hidden") == 0


async def test_a_connection_that_was_ended_is_made_again(urls: tuple[str, str], app: FastAPI) -> None:
    async with metrics_of(urls[1]) as scraped:
        assert (await scraped()).value("po_db_up") == 1
        async with connected(urls[1]) as own:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_database_size%'"
            assert True in [row[0] for row in await own.fetch(f"{ended} AND pid <> pg_backend_pid()")]
        found = await scraped()
    assert found.value("po_db_up") == 1
    assert found.value("po_db_size_bytes")


async def test_two_concurrent_scrapes_are_answered(urls: tuple[str, str], app: FastAPI) -> None:
    async with metrics_of(urls[1]) as scraped:
        answers = await asyncio.gather(*(scraped() for _ in range(4)))
    assert all(found.value("po_db_up") == 1 and found.value("po_db_size_bytes") for found in answers)


async def test_a_running_migration_is_reported(urls: tuple[str, str], app: FastAPI) -> None:
    async with metrics_of(urls[1]) as scraped:
        async with connected(urls[0]) as owner:
            await owner.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
            during = await scraped()
        after = await scraped()
        assert (during.value("po_migration_in_progress"), during.value("po_migration_failed")) == (1, 0)
        assert (after.value("po_migration_in_progress"), after.value("po_migration_failed")) == (0, 0)
        assert after.value("po_migration_current_info", revision=head_revision(), expected=head_revision()) == 1


async def test_a_schema_of_another_version_is_reported(urls: tuple[str, str], app: FastAPI) -> None:
    elsewhere = make_url(urls[1]).set(database="postgres").render_as_string(hide_password=False)
    async with metrics_of(elsewhere) as scraped:
        found = await scraped()
    assert found.value("po_migration_failed") == 1
    assert found.value("po_migration_current_info", revision="none", expected=head_revision()) == 1
    assert found.value("po_db_up") == 1


async def test_without_an_archive_it_has_no_samples(urls: tuple[str, str], app: FastAPI) -> None:
    async with metrics_of(urls[1]) as scraped:
        found = await scraped()
    assert found.value("po_wal_archive_failed_total") is None
    assert found.value("po_wal_archive_lag_seconds") is None


async def test_the_archive_fails_is_late_and_has_all(cluster: Cluster) -> None:
    """The archive command succeeds as long as a certain file exists in the server's directory."""
    archiving = {"wal_level": "replica", "archive_mode": "on", "archive_command": "test -e open"}
    with cluster.another(**archiving) as running:
        async with (
            metrics_of(running.url("po_api", "po_app")) as scraped,
            connected(running.url("postgres", "postgres")) as superuser,
        ):
            await superuser.execute("CREATE TABLE written (); SELECT pg_switch_wal()")
            deadline = Deadline("a segment that could not be archived")
            while not ((found := await scraped()).value("po_wal_archive_failed_total") or 0) > 0:
                deadline.check()
                assert found.value("po_wal_archive_lag_seconds") != 0
            place = await superuser.fetchval("SELECT current_setting('data_directory')")
            await superuser.execute(f"COPY (SELECT 1) TO '{place}/open'")
            deadline = Deadline("an archive that holds everything")
            while (await scraped()).value("po_wal_archive_lag_seconds") != 0:
                deadline.check()
                await superuser.execute("SELECT pg_switch_wal()")


async def test_statements_of_the_server_are_shown_where_they_are_counted(cluster: Cluster) -> None:
    if "pgserver" in str(cluster.binaries):
        pytest.skip("the embedded server has no pg_stat_statements")
    with cluster.another(shared_preload_libraries="pg_stat_statements") as running:
        async with metrics_of(running.url("po_api", "po_app")) as scraped:
            none = await scraped()
            async with connected(running.url("po_api", "postgres")) as superuser:
                await superuser.execute('CREATE SCHEMA "Elsewhere"')
                await superuser.execute('CREATE EXTENSION pg_stat_statements SCHEMA "Elsewhere"')
            refused = await scraped()
            async with connected(running.url("po_api", "postgres")) as superuser:
                await superuser.execute('GRANT USAGE ON SCHEMA "Elsewhere" TO po_app')
                await superuser.execute("SELECT 1")
            found = await scraped()
        assert none.value("po_db_statements_total") is None
        assert refused.value("po_db_statements_total") is None
        assert (refused.value("po_db_up"), (refused.value("po_db_size_bytes") or 0) > 0) == (1, True)
        assert (found.value("po_db_statements_total") or 0) > 0
        assert (found.value("po_db_statements_seconds_total") or 0) > 0
