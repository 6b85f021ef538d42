"""Free space on the database's disk."""

import shutil
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.core.sqlstate import sqlstate_of
from po_api.observability import shortages

# Less than this is a full disk: tables grow in steps of up to a megabyte. WAL segments may still be in stock.
FULL_BYTES = 8 << 20
# Extends a file by a megabyte, as the growth of a table does.
_PROBE = text(
    "CREATE TEMPORARY TABLE disk_probe ON COMMIT DROP AS"
    " SELECT repeat('x', 1000) AS filler FROM generate_series(1, 1000)"
)


def free_bytes(directory: Path) -> int | None:
    """What unprivileged users may still write to the directory's disk; None if there is no such directory."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


async def shortage(data_dir: Path | None, connection: AsyncConnection | None = None) -> str | None:
    """What is known of a full disk, for operators; None if it is not full.

    `data_dir` is the embedded server's. With a `connection`, in which no transaction is open, an earlier report of
    PostgreSQL is examined by a write.
    """
    free = None if data_dir is None else free_bytes(data_dir)
    if free is not None and free < FULL_BYTES:
        return f"the database's disk has {free / (1 << 20):.1f} MB left: see docs/operations.md"
    if shortages.is_disk_full() and connection is not None and not await _can_write(connection):
        return "PostgreSQL reports that its disk is full: see docs/operations.md"
    return None


async def _can_write(connection: AsyncConnection) -> bool:
    """Try it; errors of other kinds do not say that the disk is full."""
    try:
        await connection.execute(_PROBE)
    except DBAPIError as error:
        if sqlstate_of(error)[:2] == shortages.SQLSTATE_CLASS:
            return False
    finally:
        await connection.rollback()
    shortages.disk_has_space()
    return True
