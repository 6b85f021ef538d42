"""Backups of a server's database: dumps, by real processes on the tests' PostgreSQL."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from po_api.core.clock import utc_now
from po_api.db.database import libpq_url, open_database
from po_api.operations import migrations
from po_api.operations.revisions import chain, head_revision
from po_api.settings import Settings
from support.applications import SECRET_KEY
from support.clusters import Cluster, copying
from support.command_line import CommandLine
from support.feeds import relayed

pytestmark = pytest.mark.heavy

SINCE = "since@company.example"


@pytest.fixture(scope="module")
def owner_url(cluster: Cluster) -> Iterator[str]:
    """A database for this module, at head, and its owner's URL."""
    _execute(cluster.url("postgres", "postgres"), copying(cluster.templates[head_revision()], "backed_up"))
    yield cluster.url("backed_up", "po_owner")
    _execute(cluster.url("postgres", "postgres"), "DROP DATABASE backed_up WITH (FORCE)")


@pytest.fixture(scope="module")
def po(cluster: Cluster, owner_url: str, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    made = CommandLine.at(
        tmp_path_factory.mktemp("backups"),
        DATABASE_URL=cluster.url("backed_up", "po_app"),
        DATABASE_MIGRATION_URL=owner_url,
        SECRET_KEY=SECRET_KEY,
    )
    made.ok("seed-demo")
    return made


def _execute(url: str, statement: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(libpq_url(url))
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.mark.exhaustive
def test_a_dump_is_verified_and_restored(po: CommandLine, owner_url: str, tmp_path: Path) -> None:
    token = po.ok("sessions", "create", "--email", "admin@demo.example")
    assert token
    name = po.backup()
    assert "Z-dump" in name  # with a number, if it is the second of its second
    assert po.ok("backup", "verify").endswith(f"{name} is verified\n")
    po.add_user(SINCE)
    before = po.users()

    assert "the database contains tables: --replace" in po.fails("backup", "restore", name)
    assert "is a dump of the state at" in po.fails("backup", "restore", name, "--to", utc_now().isoformat())
    output = po.ok("backup", "restore", name, "--replace")
    assert po.users() == before - {SINCE}
    live = _execute(owner_url, "SELECT FROM sessions WHERE revoked_at IS NULL")
    assert live == []
    # The replaced data are a backup, too.
    (replaced,) = (fields[0] for fields in po.listed() if fields[-1] == "before a restore replaced it")
    assert replaced in output
    assert "confirmed: backup" in po.ok("backup", "confirm")
    po.ok("backup", "restore", replaced, "--replace")
    assert po.users() == before
    po.ok("backup", "confirm")

    # Beside it, to look at.
    po.ok("backup", "restore", name, "--target", str(tmp_path))
    assert CommandLine.at(tmp_path, PO_DATA_DIR=str(tmp_path)).users() == before - {SINCE}


def test_what_other_tools_have_restored_is_settled_and_confirmed(po: CommandLine, owner_url: str) -> None:
    po.ok("sessions", "create", "--email", "admin@demo.example")
    assert "the time zone is missing" in po.fails("backup", "settle", "--restored-to", "2026-11-22T10:00:00")
    po.ok("backup", "settle", "--restored-to", "2026-11-22 10:00:00+00")
    assert _execute(owner_url, "SELECT FROM sessions WHERE revoked_at IS NULL") == []
    assert po.ok("backup", "confirm").startswith("confirmed: the state of 2026-11-22T10:00:00Z, by other tools, at ")
    assert "there is no restore to confirm" in po.fails("backup", "confirm")


def test_a_changed_event_is_found_in_the_database_and_in_its_backup(po: CommandLine, owner_url: str) -> None:
    asyncio.run(_number_events(po.environment["DATABASE_URL"]))
    name, _, noted = po.ok("audit", "verify").removesuffix("\n").partition(": ")
    assert name == "organisation 1"
    expecting = ("audit", "verify", "--organisation", "1", "--expect")
    assert po.ok(*expecting, noted) == f"organisation 1: {noted}\n"
    assert "--expect: requires --organisation" in po.fails("audit", "verify", "--expect", noted)
    assert "--expect: expected a number" in po.fails(*expecting, "1")
    assert "there is no organisation 99" in po.fails("audit", "verify", "--organisation", "99")
    second = "(SELECT event_id FROM event_log WHERE number = 2)"
    change = f"UPDATE audit_events SET entity_id = entity_id {{}} 1 WHERE id = {second}"
    _execute(owner_url, change.format("+"))
    try:
        code, output, errors = po.run("audit", "verify")
        assert (code, errors.startswith("po-api: the audit trail was changed: 1 faults")) == (1, True)
        assert "(number 2) or its seal was changed" in output
        po.backup()
        assert "(number 2) or its seal was changed" in po.fails("backup", "verify")
    finally:
        _execute(owner_url, change.format("-"))
    assert po.ok("audit", "verify").startswith("organisation 1: ")


def test_a_restore_begins_another_feed(po: CommandLine, owner_url: str) -> None:
    asyncio.run(_number_events(po.environment["DATABASE_URL"]))
    current = "SELECT feed, last_number, last_seal FROM event_feeds WHERE ended_at IS NULL"
    users, name, (before,) = po.users(), po.backup(), _execute(owner_url, current)
    po.add_user("later@company.example")
    po.ok("backup", "restore", name, "--replace")
    assert po.users() == users
    (after,) = _execute(owner_url, current)
    assert after["feed"] != before["feed"]
    assert [*after.values()][1:] == [*before.values()][1:]
    assert before["feed"] in {row["feed"] for row in _execute(owner_url, "SELECT feed FROM event_feeds")}
    po.ok("backup", "confirm")
    assert po.ok("audit", "verify") == f"organisation 1: {after['last_number']}:{after['last_seal']}\n"


async def _number_events(app_url: str) -> None:
    database = open_database(app_url, Settings(_env_file=None))
    try:
        await relayed(database, 1)
    finally:
        await database.dispose()


def test_a_damaged_dump_is_found_before_anything_is_replaced(po: CommandLine) -> None:
    name, users = po.backup(), po.users()
    dump = po.backups / name / "database.dump"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    assert "the backup is damaged" in po.fails("backup", "restore", name, "--replace")
    assert po.users() == users


def test_a_role_that_does_not_see_everything_makes_no_backup(po: CommandLine) -> None:
    before = po.listed()
    line = po.having(DATABASE_MIGRATION_URL=po.environment["DATABASE_URL"]).fails("backup", "create")
    assert "row-level security hides rows of" in line
    assert po.listed() == before
    assert [path for path in po.backups.glob("*Z-dump") if not (path / "backup.json").exists()] == []


def test_without_the_tools_it_is_one_line(po: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("po_api.operations.backups.tools._installed", dict)
    assert "pg_dump, pg_restore and psql of PostgreSQL" in po.fails("backup", "create")


def test_a_migration_requires_a_recent_backup_if_configured(po: CommandLine, owner_url: str, tmp_path: Path) -> None:
    earlier = chain()[-2].name
    url = po.environment["DATABASE_URL"]
    asyncio.run(migrations.upgrade(owner_url=owner_url, app_url=url, to=earlier, may_lose_data=True))
    strict = po.having(BACKUP_MAX_AGE_HOURS="1", BACKUP_DIR=str(tmp_path / "none"))
    assert "requires a backup of the last 1 h before a migration, but there is none" in strict.fails("migrate")
    strict.backup()
    assert f"{earlier} -> {head_revision()}" in strict.ok("migrate")

    asyncio.run(migrations.upgrade(owner_url=owner_url, app_url=url, to=earlier, may_lose_data=True))
    code, output, errors = po.run("migrate")
    assert (code, f"{earlier} -> {head_revision()}" in output) == (0, True)
    warning = "warning: no backup is created of a server's database before a migration: see BACKUP_MAX_AGE_HOURS"
    assert errors.splitlines()[0] == warning
