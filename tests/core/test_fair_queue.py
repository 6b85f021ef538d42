"""The queue of heavy work: bounded, and shared fairly by organisations and users."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from po_api.core.fair_queue import FairQueue, Owner, QueueFull, QueueTimeout, Shares

ONE = Shares(running=1, running_per_organisation=1, running_per_user=1)
ADA, BOB, EVE = Owner(1, 1), Owner(1, 2), Owner(2, 3)


class Log:
    """Lets work run one after the other and notes whose it was."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.served: list[Owner] = []
        self.most = 0

    async def work(self, owner: Owner) -> None:
        async with self.queue.turn(owner):
            self.served.append(owner)
            self.most = max(self.most, self.queue.running)
            await asyncio.sleep(0)


@asynccontextmanager
async def occupied(queue: FairQueue, *owners: Owner) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for owner in owners:
            await stack.enter_async_context(queue.turn(owner))
        yield


async def waiting(queue: FairQueue, *owners: Owner) -> list[asyncio.Task[None]]:
    tasks = []
    for owner in owners:
        tasks.append(asyncio.create_task(queue.acquire(owner)))
        await asyncio.sleep(0)
    return tasks


async def test_organisations_take_turns_and_so_do_the_users_of_one() -> None:
    queue = FairQueue(ONE)
    log = Log(queue)
    async with occupied(queue, Owner(9, 9)):
        tasks = [asyncio.create_task(log.work(owner)) for owner in (ADA, ADA, ADA, ADA, BOB, BOB, EVE, EVE)]
        await asyncio.sleep(0)
        assert queue.waiting == 8
    await asyncio.gather(*tasks)
    assert log.served == [ADA, EVE, BOB, EVE, ADA, BOB, ADA, ADA]
    assert (log.most, queue.running, queue.waiting) == (1, 0, 0)


async def test_an_organisation_and_a_user_have_no_more_than_their_share() -> None:
    queue = FairQueue(Shares(running=4, running_per_organisation=3, running_per_user=2))
    tasks = await waiting(queue, ADA, ADA, ADA, BOB, BOB, EVE, EVE)
    assert [task.done() for task in tasks] == [True, True, False, True, False, True, False]
    queue.release(ADA)
    await asyncio.sleep(0)
    # Of the organisation with fewer running.
    assert [task.done() for task in tasks] == [True, True, False, True, False, True, True]
    queue.release(EVE)
    await asyncio.gather(tasks[2])
    assert not tasks[4].done()
    tasks[4].cancel()


async def test_too_many_waiting_are_refused() -> None:
    queue = FairQueue(replace(ONE, waiting=4, waiting_per_organisation=3, waiting_per_user=2))
    async with occupied(queue, EVE):
        tasks = await waiting(queue, ADA, ADA)
        with pytest.raises(QueueFull) as refusal:
            await queue.acquire(ADA)
        assert refusal.value.headers == {"Retry-After": "5"}
        tasks += await waiting(queue, BOB)
        with pytest.raises(QueueFull):
            await queue.acquire(Owner(1, 7))
        tasks += await waiting(queue, EVE)
        with pytest.raises(QueueTimeout):
            await queue.acquire(Owner(5, 5))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert (queue.running, queue.waiting) == (0, 0)


async def test_who_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    queue = FairQueue(replace(ONE, seconds=0.01))
    async with occupied(queue, ADA):
        with pytest.raises(QueueTimeout) as refusal:
            await queue.acquire(BOB)
    assert refusal.value.headers == {"Retry-After": "5"}
    await queue.acquire(BOB)
    assert (queue.running, queue.waiting) == (1, 0)


async def test_who_gives_up_loses_the_place_to_the_next() -> None:
    queue = FairQueue(ONE)
    async with occupied(queue, ADA):
        first, second = await waiting(queue, BOB, EVE)
        first.cancel()
        await asyncio.wait([first])
    await second
    assert (queue.running, queue.waiting) == (1, 0)


async def test_a_turn_that_comes_too_late_is_passed_on() -> None:
    queue = FairQueue(ONE)
    await queue.acquire(ADA)
    first, second = await waiting(queue, BOB, EVE)
    queue.release(ADA)
    first.cancel()  # it has the turn, and does not know it yet
    await second
    assert first.cancelled()
    assert (queue.running, queue.waiting) == (1, 0)


async def test_a_failure_gives_the_turn_back() -> None:
    queue = FairQueue(ONE)
    with pytest.raises(ZeroDivisionError):
        async with queue.turn(ADA):
            raise ZeroDivisionError
    assert queue.running == 0


async def test_who_gives_up_just_before_the_turn_is_passed_over() -> None:
    queue = FairQueue(ONE)
    await queue.acquire(ADA)
    first, second = await waiting(queue, BOB, EVE)
    first.cancel()  # its task has not run yet
    queue.release(ADA)
    await second
    assert first.cancelled()
    assert (queue.running, queue.waiting) == (1, 0)
