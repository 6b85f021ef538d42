"""Periodic tasks: each run once, however many workers there are."""

import asyncio
import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI

from po_api.core.shared_work import SharedWork
from po_api.db.database import Database
from po_api.db.work import PeriodicTask
from po_api.webhooks.sending import Sender
from po_api.work import all_work
from po_api.worker.periodic import PeriodicRunner
from support.applications import SECRET_KEY
from support.organisations import TestOrganisation
from support.workers import LOCAL

_serial = itertools.count(1)


@dataclass
class Counted:
    """A task that counts its runs, and fails if it is told to."""

    runs: int = 0
    error: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return 7


@pytest.fixture
def database(app: FastAPI) -> Database:
    found: Database = app.state.database
    return found


@pytest.fixture
def name() -> str:
    return f"test.{next(_serial)}"


async def row_of(owner: asyncpg.Connection, name: str) -> dict[str, Any]:
    return dict(await owner.fetchrow("SELECT *, now() AS now FROM worker_tasks WHERE name = $1", name))


async def make_due(owner: asyncpg.Connection, name: str) -> None:
    await owner.execute("UPDATE worker_tasks SET next_run_at = now() WHERE name = $1", name)


async def test_of_many_workers_one_runs_a_task_that_is_due(
    database: Database, owner: asyncpg.Connection, name: str
) -> None:
    work = Counted()
    runners = [PeriodicRunner(database, [PeriodicTask(name, timedelta(hours=1), work)]) for _ in range(8)]
    for turn in range(1, 21):
        assert sum(await asyncio.gather(*(runner.run_due() for runner in runners))) == 1
        assert work.runs == turn
        await make_due(owner, name)
    row = await row_of(owner, name)
    assert (row["attempts"], row["failures"], row["error"], row["leased_until"]) == (20, 0, None, None)


async def test_a_failed_run_is_shown_and_repeated_soon(
    database: Database, owner: asyncpg.Connection, name: str
) -> None:
    work = Counted(error=ValueError("a secret"))
    runner = PeriodicRunner(database, [PeriodicTask(name, timedelta(days=1), work)])
    await runner.run_due()
    row = await row_of(owner, name)
    assert (row["failures"], row["error"], row["succeeded_at"], row["leased_until"]) == (1, "ValueError", None, None)
    assert row["next_run_at"] - row["now"] < timedelta(minutes=10)
    work.error = None
    await make_due(owner, name)
    await runner.run_due()
    row = await row_of(owner, name)
    assert (row["failures"], row["error"]) == (1, None)
    assert row["succeeded_at"] is not None
    assert row["next_run_at"] - row["now"] > timedelta(hours=23)


async def test_a_task_has_a_time_out_and_the_others_are_run(
    database: Database, owner: asyncpg.Connection, name: str
) -> None:
    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    other = Counted()
    tasks = [
        PeriodicTask(name, timedelta(hours=1), hang, seconds=0.01),
        PeriodicTask(f"{name}.other", timedelta(hours=1), other),
    ]
    await PeriodicRunner(database, tasks).run_due()
    assert (await row_of(owner, name))["error"] == "TimeoutError"
    assert other.runs == 1


async def test_a_run_whose_worker_has_died_is_repeated(
    database: Database, owner: asyncpg.Connection, name: str
) -> None:
    work = Counted()
    runner = PeriodicRunner(database, [PeriodicTask(name, timedelta(hours=1), work)])
    await runner.run_due()
    await owner.execute(
        "UPDATE worker_tasks SET next_run_at = now(), leased_until = now() + interval '1 hour' WHERE name = $1", name
    )
    assert not await runner.run_due()
    await owner.execute("UPDATE worker_tasks SET leased_until = now() - interval '1 s' WHERE name = $1", name)
    assert await runner.run_due()
    assert work.runs == 2


async def test_a_run_that_is_interrupted_is_due_again(database: Database, owner: asyncpg.Connection, name: str) -> None:
    begun = asyncio.Event()

    async def hang() -> int:
        begun.set()
        await asyncio.Event().wait()
        return 0

    runner = PeriodicRunner(database, [PeriodicTask(name, timedelta(hours=1), hang)])
    running = asyncio.create_task(runner.run_due())
    await begun.wait()
    running.cancel()
    await asyncio.wait([running])
    row = await row_of(owner, name)
    assert (row["failures"], row["succeeded_at"], row["leased_until"]) == (0, None, None)
    assert row["next_run_at"] <= row["now"]


async def test_the_applications_tasks_delete_what_has_ended(
    own_organisation: TestOrganisation, own_owner: asyncpg.Connection
) -> None:
    old = "now() - interval '40 days'"
    sessions, used = "SELECT count(*) FROM sessions WHERE user_id = $1", own_organisation.requester.user_id
    await own_owner.execute(f"UPDATE sessions SET revoked_at = {old} WHERE user_id = $1", used)
    await own_organisation.buyer.post(
        "/suppliers", json={"name": "Once"}, headers={"Idempotency-Key": f"old-{own_organisation.organisation_id}"}
    )
    await own_owner.execute(
        f"UPDATE idempotency_records SET created_at = {old} WHERE organisation_id = $1",
        own_organisation.organisation_id,
    )
    work = all_work(
        own_organisation.database,
        secret_key=SECRET_KEY,
        renderings=SharedWork(),
        filing=None,
        mailer=None,
        sender=Sender(LOCAL),
        listeners=own_organisation.app.state.listeners,
    )
    for task in work.periodic_tasks:
        await task.run()
    assert await own_owner.fetchval(sessions, used) == 0
    assert await own_owner.fetchval(sessions, own_organisation.buyer.user_id) == 1
    stored = "SELECT count(*) FROM idempotency_records WHERE organisation_id = $1"
    assert await own_owner.fetchval(stored, own_organisation.organisation_id) == 0
