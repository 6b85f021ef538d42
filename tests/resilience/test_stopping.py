"""SIGTERM: requests in progress are answered within the limit, and no process is left running.

PO_TEST_STOP_LINES (default 1000) is how many lines the uploads have.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from support.forked import po_api_in_a_hurry
from support.organisations import Member, TestOrganisation, perform
from support.polling import Deadline, until_blocked
from support.server_processes import Environment, Server, environment_on, redis_server, serving

pytestmark = pytest.mark.heavy

TIMEOUT = 60
LINES = int(os.environ.get("PO_TEST_STOP_LINES", "1000"))
CSV = "description,quantity,unit_price\n" + "Lamp,1,24.90\n" * LINES
PATIENT = {"DB_STATEMENT_TIMEOUT_MS": "0", "DB_LOCK_TIMEOUT_MS": "0", "DB_TRANSACTION_TIMEOUT_MS": "0"}


@pytest.fixture
def alone(urls: tuple[str, str], tmp_path: Path) -> Environment:
    """One process, with its own rate limits."""
    return environment_on(urls, tmp_path) | {"WEB_CONCURRENCY": "1", "RATE_LIMIT_STORAGE_URI": "memory://"}


@pytest.fixture(params=["one process", "two workers"])
def environment(request: pytest.FixtureRequest, alone: Environment, tmp_path: Path) -> Iterator[Environment]:
    if request.param == "one process":
        yield alone
        return
    with redis_server(tmp_path) as store:
        yield alone | {"WEB_CONCURRENCY": "2", "RATE_LIMIT_STORAGE_URI": store}


async def refuses(server: Server) -> None:
    """Return once new connections are refused."""
    port = int(server.address.rpartition(":")[2])
    deadline = Deadline("no further connections")
    while True:
        deadline.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return
        writer.close()
        await asyncio.sleep(0.02)


def upload(member: Member, title: str) -> "asyncio.Task[httpx.Response]":
    files = {"file": ("lines.csv", CSV.encode())}
    return asyncio.create_task(member.post("/porfs/import", files=files, data={"title": title}))


async def hold_numbers(owner: asyncpg.Connection, organisation: TestOrganisation) -> None:
    """Lock the number series, so that requests and orders that need a number have to wait."""
    organisation_id = organisation.organisation_id
    held = await owner.execute(f"SELECT FROM number_series WHERE organisation_id = {organisation_id} FOR UPDATE")
    assert held == "SELECT 2"


async def test_requests_in_progress_are_answered_completely(
    environment: Environment,
    organisation: TestOrganisation,
    owner: asyncpg.Connection,
    urls: tuple[str, str],
    tmp_path: Path,
) -> None:
    await organisation.issued()
    order = await organisation.ordered(lines=None)
    with serving(environment | PATIENT, tmp_path) as server:
        started = server.processes()
        async with httpx.AsyncClient(base_url=server.address, timeout=TIMEOUT) as client:
            requester, buyer = (replace(who, client=client) for who in (organisation.requester, organisation.buyer))
            lock = owner.transaction()
            await lock.start()
            await hold_numbers(owner, organisation)
            uploads = [upload(requester, str(number)) for number in range(3)]
            issuing = asyncio.create_task(perform(buyer, order, "issue"))
            # In one process, the other uploads of that user wait for their turn.
            await until_blocked(urls[0], 2)
            server.process.send_signal(signal.SIGTERM)
            await refuses(server)
            server.process.send_signal(signal.SIGTERM)
            await lock.rollback()
            for answer in await asyncio.gather(*uploads):
                assert answer.status_code == 201, answer.text
                assert len(answer.json()["lines"]) == LINES
            assert (await issuing).status_code == 200
        assert await asyncio.to_thread(server.process.wait, TIMEOUT) == 0
        assert psutil.wait_procs(started, timeout=TIMEOUT)[1] == []
    assert "Traceback" not in server.log.read_text()
    issued = (await issuing).json()
    document = await organisation.buyer.get(f"/purchase-orders/{issued['id']}/document.pdf")
    assert document.content.startswith(b"%PDF")


async def test_a_request_that_never_ends_is_given_up(
    alone: Environment, organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str], tmp_path: Path
) -> None:
    """The PostgreSQL process of the request is frozen: it does not even respond to a cancellation."""
    await organisation.issued()
    lock = owner.transaction()
    await lock.start()
    await hold_numbers(owner, organisation)
    with serving(alone | PATIENT, tmp_path, main=po_api_in_a_hurry) as server:
        async with httpx.AsyncClient(base_url=server.address, timeout=TIMEOUT) as client:
            stuck = upload(replace(organisation.requester, client=client), "Stuck")
            (backend,) = map(psutil.Process, await until_blocked(urls[0], 1))
            backend.suspend()
            try:
                server.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(server.process.wait, TIMEOUT) == 0
                answer = await stuck
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                assert int(answer.headers["Retry-After"]) > 0
            finally:
                backend.resume()
    await lock.rollback()
    listed = (await organisation.requester.get("/porfs?q=Stuck")).json()["items"]
    assert listed == []
