"""A worker: does the work of an installation together with any number of others, in any processes."""

import asyncio
from functools import partial

from po_api.db.database import Database
from po_api.db.work import Work
from po_api.worker.dispatcher import Dispatcher
from po_api.worker.loops import Loop
from po_api.worker.periodic import PeriodicRunner
from po_api.worker.queues import GIVE_BACK_SECONDS, TenantTaskRunner


class Worker:
    """Works in the event loop that `start` is called in, on connections of the database's pool."""

    def __init__(self, database: Database, work: Work) -> None:
        self._database = database
        self._periodic = PeriodicRunner(database, work.periodic_tasks)
        self._dispatchers = [Dispatcher(database, queue, handler) for queue, handler in work.queues]
        self._tenant_tasks = [(task, TenantTaskRunner(database, task)) for task in work.tenant_tasks]
        self._loops: list[Loop] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def start(self) -> None:
        """Begin to work: a loop for the periodic tasks, for each queue, and for each task of organisations."""
        self._loops = [
            Loop("periodic", self._periodic.run_due),
            *map(_loop_of, self._dispatchers),
            *(
                Loop(task.name, partial(self._run, runner), interval=task.interval)
                for task, runner in self._tenant_tasks
            ),
        ]
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
        for dispatcher in self._dispatchers:
            dispatcher.stop()
        end = asyncio.get_running_loop().time() + seconds
        # Loops first: they may be about to start an attempt.
        running = await _unfinished(set(self._tasks), end)
        running |= await _unfinished(set().union(*(each.attempts for each in self._dispatchers)), end)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=GIVE_BACK_SECONDS + 1)
        self._tasks = []

    async def run_until_idle(self) -> None:
        """Do all that is due now."""
        await self._periodic.run_due()
        for dispatcher in self._dispatchers:
            await dispatcher.run_until_idle()
        for _, runner in self._tenant_tasks:
            while await self._run(runner):
                pass

    async def _run(self, runner: TenantTaskRunner) -> bool:
        """Do one piece of work of each organisation that has some; returns whether there was any.

        One each, so that no organisation waits for all the work of another one.
        """
        waiting = iter(await runner.organisations())

        async def take_turns() -> bool:
            found = False
            for organisation_id in waiting:
                if self._is_stopping:
                    break
                found |= await runner.run_in(organisation_id)
            return found

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(take_turns()) for _ in range(runner.at_once)]
        return any(task.result() for task in tasks)

    def _wake(self, work: str) -> None:
        for loop in self._loops:
            if loop.name == work:
                loop.wake()


def _loop_of(dispatcher: Dispatcher) -> Loop:
    loop = Loop(dispatcher.name, dispatcher.run_once)
    dispatcher.wake = loop.wake
    return loop


async def _unfinished(tasks: set[asyncio.Task[None]], end: float) -> set[asyncio.Task[None]]:
    """Those that are not finished at a time of the event loop's clock."""
    if not tasks:
        return tasks
    _, unfinished = await asyncio.wait(tasks, timeout=max(end - asyncio.get_running_loop().time(), 0))
    return unfinished
