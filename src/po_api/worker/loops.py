"""Loops that look for work: soon again while there is some, else after a pause, which a wake-up ends."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from po_api.observability.logging import get_logger

# Seconds between two polls: at first, and at most after several in vain. They vary by a fifth, so that workers that
# were started together do not poll together.
POLL_SECONDS = 1.0
IDLE_SECONDS = 5.0
# After an error, such as that the database is unavailable.
ERROR_SECONDS = 5.0
# Wake-ups come in bursts: work is looked for this much later, for all of them.
WAKEUP_SECONDS = 0.05

_log = get_logger(__name__)


class Loop:
    """Calls `run_once`, which returns whether it found work, until it is stopped; errors are logged.

    While there is work, a call begins at the earliest `interval` seconds after the one before.
    """

    def __init__(self, name: str, run_once: Callable[[], Awaitable[bool]], *, interval: float = 0) -> None:
        self.name = name
        self._interval = interval
        self._run_once = run_once
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._error: str | None = None

    def wake(self) -> None:
        """Look for work soon."""
        self._woken.set()

    def stop(self) -> None:
        """End after the present call of `run_once`."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        pause = POLL_SECONDS
        while not self._is_stopping:
            self._woken.clear()
            started = time.monotonic()
            found = await self._attempt()
            if found is None:
                await self._wait(ERROR_SECONDS)
            elif found:
                pause = POLL_SECONDS
                await asyncio.sleep(max(0, started + self._interval - time.monotonic()))
            else:
                await self._wait(pause * random.uniform(0.8, 1.2))  # noqa: S311
                pause = min(pause * 1.5, IDLE_SECONDS)

    async def _attempt(self) -> bool | None:
        """Whether work was found; None after an error."""
        try:
            found = await self._run_once()
        except (Exception, asyncio.CancelledError) as error:
            # Only the worker ends the loop: not work that somebody else has cancelled.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            name = type(error).__name__
            if name != self._error:
                _log.error("worker_failed", work=self.name, error=name)
            self._error = name
            return None
        if self._error is not None:
            _log.info("worker_recovered", work=self.name)
        self._error = None
        return found

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        if not self._is_stopping:
            await asyncio.sleep(WAKEUP_SECONDS)
