"""Doing the due rows of a queue: several at a time, whose places the organisations share."""

import asyncio
from collections import Counter
from collections.abc import Callable

from po_api.db.database import Database
from po_api.db.leases import Job
from po_api.db.work import Handler, Queue
from po_api.operations.backups.state import unconfirmed
from po_api.worker.queues import QueueRunner

# Due rows are taken for this time in seconds before organisations are looked for again, which reads all due rows.
PASS_SECONDS = 0.25


class Dispatcher:
    """Takes due rows and starts their attempts, of which at most `Queue.at_once` are in progress.

    An organisation gets a place only while it has no more of them than are free (the dynamic threshold of shared
    buffers, Choudhury and Hahne 1998): alone it gets about half of them, and however long its attempts take, there are
    places for others.
    """

    def __init__(self, database: Database, queue: Queue, handler: Handler) -> None:
        self.name = queue.name
        self._database = database
        self._queue = queue
        self._runner = QueueRunner(database, queue, handler)
        self._attempts: dict[asyncio.Task[None], int] = {}
        self._in_progress: Counter[int] = Counter()
        self._errors: list[BaseException] = []
        self._goes_on = False
        self._changed = asyncio.Event()
        self._is_stopping = False
        # Called at the end of an attempt: rows that could not be taken beside it may be by then.
        self.wake: Callable[[], None] | None = None

    @property
    def attempts(self) -> set[asyncio.Task[None]]:
        """The attempts in progress."""
        return set(self._attempts)

    def stop(self) -> None:
        """Take nothing more."""
        self._is_stopping = True
        self._changed.set()

    async def run_once(self) -> bool:
        """Start attempts of rows that are due; returns whether any was started, or waits for a place.

        One row of each organisation; while there are more, one after the other for some time. Raises the error of an
        attempt that could not write its result.
        """
        if self._errors:
            raise self._errors.pop()
        waiting, goes_on = await self._runner.organisations(), self._goes_on
        if waiting and self._queue.leaves_the_house and await self._is_restored():
            return False
        loop, found = asyncio.get_running_loop(), False
        end = loop.time() + PASS_SECONDS
        while waiting and not self._is_stopping and (left := end - loop.time()) > 0:
            self._changed.clear()
            with_place = [organisation for organisation in waiting if self._has_place(organisation)]
            if not with_place:
                await self._wait(left)
            empty = [organisation for organisation in with_place if not await self._start_one(organisation)]
            found |= len(empty) < len(with_place)
            waiting = [organisation for organisation in waiting if organisation not in empty]
            if not goes_on:
                # Mostly there was one: whether there are more costs less to ask for all organisations.
                break
        self._goes_on = found or bool(waiting)
        return self._goes_on

    async def run_until_idle(self) -> None:
        """Do all that is due now."""
        while await self.run_once() or self._attempts:
            if self._attempts:
                await asyncio.wait(self._attempts)

    def _has_place(self, organisation_id: int) -> bool:
        free = self._queue.at_once - len(self._attempts)
        return 0 < free >= self._in_progress[organisation_id]

    async def _start_one(self, organisation_id: int) -> bool:
        """Returns False if nothing is due in the organisation."""
        if self._is_stopping or not self._has_place(organisation_id):
            return True
        job = await self._runner.take(organisation_id)
        if job is not None and not job.is_spent:
            self._start(job)
        return job is not None

    def _start(self, job: Job) -> None:
        attempt = asyncio.create_task(self._runner.attempt(job), name=f"worker: {self.name}")
        self._attempts[attempt] = job.organisation_id
        self._in_progress[job.organisation_id] += 1
        attempt.add_done_callback(self._end)

    def _end(self, attempt: asyncio.Task[None]) -> None:
        organisation_id = self._attempts.pop(attempt)
        self._in_progress[organisation_id] -= 1
        if not self._in_progress[organisation_id]:
            del self._in_progress[organisation_id]
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            self._errors.append(error)
        self._changed.set()
        if self.wake is not None:
            self.wake()

    async def _wait(self, seconds: float) -> None:
        """Until an attempt ends, or the worker stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _is_restored(self) -> bool:
        """Whether the database was restored, and no operator has confirmed it."""
        async with self._database.engine.connect() as connection:
            return await unconfirmed(connection) is not None
