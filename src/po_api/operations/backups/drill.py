"""The recovery drill: loses and restores a database in a temporary directory, and checks that damage is detected."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from po_api.operations import migrations
from po_api.operations.backups import archive, restore, state
from po_api.operations.backups.catalogue import COPY, Backup, Catalogue
from po_api.operations.backups.create import create
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.tools import Tools, embedded_tools
from po_api.operations.backups.verify import MakeApp, apart, verify
from po_api.operations.backups.wal_settings import SERVER_SETTINGS, SUFFIX
from po_api.operations.backups.workload import Workload
from po_api.operations.embedded.server import EmbeddedUrls, embedded_server
from po_api.operations.progress import Progress
from po_api.settings import Settings

_WAIT_SECONDS = 120
_POLL_SECONDS = 0.05
# Every write to it fails as on a full disk.
_FULL_DISK = Path("/dev/full")
# A digest of the rows of each organisation in `{table}`.
_DIGEST = """
SELECT '{table}' AS name, organisation_id, md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} t
WHERE organisation_id IS NOT NULL GROUP BY organisation_id
"""
_OWNED = """
SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attname = 'organisation_id'
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""


def drill(settings: Settings, archive_timeout: int, make_app: MakeApp, progress: Progress) -> str:
    """Run the drill; returns the result in one line. Raises BackupError if a step fails."""
    with tempfile.TemporaryDirectory(prefix="po-drill-", ignore_cleanup_errors=True) as directory:
        return _Drill(apart(settings, Path(directory) / "data"), archive_timeout, make_app, progress).run()


@dataclass
class _Drill:
    settings: Settings
    archive_timeout: int
    make_app: MakeApp
    progress: Progress

    def run(self) -> str:
        with self._server() as urls:
            backup, expected, moment, rpo = self._write_and_kill(urls)
        lost = time.monotonic()
        with self.progress.stage("destroyed the server's files"):
            shutil.rmtree(self._pgdata)
        goal = restore.choose(self._catalogue, None, moment, None)
        restore.restore_directory(
            self._catalogue, goal, self.settings.po_data_dir, self.progress, replace=False, is_archived=True
        )
        with self._server() as urls:
            self._require_restored(urls, expected)
            rto = time.monotonic() - lost
            self._lose_segment(urls, backup)
            self._flip_byte(backup)
            disk = self._fill_disk(urls)
        return f"drill passed: RPO {rpo:.1f} s, RTO {rto:.1f} s; detected: a missing WAL segment, a flipped byte{disk}"

    def _write_and_kill(self, urls: EmbeddedUrls) -> tuple[Backup, dict[str, list[str]], datetime, float]:
        """Fill an empty database and kill the server (SIGKILL). Returns a backup, the digests of the data at a time
        after it, that time, and the seconds until a change was archived."""
        workload = Workload(self.settings, urls, self.make_app)
        tools = self._tools(urls)
        with self.progress.stage("loaded: two organisations with orders"):
            asyncio.run(migrations.upgrade(owner_url=urls.owner, app_url=urls.app))
            workload.set_up()
            workload.write(orders=5)
        backup = create(self.settings, self.progress)
        with self.progress.stage("wrote more"):
            workload.write()
        expected = _digests(tools)
        moment = datetime.fromisoformat(tools.value("SELECT to_json(clock_timestamp()) #>> '{}'"))
        with self.progress.stage(f"marked {restore.utc(moment)}, then wrote changes that must not be restored"):
            workload.write()
            if _digests(tools) == expected:
                raise BackupError("the digests do not contain later changes")
        with self.progress.stage("waited for a change to be archived automatically"):
            tools.query("SELECT pg_switch_wal()")
            changed = time.monotonic()
            workload.write()
            segment = self._segment(tools)
            self._wait(lambda: self._archived(backup, segment), "the archive's next segment")
            rpo = time.monotonic() - changed
        os.kill(int((self._pgdata / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        return backup, expected, moment, rpo

    def _require_restored(self, urls: EmbeddedUrls, expected: dict[str, list[str]]) -> None:
        tools = self._tools(urls)
        workload = Workload(self.settings, urls, self.make_app)
        with self.progress.stage("compared each organisation's data with the data at that time"):
            if _digests(tools) != expected:
                raise BackupError("the restored data differ from the data at that time")
        with self.progress.stage("confirmed: not ready before, ready after"):
            if (codes := workload.reasons()) != ["restore_unconfirmed"]:
                raise BackupError(f"/health/ready does not report the restore: {codes}")
            asyncio.run(state.confirm(urls.owner))
            if codes := workload.reasons():
                raise BackupError(f"/health/ready reports after the confirmation: {codes}")

    def _lose_segment(self, urls: EmbeddedUrls, backup: Backup) -> None:
        """Hide the first segment that was written since the restore: a restore must fail and name it."""
        tools = self._tools(urls)
        segments = []
        with self.progress.stage("wrote, and waited until the WAL was archived"):
            for _ in range(2):
                segments.append(self._segment(tools))
                Workload(self.settings, urls, self.make_app).write()
                tools.query("SELECT pg_switch_wal()")
                self._wait(lambda: self._archived(backup, segments[-1]), "the archive's next segment")
        victim = self._archive(backup) / f"{segments[0]}{SUFFIX}"
        hidden = victim.rename(victim.with_suffix(".hidden"))
        try:
            self._must_fail("lost a WAL segment", lambda: self._restore_elsewhere(backup), segments[0])
        finally:
            hidden.rename(victim)

    def _restore_elsewhere(self, backup: Backup) -> None:
        goal = restore.Goal(backup, is_latest=True)
        target = self.settings.po_data_dir.with_name("elsewhere")
        restore.restore_directory(self._catalogue, goal, target, self.progress, replace=False, is_archived=False)

    def _flip_byte(self, backup: Backup) -> None:
        base = self._catalogue.path(backup) / COPY / "base"
        victim = max((path for path in base.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        _flip(victim)
        try:
            self._must_fail(
                "flipped a byte", lambda: verify(self.settings, backup, self.make_app, self.progress), victim.name
            )
        finally:
            _flip(victim)

    def _must_fail(self, what: str, work: Callable[[], object], named: str) -> None:
        started = time.monotonic()
        try:
            work()
        except BackupError as error:
            if named in str(error):
                self.progress.done(f"{what}: {error}", time.monotonic() - started)
                return
            raise
        raise BackupError(f"{what}, and it was not detected")

    def _fill_disk(self, urls: EmbeddedUrls) -> str:
        """Simulate a full disk of the archive: the API serves and reports it, and archiving catches up afterwards."""
        if not _FULL_DISK.exists():
            return "; skipped: a full archive disk (no /dev/full)"
        tools = self._tools(urls)
        workload = Workload(self.settings, urls, self.make_app)
        (backup, *_) = self._catalogue.all()
        with self.progress.stage("filled the archive's disk: it served, reported it, and caught up afterwards"):
            segment = self._segment(tools)
            # The file that the archive command writes to.
            draft = self._archive(backup) / f"{segment}{SUFFIX}.part"
            draft.symlink_to(_FULL_DISK)
            workload.write()
            tools.query("SELECT pg_switch_wal()")
            self._wait(workload.archive_fails, "readiness to report failing archiving")
            if codes := workload.reasons():
                raise BackupError(f"with a full archive disk it is not ready: {codes}")
            workload.write()
            draft.unlink()
            tools.query("SELECT pg_switch_wal()")  # wakes the archiver
            self._wait(lambda: self._archived(backup, segment), "the segment that could not be archived")
            self._wait(lambda: not workload.archive_fails(), "readiness to report working archiving")
        return ", a full archive disk"

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.archive_timeout + _WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise BackupError(f"timed out waiting for {what}")
            time.sleep(_POLL_SECONDS)

    def _server(self) -> AbstractContextManager[EmbeddedUrls]:
        settings = {**SERVER_SETTINGS, "archive_timeout": str(self.archive_timeout)}
        return embedded_server(self.settings.po_data_dir, settings=settings)

    def _tools(self, urls: EmbeddedUrls) -> Tools:
        superuser = urls.superuser.replace("/postgres?", "/po_api?")
        return embedded_tools(superuser, self._catalogue.user)

    def _segment(self, tools: Tools) -> str:
        """The current WAL segment."""
        return tools.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")

    def _archive(self, backup: Backup) -> Path:
        return archive.directory(self._catalogue, str(backup.system))

    def _archived(self, backup: Backup, segment: str) -> bool:
        return (self._archive(backup) / f"{segment}{SUFFIX}").exists()

    @property
    def _catalogue(self) -> Catalogue:
        return Catalogue.of(self.settings)

    @property
    def _pgdata(self) -> Path:
        return self.settings.po_data_dir / "postgres"


def _digests(tools: Tools) -> dict[str, list[str]]:
    """For each organisation, the digests of its rows in each table.

    Of all tables in one statement: each is another process and connection.
    """
    statements = [_DIGEST.replace("{table}", table) for (table,) in tools.query(_OWNED)]
    found: dict[str, list[str]] = {}
    for table, organisation, digest in tools.query(" UNION ALL ".join(statements) + " ORDER BY 1, 2"):
        found.setdefault(organisation, []).append(f"{table} {digest}")
    return found


def _flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
