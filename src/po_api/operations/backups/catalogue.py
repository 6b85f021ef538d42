"""The catalogue of backups: a directory, its records, and their retention.

    BACKUP_DIR/
        .lock                           held while a backup is created, verified, restored or deleted
        20261122T100000Z-full/          one directory for each backup
            data/ or database.dump      the output of PostgreSQL's tools
            backup.json                 the record, written last
        20261122T100000Z-full.incomplete/   a backup that has lost its record: it is kept, but not used
        .unfinished-…/                  a backup that is being created, or whose process was killed
        wal/<system identifier>/        the WAL archive of an embedded server (archive.py)

All files belong to the user that PostgreSQL's programs run as, and are closed to other users.
"""

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from po_api.core.clock import utc_now
from po_api.operations.backups import orphans
from po_api.operations.backups.errors import BackupError
from po_api.operations.embedded import server_user
from po_api.operations.embedded.server import embedded_server_stopped
from po_api.settings import Settings

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    import pwd

RECORD = "backup.json"
COPY, DUMP, MANIFEST = "data", "database.dump", "backup_manifest"
INCOMPLETE = ".incomplete"
_SCRATCH = ".scratch-"
_UNFINISHED = ".unfinished-"
_IN_PROGRESS = ".in-progress"
_DELETED = ".deleted-"
_ORPHAN_SECONDS = 30
_POLL_SECONDS = 0.05
_NAME = re.compile(r"\d{8}T\d{6}Z-(full|incremental|dump)(-2)*")


class Kind(StrEnum):
    """`full` and `incremental` are copies of an embedded server's files, `dump` is the output of pg_dump."""

    FULL = "full"
    INCREMENTAL = "incremental"
    DUMP = "dump"


class Backup(BaseModel):
    """The record of a finished backup. Times are in UTC; `size` is in bytes; `base` is that of an incremental backup.

    `system` (PostgreSQL's system identifier), `timeline` and `first_wal` (the first WAL segment that its recovery
    needs) are those of copies; `sha256` is a dump's, since pg_dump keeps no checksum.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    started_at: AwareDatetime
    finished_at: AwareDatetime
    revision: str | None
    server_version: int
    size: int
    reason: str | None = None
    base: str | None = None
    system: str | None = None
    timeline: int | None = None
    first_wal: str | None = None
    sha256: str | None = None
    verified_at: AwareDatetime | None = None

    @property
    def is_copy(self) -> bool:
        return self.kind is not Kind.DUMP


@dataclass(frozen=True)
class Unfinished:
    """A backup that is being created. Tools that write into the directory inherit the descriptor `mark`."""

    name: str
    directory: Path
    mark: int


def _record(backup: Backup) -> bytes:
    return (backup.model_dump_json(indent=1, exclude_none=True) + "\n").encode()


def _ignore(_problem: str) -> None:
    """Warn nobody."""


class Catalogue:
    """The backups in `directory`, which `user` (None: the current one) owns."""

    def __init__(self, directory: Path, user: "pwd.struct_passwd | None" = None) -> None:
        self.directory = directory.resolve()
        self.user = user

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The configured catalogue. Creates no files and queries no server: reading it is always possible."""
        data_dir = settings.po_data_dir
        user = None
        if settings.database_url is None and data_dir.exists():
            try:
                user = server_user.find(data_dir)
            except server_user.NoServerUserError as error:
                raise BackupError(str(error)) from error
        return cls(settings.backup_dir or data_dir / "backups", user)

    def all(self) -> Sequence[Backup]:
        """The finished backups, the oldest first."""
        found = (self._read(path) for path in sorted(self.directory.glob(f"*/{RECORD}")))
        return sorted((backup for backup in found if backup is not None), key=lambda backup: backup.finished_at)

    def damaged(self) -> Sequence[Path]:
        """Records that cannot be read."""
        return [path for path in sorted(self.directory.glob(f"*/{RECORD}")) if self._read(path) is None]

    def get(self, name: str) -> Backup:
        """The backup with this name. Raises BackupError if there is none."""
        for backup in self.all():
            if backup.name == name:
                return backup
        raise BackupError(f"there is no backup {name!r} in {self.directory}: see `po-api backup list`")

    def newest(self) -> Backup:
        """The newest backup. Raises BackupError if there is none."""
        if not (found := self.all()):
            raise BackupError(f"there is no backup in {self.directory}: `po-api backup create` creates one")
        return found[-1]

    def last_success(self) -> datetime | None:
        """The time at which the newest whole backup was finished; None if there is none."""
        return max((backup.finished_at for backup in self.whole()), default=None)

    def last_verified(self) -> datetime | None:
        """The time of the last successful verification; None if there was none."""
        return max((backup.verified_at for backup in self.all() if backup.verified_at), default=None)

    def path(self, backup: Backup) -> Path:
        return self.directory / backup.name

    def chain(self, backup: Backup) -> Sequence[Backup]:
        """The backup with its bases, the full one first. Raises BackupError if one is missing, or its files are."""
        by_name = {found.name: found for found in self.all()}
        chain = [backup]
        self._require_files(backup, backup)
        while (base := chain[0].base) is not None:
            if base not in by_name:
                where = f" ({base}{INCOMPLETE} has lost its {RECORD})" if self._lost(base).exists() else ""
                raise BackupError(f"{backup.name} is broken: its base {base} is missing{where}")
            chain.insert(0, by_name[base])
            self._require_files(backup, chain[0])
        return chain

    def _require_files(self, backup: Backup, link: Backup) -> None:
        wanted = self.path(link) / (Path(COPY) / MANIFEST if link.is_copy else DUMP)
        if not wanted.exists():
            raise BackupError(f"{backup.name} is broken: {wanted} is missing")

    def fault(self, backup: Backup) -> str | None:
        """Why the backup cannot be restored, as far as it is known without reading its files; None if it is whole."""
        try:
            self.chain(backup)
        except BackupError as error:
            return str(error).partition(" is broken: ")[2]
        return None

    def whole(self) -> Sequence[Backup]:
        """The backups whose bases exist, the oldest first."""
        return [backup for backup in self.all() if self.fault(backup) is None]

    def incomplete(self) -> Sequence[Path]:
        """The directories of backups that have lost their record."""
        return sorted(path for path in self.directory.glob(f"*{INCOMPLETE}") if path.is_dir())

    def _lost(self, name: str) -> Path:
        return self.directory / f"{name}{INCOMPLETE}"

    @contextmanager
    def locked(self, warn: Callable[[str], None] = _ignore) -> Iterator[None]:
        """Lock the catalogue for changes. Raises BackupError if another process holds the lock.

        The lock ends with the process, even if that is killed; remains of a killed process are removed first. Backups
        that have lost their record are set aside, and reported to `warn`.
        """
        if sys.platform == "win32":
            raise BackupError("backups require flock, which Windows does not have")
        with self._one_line():
            self._take_over()
            lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                server_user.give_to_owner_of(self.directory, lock)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._clear_away()
                self._set_aside(warn)
                yield
            finally:
                os.close(lock)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Convert errors of the operating system to BackupError with one line."""
        try:
            yield
        except BlockingIOError:
            raise BackupError(
                f"another process is creating, verifying or restoring a backup in {self.directory}: try again later"
            ) from None
        except OSError as error:
            raise BackupError(f"cannot use {error.filename or self.directory}: {error.strerror}") from error

    def _take_over(self) -> None:
        """Create the directory, or give an empty one to the server's user. Raises BackupError for other directories."""
        if self.user is not None and self.directory.exists() and self.directory.stat().st_uid != self.user.pw_uid:
            if any(self.directory.iterdir()):
                name = self.user.pw_name
                raise BackupError(f"{self.directory} is not owned by {name} and not empty: choose another, or chown it")
            self._give(self.directory)
        self.make_directory(self.directory)

    def _clear_away(self) -> None:
        """Delete the remains of killed processes: scratch directories, backups that were not finished or deleted."""
        for remains in self.directory.glob(f"{_SCRATCH}*"):
            if (remains / "postgres").exists():
                with embedded_server_stopped(remains):
                    pass
            shutil.rmtree(remains)
        for remains in self.directory.glob(f"{_UNFINISHED}*"):
            os.close(self._mark(remains))
            shutil.rmtree(remains)
        for remains in self.directory.glob(f"{_DELETED}*"):
            shutil.rmtree(remains)

    def _set_aside(self, warn: Callable[[str], None]) -> None:
        """Rename backups without a record: they may be valuable, but what they are a backup of is not known."""
        for path in sorted(self.directory.iterdir()):
            if _NAME.fullmatch(path.name) and not (path / RECORD).exists():
                path.rename(self._lost(path.name))
        for path in self.incomplete():
            warn(f"{path} has lost its {RECORD} and is not used: see docs/operations.md")

    def _mark(self, directory: Path) -> int:
        """The descriptor of a locked file in an unfinished backup.

        Ends tools that a killed process has started, which hold the lock, and waits for them.
        """
        descriptor = os.open(directory / _IN_PROGRESS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise
                orphans.end(descriptor)
                time.sleep(_POLL_SECONDS)

    @contextmanager
    def unfinished(self, kind: Kind) -> "Iterator[Unfinished]":
        """A new backup, in a directory that `write` gives its name; it is deleted if that does not happen."""
        name = f"{utc_now():%Y%m%dT%H%M%SZ}-{kind}"
        while (self.directory / name).exists() or self._lost(name).exists():  # two in one second
            name = f"{name}-2"
        directory = self.directory / f"{_UNFINISHED}{name}"
        self.make_directory(directory)
        mark = self._mark(directory)
        try:
            yield Unfinished(name, directory, mark)
        finally:
            os.close(mark)
            if directory.exists():
                shutil.rmtree(directory, ignore_errors=True)

    def finish(self, unfinished: "Unfinished", backup: Backup) -> None:
        """Write the record of a new backup, and give its directory its name."""
        (unfinished.directory / _IN_PROGRESS).unlink()
        self.write_file(unfinished.directory / RECORD, _record(backup))
        unfinished.directory.rename(self.path(backup))
        sync_directory(self.directory)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary directory to restore a backup into; deleted at the end."""
        directory = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self.directory))
        self._give(directory)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def write(self, backup: Backup) -> None:
        """Replace the record, atomically and durably."""
        self.write_file(self.path(backup) / RECORD, _record(backup))
        sync_directory(self.directory)

    def write_file(self, path: Path, content: bytes) -> None:
        """Write or replace a small file, atomically and durably."""
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            server_user.give_to_owner_of(path.parent, descriptor)
        Path(draft).replace(path)
        sync_directory(path.parent)

    def delete(self, backup: Backup) -> None:
        """Delete a backup. After an interruption the rest is removed as remains."""
        directory = self.path(backup).rename(self.directory / f"{_DELETED}{backup.name}")
        shutil.rmtree(directory)

    def make_directory(self, directory: Path) -> None:
        """Create a directory of the catalogue, closed to all but its owner."""
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700)
            self._give(path)
        if self.user is not None:
            server_user.admit(self.user.pw_uid, directory)

    def _give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _read(self, path: Path) -> Backup | None:
        with suppress(OSError, ValidationError):
            backup = Backup.model_validate_json(path.read_bytes())
            return backup if backup.name == path.parent.name else None
        return None


def expendable(backups: Sequence[Backup], *, keep_days: int, keep_count: int, now: datetime) -> Sequence[Backup]:
    """The `backups` (the oldest first) that may be deleted, in this order: incremental ones before their bases.

    Kept are those of the last `keep_days`, the last `keep_count`, the newest verified one, and all bases of these.
    """
    by_name = {backup.name: backup for backup in backups}
    verified = [backup for backup in backups if backup.verified_at]
    recent = [backup for backup in backups if now - backup.finished_at <= timedelta(days=keep_days)]
    kept: set[str] = set()
    for backup in (*recent, *backups[-keep_count:], *verified[-1:]):
        name: str | None = backup.name
        while name is not None and name in by_name:
            kept.add(name)
            name = by_name[name].base
    return [backup for backup in reversed(backups) if backup.name not in kept]


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
