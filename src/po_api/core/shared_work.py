"""Work that concurrent callers share: it is done once, and not to the end if none of them wants it any more.

asyncio has futures, but nothing that ends with its last caller; caches of functions keep results, which are not kept
here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from anyio import CancelScope

T = TypeVar("T")


class _Run(Generic[T]):
    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self.callers = 0
        self.scope = CancelScope()
        self.task = asyncio.create_task(self._execute(work))

    async def _execute(self, work: Callable[[], Awaitable[T]]) -> T:
        with self.scope:
            return await work()
        raise asyncio.CancelledError


class SharedWork(Generic[T]):
    """The work in progress, by key."""

    def __init__(self) -> None:
        self._runs: dict[Hashable, _Run[T]] = {}

    @property
    def running(self) -> int:
        return len(self._runs)

    async def result(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of the work, or of the same one that another caller has begun.

        When the last caller is cancelled, so is the work, except for what it does in a shielded scope of anyio.
        """
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run(work)
            run.task.add_done_callback(lambda task: self._end(key, run, task))
        run.callers += 1
        try:
            return await asyncio.shield(run.task)
        finally:
            run.callers -= 1
            if not run.callers and not run.task.done():
                self._forget(key, run)
                run.scope.cancel()

    def _end(self, key: Hashable, run: _Run[T], task: asyncio.Task[T]) -> None:
        self._forget(key, run)
        if not task.cancelled():
            task.exception()  # asyncio reports one that nobody has asked for: all callers may have left

    def _forget(self, key: Hashable, run: _Run[T]) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]
