"""Leases: every row is done once, whatever fails, and however many workers there are."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.errors import Unavailable
from po_api.db.leases import Job
from po_api.db.work import Failure, Handler, Queue, Record, Retry, Work
from po_api.purchase_orders.renderings import RENDERINGS
from po_api.worker.dispatcher import Dispatcher
from po_api.worker.queues import QueueRunner
from po_api.worker.worker import Worker
from support.organisations import TestOrganisation, new_organisation
from support.polling import Deadline, until
from support.workers import run_until_idle

ROWS = "SELECT * FROM document_renderings WHERE organisation_id = $1 ORDER BY id"
QUEUED = "SELECT count(*) FROM document_renderings WHERE organisation_id = $1 AND status = 'queued'"


@dataclass
class Recorded(Handler):
    """Does what the test says, and notes what was done and recorded."""

    work: Callable[[Job], Awaitable[object]] | None = None
    performed: list[int] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)

    async def perform(self, job: Job) -> Record | None:
        self.performed.append(job.id)
        if self.work is not None:
            await self.work(job)

        async def record(_session: AsyncSession) -> None:
            self.recorded.append(job.id)

        return record

    async def failed(self, _session: AsyncSession, job: Job, _code: str) -> None:
        self.given_up.append(job.id)


class Busy(Unavailable):
    """Not now."""

    code = "busy_test"
    title = "Busy"


async def queue_rows(organisation: TestOrganisation, owner: asyncpg.Connection, count: int) -> list[int]:
    """Rows of the queue of renderings, for a draft: a worker of the application would find nothing to render."""
    order = (await organisation.ordered()).json()
    rows = await owner.fetch(
        "INSERT INTO document_renderings"
        " (organisation_id, purchase_order_id, revision, kind, next_attempt_at, created_at)"
        " SELECT $1, $2, n, 'issued', now(), now() FROM generate_series(1, $3::integer) AS n RETURNING id",
        organisation.organisation_id,
        order["id"],
        count,
    )
    return [row["id"] for row in rows]


async def expire(owner: asyncpg.Connection, organisation: TestOrganisation) -> None:
    """What time does to the leases of workers that have died."""
    await owner.execute(
        "UPDATE document_renderings SET leased_until = now() - interval '1 s'"
        " WHERE organisation_id = $1 AND leased_until IS NOT NULL",
        organisation.organisation_id,
    )


async def row_of(owner: asyncpg.Connection, organisation: TestOrganisation) -> dict[str, Any]:
    (row,) = await owner.fetch(ROWS, organisation.organisation_id)
    return dict(row)


def runner(organisation: TestOrganisation, handler: Handler, **options: Any) -> QueueRunner:
    return QueueRunner(organisation.database, replace(RENDERINGS, **options), handler)


async def test_many_workers_do_each_row_once(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    rows = await queue_rows(organisation, owner, 100)

    async def pause(_job: Job) -> None:
        await asyncio.sleep(random.uniform(0, 0.005))

    handlers = [Recorded(pause) for _ in range(16)]
    runners = [runner(organisation, handler) for handler in handlers]
    await asyncio.gather(*(run_until_idle(each, organisation.organisation_id) for each in runners))
    assert sorted(row for handler in handlers for row in handler.performed) == rows
    assert sorted(row for handler in handlers for row in handler.recorded) == rows
    assert {(row["status"], row["attempts"]) for row in await owner.fetch(ROWS, organisation.organisation_id)} == {
        ("done", 1)
    }


async def test_whatever_fails_each_row_succeeds_once_or_fails_once(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    """Errors, refusals, and workers whose leases end while they go on, all at once."""
    rows = await queue_rows(organisation, owner, 40)
    randomness = random.Random(20_261_130)

    async def fail_sometimes(_job: Job) -> None:
        await asyncio.sleep(randomness.uniform(0, 0.003))
        match randomness.randrange(6):
            case 0:
                raise Retry("again", after=timedelta(0))
            case 1:
                raise Failure("never")
            case 2:
                raise ValueError("unexpected")
            case 3:
                await expire(owner_of_leases, organisation)

    owner_of_leases = _Locked(owner)
    handler = Recorded(fail_sometimes)
    runners = [runner(organisation, handler, delays=(timedelta(0),), attempts=6) for _ in range(8)]
    deadline = Deadline("no row that is queued")
    while await owner_of_leases.fetchval(QUEUED, organisation.organisation_id):
        deadline.check()
        await asyncio.gather(*(run_until_idle(each, organisation.organisation_id) for each in runners))
        await expire(owner_of_leases, organisation)
    found = {row["id"]: row for row in await owner.fetch(ROWS, organisation.organisation_id)}
    assert sorted(found) == rows
    assert sorted(handler.recorded) == sorted(row for row in rows if found[row]["status"] == "done")
    assert sorted(handler.given_up) == sorted(row for row in rows if found[row]["status"] == "failed")
    assert {row["leased_until"] for row in found.values()} == {None}


class _Locked:
    """A connection that several tasks use in turns."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection, self._lock = connection, asyncio.Lock()

    async def execute(self, *arguments: Any) -> Any:
        async with self._lock:
            return await self._connection.execute(*arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        async with self._lock:
            return await self._connection.fetchval(*arguments)


async def test_the_result_of_a_lease_that_has_ended_is_not_written(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    await queue_rows(organisation, owner, 1)
    other = Recorded()

    async def be_slow(_job: Job) -> None:
        await expire(owner, organisation)
        await run_until_idle(runner(organisation, other), organisation.organisation_id)

    slow = Recorded(be_slow)
    await run_until_idle(runner(organisation, slow), organisation.organisation_id)
    assert (len(slow.performed), slow.recorded) == (1, [])
    assert len(other.recorded) == 1
    assert (await row_of(owner, organisation))["attempts"] == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Retry("refused_test"), "refused_test"),
        (Busy(), "busy_test"),
        (ValueError("a secret"), "unexpected_error"),
        (TimeoutError(), "timed_out"),
    ],
)
async def test_a_failed_attempt_is_repeated_later(
    organisation: TestOrganisation, owner: asyncpg.Connection, error: Exception, code: str
) -> None:
    await queue_rows(organisation, owner, 1)

    async def fail(_job: Job) -> None:
        raise error

    handler = Recorded(fail)
    delays = (timedelta(minutes=1), timedelta(hours=1))
    each = runner(organisation, handler, delays=delays, attempts=4)
    for attempt, delay in enumerate((*delays, delays[-1]), start=1):
        assert await run_until_idle(each, organisation.organisation_id) == 1
        row = await row_of(owner, organisation)
        assert (row["status"], row["attempts"], row["error_code"]) == ("queued", attempt, code)
        wait = "SELECT extract(epoch FROM next_attempt_at - now()) FROM document_renderings WHERE id = $1"
        seconds = float(await owner.fetchval(wait, row["id"]))
        assert 0.8 * delay.total_seconds() < seconds < 1.2 * delay.total_seconds()
        await owner.execute("UPDATE document_renderings SET next_attempt_at = now() WHERE id = $1", row["id"])
    assert await run_until_idle(each, organisation.organisation_id) == 1
    row = await row_of(owner, organisation)
    assert (row["status"], row["next_attempt_at"], row["error_code"]) == ("failed", None, code)
    assert len(handler.given_up) == 1
    assert await run_until_idle(each, organisation.organisation_id) == 0


async def test_some_failures_are_final(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    await queue_rows(organisation, owner, 1)

    async def refuse(_job: Job) -> None:
        raise Failure("unknown_recipient", "no such mailbox")

    handler = Recorded(refuse)
    await run_until_idle(runner(organisation, handler), organisation.organisation_id)
    row = await row_of(owner, organisation)
    assert (row["status"], row["attempts"], row["error_code"]) == ("failed", 1, "unknown_recipient")
    assert row["error_detail"] == "no such mailbox"
    assert len(handler.given_up) == 1


async def test_a_row_that_kills_its_workers_fails_in_the_end(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    await queue_rows(organisation, owner, 1)
    await owner.execute(
        "UPDATE document_renderings SET attempts = 3, leased_until = now() - interval '1 s' WHERE organisation_id = $1",
        organisation.organisation_id,
    )
    handler = Recorded()
    await run_until_idle(runner(organisation, handler, attempts=3), organisation.organisation_id)
    row = await row_of(owner, organisation)
    assert (row["status"], row["error_code"], row["leased_until"]) == ("failed", "interrupted", None)
    assert (handler.performed, len(handler.given_up)) == ([], 1)


async def test_an_attempt_has_a_time_out(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    await queue_rows(organisation, owner, 1)

    async def hang(_job: Job) -> None:
        await asyncio.Event().wait()

    await run_until_idle(runner(organisation, Recorded(hang), seconds=0.01), organisation.organisation_id)
    assert (await row_of(owner, organisation))["error_code"] == "timed_out"


async def test_what_follows_from_a_success_is_part_of_it(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    """If it cannot be written, the attempt has failed."""
    await queue_rows(organisation, owner, 1)

    class Broken(Recorded):
        async def perform(self, job: Job) -> Record:
            async def record(session: AsyncSession) -> None:
                await session.execute(text("SELECT 1 / 0"))

            return record

    await run_until_idle(runner(organisation, Broken()), organisation.organisation_id)
    row = await row_of(owner, organisation)
    assert (row["status"], row["error_code"]) == ("queued", "unexpected_error")


async def test_a_worker_that_stops_gives_back_what_it_has_not_finished(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    await queue_rows(organisation, owner, 3)

    async def hang(job: Job) -> None:
        if job.organisation_id == organisation.organisation_id:
            await asyncio.Event().wait()
        raise Retry("not_this_test", after=timedelta(hours=1))

    handler = Recorded(hang)
    queue: Queue = replace(RENDERINGS, at_once=2)
    worker = Worker(organisation.database, Work(queues=((queue, handler),)))

    async def holds_two() -> bool:
        leased = "SELECT count(*) FROM document_renderings WHERE organisation_id = $1 AND leased_until > now()"
        return bool(await owner.fetchval(leased, organisation.organisation_id) == 2)

    worker.start()
    await until(holds_two, "a worker that has begun")
    await worker.stop(seconds=0)
    rows = await owner.fetch(ROWS, organisation.organisation_id)
    assert {(row["status"], row["attempts"], row["leased_until"]) for row in rows} == {("queued", 0, None)}
    assert sorted(row["error_code"] or "" for row in rows) == ["", "interrupted", "interrupted"]
    quiet = Recorded()
    assert await run_until_idle(runner(organisation, quiet), organisation.organisation_id) == 3


async def test_no_transaction_is_open_while_the_work_is_done(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    await queue_rows(organisation, owner, 1)
    pool: Any = organisation.database.engine.pool
    checked_out = []

    async def look(_job: Job) -> None:
        checked_out.append(pool.checkedout())

    await run_until_idle(runner(organisation, Recorded(look)), organisation.organisation_id)
    assert checked_out == [0]


async def test_rows_that_hang_leave_places_for_other_organisations(
    app: FastAPI, client: httpx.AsyncClient, organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    other = await new_organisation(app, client)
    await queue_rows(organisation, owner, 30)
    await queue_rows(other, owner, 12)

    async def hang(job: Job) -> None:
        if job.organisation_id == organisation.organisation_id:
            await asyncio.Event().wait()
        if job.organisation_id != other.organisation_id:
            raise Retry("not_this_test", after=timedelta(hours=1))

    handler = Recorded(hang)
    worker = Worker(organisation.database, Work(queues=((replace(RENDERINGS, at_once=4), handler),)))

    async def the_other_is_done() -> bool:
        return bool(await owner.fetchval(QUEUED, other.organisation_id) == 0)

    worker.start()
    try:
        await until(the_other_is_done, "the rows of the other organisation")
    finally:
        await worker.stop(seconds=0)
    # It took the places that were left, and gave them back.
    rows = await owner.fetch(ROWS, organisation.organisation_id)
    assert [row["status"] for row in rows] == ["queued"] * 30
    assert 1 <= [row["error_code"] for row in rows].count("interrupted") <= 3


async def test_rows_that_cannot_be_taken_are_not_asked_for_without_a_pause(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    (row,) = await queue_rows(organisation, owner, 1)

    async def do(job: Job) -> None:
        if job.organisation_id != organisation.organisation_id:
            raise Retry("not_this_test", after=timedelta(hours=1))

    handler = Recorded(do)
    dispatcher = Dispatcher(organisation.database, RENDERINGS, handler)
    woken: list[None] = []
    dispatcher.wake = lambda: woken.append(None)
    deadline = Deadline("nothing that can be taken")
    async with owner.transaction():
        locked = "SELECT FROM document_renderings WHERE organisation_id = $1 AND id = $2 FOR UPDATE"
        await owner.execute(locked, organisation.organisation_id, row)
        while await dispatcher.run_once():
            deadline.check()
        assert row not in handler.performed
    await dispatcher.run_until_idle()
    assert row in handler.performed
    assert len(woken) == len(handler.performed)
