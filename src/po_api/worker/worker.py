"""A worker: does the work of an installation together with any number of others, in any processes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from po_api.db.database import Database
from po_api.db.work import Work
from po_api.operations.backups.state import unconfirmed
from po_api.worker.loops import Loop
from po_api.worker.periodic import PeriodicRunner
from po_api.worker.queues import GIVE_BACK_SECONDS, QueueRunner, TenantTaskRunner

Runner = QueueRunner | TenantTaskRunner


class Worker:
    """Works in the event loop that `start` is called in, on connections of the database's pool."""

    def __init__(self, database: Database, work: Work) -> None:
        self._database = database
        self._work = work
        self._periodic = PeriodicRunner(database, work.periodic_tasks)
        self._loops: list[Loop] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def start(self) -> None:
        """Begin to work: a loop for the periodic tasks and for each task of organisations, and as many for a queue as
        it allows attempts at once."""
        self._loops = [Loop("periodic", self._periodic.run_due)]
        for name, at_once, run_once in self._sources():
            self._loops += [Loop(name, run_once) for _ in range(at_once)]
        self._database.wakeups.listen(self._wake)
        self._tasks = [asyncio.create_task(loop.run(), name=f"worker: {loop.name}") for loop in self._loops]

    async def stop(self, *, seconds: float) -> None:
        """Take nothing new and finish what is in progress; what is not finished after `seconds` is given back."""
        if not self._tasks:
            return
        self._is_stopping = True
        self._database.wakeups.forget(self._wake)
        for loop in self._loops:
            loop.stop()
        _, running = await asyncio.wait(self._tasks, timeout=seconds)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=GIVE_BACK_SECONDS + 1)
        self._tasks = []

    async def run_until_idle(self) -> None:
        """Do all that is due now."""
        await self._periodic.run_due()
        for _, _, run_once in self._sources():
            while await run_once():
                pass

    def _sources(self) -> list[tuple[str, int, Callable[[], Awaitable[bool]]]]:
        """The name of each kind of work, how much of it is done at once, and how to do some of it."""
        queues = [
            (
                queue.name,
                queue.at_once,
                partial(self._run, QueueRunner(self._database, queue, handler), queue.leaves_the_house),
            )
            for queue, handler in self._work.queues
        ]
        tasks = [
            (task.name, 1, partial(self._run, TenantTaskRunner(self._database, task), False))
            for task in self._work.tenant_tasks
        ]
        return [*queues, *tasks]

    async def _run(self, runner: Runner, leaves_the_house: bool) -> bool:
        """Do one piece of work of each organisation that has some; returns whether there was any.

        One each, so that no organisation waits for all the work of another one.
        """
        organisations = await runner.organisations()
        if organisations and leaves_the_house and await self._is_restored():
            return False
        found = False
        for organisation_id in organisations:
            if self._is_stopping:
                break
            found |= await runner.run_in(organisation_id)
        return found

    async def _is_restored(self) -> bool:
        """Whether the database was restored, and no operator has confirmed it."""
        async with self._database.engine.connect() as connection:
            return await unconfirmed(connection) is not None

    def _wake(self, work: str) -> None:
        for loop in self._loops:
            if loop.name == work:
                loop.wake()
