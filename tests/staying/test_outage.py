"""The database goes away under load and comes back: refusals that say so, nothing lost, nothing doubled, no restart.

PO_TEST_OUTAGE_SECONDS (default 0: until some requests were refused) makes it longer.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from clusters import Cluster
from invariants import check
from po_api.operations import migrations
from support import LINE, Cast, Member, new_cast
from web_support import client_of, new_app, serving

SECONDS = float(os.environ.get("PO_TEST_OUTAGE_SECONDS", "0"))
CALLERS = 16
NAME = "po_api"
SETTINGS: dict[str, Any] = {
    "db_pool_size": 8,
    "db_pool_timeout": 1,
    "db_transaction_timeout_ms": 2000,
    "rate_limit_per_user": "1000000/minute",
    "rate_limit_per_address": "1000000/minute",
}
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Cluster]:
    """A server that forgets nothing it has confirmed."""
    with cluster.another(synchronous_commit="on") as running:
        yield running


@pytest.fixture(scope="module")
async def urls(server: Cluster) -> tuple[str, str]:
    own, used = server.url(NAME, "po_owner"), server.url(NAME, "po_app")
    await migrations.upgrade(owner_url=own, app_url=used)
    return own, used


@pytest.fixture
async def cast(urls: tuple[str, str]) -> AsyncIterator[Cast]:
    app = new_app(urls[1])
    async with client_of(app) as client:
        yield await new_cast(app, client)


@dataclass
class Log:
    """What the callers were told."""

    answers: Counter[int] = field(default_factory=Counter)
    accepted: dict[str, int] = field(default_factory=dict)
    slowest_refusal: float = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, answer: httpx.Response) -> None:
        assert answer.status_code in {200, 201, 503}, answer.text
        if answer.status_code == 503:
            assert answer.json()["code"] == "unavailable"
            assert int(answer.headers["Retry-After"]) > 0
            self.slowest_refusal = max(self.slowest_refusal, answer.elapsed.total_seconds())
        async with self.changed:
            self.answers[answer.status_code] += 1
            self.changed.notify_all()

    async def has_more(self, number: int, *statuses: int) -> None:
        """Return when so many more answers have had one of these statuses."""
        before = sum(self.answers[status] for status in statuses)
        async with self.changed:
            await self.changed.wait_for(lambda: sum(self.answers[status] for status in statuses) >= before + number)


class Caller:
    """Somebody who raises one request after another, each until it is answered, and looks at lists."""

    def __init__(self, name: int, member: Member, log: Log) -> None:
        self._name, self._member, self._log = name, member, log

    async def work(self, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            title = f"{self._name}.{number}"
            while True:
                body = {"title": title, "lines": [LINE]}
                answer = await self._ask("POST", "/porfs", headers={"Idempotency-Key": title}, json=body)
                if answer.status_code == 201:
                    self._log.accepted[title] = answer.json()["id"]
                    break
            for path in ("/porfs?limit=5", "/users/me"):
                await self._ask("GET", path)

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await self._member.request(method, path, **options)
        await self._log.note(answer)
        return answer


@pytest.mark.parametrize("kind", ["killed", "frozen"])
async def test_an_outage_refuses_and_loses_nothing(
    server: Cluster, urls: tuple[str, str], cast: Cast, kind: str, record_testsuite_property: Record
) -> None:
    log, stop = Log(), asyncio.Event()
    app = new_app(urls[1], **SETTINGS)
    with serving(app) as address:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            requester = replace(cast.requester, client=client)
            async with asyncio.TaskGroup() as group:
                for name in range(CALLERS):
                    group.create_task(Caller(name, requester, log).work(stop))
                await log.has_more(2 * CALLERS, 200, 201)
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
                await log.has_more(2 * CALLERS, 200, 201)
                stop.set()
            assert (await client.get("/health/ready")).status_code == 200
        pool: Any = app.state.database.engine.pool
        assert pool.checkedout() == 0
    record_testsuite_property(f"{kind}: answers, slowest refusal", f"{dict(log.answers)}, {log.slowest_refusal:.2f} s")
    stored = Counter({title: len(ids) for title, ids in (await everything(cast.admin)).items()})
    assert stored == Counter(dict.fromkeys(log.accepted, 1))
    await check(urls[0])


async def be_away(client: httpx.AsyncClient, log: Log) -> None:
    """Let requests be refused for a while: the process lives, and says that it cannot serve."""
    await log.has_more(2 * CALLERS, 503)
    await asyncio.sleep(SECONDS)
    assert (await client.get("/health/live")).status_code == 200
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert [reason["code"] for reason in ready.json()["reasons"]] == ["database_unreachable"]


async def everything(member: Member) -> dict[str, list[int]]:
    """The ids of all requests of a title."""
    found: dict[str, list[int]] = {}
    params = {"limit": "100"}
    while True:
        page = (await member.get("/porfs", params=params)).json()
        for item in page["items"]:
            found.setdefault(item["title"], []).append(item["id"])
        if not page["has_more"]:
            return found
        params["cursor"] = page["next_cursor"]
