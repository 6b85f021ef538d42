"""The loops of a worker go on after errors, are woken up, and stop."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import text

from po_api.db.wakeups import notify_after_commit
from po_api.worker.loops import Loop
from support.organisations import Tenant
from support.polling import until


def loop_of(*results: bool | BaseException) -> tuple[Loop, list[int]]:
    """A loop that finds these results, then nothing; the numbers of its turns."""
    turns: list[int] = []

    async def run_once() -> bool:
        turns.append(len(turns))
        found = results[len(turns) - 1] if len(turns) <= len(results) else False
        if isinstance(found, BaseException):
            raise found
        return found

    return Loop("test", run_once), turns


def reached(turns: list[int], number: int) -> Callable[[], Awaitable[bool]]:
    async def have() -> bool:
        return len(turns) >= number

    return have


async def test_a_loop_goes_on_while_it_finds_work_and_waits_else() -> None:
    loop, turns = loop_of(*[True] * 50)
    running = asyncio.create_task(loop.run())
    await until(reached(turns, 51), "all that was to do")
    loop.wake()
    await until(reached(turns, 52), "a turn after the wake-up")
    loop.stop()
    await running


async def test_a_loop_goes_on_after_errors() -> None:
    loop, turns = loop_of(OSError("no database"), asyncio.CancelledError(), True)
    running = asyncio.create_task(loop.run())
    for number in (1, 2, 4):
        await until(reached(turns, number), "the next turn")
        loop.wake()
    loop.stop()
    await running


async def test_a_loop_that_is_woken_while_it_works_looks_again() -> None:
    turns: list[int] = []

    async def run_once() -> bool:
        turns.append(len(turns))
        if len(turns) == 1:
            loop.wake()
        return False

    loop = Loop("test", run_once)
    running = asyncio.create_task(loop.run())
    await until(reached(turns, 2), "a turn for what was committed meanwhile")
    loop.stop()
    await running


async def test_commits_wake_and_rollbacks_do_not(tenant: Tenant) -> None:
    woken: list[str] = []
    wakeups = tenant.database.wakeups
    wakeups.listen(woken.append)
    try:
        async with tenant.database.sessions() as session:
            await session.execute(text("SELECT 1"))
            notify_after_commit(session, "first")
            await session.rollback()
            assert woken == []
            await session.execute(text("SELECT 1"))
            notify_after_commit(session, "second")
            notify_after_commit(session, "second")
            await session.commit()
            assert woken == ["second"]
            await session.execute(text("SELECT 1"))
            await session.commit()
    finally:
        wakeups.forget(woken.append)
    assert woken == ["second"]
