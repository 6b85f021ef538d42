"""The catalogue of backups: a directory, its records, and their retention.

    BACKUP_DIR/
        .lock                           held while a backup is created, verified, restored or deleted
        20261122T100000Z-full/          one directory for each backup
            data/ or database.dump      the output of PostgreSQL's tools
            backup.json                 the record, written last: without it there is no backup
        wal/<system identifier>/        the WAL archive of an embedded server (archive.py)

All files belong to the user that PostgreSQL's programs run as, and are closed to other users.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from po_api.core.clock import utc_now
from po_api.operations.backups.errors import BackupError
from po_api.operations.embedded import server_user
from po_api.operations.embedded.server import embedded_server_stopped
from po_api.settings import Settings

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    import pwd

RECORD = "backup.json"
_SCRATCH = ".scratch-"
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
        """The time at which the newest backup was finished; None if there is none."""
        return max((backup.finished_at for backup in self.all()), default=None)

    def last_verified(self) -> datetime | None:
        """The time of the last successful verification; None if there was none."""
        return max((backup.verified_at for backup in self.all() if backup.verified_at), default=None)

    def path(self, backup: Backup) -> Path:
        return self.directory / backup.name

    def chain(self, backup: Backup) -> Sequence[Backup]:
        """The backup with its bases, the full one first. Raises BackupError if one is missing."""
        chain = [backup]
        while (base := chain[0].base) is not None:
            chain.insert(0, self.get(base))
        return chain

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the catalogue for changes. Raises BackupError if another process holds the lock.

        The lock ends with the process, even if that is killed; remains of a killed process are removed first.
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
        """Delete the remains of killed processes: scratch directories and backups without a record."""
        for remains in self.directory.glob(f"{_SCRATCH}*"):
            if (remains / "postgres").exists():
                with embedded_server_stopped(remains):
                    pass
            shutil.rmtree(remains)
        for path in self.directory.iterdir():
            if _NAME.fullmatch(path.name) and not (path / RECORD).exists():
                shutil.rmtree(path)

    @contextmanager
    def unfinished(self, kind: Kind) -> Iterator[Path]:
        """A new directory for a backup; it is deleted at the end unless its record was written."""
        directory = self.directory / f"{utc_now():%Y%m%dT%H%M%SZ}-{kind}"
        while directory.exists():  # two in one second
            directory = directory.with_name(f"{directory.name}-2")
        self.make_directory(directory)
        try:
            yield directory
        finally:
            if not (directory / RECORD).exists():
                shutil.rmtree(directory, ignore_errors=True)

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
        """Write or replace the record, atomically and durably."""
        record = backup.model_dump_json(indent=1, exclude_none=True) + "\n"
        self.write_file(self.path(backup) / RECORD, record.encode())
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
        """Delete a backup, the record first: without it, the rest is removed as remains."""
        directory = self.path(backup)
        (directory / RECORD).unlink()
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
