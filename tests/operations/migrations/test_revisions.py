"""The chain of revisions: up and down on databases with data, alone and concurrently, online and as SQL."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from po_api.app import create_app
from po_api.operations import migrations, revisions
from po_api.operations.databases import Connections
from po_api.operations.schema import StaleSchema
from po_api.settings import Settings
from support.clusters import Cluster
from support.forked import alembic, po_api
from support.migrations import (
    BINARIES,
    CONTRACTING,
    HEAD,
    NOT_APPLICABLE,
    ORDER,
    PROJECT,
    RENAMING,
    REVISIONS,
    STABLE_DEFAULTS,
    Fresh,
    assert_sound,
    columns_of,
    common_columns,
    content_of,
    fresh_database,
    insert_everywhere,
    migrated_database,
    printed_sql,
    run_sql,
    squawk,
    steps,
)

pytestmark = pytest.mark.heavy

# As many revisions are between two whose tables get rows in the test of all of them.
_APART = 10


@pytest.fixture
async def fresh(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with fresh_database(cluster) as database:
        yield database


@pytest.fixture
async def at_head(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster) as database:
        yield database


@pytest.fixture
async def at_before(cluster: Cluster, before: str) -> AsyncIterator[Fresh]:
    """A database at the revision that the test's parameter `before` names."""
    async with migrated_database(cluster, before) as database:
        yield database


@pytest.fixture
async def at_after(cluster: Cluster, after: str) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, after) as database:
        yield database


async def test_the_chain_is_linear_and_numbered() -> None:
    names = sorted(path.name for path in (PROJECT / "alembic" / "versions").glob("*.py"))
    assert names[:9] == [
        "001_initial.py",
        "002_add_suppliers.py",
        "003_add_porf_lines.py",
        "004_add_porf_status_and_relationships.py",
        "005_add_purchase_orders.py",
        "006_add_approvals_and_history.py",
        "007_add_row_level_security.py",
        "008_add_idempotency.py",
        "009_update_auth_models.py",
    ]
    assert [name[:3] for name in names] == REVISIONS == [f"{number:03}" for number in range(1, len(names) + 1)]
    assert REVISIONS[-1] == HEAD


async def test_each_revision_declares_what_its_downgrade_loses() -> None:
    assert [revision.name for revision in revisions.chain() if revision.loses == revisions.NOT_SAID] == []


@pytest.mark.parametrize(("before", "after"), steps(REVISIONS))
async def test_data_survives_up_down_up_and_the_schema_comes_back(at_before: Fresh, before: str, after: str) -> None:
    await insert_everywhere(at_before)
    old_columns, old_schema = await columns_of(at_before), await at_before.schema()
    old_content = await content_of(at_before, old_columns)
    assert all(len(rows) >= 2 for rows in old_content.values())

    await at_before.to(after)
    new_columns, new_schema = await columns_of(at_before), await at_before.schema()
    common = common_columns(old_columns, new_columns)
    content = await content_of(at_before, common)
    await at_before.to(before)
    assert await columns_of(at_before) == old_columns
    assert await at_before.schema() == old_schema
    assert await content_of(at_before, old_columns) == old_content
    assert await content_of(at_before, common) == content

    await at_before.to(after)
    assert await at_before.schema() == new_schema
    assert await content_of(at_before, common) == content


@pytest.mark.parametrize(("before", "after"), steps(REVISIONS))
async def test_data_of_a_revision_survives_down_and_up(at_after: Fresh, before: str, after: str) -> None:
    await insert_everywhere(at_after)
    new_columns, new_schema = await columns_of(at_after), await at_after.schema()
    complete = await content_of(at_after, new_columns)

    await at_after.to(before)
    common = common_columns(new_columns, await columns_of(at_after))
    kept = await content_of(at_after, common)
    assert revisions.loses(after) is not None or kept == complete
    assert {table: len(rows) for table, rows in kept.items()} == {table: len(complete[table]) for table in kept}

    await at_after.to(after)
    assert await at_after.schema() == new_schema
    assert await content_of(at_after, common) == kept


@pytest.mark.exhaustive
async def test_the_author_of_a_request_becomes_its_requester_and_back(fresh: Fresh) -> None:
    await fresh.to("003")
    await insert_everywhere(fresh)
    authors = "SELECT id, {} AS who FROM porfs ORDER BY id"
    before = await fresh.fetch(authors.format("user_id"))
    await fresh.to("004")
    assert await fresh.fetch(authors.format("requester_id")) == before
    await fresh.to("003")
    assert await fresh.fetch(authors.format("user_id")) == before
    assert len({row["who"] for row in before}) == 2


async def test_the_schema_at_head_is_that_of_the_models(at_head: Fresh) -> None:
    status, _, errors = await at_head.call(alembic, "check")
    assert status == 0, errors


async def test_all_revisions_run_up_and_down_on_data_and_leave_nothing(cluster: Cluster, fresh: Fresh) -> None:
    async with fresh_database(cluster) as database:
        for revision in (*REVISIONS[::_APART], HEAD):
            await database.to(revision)
            await insert_everywhere(database, organisations=1)
        await assert_sound(database)
        content = await content_of(database, await columns_of(database))
        assert all(content.values())
        assert len(content["organisations"]) == len([*REVISIONS[::_APART], HEAD])
        await database.to("base")
        await _assert_empty(database)
        assert await database.schema() == await fresh.schema()


async def _assert_empty(database: Fresh) -> None:
    for catalogue, namespace in (
        ("pg_class", "relnamespace"),
        ("pg_proc", "pronamespace"),
        ("pg_type", "typnamespace"),
    ):
        left = await database.fetch(f"SELECT * FROM {catalogue} WHERE {namespace} = 'public'::regnamespace")
        assert left == [], catalogue


async def test_alembic_needs_nothing_but_database_url_and_may_run_again(cluster: Cluster) -> None:
    async with migrated_database(cluster, REVISIONS[-2]) as database:
        status, _, errors = await database.run(BINARIES / "alembic", "upgrade", "head", DATABASE_URL=database.owner)
        assert status == 0, errors
        await assert_sound(database)
        status, _, errors = await database.call(alembic, "upgrade", "head")
        assert status == 0, errors
        await assert_sound(database)


async def test_a_separate_application_role_gets_its_rights(fresh: Fresh) -> None:
    environment = {"DATABASE_URL": fresh.app, "DATABASE_MIGRATION_URL": fresh.owner}
    status, _, errors = await fresh.call(alembic, "upgrade", "head", **environment)
    assert status == 0, errors
    rights = await fresh.fetch(
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS granted"
        " FROM information_schema.role_table_grants WHERE grantee = 'po_app' GROUP BY table_name"
    )
    granted = {row["table_name"]: row["granted"] for row in rights}
    assert granted.keys() == {*ORDER, "alembic_version", "schema_info"}
    assert granted["alembic_version"] == granted["schema_info"] == "SELECT"
    for table in ORDER:
        is_frozen = table in migrations.APPEND_ONLY or table in migrations.UPDATABLE
        assert granted[table] == ("INSERT SELECT" if is_frozen else "DELETE INSERT SELECT UPDATE")
    columns = await fresh.fetch(
        "SELECT table_name, column_name FROM information_schema.column_privileges"
        " WHERE grantee = 'po_app' AND privilege_type = 'UPDATE' AND table_name = ANY ($1)",
        [*migrations.UPDATABLE],
    )
    expected = {(table, name) for table, names in migrations.UPDATABLE.items() for name in names}
    assert {(row["table_name"], row["column_name"]) for row in columns} == expected


@pytest.mark.parametrize(("main", "arguments"), [(po_api, ("migrate", "--to")), (alembic, ("upgrade",))])
async def test_four_processes_may_migrate_at_once(
    fresh: Fresh, main: Callable[[], None], arguments: tuple[str, ...]
) -> None:
    results = await asyncio.gather(*(fresh.call(main, *arguments, REVISIONS[_APART]) for _ in range(4)))
    assert [status for status, _, _ in results] == [0] * 4, results
    await assert_sound(fresh, REVISIONS[_APART])


async def test_the_printed_sql_makes_the_same_schema(fresh: Fresh, at_head: Fresh, tmp_path: Path) -> None:
    await run_sql(fresh, printed_sql(tmp_path, "base:head"))
    await assert_sound(fresh)
    # `po-api migrate` also grants the rights of the application's role.
    granted = [line for line in await at_head.schema() if not line.endswith(" TO po_app;")]
    assert await fresh.schema() == granted


@pytest.mark.parametrize(
    ("revisions", "excluded"),
    [
        ("base:003", NOT_APPLICABLE),
        ("003:004", [*NOT_APPLICABLE, *RENAMING]),
        ("004:018", NOT_APPLICABLE),
        ("018:019", [*NOT_APPLICABLE, *STABLE_DEFAULTS]),
        ("019:020", NOT_APPLICABLE),
        ("020:021", [*NOT_APPLICABLE, *CONTRACTING]),
        ("021:head", NOT_APPLICABLE),
    ],
)
def test_squawk_finds_nothing(tmp_path: Path, revisions: str, excluded: list[str]) -> None:
    assert squawk(printed_sql(tmp_path, revisions), excluded) == (0, "")


async def _start(database: Fresh) -> None:
    settings = Settings(_env_file=None)
    application = create_app(settings, Connections(database.owner, database.app, "k" * 32))
    async with application.router.lifespan_context(application):
        pass


async def test_the_application_refuses_a_schema_that_is_not_its_own(fresh: Fresh, at_head: Fresh) -> None:
    await fresh.to("004")
    with pytest.raises(StaleSchema, match=rf"revision 004.*needs {HEAD}"):
        await _start(fresh)
    await _start(at_head)


async def test_the_application_refuses_an_empty_database(fresh: Fresh) -> None:
    with pytest.raises(StaleSchema, match=rf"revision none.*needs {HEAD}"):
        await _start(fresh)


async def test_the_command_migrates_and_shows_the_status(fresh: Fresh) -> None:
    status, output, errors = await fresh.call(po_api, "migrate", "--to", "004")
    assert (status, errors) == (0, "")
    *done, arrived = output.splitlines()
    assert [re.sub(r"  +\d+\.\d\d s  .+", "", line) for line in done] == REVISIONS[:4]
    assert arrived == "empty -> 004"

    status, output, errors = await fresh.call(po_api, "migrate", "--status")
    assert (status, errors) == (1, "")
    place, *pending = output.splitlines()
    assert place == f"database: 004, this version: {HEAD}"
    assert [line.split()[:2] for line in pending] == [["pending:", name] for name in REVISIONS[4:]]


async def test_the_command_migrates_to_this_versions_revision(cluster: Cluster) -> None:
    async with migrated_database(cluster, REVISIONS[-2]) as database:
        status, output, errors = await database.call(po_api, "migrate", "--no-backup")
        assert (status, errors) == (0, "")
        assert output.splitlines()[-1] == f"{REVISIONS[-2]} -> {HEAD}"
        assert await database.call(po_api, "migrate") == (0, f"{HEAD} -> {HEAD}\n", "")
        asked = f"database: {HEAD}, this version: {HEAD}\n"
        assert await database.call(po_api, "migrate", "--status") == (0, asked, "")


async def test_the_command_refuses_what_is_no_revision_with_one_line(fresh: Fresh) -> None:
    status, output, errors = await fresh.call(po_api, "migrate", "--to", "nonsense")
    assert (status, output) == (1, "")
    assert re.fullmatch(r"po-api: .*nonsense.*\n", errors)


@pytest.mark.parametrize(("main", "arguments"), [(po_api, ("migrate",)), (alembic, ("upgrade", "head"))])
async def test_a_database_that_is_not_there_is_one_line(
    fresh: Fresh, main: Callable[[], None], arguments: tuple[str, ...]
) -> None:
    url = f"{fresh.owner.rpartition('/')[0]}/missing"
    assert url != fresh.owner
    status, _, errors = await fresh.call(main, *arguments, DATABASE_URL=url)
    assert status != 0
    assert "Traceback" not in errors
