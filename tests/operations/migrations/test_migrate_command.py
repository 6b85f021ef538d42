"""`po-api migrate` with further revisions: one that expands and fills rows, and failing ones."""

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from po_api.operations import migrations, revisions
from po_api.operations.migrations import MIGRATION_LOCK, MigrationError
from po_api.operations.progress import Progress
from support.applications import client_of, new_app
from support.clusters import Cluster, connected
from support.forked import alembic, po_api
from support.migrations import (
    HEAD,
    NOT_APPLICABLE,
    PROJECT,
    REVISIONS,
    Fresh,
    fresh_database,
    insert_everywhere,
    migrated_database,
    po_api_of,
    printed_sql,
    run_sql,
    squawk,
)
from support.polling import Deadline

pytestmark = pytest.mark.heavy

NEXT = "999"
HEADER = f'''"""A region for each request.

Revises: {HEAD}
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "{NEXT}"
down_revision = "{HEAD}"
'''
EXPANDING = """
loses = "requests' regions"


def upgrade():
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("region", sa.Text))
        ddl.backfill("porfs", "region = '100% ' || organisation_id", where="region IS NULL", pages=1)
        ddl.require("porfs", "region")
        ddl.create_index("ix_porfs_region", "porfs (organisation_id, region, id)")
    op.execute("DO $do$ BEGIN RAISE WARNING 'regions have no names yet'; END $do$")


def downgrade():
    op.drop_index("ix_porfs_region", "porfs")
    op.drop_column("porfs", "region")
"""
# The column came with an earlier revision, so that nothing here locks the table before the rows are filled in.
FILLING = "\n".join(line for line in EXPANDING.splitlines() if "add_columns" not in line)
UNSOUND = """
loses = None


def upgrade():
    op.execute("ALTER TABLE porfs ADD CONSTRAINT ck_porfs_never CHECK (title <> '-') NOT VALID")


def downgrade():
    op.execute("ALTER TABLE porfs DROP CONSTRAINT ck_porfs_never")
"""
SLOW = """
def upgrade():
    op.execute("LOCK TABLE porfs")
    op.execute("SELECT pg_sleep(60)")


def downgrade():
    pass
"""
Extend = Callable[[str], Path]


@pytest.fixture
def extend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Extend]:
    """Adds a further revision to this version of the application; returns the directory of its files."""

    def make(body: str) -> Path:
        shutil.copytree(PROJECT / "alembic", tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(PROJECT / "alembic.ini", tmp_path)
        (tmp_path / "alembic" / "versions" / f"{NEXT}_further.py").write_text(HEADER + body)
        monkeypatch.setattr(revisions, "PROJECT", tmp_path)
        return tmp_path

    yield make
    monkeypatch.undo()


@pytest.fixture
async def filled(cluster: Cluster) -> AsyncIterator[Fresh]:
    """A database at this version's head, with some hundred requests."""
    async with migrated_database(cluster) as database:
        await insert_everywhere(database)
        await database.fetch(
            "INSERT INTO porfs (organisation_id, number, title, requester_id)"
            " SELECT organisation_id, 'N' || n, repeat('long ', 40), requester_id"
            " FROM (SELECT * FROM porfs LIMIT 1) p, generate_series(1, 300) n"
        )
        yield database


async def _migrate(database: Fresh, *options: str, project: Path) -> tuple[int, str, str]:
    """The output without the warning about a missing backup."""
    return await database.call(po_api_of, str(project), "migrate", "--no-backup", *options)


class Batches(Progress):
    """The reported progress of batches."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def batch(self, done: str) -> None:
        self.said.append(done)


async def _upgrade(
    database: Fresh,
    to: str = "head",
    *,
    progress: Progress | None = None,
    prepare: Callable[[], Awaitable[None]] | None = None,
    may_lose_data: bool = True,
) -> None:
    await migrations.upgrade(
        owner_url=database.owner,
        app_url=database.app,
        to=to,
        progress=progress,
        prepare=prepare,
        may_lose_data=may_lose_data,
    )


@asynccontextmanager
async def _locked(database: Fresh) -> AsyncIterator[None]:
    """One request of a table with the column, locked by an open transaction."""
    await database.fetch("ALTER TABLE porfs ADD COLUMN region text")
    async with connected(database.owner) as connection, connection.transaction():
        await connection.execute("SELECT FROM porfs WHERE number = 'N7' FOR UPDATE")
        yield


async def _until(database: Fresh, condition: str, has_ended: Callable[[], bool]) -> None:
    """Wait until the condition holds; the task that causes it must not end before."""
    deadline = Deadline(condition)
    while not (await database.fetch(f"SELECT EXISTS ({condition}) AS so"))[0]["so"]:
        deadline.check()
        assert not has_ended()
        await asyncio.sleep(0.05)


# A backfill that waits for a row, which only its second round does.
WAITING = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE '%DO $do$%'"
)
REGIONS = "SELECT count(*) AS all, count(region) AS done FROM porfs"


async def test_an_expanding_revision_fills_in_what_is_there_and_comes_back(filled: Fresh, extend: Extend) -> None:
    extend(EXPANDING)
    rows = "SELECT (to_jsonb(p) - 'region')::text AS row FROM porfs p ORDER BY id"
    before, old_schema = await filled.fetch(rows), await filled.schema()
    batches = Batches()
    await _upgrade(filled, progress=batches)
    found = await filled.fetch("SELECT DISTINCT region = '100% ' || organisation_id AS right FROM porfs")
    assert [row["right"] for row in found] == [True]
    assert await filled.fetch(rows) == before

    first = [line for line in batches.said if "backfill" in line]
    assert len(first) >= 3
    assert first == [f"porfs, backfill: {n} of {len(first)} batches" for n in range(1, len(first) + 1)]

    new_schema = await filled.schema()
    assert any("region text NOT NULL" in line for line in new_schema)
    assert not any("region" in line and "required" in line for line in new_schema)
    await _upgrade(filled, HEAD)
    assert await filled.schema() == old_schema
    await _upgrade(filled)
    assert await filled.schema() == new_schema
    assert await filled.fetch(rows) == before


async def test_the_steps_as_sql_make_the_same_and_squawk_finds_nothing(
    filled: Fresh, extend: Extend, tmp_path: Path
) -> None:
    path = printed_sql(tmp_path, f"{HEAD}:{NEXT}", extend(EXPANDING))
    assert squawk(path, NOT_APPLICABLE) == (0, "")
    await run_sql(filled, path)
    (counts,) = await filled.fetch(REGIONS)
    assert counts["all"] == counts["done"]
    printed = await filled.schema()
    await _upgrade(filled, HEAD)
    await _upgrade(filled)
    assert await filled.schema() == printed


async def test_a_row_in_use_holds_up_no_other_and_is_filled_in_later(filled: Fresh, extend: Extend) -> None:
    extend(FILLING)
    async with _locked(filled):
        migrating = asyncio.create_task(_upgrade(filled))
        await _until(filled, WAITING, migrating.done)
        (counts,) = await filled.fetch(REGIONS)
        assert counts["all"] - counts["done"] == 1
    await migrating
    (counts,) = await filled.fetch(REGIONS)
    assert counts["all"] == counts["done"]


async def test_a_backfill_that_is_killed_is_run_again(filled: Fresh, extend: Extend) -> None:
    project = extend(FILLING)
    async with _locked(filled):
        process = await filled.start(po_api_of, str(project), "migrate")
        await _until(filled, WAITING, lambda: process.returncode is not None)
        process.kill()
        await asyncio.to_thread(process.communicate)
        assert process.returncode == -signal.SIGKILL
        assert (await filled.fetch("SELECT version_num AS at FROM alembic_version"))[0]["at"] == HEAD
    status, output, errors = await _migrate(filled, project=project)
    assert (status, output.splitlines()[-1]) == (0, f"{HEAD} -> {NEXT}"), errors
    (counts,) = await filled.fetch(REGIONS)
    assert counts["all"] == counts["done"]


async def test_a_step_that_takes_its_time_is_only_ended_by_the_lock_it_waits_for(
    filled: Fresh, extend: Extend, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend(FILLING)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "3s")
    monkeypatch.setattr(migrations, "STATEMENT_TIMEOUT", "2s")
    monkeypatch.setattr(migrations, "PAUSES", ())
    async with _locked(filled):
        with pytest.raises(MigrationError, match="lock timeout, 1 times; in use: porfs by process"):
            await _upgrade(filled)


async def test_a_statement_that_holds_its_locks_for_too_long_is_ended(
    filled: Fresh, extend: Extend, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend(SLOW)
    monkeypatch.setattr(migrations, "STATEMENT_TIMEOUT", "500ms")
    with pytest.raises(MigrationError, match=f"revision {NEXT} is not finished.*statement timeout"):
        await _upgrade(filled)
    assert await filled.fetch("SELECT FROM pg_locks WHERE relation = 'porfs'::regclass") == []


async def test_the_command_prints_its_steps(filled: Fresh, extend: Extend) -> None:
    project = extend(EXPANDING)
    status, output, errors = await _migrate(filled, project=project)
    assert status == 0
    done, arrived = output.splitlines()
    assert re.fullmatch(rf"{NEXT}  +\d+\.\d\d s  A region for each request\.", done)
    assert arrived == f"{HEAD} -> {NEXT}"
    assert re.match(r"porfs, backfill: 1 of \d+ batches\n", errors)
    assert errors.endswith("\nwarning: regions have no names yet\n")


async def test_going_back_is_refused_if_it_loses_data(filled: Fresh, extend: Extend) -> None:
    project = extend(EXPANDING)
    await _upgrade(filled)
    status, output, errors = await _migrate(filled, "--to", "008", project=project)
    assert (status, output) == (1, "")
    assert re.fullmatch(rf"po-api: .*{NEXT}: requests' regions; .*009: sessions; .*--allow-data-loss\n", errors)
    assert (await filled.fetch("SELECT version_num AS at FROM alembic_version"))[0]["at"] == NEXT

    status, output, errors = await _migrate(filled, "--to", HEAD, "--allow-data-loss", project=project)
    assert (status, output.splitlines()[-1], errors) == (0, f"{NEXT} -> {HEAD}", "")


async def test_going_back_where_nothing_is_lost_needs_no_flag(cluster: Cluster) -> None:
    async with migrated_database(cluster, "007") as database:
        await insert_everywhere(database)
        assert (await database.call(po_api, "migrate", "--to", "006"))[0] == 0


async def test_alembic_refuses_it_too(cluster: Cluster) -> None:
    async with migrated_database(cluster, "010") as database:
        await insert_everywhere(database)
        status, output, errors = await database.call(alembic, "downgrade", "-1")
        assert (status != 0, errors) == (True, "")
        assert "010: downgrading would lose API keys" in output
        assert (await database.fetch("SELECT version_num AS at FROM alembic_version"))[0]["at"] == "010"
        status, _, errors = await database.call(alembic, "-x", "allow-data-loss", "downgrade", "-1")
        assert status == 0, errors


async def test_a_schema_that_is_not_sound_is_no_success(filled: Fresh, extend: Extend) -> None:
    project = extend(UNSOUND)
    status, output, errors = await _migrate(filled, project=project)
    assert (status, len(output.splitlines())) == (1, 1)
    (line,) = errors.splitlines()
    assert line.startswith("po-api: ")
    remedy = "ALTER TABLE porfs VALIDATE CONSTRAINT ck_porfs_never"
    assert f"constraint ck_porfs_never was never validated ({remedy})" in line

    # The next container can serve nevertheless: it reports the defect, as does `--status`.
    status, _, errors = await _migrate(filled, project=project)
    assert (status, errors.count("ck_porfs_never was never validated")) == (0, 1)
    status, output, _ = await _migrate(filled, "--status", project=project)
    assert (status, output.count("ck_porfs_never was never validated")) == (1, 1)
    await filled.fetch(remedy)
    assert await _migrate(filled, "--status", project=project) == (0, f"database: {NEXT}, this version: {NEXT}\n", "")


async def test_a_later_versions_database_is_one_line(filled: Fresh, extend: Extend) -> None:
    extend(EXPANDING)
    await _upgrade(filled)
    status, output, errors = await filled.call(po_api, "migrate")
    assert (status, output) == (1, "")
    assert errors == f"po-api: revision {NEXT} is unknown to this version, whose last revision is {HEAD}\n"
    status, output, errors = await filled.call(po_api, "migrate", "--status")
    assert (status, errors) == (1, "")
    assert output.startswith(f"database: {NEXT}, this version: {HEAD}\n")
    assert "deploy that version" in output


async def test_a_schema_that_changes_under_a_running_version_shows(filled: Fresh) -> None:
    async with client_of(new_app(filled.app)) as client:

        async def reasons() -> tuple[int, list[str]]:
            ready = await client.get("/health/ready")
            return ready.status_code, [f"{item['code']}: {item['detail']}" for item in ready.json()["reasons"]]

        assert await reasons() == (200, [])
        needs = f"this version needs {HEAD}"
        await filled.fetch(f"UPDATE alembic_version SET version_num = '{NEXT}'")
        await filled.fetch(f"UPDATE schema_info SET compatible_since = '{NEXT}'")
        later = (
            f"schema_revision: the database is at revision {NEXT}, {needs}: "
            "it belongs to a later version: deploy that version"
        )
        assert await reasons() == (503, [later])
        await filled.fetch(f"UPDATE alembic_version SET version_num = '{HEAD}'")
        await filled.to(REVISIONS[-2])
        earlier = f"schema_revision: the database is at revision {REVISIONS[-2]}, {needs}: run `po-api migrate`"
        assert await reasons() == (503, [earlier])
        await filled.to("head")
        assert await reasons() == (200, [])


async def test_one_process_waits_for_another_and_reports_it(filled: Fresh) -> None:
    async with connected(filled.owner) as other:
        await other.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        status, output, errors = await filled.call(po_api, "migrate", "--wait", "0")
        assert (status, output) == (1, "")
        assert errors == "po-api: another process is migrating this database; gave up after 0 s\n"
        # Asking is no reason to wait.
        asked = f"database: {HEAD}, this version: {HEAD}\nmigration in progress\n"
        assert await filled.call(po_api, "migrate", "--status") == (0, asked, "")

        waiting = await filled.start(po_api, "migrate")
        assert "another process is migrating" in await asyncio.to_thread(waiting.stderr.readline)
    assert await asyncio.to_thread(waiting.communicate) == (f"{HEAD} -> {HEAD}\n", "")
    assert waiting.returncode == 0


async def test_precautions_are_taken_before_anything_changes(cluster: Cluster) -> None:
    taken: list[str] = []

    async def succeed() -> None:
        (at,) = await database.fetch("SELECT version_num FROM alembic_version")
        taken.append(at["version_num"])

    async def fail() -> None:
        raise RuntimeError("no space")

    async with fresh_database(cluster) as database:
        await _upgrade(database, "003", prepare=fail)  # an empty database has nothing to lose
        with pytest.raises(RuntimeError):
            await _upgrade(database, prepare=fail)
        await _upgrade(database, "004", prepare=succeed)
        await _upgrade(database, "004", prepare=fail)  # nothing to do, nothing to prepare
        await database.fetch("INSERT INTO organisations (name, allow_self_approval) VALUES ('Company', true)")
        with pytest.raises(MigrationError):
            await _upgrade(database, "003", prepare=fail, may_lose_data=False)
    assert taken == ["003"]
