"""The embedded server's parameters that have its WAL archived; archive.py says what becomes of it."""

from collections.abc import Mapping

LINK = "wal_archive"
SUFFIX = ".gz"
# When the disk is lost, a minute's changes are lost at the most: the server looks every few seconds, and has to copy.
TIMEOUT_SECONDS = 50

# Run in the server's data directory. PostgreSQL tries again, for ever, until it succeeds.
_COMMAND = (
    f"test -L {LINK} || exit 0; f={LINK}/%f{SUFFIX}; "
    "if test -e $f; then gzip -dc $f | cmp -s - %p; exit; fi; "
    f"gzip -nc %p > $f.part && sync $f.part && mv $f.part $f && sync {LINK}/"
)
SERVER_SETTINGS: Mapping[str, str] = {
    "archive_mode": "on",
    "archive_command": _COMMAND,
    "archive_timeout": str(TIMEOUT_SECONDS),
    # What incremental copies are made by.
    "summarize_wal": "on",
}
# Of a copy that is being restored or tried. It remembers what is to be archived, the beginning of its new timeline
# above all, for the server that it may become; with no command that is all it does.
HELD: Mapping[str, str] = {"archive_mode": "on", "archive_command": ""}
