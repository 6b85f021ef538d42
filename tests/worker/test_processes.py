"""Workers in processes: stopped, killed at random, inside of `po-api serve`.

PO_TEST_WORKER_KILLS (default 4) makes it longer.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from po_api.settings import Settings
from support.applications import SECRET_KEY, application_on, client_of
from support.clusters import Cluster
from support.forked import ForkedServer, po_api
from support.invariants import check
from support.migrations import Fresh, migrated_database
from support.organisations import TestOrganisation, created, new_organisation, ok, perform
from support.polling import Deadline, until
from support.server_processes import environment_of, serving

pytestmark = pytest.mark.heavy

KILLS = int(os.environ.get("PO_TEST_WORKER_KILLS", "4"))
ORDERS = 4 * KILLS
SEED = 20_261_130


@dataclass(frozen=True)
class Place:
    """A database of its own: the tests' common one has work of all tests."""

    database: Fresh
    organisation: TestOrganisation
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return environment_of(self.directory, DATABASE_URL=self.database.app, SECRET_KEY=SECRET_KEY, WORKER="on")

    def worker(self, *options: str) -> ForkedServer:
        log = self.directory / "worker.log"
        return ForkedServer(po_api, "worker", *options, environment=self.environment, directory=self.directory, log=log)

    async def issue(self, count: int) -> list[httpx.Response]:
        """Issued orders of one piece each."""
        people = self.organisation
        line = {"description": "Lamp", "quantity": str(count), "unit_price": "24.90", "tax_rate": "20"}
        porf = await people.approved(lines=[line])
        path, piece = f"/porfs/{porf.json()['id']}/purchase-orders", [{"line_id": porf.json()["lines"][0]["id"]}]
        orders = [
            await created(people.buyer.post(path, etag="*", json={"lines": [piece[0] | {"quantity": "1"}]}))
            for _ in range(count)
        ]
        return [await ok(perform(people.buyer, order, "issue")) for order in orders]

    async def stored(self) -> int:
        (row,) = await self.database.fetch("SELECT count(*) AS files FROM purchase_order_files")
        return int(row["files"])

    async def leased(self) -> bool:
        rows = await self.database.fetch("SELECT FROM document_renderings WHERE leased_until > now()")
        return bool(rows)

    async def age_leases(self) -> None:
        """What happens when the leases of killed workers end, and to those of running ones as well."""
        await self.database.fetch("UPDATE document_renderings SET leased_until = now() WHERE leased_until > now()")


@pytest.fixture
async def place(cluster: Cluster, settings: Settings, tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        migrated_database(cluster) as database,
        application_on((database.owner, database.app), settings) as app,
        client_of(app) as client,
    ):
        yield Place(database, await new_organisation(app, client), tmp_path)


async def test_workers_killed_at_random_store_each_document_once(place: Place) -> None:
    orders = await place.issue(ORDERS)
    randomness = random.Random(SEED)
    workers = [place.worker() for _ in range(2)]
    deadline = Deadline("all documents stored")
    kills = 0
    while await place.stored() < ORDERS:
        deadline.check()
        if kills < KILLS and await place.leased():
            await asyncio.sleep(randomness.uniform(0, 0.3))
            victim = randomness.randrange(len(workers))
            workers[victim].kill()
            assert workers[victim].wait() == -signal.SIGKILL
            workers[victim] = place.worker()
            kills += 1
        await place.age_leases()
        await asyncio.sleep(0.05)
    for worker in workers:
        worker.stop()
    assert "Traceback" not in (place.directory / "worker.log").read_text()
    assert kills > 0
    assert await place.stored() == ORDERS
    await check(place.database.owner)
    for order in orders:
        shown = (await ok(place.organisation.buyer.get(f"/purchase-orders/{order.json()['id']}"))).json()
        assert shown["document_status"] == "stored"


async def test_a_worker_that_is_stopped_finishes_or_gives_back(place: Place) -> None:
    await place.issue(3)
    worker = place.worker()
    await until(place.leased, "a worker that has begun")
    worker.terminate()
    assert worker.wait(25) == 0
    assert not await place.leased()
    assert "Traceback" not in (place.directory / "worker.log").read_text()
    once = place.worker("--once")
    assert once.wait() == 0
    assert await place.stored() == 3


async def test_serving_works_too_and_is_woken_by_its_own_commits(place: Place) -> None:
    with serving(place.environment, place.directory) as server:
        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:
            people = place.organisation
            there = replace(place, organisation=replace(people, buyer=replace(people.buyer, client=client)))
            (order,) = await there.issue(1)

            async def is_stored() -> bool:
                found = await ok(people.buyer.get(f"/purchase-orders/{order.json()['id']}"))
                return bool(found.json()["document_status"] == "stored")

            await until(is_stored, "the document of the order")
            ready = (await client.get("/health/ready")).json()
            assert (ready["status"], ready["warnings"]) == ("ready", [])
        assert server.ends_with(signal.SIGTERM)
        assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()
