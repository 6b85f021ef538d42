"""An outage of the database under load: requests get 503, no change is lost or duplicated, no restart is needed.

PO_TEST_OUTAGE_SECONDS (default 0: until some requests were refused) makes it longer.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from po_api.operations import migrations
from support.applications import client_of, new_app
from support.clusters import Cluster
from support.invariants import check
from support.organisations import TestOrganisation, new_organisation
from support.outage_clients import CALLERS, IMPATIENT, Log, at_work, require_all

pytestmark = pytest.mark.heavy

SECONDS = float(os.environ.get("PO_TEST_OUTAGE_SECONDS", "0"))
NAME = "po_api"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Cluster]:
    """A server that loses no confirmed transaction."""
    with cluster.another(synchronous_commit="on") as running:
        yield running


@pytest.fixture(scope="module")
async def urls(server: Cluster) -> tuple[str, str]:
    own, used = server.url(NAME, "po_owner"), server.url(NAME, "po_app")
    await migrations.upgrade(owner_url=own, app_url=used)
    return own, used


@pytest.fixture
async def organisation(urls: tuple[str, str]) -> AsyncIterator[TestOrganisation]:
    app = new_app(urls[1])
    async with client_of(app) as client:
        yield await new_organisation(app, client)


@pytest.mark.parametrize("kind", ["killed", pytest.param("frozen", marks=pytest.mark.exhaustive)])
async def test_an_outage_refuses_and_loses_nothing(
    server: Cluster,
    urls: tuple[str, str],
    organisation: TestOrganisation,
    kind: str,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    async with at_work(new_app(urls[1], **IMPATIENT), organisation.requester) as (client, log):
        if kind == "killed":
            await asyncio.to_thread(server.kill)
            await be_away(client, log)
            await asyncio.to_thread(server.revive)
        else:
            with server.frozen():
                await be_away(client, log)
        back = time.monotonic()
        await log.has_more(1, 201)
        record_testsuite_property(f"{kind}: seconds until the first write", time.monotonic() - back)
    record_testsuite_property(f"{kind}: answers, slowest refusal", f"{dict(log.answers)}, {log.slowest_refusal:.2f} s")
    await require_all(log, organisation.admin)
    await check(urls[0])


async def be_away(client: httpx.AsyncClient, log: Log) -> None:
    """Wait while requests are refused: the process is live, but not ready."""
    await log.has_more(2 * CALLERS, 503)
    await asyncio.sleep(SECONDS)
    assert (await client.get("/health/live")).status_code == 200
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert [reason["code"] for reason in ready.json()["reasons"]] == ["database_unreachable"]
