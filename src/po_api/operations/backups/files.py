"""Checks that a backup's files are complete and unchanged."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from po_api.operations.backups.catalogue import COPY, DUMP, MANIFEST, Backup, Catalogue
from po_api.operations.backups.create import digest
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.tools import Tools
from po_api.operations.progress import Progress

# The manifest does not list itself; WAL files are checked by their content.
_UNLISTED = {MANIFEST}
_WAL = "pg_wal"


def require_sound(catalogue: Catalogue, backup: Backup, tools: Tools, progress: Progress) -> None:
    """Raise BackupError unless every file of the backup, and of its chain of bases, is present and unchanged."""
    for link in catalogue.chain(backup):
        with progress.stage(f"read all of {link.name}"):
            if link.is_copy:
                _require_manifest_matches(catalogue.path(link) / COPY, tools, progress)
            else:
                _require_readable(catalogue.path(link) / DUMP, link, tools)


def _require_readable(dump: Path, backup: Backup, tools: Tools) -> None:
    """Raise BackupError unless a dump is unchanged, and pg_restore can read all of it."""
    if not dump.exists() or digest(dump) != backup.sha256:
        raise BackupError(f"the backup is damaged: {dump} has changed since it was written")
    tools.run("pg_restore", "--file=/dev/null", str(dump))


def _require_manifest_matches(copy: Path, tools: Tools, progress: Progress) -> None:
    if tools.has("pg_verifybackup"):
        tools.run("pg_verifybackup", "--quiet", str(copy))
        return
    # The same checks as pg_verifybackup, where that does not run (the embedded wheel's crashes).
    manifest = _manifest(copy)
    listed = {item["Path"]: item for item in manifest["Files"]}
    found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    found = {name for name in found if name not in _UNLISTED and not name.startswith(f"{_WAL}/")}
    if missing := sorted(listed.keys() - found):
        raise BackupError(f"the backup is damaged: {copy / missing[0]} is missing")
    if extra := sorted(found - listed.keys()):
        raise BackupError(f"the backup is damaged: {copy / extra[0]} is not part of the backup")
    done = 0
    total = sum(item["Size"] for item in listed.values())
    for name, item in listed.items():
        _require_unchanged(copy / name, item)
        done += item["Size"]
        progress.batch(f"{done >> 20} of {total >> 20} MB")
    for span in manifest["WAL-Ranges"]:
        where = [f"--timeline={span['Timeline']}", f"--start={span['Start-LSN']}", f"--end={span['End-LSN']}"]
        tools.run("pg_waldump", "--quiet", f"--path={copy / _WAL}", *where)


def _manifest(copy: Path) -> Mapping[str, Any]:
    """The manifest of a copy, whose last line is the checksum of the lines before. Raises BackupError."""
    path = copy / MANIFEST
    try:
        content = path.read_bytes()
        manifest: Mapping[str, Any] = json.loads(content)
        body = content[: content.rindex(b"\n", 0, len(content) - 1) + 1]
        is_unchanged = hashlib.sha256(body).hexdigest() == manifest["Manifest-Checksum"]
    except (OSError, ValueError, KeyError):
        is_unchanged = False
    if not is_unchanged:
        raise BackupError(f"the backup is damaged: {path} has changed since it was written")
    return manifest


def _require_unchanged(path: Path, item: Mapping[str, Any]) -> None:
    if path.stat().st_size != item["Size"] or digest(path) != item["Checksum"]:
        raise BackupError(f"the backup is damaged: {path} has changed since it was written")
