"""Revisions of later versions with this version: those that expand its schema, and others."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from po_api.operations import revisions
from po_api.operations.schema import Schema, StaleSchema
from support.applications import client_of, new_app
from support.clusters import Cluster
from support.forked import alembic, po_api
from support.later_versions import HEAD, being, project_with
from support.migrations import Fresh, migrated_database, po_api_of

EXPANDING = """
expands = True
loses = "requests' regions"
lost_rows = ("porfs WHERE region IS NOT NULL",)


def upgrade():
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("region", sa.Text))


def downgrade():
    op.drop_column("porfs", "region")
"""
CONTRACTING = """
expands = False
loses = None


def upgrade():
    op.execute("ALTER TABLE porfs RENAME COLUMN region TO area")


def downgrade():
    op.execute("ALTER TABLE porfs RENAME COLUMN area TO region")
"""
SINCE = "SELECT compatible_since FROM schema_info"


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    """A database at this version's head."""
    async with migrated_database(cluster) as made:
        yield made


async def _migrate(database: Fresh, project: Path, to: str = "head") -> None:
    """Migrate as a later version does."""
    options = (str(project), "migrate", "--no-backup", "--to", to)
    urls = {"DATABASE_URL": database.app, "DATABASE_MIGRATION_URL": database.owner}
    status, _, errors = await database.call(po_api_of, *options, **urls)
    assert status == 0, errors


async def _this_version(database: Fresh, *options: str) -> tuple[int, str, str]:
    """`po-api migrate` of this version."""
    urls = {"DATABASE_URL": database.app, "DATABASE_MIGRATION_URL": database.owner}
    return await database.call(po_api, "migrate", *options, **urls)


async def _since(database: Fresh) -> str:
    (row,) = await database.fetch(SINCE)
    since: str = row["compatible_since"]
    return since


async def test_a_running_version_stays_ready_while_its_schema_is_expanded(database: Fresh, tmp_path: Path) -> None:
    project = project_with(tmp_path, {"998": EXPANDING})
    async with client_of(new_app(database.app)) as client:
        assert (await client.get("/health/ready")).status_code == 200
        await _migrate(database, project)
        ready = await client.get("/health/ready")
        shown = ready.json()
        assert (ready.status_code, shown["status"], shown["reasons"]) == (200, "ready", [])
        assert (shown["revision"], shown["expected_revision"]) == ("998", HEAD)
    assert await _since(database) == revisions.compatible_since(HEAD)


async def test_it_starts_and_migrates_nothing_there(database: Fresh, tmp_path: Path) -> None:
    await _migrate(database, project_with(tmp_path, {"998": EXPANDING}))
    app = new_app(database.app)
    with capture_logs() as logged:
        async with app.router.lifespan_context(app):
            pass
    (line,) = [entry for entry in logged if entry["event"] == "schema_later_than_application"]
    assert (line["revision"], line["expected"]) == ("998", HEAD)

    rights = await database.fetch("SELECT relname, relacl::text FROM pg_class ORDER BY relname")
    # The start of a container of the old version.
    status, output, errors = await _this_version(database)
    assert (status, output) == (0, "998 -> 998\n")
    assert errors == "warning: the database is at revision 998 of a later version, compatible with this one\n"
    assert await database.fetch("SELECT relname, relacl::text FROM pg_class ORDER BY relname") == rights
    status, output, _ = await _this_version(database, "--status")
    assert (status, output.count("compatible with this version")) == (0, 1)


async def test_a_schema_that_was_contracted_is_refused(database: Fresh, tmp_path: Path) -> None:
    await _migrate(database, project_with(tmp_path, {"998": EXPANDING, "999": CONTRACTING}))
    assert await _since(database) == "999"
    app = new_app(database.app)
    async with client_of(app) as client:
        ready = await client.get("/health/ready")
        (reason,) = ready.json()["reasons"]
        assert (ready.status_code, reason["code"]) == (503, "schema_revision")
        with pytest.raises(StaleSchema, match=f"revision 999, this version needs {HEAD}: it belongs to a later"):
            await app.router.lifespan_context(app).__aenter__()
    status, _, errors = await _this_version(database)
    assert (status, errors) == (1, f"po-api: revision 999 is unknown to this version, whose last revision is {HEAD}\n")


async def test_what_only_earlier_versions_used_is_taken_away_without_harm(database: Fresh, tmp_path: Path) -> None:
    contracting = f'compatible_since = "{HEAD}"\n{CONTRACTING}'
    await _migrate(database, project_with(tmp_path, {"998": EXPANDING, "999": contracting}))
    assert await _since(database) == HEAD
    async with client_of(new_app(database.app)) as client:
        assert (await client.get("/health/ready")).json()["status"] == "ready"


async def test_each_step_stores_the_compatibility_up_and_down(database: Fresh, tmp_path: Path) -> None:
    project = project_with(tmp_path, {"998": EXPANDING, "999": CONTRACTING})
    expected = {HEAD: revisions.compatible_since(HEAD), "998": revisions.compatible_since(HEAD), "999": "999"}
    for revision in ("998", "999", "998", HEAD, "999"):
        await _migrate(database, project, to=revision)
        assert await _since(database) == expected[revision]
    assert [row["n"] for row in await database.fetch("SELECT count(*) AS n FROM schema_info")] == [1]


async def test_alembic_stores_the_compatibility_too(database: Fresh, tmp_path: Path) -> None:
    project = project_with(tmp_path, {"998": EXPANDING, "999": CONTRACTING})
    steps = [("upgrade", "head", "999"), ("downgrade", "998", revisions.compatible_since(HEAD))]
    for direction, revision, since in steps:
        command = ("-c", str(project / "alembic.ini"), direction, revision)
        status, output, errors = await database.call(alembic, *command)
        assert status == 0, output + errors
        assert await _since(database) == since


def test_a_deployment_may_replace_the_files_while_a_version_runs(tmp_path: Path) -> None:
    with being(project_with(tmp_path, {"998": EXPANDING})):
        assert (revisions.head_revision(), Schema("998").problem) == ("998", None)
        shutil.rmtree(tmp_path / "alembic")
        assert (revisions.head_revision(), Schema("998").problem) == ("998", None)
        assert (
            Schema(HEAD).problem == f"the database is at revision {HEAD}, this version needs 998: run `po-api migrate`"
        )


def test_each_revision_declares_whether_it_expands() -> None:
    """The declarations that the template requires: `expands`, and the rows that a downgrade loses."""
    for script in revisions.scripts().walk_revisions():
        if script.revision >= revisions.SCHEMA_INFO_SINCE:
            assert isinstance(script.module.expands, bool), script.revision
            assert script.module.loses is None or script.module.lost_rows, script.revision
