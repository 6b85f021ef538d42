"""The WAL archive of the embedded server: all WAL segments since the first copy, compressed.

`archive_mode` is always on, since changing it requires a restart. Whether segments are copied depends on a symbolic
link from the data directory to the archive: without it, as after a fresh `make run`, nothing is archived. The link is
created by the first `po-api backup create`, belongs to the data directory, and is not part of a copy, so that a
restored copy on trial never writes into the archive of the original. If the link is broken (the disk is not mounted)
or the disk is full, archiving fails, the server keeps the segments and continues, and `/health/ready` reports it.
Before they fill the database's disk, operations/disk_reserve.py turns archiving off.

A segment is written under another name, synced and renamed, so it appears complete. An existing one must be identical.
Retention is `pg_archivecleanup` up to the oldest copy that is kept.
"""

import gzip
import os
import re
import shlex
import shutil
import zlib
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from po_api.operations.backups.catalogue import Backup, Catalogue
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.tools import Tools
from po_api.operations.backups.wal_settings import LINK, SUFFIX, TURNED_OFF
from po_api.operations.embedded import server_user

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_SEGMENT_BYTES = 1 << 24
# A timeline, and the WAL position at which the next one branches off.
_HISTORY_LINE = re.compile(r"\s*(\d+)\s+([0-9A-F]+)/([0-9A-F]+)")
# Exit codes above 125 end a recovery with an error; others mean that there are no more segments.
_DAMAGED = 200


def directory(catalogue: Catalogue, system: str) -> Path:
    """The archive directory of the server with this system identifier."""
    return catalogue.directory / "wal" / system


def is_on(pgdata: Path) -> bool:
    """Whether the server of `pgdata` has archiving enabled."""
    return (pgdata / LINK).is_symlink()


def begin(catalogue: Catalogue, system: str, pgdata: Path) -> None:
    """Enable archiving of the server of `pgdata` into this catalogue."""
    place = directory(catalogue, system)
    catalogue.make_directory(place)
    (pgdata / TURNED_OFF).unlink(missing_ok=True)
    link = pgdata / LINK
    target = _target(place, pgdata)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    draft = link.with_name(f"{LINK}.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)


def go_on(catalogue: Catalogue, system: str, restored: Path, pgdata: Path) -> None:
    """Enable archiving for restored data, which will replace `pgdata`, if the server has an archive.

    The history files of timelines are archived at once: PostgreSQL chooses the number of a new timeline by the files
    that exist, so a restore that is never started must not leave a gap.
    """
    place = directory(catalogue, system)
    if not place.is_dir():
        return
    for history in (restored / "pg_wal").glob("*.history"):
        archived = place / f"{history.name}{SUFFIX}"
        if not archived.exists():
            catalogue.write_file(archived, gzip.compress(history.read_bytes()))
    (restored / LINK).symlink_to(_target(place, pgdata))


def _target(place: Path, pgdata: Path) -> str:
    """The target of the link, relative if possible, so that the data directory can be moved."""
    is_inside = place.is_relative_to(pgdata.parent.resolve())
    return os.path.relpath(place, pgdata.parent.resolve() / pgdata.name) if is_inside else str(place)


def restore_command(place: Path) -> str:
    """The `restore_command` for the archive at `place`: a damaged segment aborts recovery, a missing one ends it."""
    file = shlex.quote(f"{place}/").replace("%", "%%") + f"%f{SUFFIX}"
    return f"test -e {file} || exit 1; gzip -dc {file} > %p || exit {_DAMAGED}"


def require_whole(place: Path, copy: Path, backup: Backup, timeline: int | None = None) -> int:
    """Raise BackupError if segments are missing or damaged between the copy and the archive's end on a timeline (None:
    the latest); returns the timeline.

    PostgreSQL takes the first missing segment for the end of the WAL: it would restore an earlier state without an
    error.
    """
    assert backup.first_wal is not None
    size = _segment_size(copy)
    archived = {path.stem: path for path in _segments(place)}
    names = archived.keys() | {path.name for path in (copy / "pg_wal").iterdir() if _SEGMENT.fullmatch(path.name)}
    timeline = timeline or _latest(place, names | {backup.first_wal})
    spans = _spans(place, timeline, size)
    on_it = [_number(name, size) for name in names if int(name[:8], 16) == timeline]
    last = max(on_it, default=spans[timeline][0] - 1)  # a new timeline may have no segment yet
    for number in range(_number(backup.first_wal, size), last + 1):
        # The first segment of a timeline begins with a copy of the older one's, which ends where they branch.
        newest = max(line for line, (begin, end) in spans.items() if begin <= number <= end)
        name = _name(newest, number, size)
        if name not in names:
            raise BackupError(
                f"segment {name} is missing in the WAL archive {place}: later changes cannot be restored. The state at"
                f" the end of the backup can: `po-api backup restore {backup.name}`"
            )
        if name in archived:
            require_sound(archived[name], size)
    return timeline


def leads_on(place: Path, copy: Path, backup: Backup, timeline: int | None) -> bool:
    """Whether the WAL leads from this copy to the end of a timeline (None: the latest): not if the timeline branched
    off before the copy."""
    assert backup.first_wal is not None
    size = _segment_size(copy)
    spans = _spans(place, timeline or _latest(place, {backup.first_wal}), size)
    _, end = spans.get(int(backup.first_wal[:8], 16), (0, -1))
    return _number(backup.first_wal, size) <= end


def _latest(place: Path, names: Set[str]) -> int:
    """The newest timeline of these names and of the archive."""
    archived = {path.stem for path in _segments(place)}
    return max(int(name[:8], 16) for name in names | archived | set(_histories(place)))


def _histories(place: Path) -> Iterator[str]:
    """The names of the timelines' history files; the first timeline has none."""
    for path in place.glob(f"*.history{SUFFIX}") if place.is_dir() else ():
        yield path.name


def _spans(place: Path, timeline: int, size: int) -> dict[int, tuple[int, float]]:
    """The numbers of the first and last segment of each timeline that leads to this one; adjacent spans share one."""
    spans: dict[int, tuple[int, float]] = {}
    begin = 0
    path = place / f"{timeline:08X}.history{SUFFIX}"
    if timeline > 1 and not path.exists():
        raise BackupError(f"the WAL archive {place} has no timeline {timeline}")
    for line in gzip.decompress(path.read_bytes()).decode().splitlines() if timeline > 1 else ():
        if match := _HISTORY_LINE.match(line):
            end = ((int(match[2], 16) << 32) + int(match[3], 16)) // size
            spans[int(match[1])] = (begin, end)
            begin = end
    return spans | {timeline: (begin, float("inf"))}


def require_sound(path: Path, size: int) -> None:
    """Raise BackupError unless an archived segment can be read to its end; gzip checks its checksum."""
    found = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(1 << 20):
                found += len(chunk)
    except (OSError, EOFError, zlib.error):
        found = -1
    if found != size:
        raise BackupError(f"the archived WAL segment {path} is damaged: later changes cannot be restored")


def save(source: Path, target: Path, place: Path) -> None:
    """Copy the segments and history files that a server has not archived into the WAL directory of a copy."""
    for path in source.iterdir():
        is_log = _SEGMENT.fullmatch(path.name) or path.suffix == ".history"
        if is_log and not (place / f"{path.name}{SUFFIX}").exists() and not (target / path.name).exists():
            with path.open("rb") as original, (target / path.name).open("xb") as copy:
                server_user.give_to_owner_of(target, copy.fileno())
                shutil.copyfileobj(original, copy, 1 << 20)


def prune(catalogue: Catalogue, tools: Tools, kept: Sequence[Backup]) -> None:
    """Delete segments that no kept copy needs."""
    wal = catalogue.directory / "wal"
    for place in wal.iterdir() if wal.is_dir() else ():
        needed = [backup.first_wal for backup in kept if backup.system == place.name and backup.first_wal is not None]
        # Without the timeline, the names of segments sort in the order of the WAL.
        if oldest := min(needed, key=lambda name: name[8:], default=None):
            tools.run("pg_archivecleanup", "-x", SUFFIX, str(place), oldest)
        else:  # no copy of this server is left
            shutil.rmtree(place)


def _segments(place: Path) -> Iterator[Path]:
    for path in place.iterdir() if place.is_dir() else ():
        if path.suffix == SUFFIX and _SEGMENT.fullmatch(path.stem):
            yield path


def _segment_size(copy: Path) -> int:
    """The size of all segments in bytes, read from those in the copy."""
    segments = (path for path in (copy / "pg_wal").glob("*") if _SEGMENT.fullmatch(path.name))
    return max((path.stat().st_size for path in segments), default=_SEGMENT_BYTES)


def _number(name: str, size: int) -> int:
    """The number of a segment in the WAL, independent of its timeline."""
    return int(name[8:16], 16) * (0x1_0000_0000 // size) + int(name[16:], 16)


def _name(timeline: int, number: int, size: int) -> str:
    per_file = 0x1_0000_0000 // size
    return f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}"
