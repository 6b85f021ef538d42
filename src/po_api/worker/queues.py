"""Doing the work of a queue: each row under a lease, in a process that may stop or die at any time."""

import asyncio
import random
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from time import perf_counter

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.errors import AppError
from po_api.db.database import Database, enter_tenant
from po_api.db.leases import INTERRUPTED, Job, WorkStatus, organisations_with_work
from po_api.db.query import QueryExecutor, TransactionExecutor, connected, tenant_transaction
from po_api.db.work import Failure, FindOrganisations, Handler, Hold, Queue, Record, Retry, TenantTask
from po_api.observability import metrics
from po_api.observability.logging import get_logger

# A lease is longer than the time-out of the attempt by this time in seconds, in which its result is written.
MARGIN_SECONDS = 30
# The limit for giving a job back when the process stops.
GIVE_BACK_SECONDS = 3

TIMED_OUT = "timed_out"
UNEXPECTED = "unexpected_error"

_log = get_logger(__name__)


class _Spent(Exception):
    """Undoes the transaction: the end of a row is recorded in a session."""


class QueueRunner:
    """Does the rows of one queue. Several runners, in any processes, do each row once."""

    def __init__(self, database: Database, queue: Queue, handler: Handler) -> None:
        self._database = database
        self._queue = queue
        self._handler = handler

    async def organisations(self) -> list[int]:
        """The organisations with due rows, in random order: runners begin with different ones."""
        find = partial(organisations_with_work, table=self._queue.table.name)
        return await _shuffled_organisations(self._database, find)

    async def take(self, organisation_id: int) -> Job | None:
        """Lease a row that is due; None if there is none. One that is spent has ended."""
        try:
            async with tenant_transaction(self._database.engine, organisation_id) as executor:
                job = await self._lease(executor, organisation_id)
                if job is not None and job.is_spent:
                    raise _Spent
        except _Spent:
            return await self._end_spent(organisation_id)
        return job

    async def _end_spent(self, organisation_id: int) -> Job | None:
        async with self._transaction(organisation_id) as session:
            job = await self._lease(TransactionExecutor(session), organisation_id)
            if job is not None and job.is_spent:
                await self._handler.failed(session, job, INTERRUPTED)
                self._report(job, "failed", (INTERRUPTED, None))
        return job

    async def _lease(self, executor: QueryExecutor, organisation_id: int) -> Job | None:
        queue = self._queue
        lease = timedelta(seconds=queue.seconds + MARGIN_SECONDS)
        return await queue.leases.take(executor, organisation_id, lease, most=queue.attempts)

    async def attempt(self, job: Job) -> None:
        """Do a row, and write the result."""
        started = perf_counter()
        try:
            try:
                async with asyncio.timeout(self._queue.seconds):
                    record = await self._handler.perform(job)
                await self._succeed(job, record)
            except Failure as failure:
                await self._fail(job, failure.error)
            except Hold as held:
                if await self._end(job, WorkStatus.HELD, error=held.error):
                    self._report(job, "held", held.error)
            except Exception as error:
                await self._retry(job, *_explained(error))
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        finally:
            metrics.WORKER_SECONDS.labels(self._queue.name).observe(perf_counter() - started)

    async def _succeed(self, job: Job, record: Record | None) -> None:
        if await self._end(job, self._queue.done, record=record):
            self._report(job, "done")

    async def _retry(self, job: Job, error: tuple[str, str | None], after: timedelta | None) -> None:
        if job.attempts >= self._queue.attempts:
            await self._fail(job, error)
            return
        after = self._delay(job.attempts) if after is None else after
        if await self._end(job, WorkStatus.QUEUED, after=after, error=error):
            self._report(job, "retried", error)

    async def _fail(self, job: Job, error: tuple[str, str | None]) -> None:
        async def record(session: AsyncSession) -> None:
            await self._handler.failed(session, job, error[0])

        if await self._end(job, WorkStatus.FAILED, error=error, record=record):
            self._report(job, "failed", error)

    async def _give_back(self, job: Job) -> None:
        """Make the row due again at once, for another process, and do not count the attempt. If that fails, it is due
        when the lease ends."""
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                if await self._end(job, WorkStatus.QUEUED, after=timedelta(0), error=(INTERRUPTED, None), counts=False):
                    self._report(job, "interrupted", (INTERRUPTED, None))
        except Exception as error:
            _log.warning("work_not_given_back", work=self._queue.name, error=type(error).__name__)

    async def _end(
        self,
        job: Job,
        status: str,
        *,
        after: timedelta | None = None,
        error: tuple[str, str | None] | None = None,
        record: Record | None = None,
        counts: bool = True,
    ) -> bool:
        end = partial(self._queue.leases.end, job=job, status=status, after=after, error=error, counts=counts)
        if record is None:
            async with tenant_transaction(self._database.engine, job.organisation_id) as executor:
                return await end(executor)
        async with self._transaction(job.organisation_id) as session:
            is_ours = await end(TransactionExecutor(session))
            if is_ours:
                await record(session)
        return is_ours

    def _delay(self, attempts: int) -> timedelta:
        """The time until the next attempt. It differs by a tenth: what failed together is not tried together."""
        delays = self._queue.delays
        return delays[min(attempts, len(delays)) - 1] * random.uniform(0.9, 1.1)  # noqa: S311

    def _report(self, job: Job, outcome: str, error: tuple[str, str | None] | None = None) -> None:
        metrics.WORKER_RUNS.labels(self._queue.name, outcome).inc()
        if error is not None:
            _log.warning(f"work_{outcome}", work=self._queue.name, id=job.id, attempts=job.attempts, error=error[0])

    @asynccontextmanager
    async def _transaction(self, organisation_id: int) -> AsyncIterator[AsyncSession]:
        async with self._database.sessions.begin() as session:
            await enter_tenant(session, organisation_id)
            yield session


class TenantTaskRunner:
    """Does a task of organisations, which takes its own locks."""

    def __init__(self, database: Database, task: TenantTask) -> None:
        self._database = database
        self._task = task
        self.at_once = task.at_once

    async def organisations(self) -> list[int]:
        """The organisations with rows for the task, in random order."""
        return await _shuffled_organisations(self._database, self._task.find)

    async def run_in(self, organisation_id: int) -> bool:
        """Do some of the organisation's work; returns whether there was any."""
        name, started = self._task.name, perf_counter()
        try:
            found = await self._task.run(organisation_id)
        except Exception as error:
            stack = "".join(traceback.format_tb(error.__traceback__))
            _log.error("task_failed", task=name, error=type(error).__name__, stack=stack)
            metrics.WORKER_RUNS.labels(name, "failed").inc()
            return False
        finally:
            metrics.WORKER_SECONDS.labels(name).observe(perf_counter() - started)
        if found:
            metrics.WORKER_RUNS.labels(name, "done").inc()
        return found


def _explained(error: Exception) -> tuple[tuple[str, str | None], timedelta | None]:
    """What is shown of an error, and the delay that it asks for. An unknown one is logged without its message, which
    may quote data."""
    match error:
        case Retry():
            return error.error, error.after
        case TimeoutError():
            return (TIMED_OUT, None), None
        case AppError():
            return (error.code, None), None
    stack = "".join(traceback.format_tb(error.__traceback__))
    _log.error("work_failed_unexpectedly", error=type(error).__name__, stack=stack)
    return (UNEXPECTED, None), None


async def _shuffled_organisations(database: Database, find: FindOrganisations) -> list[int]:
    async with connected(database.engine) as executor:
        found = [*await find(executor)]
    random.shuffle(found)
    return found
