"""The catalogue: the retention of backups, and damaged records."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from po_api.operations.backups.catalogue import Backup, Catalogue, Kind, expendable
from po_api.operations.backups.tools import split_password

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def backup(name: str, *, days: float, base: str | None = None, verified: bool = False) -> Backup:
    """A backup that was finished this number of days ago."""
    at = NOW - timedelta(days=days)
    return Backup(
        name=name,
        kind=Kind.INCREMENTAL if base else Kind.FULL,
        started_at=at,
        finished_at=at,
        revision="011",
        server_version=180004,
        size=1,
        base=base,
        verified_at=NOW if verified else None,
    )


@pytest.mark.parametrize(
    ("backups", "gone"),
    [
        ([], []),
        ([backup("a", days=90)], []),
        ([backup("a", days=90), backup("b", days=80), backup("c", days=70)], ["a"]),
        ([backup("a", days=90), backup("b", days=6), backup("c", days=5), backup("d", days=4)], ["a"]),
        ([backup("a", days=90, verified=True), backup("b", days=80), backup("c", days=2), backup("d", days=1)], ["b"]),
        ([backup("a", days=90), backup("b", days=80, base="a"), backup("c", days=2, base="b")], []),
        ([backup("a", days=90), backup("b", days=80, base="a"), backup("c", days=2), backup("d", days=1)], ["b", "a"]),
    ],
)
def test_what_may_go(backups: list[Backup], gone: list[str]) -> None:
    found = expendable(backups, keep_days=7, keep_count=2, now=NOW)
    assert [item.name for item in found] == gone


def test_a_backup_is_what_has_a_record(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    assert (catalogue.all(), catalogue.last_success(), catalogue.last_verified()) == ([], None, None)
    for name in ("20261122T100000Z-full", "20261122T100001Z-full", "20261122T100002Z-dump", "somebody's-own"):
        (tmp_path / name).mkdir()
    (tmp_path / "20261122T100000Z-full" / "data").mkdir()
    (tmp_path / "20261122T100000Z-full" / "data" / "backup_manifest").touch()
    catalogue.write(backup("20261122T100000Z-full", days=0))
    (tmp_path / "20261122T100001Z-full" / "backup.json").write_text("{")
    assert [item.name for item in catalogue.all()] == ["20261122T100000Z-full"]
    assert [path.parent.name for path in catalogue.damaged()] == ["20261122T100001Z-full"]
    assert (catalogue.last_success(), catalogue.last_verified()) == (NOW, None)
    (tmp_path / ".unfinished-20261122T100003Z-full").mkdir()
    (tmp_path / ".deleted-20261122T100004Z-full").mkdir()
    warnings: list[str] = []
    with catalogue.locked(warnings.append):
        pass
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    aside = "20261122T100002Z-dump.incomplete"
    assert left == {"20261122T100000Z-full", "20261122T100001Z-full", aside, "somebody's-own"}
    assert warnings == [f"{tmp_path / aside} has lost its backup.json and is not used: see docs/operations.md"]


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        ("postgresql+asyncpg://u:p%40%2B+x@h:5432/d", "postgresql://u@h:5432/d", "p@++x"),
        ("postgresql://u@/d?host=/run/a b&password=s&port=1", "postgresql://u@/d?host=%2Frun%2Fa%20b&port=1", "s"),
        ("postgresql:///d?host=%2Frun", "postgresql:///d?host=%2Frun", None),
        ("postgresql://u:@h1,h2:5433/d?sslmode=require", "postgresql://u@h1,h2:5433/d?sslmode=require", ""),
    ],
)
def test_no_password_is_left_in_an_address(url: str, address: str, password: str | None) -> None:
    assert split_password(url) == (address, password)


def test_tools_that_a_killed_process_has_left_behind_are_ended(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    directory = tmp_path / ".unfinished-20261122T100003Z-full"
    directory.mkdir()
    # Two processes, as those of pg_basebackup: the second one would hold the lock after the first has ended.
    holder = f"""
import fcntl, os, sys
mark = os.open("{directory / ".in-progress"}", os.O_RDWR | os.O_CREAT)
fcntl.flock(mark, fcntl.LOCK_EX)
if os.fork():
    print("ready", flush=True)
    os._exit(0)
import time
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", holder], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.wait() == 0
    # A program that copies the directory has the file open, without its lock.
    with (directory / ".in-progress").open() as file:
        copier = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(file.fileno(),))
    with catalogue.locked():
        assert not directory.exists()
    copier.communicate(b"go on\n")
    assert copier.returncode == 0
    # The second process, which had the lock too, has ended.
    assert process.stdout.read() == ""
    process.stdout.close()
