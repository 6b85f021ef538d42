"""Readers and writers while every revision runs on tables in use: `python -m benchmarks.migrations --help`.

A server is loaded at head and downgraded revision by revision. Each revision is then applied by `po-api migrate` under
load, on all rows of the tables of that time. A further revision fills and requires a column, which none of the released
ones does. The load follows a timetable: a statement that starts late, since the one before had to wait, counts as late.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from benchmarks import machine
from benchmarks.apps import HERE
from benchmarks.database import Server, running_server
from benchmarks.progress import say
from benchmarks.report import Table, aligned, markdown_table
from po_api.db.database import libpq_url
from po_api.operations import migrations, revisions

REQUESTS = 1_000_000
WANTED_MS = 1000
WORKERS = 4
PER_SECOND = 25  # of each worker
ALONE_SECONDS = 10

# A later revision on a table in use.
_FURTHER = '''"""(not of the chain) A column that is filled in, required and indexed.

Revises: {below}
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "{name}"
down_revision = "{below}"
loses = "the column"


def upgrade():
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("region", sa.Text, server_default="-"))
        ddl.backfill("porfs", "region = 'region ' || id % 10", where="region = '-'")
        ddl.require("porfs", "region")
        ddl.create_index("ix_porfs_region", "porfs (organisation_id, region, id)")


def downgrade():
    op.drop_index("ix_porfs_region", "porfs")
    op.drop_column("porfs", "region")
'''
_FURTHER_NAME = "further"
# `po-api` with that revision among its files.
_COMMAND = """
import sys
from pathlib import Path
from po_api.operations import revisions
revisions.PROJECT = Path(sys.argv.pop(1))
from po_api.cli.main import main
main()
"""

_PAGE = "SELECT id, {columns} FROM {table} WHERE organisation_id = $1 ORDER BY created_at DESC, id DESC LIMIT 50"
# By the table that has to be there.
_READS = {
    "organisations": "SELECT name, timezone FROM organisations WHERE id = $1",
    "users": "SELECT id, email, name FROM users WHERE organisation_id = $1 AND is_active ORDER BY name, id LIMIT 50",
    "porfs": _PAGE.format(columns="number, title, created_at", table="porfs"),
    "suppliers": _PAGE.format(columns="name, email", table="suppliers"),
    "porf_lines": "SELECT description, quantity FROM porf_lines WHERE organisation_id = $1 AND porf_id ="
    " (SELECT max(id) FROM porfs WHERE organisation_id = $1) ORDER BY id",
    "purchase_orders": _PAGE.format(columns="number, status", table="purchase_orders"),
}
_WRITES = {
    "organisations": "UPDATE organisations SET updated_at = now() WHERE id = $1",
    "users": "UPDATE users SET updated_at = now() WHERE id = (SELECT min(id) FROM users WHERE organisation_id = $1)",
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


@dataclass(frozen=True)
class Measurement:
    """One revision, with the load's measurements before and during it."""

    revision: str
    title: str
    seconds: float
    reads_alone: Latency
    writes_alone: Latency
    reads: Latency
    writes: Latency
    errors: dict[str, int]

    @property
    def met(self) -> bool:
        return max(self.reads.p99, self.writes.p99) < WANTED_MS and not self.errors


@dataclass
class Load:
    """The measurements of one period of load: latencies in seconds, and errors by class."""

    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


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
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
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


@asynccontextmanager
async def _workers(server: Server) -> AsyncIterator[tuple[list[Worker], list[Worker]]]:
    """Readers and writers in the largest organisations; their statements work at the current revision and the next."""
    async with AsyncExitStack() as stack:
        connections = [await _connect(server.urls.app, number + 1) for number in range(2 * WORKERS)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        there = [table for table in _READS if await connections[0].fetchval("SELECT to_regclass($1)", table)]
        reads = [_READS[table] for table in there]
        writes = [_WRITES[table] for table in there if table in _WRITES] + [_INSERT]
        yield (
            [Worker(each, number + 1, reads) for number, each in enumerate(connections[:WORKERS])],
            [Worker(each, number + 1, writes) for number, each in enumerate(connections[WORKERS:], WORKERS)],
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


async def _under_load(server: Server, work: Callable[[], Awaitable[float]]) -> tuple[float, Load]:
    """The result of `work`, and the load's measurements while it ran."""
    load, stop = Load(), asyncio.Event()
    async with _workers(server) as (readers, writers), asyncio.TaskGroup() as group:
        for latencies, workers in ((load.reads, readers), (load.writes, writers)):
            for worker in workers:
                group.create_task(worker.work(latencies, load.errors, stop))
        try:
            found = await work()
            await asyncio.sleep(1)
        finally:
            stop.set()
    return found, load


async def _alone() -> float:
    await asyncio.sleep(ALONE_SECONDS)
    return ALONE_SECONDS


async def _migrate(server: Server, project: Path, to: str) -> float:
    """The seconds that `po-api migrate` reports for the revision."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _COMMAND, str(project), "migrate", "--to", to, "--no-backup"),
        cwd=project,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": server.urls.app, "DATABASE_MIGRATION_URL": server.urls.owner},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    found = re.search(rf"^{to} +([\d.]+) s", output.decode(), re.MULTILINE)
    if process.returncode or found is None:
        raise SystemExit(f"po-api migrate --to {to} failed")
    return float(found[1])


async def _measure(server: Server, project: Path) -> list[Measurement]:
    measurements = []
    # The first revision creates the first tables: there is no load yet.
    for revision in reversed(revisions.chain()[1:]):
        assert revision.below is not None
        await migrations.upgrade(
            owner_url=server.urls.owner, app_url=server.urls.app, to=revision.below, may_lose_data=True
        )
        _, alone = await _under_load(server, _alone)
        seconds, load = await _under_load(server, lambda to=revision.name: _migrate(server, project, to))  # type: ignore[misc]
        measurement = Measurement(
            revision.name,
            revision.title,
            seconds,
            Latency.of(alone.reads),
            Latency.of(alone.writes),
            Latency.of(load.reads),
            Latency.of(load.writes),
            dict(alone.errors + load.errors),
        )
        say(f"{revision.name}: {seconds:.1f} s, p99 of writes {measurement.writes.p99:.0f} ms")
        measurements.append(measurement)
    return measurements[::-1]


def _project(directory: Path) -> Path:
    """The files of this version with the further revision."""
    shutil.copytree(revisions.PROJECT / "alembic", directory / "alembic")
    shutil.copy(revisions.PROJECT / "alembic.ini", directory)
    text = _FURTHER.format(name=_FURTHER_NAME, below=revisions.head_revision())
    (directory / "alembic" / "versions" / f"{_FURTHER_NAME}.py").write_text(text)
    return directory


def _table(measurements: Sequence[Measurement]) -> Table:
    header = (
        "revision",
        "seconds",
        "reads p99 ms, alone",
        "meanwhile",
        "longest",
        "writes p99 ms, alone",
        "meanwhile",
        "longest",
        "requests",
        "errors",
        f"p99 < {WANTED_MS} ms",
    )
    rows = [
        (
            each.revision,
            f"{each.seconds:.2f}",
            *(f"{value:.1f}" for value in (each.reads_alone.p99, each.reads.p99, each.reads.longest)),
            *(f"{value:.1f}" for value in (each.writes_alone.p99, each.writes.p99, each.writes.longest)),
            f"{each.reads.count + each.writes.count:,}",
            ", ".join(f"{count} × {name}" for name, count in each.errors.items()) or "0",
            "met" if each.met else "missed",
        )
        for each in measurements
    ]
    return header, rows


def _write(directory: Path, requests: int, measurements: Sequence[Measurement]) -> None:
    about, date = machine.describe(), datetime.now(UTC).date().isoformat()
    content = {"machine": about, "date": date, "requests": requests, "revisions": [*map(asdict, measurements)]}
    (directory / "migrations.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    text = (
        f"# Readers and writers while each revision runs\n\nWritten by `make bench-migrations` on {date}, with"
        f" {requests:,} PORFs. {WORKERS} readers and {WORKERS} writers, {PER_SECOND} requests a second each, keep to a"
        " timetable, and lateness counts; `po-api migrate` runs beside them on the same cores. The first revision makes"
        f" the first tables; `{_FURTHER_NAME}` is not of the chain: it fills in, requires and indexes a new column.\n\n"
        + "\n".join(f"- {name}: {value}" for name, value in about.items() if name != "versions")
        + f"\n\n{markdown_table(_table(measurements))}\n"
    )
    (directory / "migrations.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="how many PORFs (default %(default)s)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where to write (default %(default)s)")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)  # now, not after ten minutes
    with running_server(options.requests, None) as server, tempfile.TemporaryDirectory(prefix="po-bench-") as place:
        # From here on: what the server was loaded with is the chain without it.
        revisions.PROJECT = _project(Path(place))
        measurements = uvloop.run(_measure(server, revisions.PROJECT))
    sys.stdout.write(aligned(_table(measurements)) + "\n")
    _write(options.results, options.requests, measurements)
    if not all(each.met for each in measurements):
        sys.exit(f"not every revision leaves the others a p99 below {WANTED_MS} ms")


if __name__ == "__main__":
    main()
