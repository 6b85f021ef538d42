"""Backups of the embedded server with real processes: copies, the WAL archive, point-in-time recovery."""

import asyncio
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from po_api.operations.backups.catalogue import Catalogue
from po_api.operations.embedded.server import embedded_server
from po_api.operations.revisions import chain, head_revision
from support.applications import SECRET_KEY, client_of, new_app
from support.clusters import connected
from support.command_line import CommandLine
from support.demo_data import copy_demo
from support.polling import wait_until
from support.watchdog import temporary_directory

pytestmark = pytest.mark.heavy

BEFORE, SINCE = "before@company.example", "since@company.example"


@dataclass(frozen=True)
class Story:
    """A full copy, a user, a time, another user, an incremental copy."""

    po: CommandLine
    full: str
    time: str
    incremental: str


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with (
        temporary_directory("po-backups-") as place,
        CommandLine.with_demo(place, SECRET_KEY=SECRET_KEY) as po,
    ):
        full = po.backup()
        po.add_user(BEFORE)
        moment = _pass_a_millisecond()
        po.add_user(SINCE)
        yield Story(po, full, moment, po.backup("--incremental"))


def _pass_a_millisecond() -> str:
    """The current time, with all later changes after it."""
    now = datetime.now(UTC)
    wait_until(lambda: datetime.now(UTC).timestamp() - now.timestamp() >= 0.002, "the next millisecond")
    return now.isoformat()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for the files of one test."""
    with temporary_directory("po-backup-") as made:
        yield made


@pytest.fixture
def copy(story: Story, place: Path) -> CommandLine:
    """A catalogue for one test, which may damage it."""
    made = story.po.having(BACKUP_DIR=str(place / "copy"))
    shutil.copytree(story.po.backups, made.backups)
    owner = story.po.backups.stat()
    for path in (made.backups, *made.backups.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    return made


def test_a_backup_is_listed_and_closed_to_others(story: Story) -> None:
    full, incremental = (fields for fields in story.po.listed() if fields[0] in {story.full, story.incremental})
    assert (full[0], full[3], full[4]) == (story.full, head_revision(), "not verified")
    assert (incremental[0], incremental[5]) == (story.incremental, f"based on {story.full}")
    assert float(incremental[2].split()[0]) < float(full[2].split()[0])
    for path in (story.po.backups, *story.po.backups.rglob("*")):
        # WAL that is being archived gets its name meanwhile.
        with suppress(FileNotFoundError):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert (story.po.data_dir / "postgres" / "wal_archive").resolve().parent == story.po.backups / "wal"


def test_verified_is_what_was_restored(story: Story) -> None:
    catalogue = Catalogue(story.po.backups)
    output = story.po.ok("backup", "verify", story.incremental)
    assert output.endswith(f"{story.incremental} is verified\n")
    assert "checksum of every page" in output
    assert "checked the API" in output
    found = catalogue.get(story.incremental)
    assert found.verified_at == catalogue.last_verified()
    assert catalogue.last_success() == max(backup.finished_at for backup in catalogue.all())
    assert list(story.po.backups.glob(".scratch*")) == []


def test_the_state_of_a_time_is_restored_and_all_sessions_are_ended(story: Story, place: Path) -> None:
    token = story.po.ok("sessions", "create", "--email", "admin@demo.example").strip()
    there = story.po.having(PO_DATA_DIR=str(place / "restored"))
    output = story.po.ok("backup", "restore", "--to", story.time, "--target", str(there.data_dir))
    assert "`po-api backup confirm`" in output
    assert there.users() & {BEFORE, SINCE} == {BEFORE}
    assert story.po.users() >= {BEFORE, SINCE}

    with embedded_server(there.data_dir) as urls:
        ready, me = asyncio.run(_ask(urls.app, token))
        assert (ready.status_code, me.status_code) == (503, 401)
        (reason,) = ready.json()["reasons"]
        assert reason["code"] == "restore_unconfirmed"
        assert story.time[:19] in reason["detail"]
        there.ok("backup", "confirm")
        assert asyncio.run(_ask(urls.app, token))[0].status_code == 200
    assert "there is no restore to confirm" in there.fails("backup", "confirm")


async def _ask(url: str, token: str) -> tuple[httpx.Response, httpx.Response]:
    """Its readiness, and the user of this token."""
    async with client_of(new_app(url)) as client:
        headers = {"Authorization": f"Bearer {token}"}
        return await client.get("/health/ready"), await client.get("/api/v1/users/me", headers=headers)


def test_without_a_time_everything_that_was_archived_comes_back(story: Story, place: Path) -> None:
    story.po.add_user("last@company.example")
    story.po.backup()  # which ends a segment of the log
    story.po.ok("backup", "restore", story.full, "--target", str(place / "first"))
    assert not story.po.having(PO_DATA_DIR=str(place / "first")).users() & {BEFORE, SINCE}
    story.po.ok("backup", "restore", "--target", str(place / "all"))
    assert story.po.having(PO_DATA_DIR=str(place / "all")).users() >= {BEFORE, SINCE, "last@company.example"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "2020-01-01T00:00:00Z"], "there is no backup from before 2020-01-01T00:00:00Z"),
        (["--to", "2999-01-01T00:00:00Z"], "is in the future"),
        (["--to", "2026-11-22T10:00:00"], "the time zone is missing"),
        (["--to", "yesterday"], "expected a time such as"),
        (["nothing"], "there is no backup 'nothing'"),
        ([], "contains data"),
    ],
)
def test_what_cannot_be_restored_is_one_line(story: Story, options: list[str], words: str) -> None:
    assert words in story.po.fails("backup", "restore", *options)


def test_data_in_use_are_not_replaced(story: Story) -> None:
    assert "is in use: stop what uses it first" in story.po.fails("backup", "restore", "--replace")


def test_a_flipped_byte_is_found(copy: CommandLine, story: Story, place: Path) -> None:
    (largest, *_) = sorted(
        (copy.backups / story.full / "data" / "base").rglob("*"), key=lambda path: -path.stat().st_size
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    for command in (["verify", story.full], ["restore", story.full, "--target", str(place / "target")]):
        line = copy.fails("backup", *command)
        assert "the backup is damaged" in line
        assert largest.name in line
    assert not (place / "target" / "postgres").exists()


def test_a_hole_in_the_log_is_not_passed_over(copy: CommandLine, story: Story, place: Path) -> None:
    archived = sorted((copy.backups / "wal").glob("*/*[0-9A-F].gz"))
    first = str(Catalogue(copy.backups).get(story.full).first_wal)
    kept = {path.name for path in (copy.backups / story.full / "data" / "pg_wal").iterdir()}
    wanted = next(path for path in archived if path.stem > first and path.stem not in kept)
    target = ("--to", story.time, "--target", str(place / "target"))
    wanted.write_bytes(wanted.read_bytes()[:-20])
    assert "is damaged" in copy.fails("backup", "restore", story.full, *target)
    wanted.unlink()
    line = copy.fails("backup", "restore", story.full, *target)
    assert f"segment {wanted.stem} is missing" in line
    assert f"`po-api backup restore {story.full}`" in line


def test_two_at_once_are_one(story: Story) -> None:
    with (story.po.backups / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is creating, verifying or restoring" in story.po.fails("backup", "create")
        story.po.ok("backup", "list")


def test_a_killed_backup_is_none(story: Story) -> None:
    before = story.po.listed()
    process = story.po.start("backup", "create")
    (left,) = wait_until(lambda: list(story.po.backups.glob(".unfinished-*")), "a backup that has begun")
    process.kill()
    process.communicate()
    assert story.po.listed() == before
    # A child of it that was just being started may have the lock until it runs another program.
    wait_until(lambda: _is_unlocked(story.po.backups / ".lock"), "the end of the lock")
    story.po.backup()
    assert not left.exists()


def _is_unlocked(path: Path) -> bool:
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_backup_without_its_record_is_set_aside(copy: CommandLine, story: Story, place: Path) -> None:
    full = copy.backups / story.full
    record = (full / "backup.json").rename(place / "record")
    (broken,) = (fields for fields in copy.listed() if fields[0] == story.incremental)
    assert broken[4] == f"BROKEN: its base {story.full} is missing"
    line = copy.fails("backup", "verify", story.incremental)
    assert f"{story.incremental} is broken: its base {story.full} is missing" in line
    archived = {path.name for path in (copy.backups / "wal").glob("*/*")}

    code, output, errors = copy.run("backup", "create", "--incremental")
    aside = full.with_name(f"{story.full}.incomplete")
    assert (code, f"warning: {aside} has lost its backup.json and is not used" in errors) == (0, True), errors
    made = output.splitlines()[-1]
    assert [fields[4] for fields in copy.listed() if fields[0] == made] == ["not verified"]  # its base is another one
    assert (aside / "data" / "backup_manifest").exists()
    assert archived <= {path.name for path in (copy.backups / "wal").glob("*/*")}
    assert "has lost its backup.json" in copy.run("backup", "list")[2]
    assert f"({aside.name} has lost its backup.json)" in copy.fails("backup", "verify", story.incremental)

    # The runbook: with its record it is a backup again.
    aside.rename(full)
    shutil.copy(record, full / "backup.json")
    assert not [fields for fields in copy.listed() if fields[4].startswith("BROKEN")]
    (full / "data" / "backup_manifest").unlink()
    assert {fields[0] for fields in copy.listed() if fields[4].startswith("BROKEN")} == {story.full, story.incremental}


def test_a_corrupt_page_is_named_and_restored_without_loss(place: Path) -> None:
    po = CommandLine.at(place, SECRET_KEY=SECRET_KEY)
    copy_demo(po.data_dir)
    po.backup()
    po.add_user(SINCE)
    with embedded_server(po.data_dir) as urls:
        file = asyncio.run(_file_of(urls.owner, "suppliers"))
    path = po.data_dir / "postgres" / file
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    block = len(content) // 8192 - 1
    line = po.fails("backup", "create")
    assert f"wrong checksum in block {block} of {file} (suppliers)" in line
    assert "`A page is corrupt` in docs/operations.md" in line
    assert len(po.listed()) == 1

    po.ok("backup", "restore", "--replace")
    assert SINCE in po.users()
    po.backup()


async def _file_of(url: str, table: str) -> str:
    async with connected(url) as connection:
        found: str = await connection.fetchval("SELECT pg_relation_filepath($1::text::regclass)", table)
        return found


@pytest.mark.exhaustive
def test_what_a_restore_replaces_is_kept_until_it_is_confirmed(place: Path) -> None:
    po = CommandLine.at(place, SECRET_KEY=SECRET_KEY).having(PO_DATA_DIR="data")  # relative, as the default is
    copy_demo(po.data_dir)
    users, earlier = po.users(), chain()[-2].name
    po.ok("migrate", "--no-backup", "--allow-data-loss", "--to", earlier)
    # Backups are made before it is changed, unless that is not wanted; an archive is not begun for that.
    po.ok("migrate")
    (name, *fields), (portable, *others) = po.listed()
    assert fields[2:] == others[2:] == [earlier, "not verified", "before a migration"]
    assert (name.endswith("-full"), portable.endswith("-dump")) == (True, True)
    po.ok("migrate", "--no-backup", "--allow-data-loss", "--to", earlier)
    po.ok("migrate", "--no-backup")
    assert len(po.listed()) == 2
    pgdata = po.data_dir / "postgres"
    assert not (pgdata / "wal_archive").exists()

    output = po.ok("backup", "restore", name, "--replace")
    (replaced,) = po.data_dir.glob("postgres.replaced-*")
    assert str(replaced) in output
    # As after a kill between the two renames.
    pgdata.rename(po.data_dir / "elsewhere")
    assert f"mv {replaced} {pgdata}" in po.fails("users", "list")
    (po.data_dir / "elsewhere").rename(pgdata)
    assert po.run("migrate", "--status")[1].startswith(f"database: {earlier},")
    assert str(replaced) in po.ok("backup", "confirm")
    assert not replaced.exists()

    # Old backups go, with the log that only they needed; the newest that is known to be good stays.
    po.ok("backup", "verify", name)
    strict = po.having(BACKUP_KEEP_DAYS="0", BACKUP_KEEP_COUNT="1")
    first, second = strict.backup(), strict.backup()
    assert [fields[0] for fields in po.listed()] == [name, portable, second]
    shutil.rmtree(po.backups / name)
    third = strict.backup()
    assert [fields[0] for fields in po.listed()] == [portable, third]
    needed = Catalogue(po.backups).get(third).first_wal
    archived = [path.stem for path in (po.backups / "wal").glob("*/*[0-9A-F].gz")]
    assert min(archived) >= str(needed)
    assert first != second != third

    # All of the log is found, though nobody ever started the first of these two, though the newest backup is of a time
    # that was taken back, and though the disk is lost.
    po.backup()
    for _ in range(2):
        po.ok("backup", "restore", third, "--replace")
    po.add_user(SINCE)
    for lost in (pgdata, *po.data_dir.glob("postgres.replaced-*")):
        shutil.rmtree(lost)
    assert f"restored backup {third} and all WAL archived since" in po.ok("backup", "restore")
    assert po.users() == users | {SINCE}
    assert (pgdata / "wal_archive").is_dir()


# Its steps are tested above, and in test_full_disk.
@pytest.mark.exhaustive
def test_the_drill_passes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    output = CommandLine.at(place).ok("backup", "drill", "--archive-timeout", "1")
    result = output.splitlines()[-1]
    assert result.startswith("drill passed: RPO ")
    assert result.endswith("detected: a missing WAL segment, a flipped byte, a full archive disk")
