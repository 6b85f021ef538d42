"""Space on the embedded server's disk that is given up when a full disk prevents its start.

PostgreSQL needs space to recover after a crash: on a full disk it cannot start, and only a running server frees the WAL
that fills the disk when archiving fails. Two things lead out of this circle without an operator:

- `postgres.reserve`, a file beside the data, is deleted before a start, and created again once there is enough space;
- if WAL waits for an archive that has no space or is gone, archiving is turned off. Later changes can then be restored
  only from the next backup, which turns it on again.
"""

import os
from pathlib import Path

from po_api.observability.logging import get_logger
from po_api.operations.backups.wal_settings import LINK, TURNED_OFF
from po_api.operations.disk import free_bytes
from po_api.operations.embedded import server_user

# Two WAL segments, which a recovery may require.
MIN_FREE_BYTES = 32 << 20
RESERVE = "postgres.reserve"
RESERVE_BYTES = 48 << 20
# As much again has to remain free, which is more than a start requires: it is not created and deleted alternately.
_ROOM_BYTES = 2 * RESERVE_BYTES

_log = get_logger(__name__)


def before_start(data_dir: Path, *, is_automatic: bool) -> None:
    """Make room for a start on a full disk. `is_automatic`: after the server has ended by itself.

    The reserve is then kept for the operator, unless WAL that can be removed is what fills the disk.
    """
    if _is_short(data_dir):
        # Archived segments, too: the checkpoint at the end of the recovery removes them.
        is_removable = _bytes_of_wal(data_dir / "postgres", ".ready", ".done") >= MIN_FREE_BYTES
        if is_removable or not is_automatic:
            _give_up_reserve(data_dir)
        if is_removable:
            _check_archive(data_dir / "postgres")


def tend(data_dir: Path) -> None:
    """While the server runs: create the reserve if there is room, turn archiving off before WAL fills the disk."""
    pgdata = data_dir / "postgres"
    if _is_short(data_dir) and _bytes_of_wal(pgdata, ".ready") >= MIN_FREE_BYTES:
        _check_archive(pgdata)
    elif not (data_dir / RESERVE).exists() and (free_bytes(data_dir) or 0) >= _ROOM_BYTES:
        _create_reserve(data_dir)


def is_archiving_off(data_dir: Path) -> bool:
    """Whether archiving was turned off for lack of space, and no backup has turned it on again."""
    return (data_dir / "postgres" / TURNED_OFF).is_symlink()


def warn_of_lost_archive(data_dir: Path) -> None:
    """Log it if archiving is off for lack of space."""
    if is_archiving_off(data_dir):
        _log.error("wal_archive_is_off", action="free space for backups, then run `po-api backup create`")


def _is_short(data_dir: Path) -> bool:
    free = free_bytes(data_dir)
    return free is not None and free < MIN_FREE_BYTES


def _bytes_of_wal(pgdata: Path, *states: str) -> int:
    """The size of the WAL segments in these states: `.ready` wait to be archived, `.done` are archived, or would be if
    archiving were not off."""
    wal = pgdata / "pg_wal"
    marks = [mark for mark in (wal / "archive_status").glob("*") if mark.suffix in states]
    return sum(_size(wal / mark.stem) for mark in marks)


def _size(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except FileNotFoundError:  # removed meanwhile
        return 0


def _check_archive(pgdata: Path) -> None:
    """Turn archiving off unless the archive has space for segments."""
    link = pgdata / LINK
    if link.is_symlink() and (free_bytes(link) or 0) < MIN_FREE_BYTES:
        target = link.readlink()
        link.replace(pgdata / TURNED_OFF)
        _log.error(
            "wal_archive_turned_off",
            archive=str(target),
            reason="the database's disk is full, and the archive has no space or is missing",
            action="free space for backups, then run `po-api backup create`",
        )


def _give_up_reserve(data_dir: Path) -> None:
    reserve = data_dir / RESERVE
    if reserve.exists():
        reserve.unlink()
        _log.error("disk_reserve_given_up", path=str(reserve), action="free space on the database's disk")


def _create_reserve(data_dir: Path) -> None:
    reserve = data_dir / RESERVE
    try:
        descriptor = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        server_user.give_to_owner_of(data_dir, descriptor)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            else:
                file.write(os.urandom(RESERVE_BYTES))  # which no file system compresses
        except OSError:
            reserve.unlink()
            raise
