"""Until something has come about: a request at somebody's lock, a process at its end."""

import asyncio
import time
from collections.abc import Callable

import asyncpg
import psutil

from po_api.db.database import libpq_url

DEADLINE_SECONDS = 60
_BLOCKED = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'po-api' AND cardinality(pg_blocking_pids(pid)) > 0"
)


async def until_waiting(url: str, number: int = 1) -> list[int]:
    """The processes of PostgreSQL in which so many requests wait, once they do.

    They are looked for on a connection of its own: a transaction sees them as they were when it first looked.
    """
    observer = await asyncpg.connect(libpq_url(url))
    while len(found := await observer.fetch(_BLOCKED)) < number:
        await asyncio.sleep(0.01)
    await observer.close()
    return [row["pid"] for row in found]


def is_running(pid: int) -> bool:
    """Whether the process exists; one that has ended and that nobody has waited for does not count."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def running_children(module: str) -> list[psutil.Process]:
    """The processes of ours that run this module."""
    return [child for child in psutil.Process().children() if is_running(child.pid) and module in child.cmdline()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
