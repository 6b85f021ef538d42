"""The chain of revisions: up and down on databases that hold data, alone and at once, online and as SQL."""

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from po_api.app import create_app
from po_api.db.database import libpq_url
from po_api.operations import migrations, revisions
from po_api.operations.databases import Connections
from po_api.operations.schema import StaleSchema
from po_api.settings import Settings
from support.clusters import Cluster

PROJECT = Path(__file__).parents[1]
BINARIES = Path(sys.executable).parent
REVISIONS = [revision.name for revision in revisions.chain()]
HEAD = revisions.head_revision()

NOT_APPLICABLE = [
    "prefer-robust-stmts",  # for new tables: IF NOT EXISTS would hide one that is not the expected one
    "ban-drop-constraint",  # a step taken again drops what it adds, in the same statement
    "prefer-bigint-over-int",  # positions, rounds and versions stay small; ids are bigint
    "prefer-text-field",  # Alembic's own table
    "require-lock-timeout",  # both are set on the connection that migrates
    "require-statement-timeout",
]
# The author becomes the requester: the version that runs meanwhile ends with this revision however it is done.
RENAMING = ["renaming-column", "renaming-object"]

_serial = itertools.count(1)


@dataclass(frozen=True)
class Fresh:
    """A new database of the cluster's, and the URLs of the two roles."""

    name: str
    owner: str
    app: str
    binaries: Path
    connection: asyncpg.Connection

    async def to(self, revision: str) -> None:
        await migrations.upgrade(owner_url=self.owner, app_url=self.app, to=revision, may_lose_data=True)

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.connection.fetch(statement, *values)
        return rows

    async def schema(self) -> list[str]:
        """The schema as `pg_dump` prints it; sorted, since a column that comes back stands last."""
        status, output, errors = await self.run(self.binaries / "pg_dump", "--schema-only", libpq_url(self.owner))
        assert status == 0, errors
        lines = [line.rstrip(",") for line in output.splitlines()]
        # `\restrict` carries a key that differs each time.
        return sorted(line for line in lines if line and not line.startswith(("--", "\\")))

    async def start(self, *command: str | Path, **environment: str) -> asyncio.subprocess.Process:
        """A command in the project's directory with nothing but DATABASE_URL set."""
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=PROJECT,
            env={"DATABASE_URL": self.owner} | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *command: str | Path, **environment: str) -> tuple[int, str, str]:
        """Such a command's exit status and what it wrote to stdout and stderr."""
        process = await self.start(*command, **environment)
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def fresh_database(cluster: Cluster, template: str = "template1") -> AsyncIterator[Fresh]:
    """A new database, empty or a copy of one that nobody is connected to."""
    name = f"fresh{next(_serial)}"
    superuser = await asyncpg.connect(libpq_url(cluster.url("postgres", "postgres")))
    await superuser.execute(f"CREATE DATABASE {name} OWNER po_owner TEMPLATE {template}")
    owner, app = cluster.url(name, "po_owner"), cluster.url(name, "po_app")
    # Plans are not kept: the tables change under them.
    connection = await asyncpg.connect(libpq_url(owner), statement_cache_size=0)
    try:
        yield Fresh(name, owner, app, cluster.binaries, connection)
    finally:
        await connection.close()
        await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await superuser.close()


@pytest.fixture
async def fresh(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with fresh_database(cluster) as database:
        yield database


# Values by the name of the column, such that every check of every revision holds; `{n}` differs from row to row.
VALUES = {
    "actor_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "after": """'{{"total": "1.50"}}'""",
    "approval_limit": "1000.50",
    "approval_round": "2",
    "approver_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "author_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "before": "NULL",
    "body": r"'\x00ff'",
    "content": r"'\x255044460a'",
    "content_hash": "repeat('a', 64)",
    "created_by_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "currency": "'GBP'",
    "decision": "'approved'",
    "digest": "repeat('b', 64)",
    "document_type": "'porf'",
    "entity_id": "{n}",
    "headers": """'{{"etag": "1"}}'""",
    "name": "'Zoë {n} 株式会社'",
    "net": "1.25",
    "next_value": "{n}",
    "ordered_quantity": "3.5",
    "organisation_id": "{organisation}",
    "over_order_percent": "10",
    "po_prefix": "'B{n}'",
    "porf_id": "(SELECT id FROM porfs WHERE organisation_id = {organisation} ORDER BY id DESC LIMIT 1)",
    "porf_line_id": "(SELECT id FROM porf_lines WHERE organisation_id = {organisation} ORDER BY id DESC LIMIT 1)",
    "porf_prefix": "'P{n}'",
    "position": "{n}",
    "purchase_order_id": "(SELECT id FROM purchase_orders WHERE organisation_id = {organisation}"
    " ORDER BY id DESC LIMIT 1)",
    "purchase_order_line_id": "(SELECT id FROM purchase_order_lines WHERE organisation_id = {organisation}"
    " ORDER BY id DESC LIMIT 1)",
    "quantity": "10.1234",
    "released_quantity": "2",
    "request_hash": "repeat('c', 64)",
    "requester_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
    "revision": "1",
    "roles": "'{{admin,buyer}}'",
    "scopes": "'{{porfs:read}}'",
    "session_id": "(SELECT max(id) FROM sessions)",
    "round": "2",
    "status": "'closed'",
    "supplier_id": "(SELECT id FROM suppliers WHERE organisation_id = {organisation} LIMIT 1)",
    "tax": "0.25",
    "tax_rounding": "'line'",
    "token": "lpad('{n}', 64, '0')",
    "total": "1.50",
    "unit": "'KGM'",
    "user_id": "(SELECT id FROM users WHERE organisation_id = {organisation} LIMIT 1)",
}
BY_TYPE = {
    "bytea": r"'\x00ff'",
    "bigint": "{n}",
    "integer": "{n}",
    "numeric": "7.5",
    "text": "'text {n} – ü'",
    "boolean": "true",
    "date": "DATE '2026-12-24'",
    "timestamp with time zone": "TIMESTAMPTZ '2026-11-22 10:00:00.123456+00'",
}
SPECIAL = {("idempotency_records", "status"): "201"}

# Parents before their children.
ORDER = (
    "organisations",
    "users",
    "suppliers",
    "porfs",
    "porf_lines",
    "number_series",
    "purchase_orders",
    "purchase_order_lines",
    "allocations",
    "purchase_order_files",
    "approval_decisions",
    "porf_comments",
    "audit_events",
    "idempotency_records",
    "sessions",
    "rotated_tokens",
    "sign_in_attempts",
    "sign_in_codes",
    "api_keys",
)


async def _columns(database: Fresh) -> dict[str, dict[str, str]]:
    """The types of the columns of every table but those of the migrations themselves."""
    found: dict[str, dict[str, str]] = {}
    rows = await database.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name NOT IN ('alembic_version', 'schema_info') ORDER BY column_name"
    )
    for row in rows:
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    return found


def _insert(table: str, columns: dict[str, str], organisation: int) -> str:
    names = [name for name in columns if name != "id"]
    values = [SPECIAL.get((table, name)) or VALUES.get(name) or BY_TYPE[columns[name]] for name in names]
    number = 100 + next(_serial)
    filled = ", ".join(value.format(n=number, organisation=organisation) for value in values)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({filled})"


async def insert_everywhere(database: Fresh, organisations: int = 2) -> None:
    """A row in every table of the present revision for each of some new organisations, every column filled."""
    columns = await _columns(database)
    assert columns.keys() <= set(ORDER)
    for _ in range(organisations):
        await database.fetch(_insert("organisations", columns["organisations"], 0))
        (row,) = await database.fetch("SELECT max(id) AS id FROM organisations")
        for table in ORDER[1:]:
            if table in columns:
                await database.fetch(_insert(table, columns[table], row["id"]))


async def _content(database: Fresh, columns: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """The rows of each table as text, by these columns."""
    content = {}
    for table, names in columns.items():
        row = ", ".join(names)
        found = await database.fetch(f"SELECT ROW({row})::text AS row FROM {table} ORDER BY 1")
        content[table] = [record["row"] for record in found]
    return content


def _common(some: dict[str, dict[str, str]], others: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {
        table: {name: kind for name, kind in names.items() if name in others[table]}
        for table, names in some.items()
        if table in others
    }


async def test_the_chain_is_the_one_that_was_asked_for() -> None:
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


async def test_each_revision_says_what_going_back_loses() -> None:
    assert [revision.name for revision in revisions.chain() if revision.loses == revisions.NOT_SAID] == []


@pytest.mark.parametrize(("before", "after"), list(itertools.pairwise(REVISIONS)))
async def test_data_survives_up_down_up_and_the_schema_comes_back(fresh: Fresh, before: str, after: str) -> None:
    await fresh.to(before)
    await insert_everywhere(fresh)
    old_columns, old_schema = await _columns(fresh), await fresh.schema()
    old_content = await _content(fresh, old_columns)
    assert all(len(rows) >= 2 for rows in old_content.values())

    await fresh.to(after)
    new_columns, new_schema = await _columns(fresh), await fresh.schema()
    common = _common(old_columns, new_columns)
    content = await _content(fresh, common)
    await fresh.to(before)
    assert await _columns(fresh) == old_columns
    assert await fresh.schema() == old_schema
    assert await _content(fresh, old_columns) == old_content
    assert await _content(fresh, common) == content

    await fresh.to(after)
    assert await fresh.schema() == new_schema
    assert await _content(fresh, common) == content


@pytest.mark.parametrize(("before", "after"), list(itertools.pairwise(REVISIONS)))
async def test_data_of_a_revision_survives_down_and_up(fresh: Fresh, before: str, after: str) -> None:
    await fresh.to(after)
    await insert_everywhere(fresh)
    new_columns, new_schema = await _columns(fresh), await fresh.schema()
    complete = await _content(fresh, new_columns)

    await fresh.to(before)
    common = _common(new_columns, await _columns(fresh))
    kept = await _content(fresh, common)
    assert revisions.loses(after) is not None or kept == complete
    assert {table: len(rows) for table, rows in kept.items()} == {table: len(complete[table]) for table in kept}

    await fresh.to(after)
    assert await fresh.schema() == new_schema
    assert await _content(fresh, common) == kept


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


async def test_head_is_what_the_models_say(fresh: Fresh) -> None:
    await fresh.to("head")
    status, _, errors = await fresh.run(BINARIES / "alembic", "check")
    assert status == 0, errors


async def test_downgrade_to_base_leaves_nothing(fresh: Fresh) -> None:
    empty = await fresh.schema()
    await fresh.to("head")
    await insert_everywhere(fresh)
    await fresh.to("base")
    for catalogue, namespace in (
        ("pg_class", "relnamespace"),
        ("pg_proc", "pronamespace"),
        ("pg_type", "typnamespace"),
    ):
        left = await fresh.fetch(f"SELECT * FROM {catalogue} WHERE {namespace} = 'public'::regnamespace")
        assert left == [], catalogue
    assert await fresh.schema() == empty


async def assert_sound(database: Fresh) -> None:
    """At head, without an invalid index or a constraint that was never validated."""
    assert [row["version_num"] for row in await database.fetch("SELECT version_num FROM alembic_version")] == [HEAD]
    assert await database.fetch("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid") == []
    assert await database.fetch("SELECT conname FROM pg_constraint WHERE NOT convalidated") == []


async def test_alembic_needs_nothing_but_database_url_and_may_run_again(fresh: Fresh) -> None:
    for _ in range(2):
        status, _, errors = await fresh.run(BINARIES / "alembic", "upgrade", "head")
        assert status == 0, errors
        await assert_sound(fresh)


async def test_a_separate_application_role_gets_its_rights(fresh: Fresh) -> None:
    environment = {"DATABASE_URL": fresh.app, "DATABASE_MIGRATION_URL": fresh.owner}
    status, _, errors = await fresh.run(BINARIES / "alembic", "upgrade", "head", **environment)
    assert status == 0, errors
    rights = await fresh.fetch(
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS granted"
        " FROM information_schema.role_table_grants WHERE grantee = 'po_app' GROUP BY table_name"
    )
    granted = {row["table_name"]: row["granted"] for row in rights}
    assert granted.keys() == {*ORDER, "alembic_version", "schema_info"}
    assert granted["alembic_version"] == granted["schema_info"] == "SELECT"
    for table in ORDER:
        assert granted[table] == ("INSERT SELECT" if table in migrations.APPEND_ONLY else "DELETE INSERT SELECT UPDATE")


@pytest.mark.parametrize("command", [("po-api", "migrate"), ("alembic", "upgrade", "head")])
async def test_four_processes_may_migrate_at_once(fresh: Fresh, command: tuple[str, ...]) -> None:
    program, *arguments = command
    results = await asyncio.gather(*(fresh.run(BINARIES / program, *arguments) for _ in range(4)))
    assert [status for status, _, _ in results] == [0] * 4, results
    await assert_sound(fresh)


def printed_sql(tmp_path: Path, revisions: str, project: Path = PROJECT) -> Path:
    """The SQL of some revisions, printed without a database."""
    command = [str(BINARIES / "alembic"), "upgrade", revisions, "--sql"]
    result = subprocess.run(command, cwd=project, env={}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "upgrade.sql"
    path.write_text(result.stdout)
    return path


async def run_sql(database: Fresh, path: Path) -> None:
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={path}")
    status, _, errors = await database.run(database.binaries / "psql", *options, libpq_url(database.owner))
    assert status == 0, errors


async def test_the_printed_sql_makes_the_same_schema(fresh: Fresh, tmp_path: Path) -> None:
    await run_sql(fresh, printed_sql(tmp_path, "base:head"))
    printed = await fresh.schema()
    await assert_sound(fresh)
    await fresh.to("base")
    await migrations.upgrade(owner_url=fresh.owner, app_url=fresh.owner)
    assert await fresh.schema() == printed


@pytest.mark.parametrize(
    ("revisions", "excluded"),
    [("base:003", NOT_APPLICABLE), ("003:004", [*NOT_APPLICABLE, *RENAMING]), ("004:head", NOT_APPLICABLE)],
)
def test_squawk_finds_nothing(tmp_path: Path, revisions: str, excluded: list[str]) -> None:
    assert squawk(printed_sql(tmp_path, revisions), excluded) == (0, "")


def squawk(path: Path, excluded: list[str]) -> tuple[int, str]:
    """squawk's exit status, and what it has against the SQL of a file."""
    command = [BINARIES / "squawk", "--pg-version=15.0", "--reporter=gcc", f"--exclude={','.join(excluded)}", path]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


async def _start(database: Fresh) -> None:
    settings = Settings(_env_file=None)
    application = create_app(settings, Connections(database.owner, database.app, "k" * 32))
    async with application.router.lifespan_context(application):
        pass


async def test_the_application_refuses_a_schema_that_is_not_its_own(fresh: Fresh) -> None:
    await fresh.to("004")
    with pytest.raises(StaleSchema, match=rf"revision 004.*needs {HEAD}"):
        await _start(fresh)
    await fresh.to("head")
    await _start(fresh)


async def test_the_application_refuses_an_empty_database(fresh: Fresh) -> None:
    with pytest.raises(StaleSchema, match=rf"revision none.*needs {HEAD}"):
        await _start(fresh)


async def test_the_command_migrates_and_shows_the_status(fresh: Fresh) -> None:
    po_api = BINARIES / "po-api"
    status, output, errors = await fresh.run(po_api, "migrate", "--to", "004")
    assert (status, errors) == (0, "")
    *done, arrived = output.splitlines()
    assert [re.sub(r"  +\d+\.\d\d s  .+", "", line) for line in done] == REVISIONS[:4]
    assert arrived == "empty -> 004"

    status, output, errors = await fresh.run(po_api, "migrate", "--status")
    assert (status, errors) == (1, "")
    place, *pending = output.splitlines()
    assert place == f"database: 004, this version: {HEAD}"
    assert [line.split()[:2] for line in pending] == [["pending:", name] for name in REVISIONS[4:]]

    status, output, errors = await fresh.run(po_api, "migrate", "--no-backup")
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == f"004 -> {HEAD}"
    assert await fresh.run(po_api, "migrate") == (0, f"{HEAD} -> {HEAD}\n", "")
    assert await fresh.run(po_api, "migrate", "--status") == (0, f"database: {HEAD}, this version: {HEAD}\n", "")


async def test_the_command_refuses_what_is_no_revision_with_one_line(fresh: Fresh) -> None:
    status, output, errors = await fresh.run(BINARIES / "po-api", "migrate", "--to", "nonsense")
    assert (status, output) == (1, "")
    assert re.fullmatch(r"po-api: .*nonsense.*\n", errors)


@pytest.mark.parametrize("command", [("po-api", "migrate"), ("alembic", "upgrade", "head")])
async def test_a_database_that_is_not_there_is_one_line(fresh: Fresh, command: tuple[str, ...]) -> None:
    url = f"{fresh.owner.rpartition('/')[0]}/missing"
    assert url != fresh.owner
    program, *arguments = command
    status, _, errors = await fresh.run(BINARIES / program, *arguments, DATABASE_URL=os.fspath(url))
    assert status != 0
    assert "Traceback" not in errors
