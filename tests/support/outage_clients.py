"""Clients that continue during an outage of the database, and record the responses."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from fastapi import FastAPI

from support.applications import serving
from support.organisations import LINE, Member
from support.pages import all_items
from support.polling import Deadline, until

CALLERS = 16
# Patience is short, so that the tests need little of it.
IMPATIENT: dict[str, Any] = {
    "db_pool_size": 8,
    "db_pool_timeout": 1,
    "db_transaction_timeout_ms": 2000,
    "rate_limit_per_user": "1000000/minute",
    "rate_limit_per_address": "1000000/minute",
    # A worker starts whatever the database does. On a busy machine, the first connection alone may take two seconds.
    "is_checked": True,
}


@dataclass
class Log:
    """The responses of the clients."""

    answers: Counter[int] = field(default_factory=Counter)
    accepted: dict[str, int] = field(default_factory=dict)
    slowest_refusal: float = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, answer: httpx.Response) -> None:
        assert answer.status_code in {200, 201, 409, 503}, answer.text
        if answer.status_code == 409:  # PostgreSQL has yet to notice that the attempt before was given up
            assert answer.json()["code"] == "idempotency_key_in_flight"
        if answer.status_code == 503:
            assert answer.json()["code"] == "unavailable"
            assert int(answer.headers["Retry-After"]) > 0
            self.slowest_refusal = max(self.slowest_refusal, answer.elapsed.total_seconds())
        async with self.changed:
            self.answers[answer.status_code] += 1
            self.changed.notify_all()

    async def has_more(self, number: int, *statuses: int) -> None:
        """Wait for this number of further responses with one of these statuses."""
        before = sum(self.answers[status] for status in statuses)
        async with self.changed:
            await self.changed.wait_for(lambda: sum(self.answers[status] for status in statuses) >= before + number)


class Caller:
    """A client that creates one request after another, each retried until it succeeds, and reads lists."""

    def __init__(self, name: int, member: Member, log: Log) -> None:
        self._name, self._member, self._log = name, member, log

    async def work(self, stop: asyncio.Event) -> None:
        number = 0
        deadline = Deadline("the end of the outage")
        while not stop.is_set():
            number += 1
            title = f"{self._name}.{number}"
            while True:
                deadline.check()
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


@asynccontextmanager
async def at_work(app: FastAPI, requester: Member) -> AsyncIterator[tuple[httpx.AsyncClient, Log]]:
    """A server of the application with active clients; at the end, no connection may be checked out."""
    log, stop = Log(), asyncio.Event()

    async def is_ready() -> bool:
        return (await client.get("/health/ready")).status_code == 200

    with serving(app) as address:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client, asyncio.TaskGroup() as group:
            for name in range(CALLERS):
                group.create_task(Caller(name, replace(requester, client=client), log).work(stop))
            await log.has_more(2 * CALLERS, 200, 201)
            try:
                yield client, log
                await log.has_more(2 * CALLERS, 200, 201)
                # Its connection comes from the pool, for which the callers may still queue longer than it waits.
                await until(is_ready, "a ready process")
            finally:
                stop.set()
        pool: Any = app.state.database.engine.pool
        assert pool.checkedout() == 0


async def require_all(log: Log, member: Member) -> None:
    """All accepted requests exist exactly once, and no others: clients retried until they got a response."""
    stored = Counter({title: len(ids) for title, ids in (await everything(member)).items()})
    assert stored == Counter(dict.fromkeys(log.accepted, 1))


async def everything(member: Member) -> dict[str, list[int]]:
    """The ids of all requests of a title."""
    found: dict[str, list[int]] = {}
    for item in await all_items(member, "/porfs", limit="100"):
        found.setdefault(item["title"], []).append(item["id"])
    return found
