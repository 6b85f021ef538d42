"""Computations about many lines leave the event loop."""

import asyncio
import threading

import pytest

from po_api.core.offload import LINES_ON_THE_LOOP, offload, offload_file


async def test_few_lines_are_computed_at_once() -> None:
    assert await offload(LINES_ON_THE_LOOP, threading.get_ident) == threading.get_ident()


async def test_the_event_loop_goes_on_while_many_lines_are_computed() -> None:
    has_gone_on = threading.Event()
    asyncio.get_running_loop().call_soon(has_gone_on.set)
    # Would wait for the whole time on the event loop.
    assert await offload(LINES_ON_THE_LOOP + 1, has_gone_on.wait, timeout=30)


async def test_transactions_do_not_wait_for_files() -> None:
    is_done = threading.Event()
    file = asyncio.create_task(offload_file(is_done.wait, timeout=30))
    await asyncio.sleep(0)
    await offload(LINES_ON_THE_LOOP + 1, is_done.set)
    assert await file


async def test_errors_and_arguments_are_passed_on() -> None:
    assert await offload(LINES_ON_THE_LOOP + 1, int, "ff", base=16) == 255
    with pytest.raises(ValueError, match="invalid literal"):
        await offload_file(int, "x")
