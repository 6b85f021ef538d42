"""Heavy requests wait for their turn: without a connection, within limits, and without delaying other organisations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.fair_queue import FairQueue, Shares
from po_api.web.turns import HEAVY_BODY
from support.applications import client_of, new_app, serving
from support.clusters import connected
from support.locks import Row
from support.organisations import LINE, PREFIX, Member, TestOrganisation, again, created, new_organisation, ok, refused
from support.polling import until, until_blocked

# A user has one request in progress, and one that waits.
SHARES = Shares(running=2, running_per_organisation=2, running_per_user=1, waiting_per_user=1)
LONG_TEXT = "x" * 2_000
LARGE = {"title": "Large", "lines": [LINE | {"description": LONG_TEXT}] * (HEAVY_BODY // len(LONG_TEXT) + 1)}


@pytest.fixture
async def own_app(urls: tuple[str, str]) -> AsyncIterator[FastAPI]:
    app = new_app(urls[1])
    app.state.heavy_requests = FairQueue(SHARES)
    yield app
    await app.state.database.dispose()


@pytest.fixture
async def organisation(own_app: FastAPI) -> AsyncIterator[TestOrganisation]:
    async with client_of(own_app) as client:
        yield await new_organisation(own_app, client)


def issue(member: Member, order: httpx.Response) -> Any:
    path = f"/purchase-orders/{order.json()['id']}/issue"
    return member.post(path, etag=order.headers["ETag"])


@asynccontextmanager
async def in_progress(
    urls: tuple[str, str], organisation: TestOrganisation, member: Member
) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """A heavy request of a member that has its turn, until the end of the block."""
    order = await organisation.ordered()
    async with connected(urls[0]) as owner, owner.transaction():
        await Row("purchase_orders", organisation.organisation_id, order.json()["id"]).lock(owner)
        pending = asyncio.create_task(issue(member, order))
        await until_blocked(urls[0])
        yield pending
    await ok(pending)


async def waiting(organisation: TestOrganisation, number: int) -> None:
    queue: FairQueue = organisation.app.state.heavy_requests
    await until(lambda: asyncio.sleep(0, queue.waiting == number), f"{number} requests that wait")


@pytest.mark.heavy
async def test_a_user_waits_without_a_connection_and_others_do_not_wait(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    mine, others = await organisation.ordered(), await organisation.ordered()
    async with client_of(organisation.app) as client:
        neighbour = await new_organisation(organisation.app, client)
        theirs = await neighbour.ordered()
        async with in_progress(urls, organisation, organisation.buyer):
            pending = asyncio.create_task(issue(organisation.buyer, mine))
            await waiting(organisation, 1)
            pool: Any = organisation.database.engine.pool
            assert pool.checkedout() == 1
            await ok(issue(neighbour.buyer, theirs))
            await ok(issue(organisation.admin, others))
            await ok(organisation.buyer.get("/purchase-orders"))
            assert not pending.done()
        await ok(pending)


async def test_beyond_the_limit_a_heavy_request_is_refused_and_no_other(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf, draft = await organisation.approved(), await organisation.ordered()
    async with in_progress(urls, organisation, organisation.buyer):
        pending = asyncio.create_task(issue(organisation.buyer, draft))
        await waiting(organisation, 1)
        path = f"/porfs/{porf.json()['id']}"
        file = {"file": ("lines.csv", b"description,quantity,unit_price,tax_rate\nLamp,1,1,20\n")}
        for request in (
            issue(organisation.buyer, draft),
            organisation.convert(porf),
            organisation.buyer.get(f"{path}/export"),
            organisation.buyer.post("/porfs/import", files=file, data={"title": "x"}),
            organisation.buyer.post("/porfs", json=LARGE),
        ):
            answer = await ok(request, 429)
            assert answer.json()["code"] == "queue_full"
            assert int(answer.headers["Retry-After"]) > 0
        await ok(organisation.buyer.get(path))
        await created(organisation.buyer.post("/porfs", json={"title": "Small", "lines": [LINE]}))
    await ok(pending)
    await created(organisation.buyer.post("/porfs", json=LARGE))


async def test_who_waits_too_long_is_refused(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    organisation.app.state.heavy_requests = FairQueue(Shares(1, 1, 1, seconds=0.01))
    draft = await organisation.ordered()
    async with in_progress(urls, organisation, organisation.buyer):
        await refused(issue(organisation.buyer, draft), 503, "queue_timeout")
    await ok(issue(organisation.buyer, draft))


async def test_the_credentials_are_checked_before_and_after_the_wait(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    draft = await organisation.ordered()
    buyer = organisation.buyer
    async with in_progress(urls, organisation, buyer):
        nobody = Member(buyer.client, buyer.user_id, "", "invalid")
        await refused(issue(nobody, draft), 401, "unauthenticated")
        pending = asyncio.create_task(issue(buyer, draft))
        await waiting(organisation, 1)
        await ok(organisation.admin.post(f"/users/{buyer.user_id}/deactivate", etag="*"))
    await refused(pending, 401, "unauthenticated")
    assert (await again(organisation.admin, draft)).json()["status"] == "draft"


async def test_a_request_whose_client_has_left_is_not_carried_out(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    first, second = await organisation.ordered(), await organisation.ordered()
    app = new_app(urls[1])
    app.state.heavy_requests = queue = FairQueue(SHARES)
    token = {"Authorization": f"Bearer {organisation.buyer.token}", "If-Match": "*"}

    async def post(client: httpx.AsyncClient, order: httpx.Response) -> httpx.Response:
        return await client.post(f"{PREFIX}/purchase-orders/{order.json()['id']}/issue", headers=token)

    with serving(app) as address:
        async with httpx.AsyncClient(base_url=address) as client:
            async with connected(urls[0]) as owner, owner.transaction():
                await Row("purchase_orders", organisation.organisation_id, first.json()["id"]).lock(owner)
                pending = asyncio.create_task(post(client, first))
                await until_blocked(urls[0])
                leaving = asyncio.create_task(post(client, second))
                await until(lambda: asyncio.sleep(0, queue.waiting == 1), "a request that waits")
                leaving.cancel()
                await until(lambda: asyncio.sleep(0, queue.waiting == 0), "the end of a request whose client has left")
            assert (await pending).status_code == 200
    assert (await again(organisation.buyer, second)).json()["status"] == "draft"
