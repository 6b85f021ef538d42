"""Portable backups of the embedded server, and the move of its data from another major version: PostgreSQL 15."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_api.operations.backups.catalogue import Catalogue
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.restore import Goal, bring_up
from po_api.operations.backups.tools import server_programs
from po_api.operations.embedded.server import MAJOR, embedded_server
from po_api.operations.progress import Progress
from po_api.settings import Settings
from support.applications import SECRET_KEY
from support.command_line import CommandLine
from support.demo_data import copy_demo
from support.watchdog import temporary_directory

pytestmark = pytest.mark.heavy

OLDER = 15


@pytest.fixture(scope="module")
def po() -> Iterator[CommandLine]:
    with temporary_directory("po-portable-") as place:
        made = CommandLine.at(place, SECRET_KEY=SECRET_KEY)
        copy_demo(made.data_dir)
        yield made


@pytest.fixture(scope="module")
def portable(po: CommandLine) -> str:
    copy = po.backup()
    name = po.backup("--portable")
    assert (copy.endswith("-full"), name.endswith("-dump")) == (True, True)
    return name


def test_it_is_restored_by_name(po: CommandLine, portable: str) -> None:
    po.add_user("since@company.example")
    there = po.having(PO_DATA_DIR=str(po.place / "restored"))
    po.ok("backup", "restore", portable, "--target", str(there.data_dir))
    assert there.users() == po.users() - {"since@company.example"}
    # By default the copy is restored, with the WAL since.
    po.backup()
    everything = po.having(PO_DATA_DIR=str(po.place / "everything"))
    po.ok("backup", "restore", "--target", str(everything.data_dir))
    assert everything.users() == po.users()


def test_one_with_the_changes_of_another_is_refused(po: CommandLine) -> None:
    assert "a portable backup is always complete" in po.fails("backup", "create", "--portable", "--incremental")


@pytest.mark.exhaustive
def test_data_move_to_another_major_version_and_back(po: CommandLine, portable: str) -> None:
    try:
        binaries = server_programs(OLDER, is_exact=True)
    except BackupError:
        pytest.skip(f"PostgreSQL {OLDER} is not installed")
    # To the earlier one: as much as its settings allow is restored from the dump.
    older = po.having(PO_DATA_DIR="older", BACKUP_DIR=str(po.place / "older-backups"))
    catalogue = Catalogue.of(Settings(_env_file=None, po_data_dir=po.data_dir))
    bring_up(catalogue, Goal(catalogue.get(portable)), older.data_dir, Progress(), binaries=binaries)
    assert (older.data_dir / "postgres" / "PG_VERSION").read_text() == f"{OLDER}\n"
    with embedded_server(older.data_dir, binaries=binaries) as urls:
        users = older.users()
        # The same as the database of a server.
        server = po.having(
            DATABASE_URL=urls.app, DATABASE_MIGRATION_URL=urls.owner, BACKUP_DIR=str(po.place / "server-backups")
        )
        shutil.copytree(po.backups / portable, server.backups / portable)
        assert "`po-api backup confirm`" in server.ok("backup", "restore", portable, "--replace")
        server.ok("backup", "confirm")
        assert server.users() == users

    line = older.fails("users", "list")
    assert f"was created by PostgreSQL {OLDER}, not {MAJOR}: run `po-api backup upgrade`" in line
    output = older.ok("backup", "upgrade")
    assert f"moved to PostgreSQL {MAJOR}" in output
    assert (older.data_dir / "postgres" / "PG_VERSION").read_text() == f"{MAJOR}\n"
    assert older.users() == users
    assert older.ok("migrate", "--status").startswith("database: ")
    (kept,) = older.listed()
    assert kept[-1] == f"before the move from PostgreSQL {OLDER} to {MAJOR}"
    assert "there is nothing to do" in older.fails("backup", "upgrade")
    (replaced,) = older.data_dir.glob("postgres.replaced-*")
    assert str(replaced) in older.ok("backup", "confirm")
    assert not replaced.exists()


def test_a_copy_of_another_major_version_is_refused(po: CommandLine, portable: str, tmp_path: Path) -> None:
    catalogue = Catalogue.of(Settings(_env_file=None, po_data_dir=po.data_dir))
    copy = next(backup for backup in catalogue.all() if backup.is_copy)
    catalogue.write(copy.model_copy(update={"server_version": OLDER * 10_000}))
    try:
        for command in (["verify", copy.name], ["restore", copy.name, "--target", str(tmp_path / "target")]):
            assert f"is a copy of the files of PostgreSQL {OLDER}" in po.fails("backup", *command)
    finally:
        catalogue.write(copy)
