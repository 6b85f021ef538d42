"""The server is killed repeatedly while orders are created and issued: nothing is lost or duplicated.

PO_TEST_CRASH_ORDERS (default 75, two requests each) and PO_TEST_CRASH_KILLS (default 5) make it longer.
"""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from po_api.app import create_app
from po_api.operations.databases import Connections
from po_api.settings import Settings
from support.forked import ForkedServer, po_api
from support.invariants import check
from support.organisations import Member, TestOrganisation, new_organisation, ok
from support.pages import all_items
from support.polling import Deadline

pytestmark = pytest.mark.heavy

ORDERS = int(os.environ.get("PO_TEST_CRASH_ORDERS", "75"))
KILLS = int(os.environ.get("PO_TEST_CRASH_KILLS", "5"))
WORKERS = 8
REQUESTS = 4
SEED = 20_261_122
SECRET_KEY = "crash-test-0123456789abcdef0123456789abcdef"


@pytest.fixture
async def actors(own_urls: tuple[str, str], settings: Settings) -> AsyncIterator[TestOrganisation]:
    """An organisation in a database of its own; its buyer uses the server that is killed."""
    app = create_app(settings, Connections(*own_urls, SECRET_KEY))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield await new_organisation(app, client)
    await app.state.database.dispose()


class Server:
    """`po-api serve` in a separate process."""

    def __init__(self, app_url: str, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self._log = directory / "server.log"
        self._directory = directory
        self._environment = os.environ | {
            "DATABASE_URL": app_url,
            "SECRET_KEY": SECRET_KEY,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "RATE_LIMIT_PER_USER": "1000000/minute",
            "RATE_LIMIT_PER_ADDRESS": "1000000/minute",
            "DB_LOCK_TIMEOUT_MS": "60000",
            "DB_STATEMENT_TIMEOUT_MS": "60000",
            "DB_TRANSACTION_TIMEOUT_MS": "120000",
            "LOG_LEVEL": "ERROR",
            "WORKER": "off",
        }
        self._process: ForkedServer | None = None

    def start(self) -> None:
        self._process = ForkedServer(
            po_api, "serve", environment=self._environment, directory=self._directory, log=self._log
        )

    def kill(self) -> None:
        """SIGKILL: the process completes no request."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        self._process.kill()
        self._process.wait()

    @contextmanager
    def running(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self.kill()


@dataclass
class Journal:
    """The responses to the conversion and the issue of each order."""

    converted: dict[int, httpx.Response] = field(default_factory=dict)
    issued: dict[int, httpx.Response] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __len__(self) -> int:
        return len(self.converted) + len(self.issued)

    async def note(self, answers: dict[int, httpx.Response], index: int, answer: httpx.Response) -> None:
        async with self.changed:
            answers[index] = answer
            self.changed.notify_all()

    async def reaches(self, number: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self) >= number)


async def persist(member: Member, path: str, key: str, **options: Any) -> httpx.Response:
    """Repeat a request with one key until it is answered: the server may be down, or still processing it."""
    deadline = Deadline("a server that answers")
    while True:
        deadline.check()
        try:
            answer = await member.post(path, headers={"Idempotency-Key": key}, **options)
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code == 503 or (
            answer.status_code == 409 and answer.json()["code"] == "idempotency_key_in_flight"
        ):
            await asyncio.sleep(0.05)
            continue
        return answer


async def work(buyer: Member, jobs: Iterator[int], porfs: list[Any], journal: Journal) -> None:
    """Order one piece of a request and issue the order, for each of the jobs."""
    for index in jobs:
        porf = porfs[index % len(porfs)]
        lines = [{"line_id": porf["lines"][0]["id"], "quantity": "1"}]
        path = f"/porfs/{porf['id']}/purchase-orders"
        order = await persist(buyer, path, f"convert-{index}", etag="*", json={"lines": lines})
        assert order.status_code == 201, order.text
        await journal.note(journal.converted, index, order)
        path = f"/purchase-orders/{order.json()['id']}/issue"
        issued = await persist(buyer, path, f"issue-{index}", etag=order.headers["ETag"])
        assert issued.status_code == 200, issued.text
        await journal.note(journal.issued, index, issued)


async def crash(server: Server, journal: Journal, randomness: random.Random) -> None:
    """Kill the server each time after some more responses, at any point of the requests in progress."""
    for number in sorted(randomness.sample(range(1, 2 * ORDERS - WORKERS), KILLS)):
        await journal.reaches(number)
        await asyncio.sleep(randomness.uniform(0, 0.2))
        server.kill()
        server.start()


async def test_a_server_killed_at_random_loses_and_doubles_nothing(
    actors: TestOrganisation,
    own_urls: tuple[str, str],
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    line = {"description": "Lamp", "quantity": str(ORDERS), "unit_price": "24.90", "tax_rate": "20"}
    porfs = [(await actors.approved(lines=[line])).json() for _ in range(REQUESTS)]
    server, journal, jobs = Server(own_urls[1], tmp_path), Journal(), iter(range(ORDERS))
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", limits=limits, timeout=90) as client:
        buyer = replace(actors.buyer, client=client)
        # Fails at once if the server does not start again.
        with server.running():
            async with asyncio.timeout(10 * ORDERS), asyncio.TaskGroup() as group:
                group.create_task(crash(server, journal, random.Random(SEED)))
                for _ in range(WORKERS):
                    group.create_task(work(buyer, jobs, porfs, journal))

    await check(own_urls[0], actors.organisation_id)
    shown = [issued.json() for issued in journal.issued.values()]
    assert sorted(int(order["number"][-6:]) for order in shown) == list(range(1, ORDERS + 1))
    assert {order["id"] for order in shown} == {order.json()["id"] for order in journal.converted.values()}
    stored = await all_items(actors.auditor, "/purchase-orders", limit="100")
    assert {order["id"]: order["number"] for order in stored} == {order["id"]: order["number"] for order in shown}
    for porf in porfs:
        now = (await ok(actors.buyer.get(f"/porfs/{porf['id']}"))).json()
        mine = sum(order["lines"][0]["porf_id"] == porf["id"] for order in shown)
        assert now["lines"][0]["ordered_quantity"] == str(mine)
    answers = [*journal.converted.values(), *journal.issued.values()]
    record_testsuite_property("replayed", sum("Idempotent-Replayed" in answer.headers for answer in answers))
