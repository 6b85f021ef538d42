"""The load: connections that read or write by a timetable, with the latencies of their statements.

A statement that starts late, since the one before had to wait, counts as late.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import asyncpg

from benchmarks.database import Server
from po_api.db.database import libpq_url

WANTED_MS = 1000
WORKERS = 4
PER_SECOND = 25  # of each worker
ALONE_SECONDS = 10

_PAGE = "SELECT id, {columns} FROM {table} WHERE organisation_id = $1 ORDER BY created_at DESC, id DESC LIMIT 50"
# By the table that has to be there.
_READS = {
    "organisations": "SELECT name, timezone FROM organisations WHERE id = $1",
    "users": "SELECT id, email, name FROM users WHERE organisation_id = $1 AND is_active ORDER BY name, id LIMIT 50",
    "members": "SELECT user_id, email, name, roles FROM members WHERE organisation_id = $1 AND is_active"
    " ORDER BY name, user_id LIMIT 50",
    "porfs": _PAGE.format(columns="number, title, created_at", table="porfs"),
    "suppliers": _PAGE.format(columns="name, email", table="suppliers"),
    "porf_lines": "SELECT description, quantity FROM porf_lines WHERE organisation_id = $1 AND porf_id ="
    " (SELECT max(id) FROM porfs WHERE organisation_id = $1) ORDER BY id",
    "purchase_orders": _PAGE.format(columns="number, status", table="purchase_orders"),
}
_WRITES = {
    "organisations": "UPDATE organisations SET updated_at = now() WHERE id = $1",
    "users": "UPDATE users SET updated_at = now() WHERE id = (SELECT min(id) FROM users WHERE organisation_id = $1)",
    "members": "UPDATE members SET updated_at = now() WHERE organisation_id = $1 AND user_id ="
    " (SELECT min(user_id) FROM members WHERE organisation_id = $1)",
    "porfs": "UPDATE porfs SET version = version + 1, updated_at = now() WHERE organisation_id = $1 AND id ="
    " (SELECT max(id) FROM porfs WHERE organisation_id = $1)",
    "suppliers": "UPDATE suppliers SET updated_at = now() WHERE organisation_id = $1 AND id ="
    " (SELECT min(id) FROM suppliers WHERE organisation_id = $1)",
    "purchase_orders": "UPDATE purchase_orders SET updated_at = now() WHERE organisation_id = $1 AND id ="
    " (SELECT min(id) FROM purchase_orders WHERE organisation_id = $1)",
}
_INSERT = (
    "INSERT INTO porfs (organisation_id, number, title, {author})"
    " SELECT $1, 'B' || gen_random_uuid(), 'Made meanwhile', min(id) FROM users WHERE organisation_id = $1"
)
T = TypeVar("T")


class WrongResult(Exception):
    """A statement had a result that it must not have."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        ordered = sorted(seconds)
        last = len(ordered) - 1
        return cls(len(ordered), *(ordered[int(last * share)] * 1000 for share in (0.5, 0.99, 1)))


@dataclass
class Load:
    """The measurements of one period of load: latencies in seconds, and errors by class."""

    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Measurement:
    """One migration of `seconds`, with the load's measurements before and during it."""

    revision: str
    title: str
    seconds: float
    reads_alone: Latency
    writes_alone: Latency
    reads: Latency
    writes: Latency
    errors: dict[str, int]

    @classmethod
    def of(cls, revision: str, title: str, seconds: float, alone: Load, load: Load) -> "Measurement":
        return cls(
            revision,
            title,
            seconds,
            Latency.of(alone.reads),
            Latency.of(alone.writes),
            Latency.of(load.reads),
            Latency.of(load.writes),
            dict(alone.errors + load.errors),
        )

    @property
    def met(self) -> bool:
        return max(self.reads.p99, self.writes.p99) < WANTED_MS and not self.errors


class Worker:
    """One connection of the application's role, of one organisation, reading or writing by a timetable."""

    def __init__(self, connection: Any, organisation: int, statements: Sequence[str]) -> None:
        self._connection = connection
        self._organisation = organisation
        self._statements = statements
        self._author = "requester_id"

    async def work(self, latencies: list[float], errors: Counter[str], stop: asyncio.Event) -> None:
        started = time.perf_counter() + random.random() / PER_SECOND
        number = 0
        while not stop.is_set():
            due = started + number / PER_SECOND
            number += 1
            await asyncio.sleep(max(0, due - time.perf_counter()))
            try:
                await self._once()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, WrongResult) as error:
                errors[type(error).__name__] += 1
            latencies.append(time.perf_counter() - due)

    async def _once(self) -> None:
        statement = random.choice(self._statements)
        try:
            await self._connection.fetch(statement.format(author=self._author), self._organisation)
        except asyncpg.UndefinedColumnError:
            # Revision 004 renames the column; the versions before and after it each know one name.
            self._author = {"requester_id": "user_id", "user_id": "requester_id"}[self._author]
            await self._connection.fetch(statement.format(author=self._author), self._organisation)


class Workers(NamedTuple):
    """The readers and the writers."""

    readers: Sequence[Worker]
    writers: Sequence[Worker]


@asynccontextmanager
async def workers(
    server: Server, reader: Callable[..., Worker] = Worker, writer: Callable[..., Worker] = Worker
) -> AsyncIterator[Workers]:
    """Readers and writers in the first organisations; their statements work at the current revision and the next."""
    async with AsyncExitStack() as stack:
        connections = [await _connect(server.urls.app, number + 1) for number in range(2 * WORKERS)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        there = [table for table in _READS if await connections[0].fetchval("SELECT to_regclass($1)", table)]
        reads = [_READS[table] for table in there]
        writes = [_WRITES[table] for table in there if table in _WRITES] + [_INSERT]
        yield Workers(
            [reader(each, number + 1, reads) for number, each in enumerate(connections[:WORKERS])],
            [writer(each, number + 1, writes) for number, each in enumerate(connections[WORKERS:], WORKERS)],
        )


async def _connect(url: str, organisation: int) -> Any:
    # What the application's connections have; the tenant at session level, since each of these has only one.
    settings = {
        "statement_timeout": "15s",
        "lock_timeout": "10s",
        "jit": "off",
        "app.organisation_id": str(organisation),
    }
    return await asyncpg.connect(libpq_url(url), server_settings=settings)


async def under_load(workers: AbstractAsyncContextManager[Workers], work: Callable[[], Awaitable[T]]) -> tuple[T, Load]:
    """The result of `work`, and the load's measurements while it ran."""
    load, stop = Load(), asyncio.Event()
    async with workers as present, asyncio.TaskGroup() as group:
        for latencies, some in ((load.reads, present.readers), (load.writes, present.writers)):
            for worker in some:
                group.create_task(worker.work(latencies, load.errors, stop))
        try:
            found = await work()
            await asyncio.sleep(1)
        finally:
            stop.set()
    return found, load


async def load_alone(workers: AbstractAsyncContextManager[Workers]) -> Load:
    """The load's measurements without a migration."""
    _, load = await under_load(workers, lambda: asyncio.sleep(ALONE_SECONDS))
    return load
