"""Work that concurrent callers share."""

import asyncio

import pytest
from anyio import CancelScope

from po_api.core.shared_work import SharedWork


class Work:
    """Work that ends when it is allowed to, and counts how often it began and ended."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.begun = self.ended = self.stored = 0

    async def __call__(self) -> int:
        self.begun += 1
        await self.allowed.wait()
        self.ended += 1
        with CancelScope(shield=True):
            await asyncio.sleep(0)
            self.stored += 1
        return self.begun


async def callers(shared: SharedWork[int], work: Work, number: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(shared.result("key", work)) for _ in range(number)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_concurrent_callers_share_one_execution_and_later_ones_do_not() -> None:
    shared, work = SharedWork[int](), Work()
    tasks = await callers(shared, work, 5)
    work.allowed.set()
    assert await asyncio.gather(*tasks) == [1] * 5
    assert await shared.result("key", work) == 2
    assert await shared.result("other", work) == 3


async def test_a_failure_is_that_of_all_callers_and_is_not_kept() -> None:
    shared, work = SharedWork[int](), Work()

    async def fail() -> int:
        await work.allowed.wait()
        raise ZeroDivisionError

    tasks = [asyncio.create_task(shared.result("key", fail)) for _ in range(2)]
    await asyncio.sleep(0)
    work.allowed.set()
    for task in tasks:
        with pytest.raises(ZeroDivisionError):
            await task
    assert await shared.result("key", work) == 1


async def test_the_work_goes_on_as_long_as_one_caller_waits() -> None:
    shared, work = SharedWork[int](), Work()
    first, second = await callers(shared, work, 2)
    first.cancel()
    await asyncio.wait([first])
    work.allowed.set()
    assert await second == 1


async def test_work_that_nobody_waits_for_is_not_done() -> None:
    shared, work = SharedWork[int](), Work()
    tasks = await callers(shared, work, 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    following = await callers(shared, work, 1)
    work.allowed.set()
    assert await following[0] == 2
    assert (work.begun, work.ended) == (2, 1)


async def test_what_is_shielded_is_done_to_the_end() -> None:
    shared, work = SharedWork[int](), Work()
    work.allowed.set()
    (task,) = await callers(shared, work, 1)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (work.ended, work.stored) == (1, 1)
