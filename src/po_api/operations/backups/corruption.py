"""What is corrupt, if PostgreSQL finds a wrong checksum while it copies its files."""

import re
from collections.abc import Sequence
from contextlib import suppress

from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.tools import Tools

_WRONG = re.compile(r'checksum verification failed in file "(?:\./)?([^"]+)", block (\d+)')
_RELATION = re.compile(r"base/(\d+)/(\d+)")


def explained(error: BackupError, output: Sequence[str], owner: Tools) -> BackupError:
    """The error with the first corrupt block, its relation and the number of corrupt blocks found in `output`, that of
    pg_basebackup; the same error if there is none. `owner` is connected to the application's database."""
    found = [match for line in output if (match := _WRONG.search(line))]
    if not found:
        return error
    file, block = found[0][1], found[0][2]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return BackupError(
        f"the database is corrupt: wrong checksum in block {block} of {file}{_relation(file, owner)}{more}:"
        " see `A page is corrupt` in docs/operations.md"
    )


def _relation(file: str, owner: Tools) -> str:
    """The table or index of a file, if it belongs to the application's database."""
    match = _RELATION.match(file)
    if match is None:
        return ""
    database, node = int(match[1]), int(match[2])
    relation = f"pg_filenode_relation(0, {node})"
    query = f"SELECT {relation}::regclass FROM pg_database WHERE oid = {database}"  # noqa: S608 - numbers
    query += f" AND datname = current_database() AND {relation} IS NOT NULL"
    with suppress(BackupError):  # the catalogue itself may be corrupt
        for (name,) in owner.query(query):
            return f" ({name})"
    return ""
