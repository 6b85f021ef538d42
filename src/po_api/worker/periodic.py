"""Running the periodic tasks, each once however many workers there are."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from time import perf_counter

from po_api.db import periodic
from po_api.db.database import Database
from po_api.db.query import QueryExecutor, TransactionExecutor, connected
from po_api.db.work import PeriodicTask
from po_api.observability import metrics
from po_api.observability.logging import get_logger
from po_api.worker.queues import GIVE_BACK_SECONDS, MARGIN_SECONDS

# The time until a failed task is run again; an interrupted one is due again at once.
RETRY = timedelta(minutes=5)

_log = get_logger(__name__)


class PeriodicRunner:
    """Runs the tasks that are due, one after the other."""

    def __init__(self, database: Database, tasks: Sequence[PeriodicTask]) -> None:
        self._database = database
        self._tasks = tasks
        self._are_added = False

    async def run_due(self) -> bool:
        """Run each task that is due; returns whether there was any."""
        if not self._are_added:
            await self._add()
        async with connected(self._database.engine) as executor:
            due = await periodic.due_tasks(executor)
        ran = [await self._run(task) for task in self._tasks if task.name in due]
        return any(ran)

    async def _add(self) -> None:
        async with self._transaction() as executor:
            for task in self._tasks:
                await periodic.add_task(executor, task.name)
        self._are_added = True

    async def _run(self, task: PeriodicTask) -> bool:
        lease = timedelta(seconds=task.seconds + MARGIN_SECONDS)
        async with self._transaction() as executor:
            run = await periodic.take_task(executor, task.name, lease)
        if run is None:
            return False
        started = perf_counter()
        try:
            async with asyncio.timeout(task.seconds):
                rows = await task.run()
        except Exception as error:
            stack = "".join(traceback.format_tb(error.__traceback__))
            _log.error("task_failed", task=task.name, error=type(error).__name__, stack=stack)
            await self._end(run, "failed", RETRY, type(error).__name__)
        except asyncio.CancelledError:
            await self._give_back(run)
            raise
        else:
            _log.info("task_finished", task=task.name, rows=rows)
            await self._end(run, "done", task.every, None)
        finally:
            metrics.WORKER_SECONDS.labels(task.name).observe(perf_counter() - started)
        return True

    async def _give_back(self, run: periodic.Run) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._end(run, "interrupted", timedelta(0), None)
        except Exception as error:
            _log.warning("work_not_given_back", work=run.name, error=type(error).__name__)

    async def _end(self, run: periodic.Run, outcome: str, after: timedelta, error: str | None) -> None:
        async with self._transaction() as executor:
            await periodic.end_task(executor, run, after=after, error=error, is_done=outcome == "done")
        metrics.WORKER_RUNS.labels(run.name, outcome).inc()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[QueryExecutor]:
        async with self._database.sessions.begin() as session:
            yield TransactionExecutor(session)
