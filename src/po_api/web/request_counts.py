"""Counts of requests in sliding windows: those of the current window, and a share of those of the window before."""

import math
import time
from collections import defaultdict
from typing import NamedTuple, Protocol

from limits import RateLimitItem
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter


class Counted(NamedTuple):
    """Whether a request is within the limit, how many more are, and the seconds until there are more again."""

    is_allowed: bool
    remaining: int
    reset_seconds: float


class RequestCounts(Protocol):
    async def hit(self, limit: RateLimitItem, name: str, key: str) -> Counted:
        """Count a request for `key` if it is within the limit, which is known as `name`."""


class StoredCounts:
    """In a store of the library `limits`, such as Redis."""

    def __init__(self, storage: Storage) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, limit: RateLimitItem, name: str, key: str) -> Counted:
        is_allowed = await self._limiter.hit(limit, name, key)
        window = await self._limiter.get_window_stats(limit, name, key)
        return Counted(is_allowed, window.remaining, window.reset_time - time.time())


class _Windows:
    """The requests by key in the window with this number, and in the one before."""

    def __init__(self) -> None:
        self.number = 0
        self.current: dict[str, int] = {}
        self.previous: dict[str, int] = {}

    def move_to(self, number: int) -> None:
        if number != self.number:
            self.previous = self.current if number == self.number + 1 else {}
            self.number, self.current = number, {}


class MemoryCounts:
    """In the memory of this process.

    The library's own looks at the counts of all users for expired ones, at each request in a task of its own.
    """

    def __init__(self) -> None:
        self._windows: defaultdict[str, _Windows] = defaultdict(_Windows)

    async def hit(self, limit: RateLimitItem, name: str, key: str) -> Counted:
        length = limit.get_expiry()
        number, elapsed = divmod(time.time(), length)
        windows = self._windows[name]
        windows.move_to(int(number))
        before, count = windows.previous.get(key, 0), windows.current.get(key, 0)
        rest = length - elapsed
        remaining = limit.amount - math.floor(before * rest / length + count)
        is_allowed = remaining > 0
        if is_allowed:
            windows.current[key] = count + 1
            remaining -= 1
        # A request of the window before no longer counts after each of these parts of a window.
        reset_seconds = min(rest, rest % (length / before)) if before else rest
        return Counted(is_allowed, max(0, remaining), reset_seconds)
