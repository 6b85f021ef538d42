"""Polling until a condition holds, with a deadline and a message about what was expected."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psutil

from support.clusters import connected

# Only ever reached where something is wrong, so longer than a busy machine needs.
DEADLINE_SECONDS = 120
_PAUSE_SECONDS = 0.01
# A condition that is expensive to check, such as a scrape, would otherwise take the processor from what it waits for.
_PAUSES_PER_CHECK = 3
_BLOCKED = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'po-api' AND cardinality(pg_blocking_pids(pid)) > 0"
)
# Rows of a distributed database (Citus) are locked on its other servers. A global id ends with the session's own.
_BLOCKED_ELSEWHERE = (
    " UNION SELECT pid FROM citus_lock_waits JOIN pg_stat_activity ON pid = waiting_gpid % 10000000000"
    " WHERE application_name = 'po-api'"
)

T = TypeVar("T")


class Deadline:
    """The deadline of a loop, checked in each iteration; `expected` completes "not within … s:"."""

    def __init__(self, expected: str, seconds: float = DEADLINE_SECONDS) -> None:
        self._expected, self._seconds = expected, seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise AssertionError after the deadline."""
        assert time.monotonic() < self._end, f"not within {self._seconds} s: {self._expected}"


def wait_until(condition: Callable[[], T], expected: str) -> T:
    """The first result of `condition` that is true."""
    deadline = Deadline(expected)
    started = time.monotonic()
    while not (result := condition()):
        deadline.check()
        time.sleep(_pause(started))
        started = time.monotonic()
    return result


async def until(condition: Callable[[], Awaitable[T]], expected: str) -> T:
    """The same for a coroutine function."""
    deadline = Deadline(expected)
    started = time.monotonic()
    while not (result := await condition()):
        deadline.check()
        await asyncio.sleep(_pause(started))
        started = time.monotonic()
    return result


def _pause(started: float) -> float:
    """The seconds to wait after a check that began at `started`, a time of the monotonic clock."""
    return max(_PAUSE_SECONDS, _PAUSES_PER_CHECK * (time.monotonic() - started))


async def until_blocked(url: str, number: int = 1) -> list[int]:
    """The process ids of the connections of PostgreSQL in which at least `number` requests wait for a lock.

    Uses a separate connection: within a transaction, pg_stat_activity does not change.
    """
    async with connected(url) as observer:
        is_distributed = await observer.fetchval("SELECT to_regclass('citus_lock_waits') IS NOT NULL")
        query = _BLOCKED + (_BLOCKED_ELSEWHERE if is_distributed else "")

        async def blocked() -> list[int] | None:
            found = await observer.fetch(query)
            return [row["pid"] for row in found] if len(found) >= number else None

        return await until(blocked, f"{number} requests that wait for a lock") or []


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def running_children(module: str) -> list[psutil.Process]:
    """The processes of this user that run this module."""
    return [child for child in psutil.Process().children() if is_running(child.pid) and module in child.cmdline()]
