"""Orders are typeset despite failures of the worker processes, which have limits and no secrets."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from po_api.purchase_orders import typesetting
from po_api.purchase_orders.domain import CURRENT_TEMPLATE
from po_api.purchase_orders.typesetter import LONG_LINES, WORKER_PROGRAM, Limits, TypesettingError
from support.order_documents import many, printed_order, rendered
from support.polling import Deadline, is_running, running_children, wait_until

pytestmark = pytest.mark.heavy

LIMITS = Limits()

# A server, on the event loop of servers, that has one order typeset, and prints in which process; then it waits to be
# killed.
SERVER = """
import asyncio, sys
sys.path = %r
import psutil, uvloop
from support.order_documents import many, rendered

async def main():
    await rendered(many(1))
    print(psutil.Process().children()[0].pid, flush=True)
    await asyncio.sleep(600)

uvloop.run(main())
"""

# A worker of several, which has a socket that was handed to it, has one order typeset, and stops listening.
LISTENER = """
import socket, sys
sys.path = %r
import uvloop
from support.order_documents import many, rendered

listener = socket.create_server(("127.0.0.1", 0))
listener.set_inheritable(True)

async def main():
    await rendered(many(1))
    address = listener.getsockname()
    listener.close()
    try:
        socket.create_connection(address)
    except ConnectionRefusedError:
        print("refused")

uvloop.run(main())
"""

# A server that typesets an invalid sheet.
BROKEN = """
import asyncio, sys
sys.path = %r
from po_api.purchase_orders.typesetter import Order, typeset

asyncio.run(typeset(Order(b'{"a secret', lines=1, template=1)))
"""


async def typeset_lines(lines: int, limits: Limits = LIMITS) -> bytes:
    return await rendered(many(lines), limits)


def expected(lines: int) -> bytes:
    return typesetting.typeset(printed_order(many(lines)), CURRENT_TEMPLATE)


def workers() -> list[psutil.Process]:
    return running_children(WORKER_PROGRAM)


async def no_workers() -> None:
    for worker in workers():
        worker.kill()
        await ended(worker)


async def ended(worker: psutil.Process) -> None:
    await asyncio.to_thread(wait_until, lambda: not is_running(worker.pid), "the end of the worker process")


async def new_worker() -> psutil.Process:
    deadline = Deadline("the start of a worker process")
    while not (found := workers()):
        deadline.check()
        await asyncio.sleep(0)
    return found[0]


async def at_work(worker: psutil.Process) -> None:
    """Wait until the process has used some CPU time for the order."""
    before = sum(worker.cpu_times()[:2])
    await asyncio.to_thread(
        wait_until, lambda: sum(worker.cpu_times()[:2]) >= before + 0.1, "processor time of the worker process"
    )


async def test_the_bytes_are_those_of_typesetting_in_this_process() -> None:
    assert await rendered(many(5)) == expected(5)
    assert await rendered(many(LONG_LINES + 1)) == expected(LONG_LINES + 1)


async def test_short_orders_share_one_process() -> None:
    await no_workers()
    first, *others = await asyncio.gather(*(typeset_lines(5) for _ in range(6)))
    assert all(other == first for other in others)
    assert len(workers()) == 1


async def test_a_long_order_does_not_delay_a_short_one_and_its_process_ends() -> None:
    await no_workers()
    await typeset_lines(5)
    long = asyncio.create_task(typeset_lines(2_000))
    await asyncio.sleep(0)
    assert await typeset_lines(5) == expected(5)
    assert not long.done()
    of_both = workers()
    assert (await long).startswith(b"%PDF")
    assert len(of_both) == 2
    await asyncio.to_thread(wait_until, lambda: len(workers()) == 1, "the end of the process for long orders")
    left = workers()
    assert await typeset_lines(5) == expected(5)
    assert workers() == left


@pytest.mark.exhaustive
async def test_long_orders_in_a_row_are_all_typeset() -> None:
    orders = await asyncio.gather(*(typeset_lines(LONG_LINES + 1) for _ in range(3)))
    assert orders == [expected(LONG_LINES + 1)] * 3


async def test_a_process_ends_after_its_share_of_orders() -> None:
    await no_workers()
    limits = replace(LIMITS, orders=2)
    for _ in range(5):
        assert await typeset_lines(5, limits) == expected(5)
    await asyncio.to_thread(wait_until, lambda: len(workers()) <= 1, "the end of replaced processes")


async def test_an_idle_process_ends_and_the_next_order_starts_another() -> None:
    await no_workers()
    await typeset_lines(5, replace(LIMITS, idle_seconds=1))
    for worker in workers():
        await ended(worker)
    assert await typeset_lines(5) == expected(5)


async def test_a_process_that_was_killed_while_idle_is_replaced() -> None:
    await typeset_lines(5)
    await no_workers()
    assert await typeset_lines(5) == expected(5)


async def test_a_process_that_is_killed_while_it_starts_is_replaced() -> None:
    await no_workers()
    order = asyncio.create_task(typeset_lines(5))
    (await new_worker()).kill()
    assert await order == expected(5)


async def test_a_process_that_is_killed_at_its_first_order_is_replaced() -> None:
    await no_workers()
    order = asyncio.create_task(typeset_lines(LONG_LINES * 2))
    worker = await new_worker()
    await at_work(worker)
    worker.kill()
    assert await order == expected(LONG_LINES * 2)


async def test_a_process_that_is_killed_at_work_is_replaced() -> None:
    await no_workers()
    await typeset_lines(5)
    (worker,) = workers()
    order = asyncio.create_task(typeset_lines(LONG_LINES))
    await at_work(worker)
    worker.kill()
    assert await order == expected(LONG_LINES)


async def test_a_hung_process_is_killed_at_the_time_out() -> None:
    await no_workers()
    await typeset_lines(5)
    (worker,) = workers()
    order = asyncio.create_task(typeset_lines(LONG_LINES, replace(LIMITS, seconds=3)))
    await at_work(worker)
    worker.suspend()
    with pytest.raises(TypesettingError):
        await order
    await ended(worker)
    assert await typeset_lines(5) == expected(5)


async def test_an_order_that_is_no_longer_wanted_holds_up_no_other() -> None:
    await no_workers()
    await typeset_lines(5)
    (worker,) = workers()
    order = asyncio.create_task(typeset_lines(LONG_LINES))
    following = asyncio.create_task(typeset_lines(5))
    await at_work(worker)
    order.cancel()
    assert await following == expected(5)
    with pytest.raises(asyncio.CancelledError):
        await order
    await ended(worker)


async def test_a_start_that_is_no_longer_wanted_leaves_no_process_behind() -> None:
    await no_workers()
    order = asyncio.create_task(typeset_lines(5))
    await new_worker()
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    assert await typeset_lines(5) == expected(5)
    assert len(workers()) == 1


async def test_an_order_that_takes_too_much_memory_is_refused_and_the_next_is_typeset() -> None:
    await no_workers()
    with pytest.raises(TypesettingError):
        await typeset_lines(LONG_LINES, replace(LIMITS, memory=80 * 2**20))
    assert await typeset_lines(5) == expected(5)


def test_an_error_is_logged_by_its_place_without_the_orders_text() -> None:
    result = subprocess.run([sys.executable, "-c", BROKEN % sys.path], capture_output=True, text=True, check=False)
    told = result.stdout + result.stderr
    assert "TypesettingError" in told
    assert "typesetting_failed" in told and "JSONDecodeError" in told and "typesetting.py" in told
    assert "a secret" not in told


async def test_a_process_has_no_secrets_and_a_session_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """anyio has parameters for neither: this fails if it starts its processes in another way."""
    await no_workers()
    monkeypatch.setenv("SECRET_KEY", "a secret")
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    await typeset_lines(5)
    (worker,) = workers()
    environment = worker.environ()
    assert environment["PYTHONWARNINGS"] == "default"
    assert [name for name in environment if not name.startswith("PYTHON")] == []
    assert environment["PYTHONSAFEPATH"] == "1"
    assert os.getsid(worker.pid) == worker.pid


def test_a_process_ends_with_a_server_that_is_killed() -> None:
    command = [sys.executable, "-c", SERVER % sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        assert is_running(worker)
        server.kill()
    wait_until(lambda: not is_running(worker), "the end of the orphaned worker process")


@pytest.mark.exhaustive
def test_a_process_keeps_no_socket_open_on_which_its_server_listened() -> None:
    command = [sys.executable, "-c", LISTENER % sys.path]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "refused\n"
