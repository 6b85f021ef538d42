"""The embedded server's parameters for archiving its WAL; the archive is described in archive.py."""

from collections.abc import Mapping

LINK = "wal_archive"
# The link's name while archiving is turned off for lack of space (operations/disk_reserve.py).
TURNED_OFF = "wal_archive.off"
SUFFIX = ".gz"
# The loss of a disk loses at most a minute of changes: the server checks every few seconds, and copying takes time.
TIMEOUT_SECONDS = 50

# Executed in the server's data directory. PostgreSQL retries until it succeeds.
_COMMAND = (
    f"test -L {LINK} || exit 0; f={LINK}/%f{SUFFIX}; "
    "if test -e $f; then gzip -dc $f | cmp -s - %p; exit; fi; "
    f"gzip -nc %p > $f.part && sync $f.part && mv $f.part $f && sync {LINK}/"
)
SERVER_SETTINGS: Mapping[str, str] = {
    "archive_mode": "on",
    "archive_command": _COMMAND,
    "archive_timeout": str(TIMEOUT_SECONDS),
    # Required for incremental copies.
    "summarize_wal": "on",
}
# For a copy that is being restored or verified: with an empty command the server keeps what has to be archived,
# especially the history file of its new timeline, until it is configured to archive.
HELD: Mapping[str, str] = {"archive_mode": "on", "archive_command": ""}
