"""The server with a data set: a temporary embedded PostgreSQL, made by the real migrations and loaded by COPY."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.data import COLUMNS, Batch, DataSet
from benchmarks.progress import say
from po_api.operations import migrations
from po_api.operations.embedded.server import EmbeddedUrls, embedded_server

# Durability is PostgreSQL's default: complete. The other settings are usual for a server of this size.
SETTINGS = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "300",
    "jit": "off",
}
SEED = 20_260_701
# More than the scenarios' own: raised whenever the generator makes other rows of the same seed.
GENERATION = 2


@dataclass(frozen=True)
class Server:
    """A running server with this number of requests; `port` and `directory` are its socket's."""

    requests: int
    urls: EmbeddedUrls
    process_id: int
    directory: Path

    @property
    def superuser(self) -> str:
        return make_url(self.urls.owner).set(username="postgres").render_as_string()


@contextmanager
def running_server(requests: int, keep: Path | None) -> Iterator[Server]:
    """A server with a data set of this number of requests; with `keep` the directory is kept and reused."""
    with _directory(None if keep is None else keep / f"{requests}-{SEED}-{GENERATION}") as base:
        ready = base / "loaded"
        if base.exists() and not ready.exists():
            shutil.rmtree(base)
        with _serving(base, requests) as server:
            if not ready.exists():
                asyncio.run(_fill(server))
                ready.touch()
            asyncio.run(_settle(server))
            yield server


@contextmanager
def empty_server() -> Iterator[Server]:
    """A temporary server with an empty database."""
    with _directory(None) as base, _serving(base, 0) as server:
        yield server


@contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    """The directory of a server: `kept`, or a temporary one."""
    if kept is not None:
        yield kept
        return
    base = Path(tempfile.mkdtemp(prefix="po-bench-"))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _serving(base: Path, requests: int) -> Iterator[Server]:
    with embedded_server(base, settings=SETTINGS) as urls:
        status = (base.resolve() / "postgres" / "postmaster.pid").read_text().splitlines()
        yield Server(requests, urls, int(status[0]), Path(status[4]))


async def _fill(server: Server) -> None:
    say(f"{server.requests:,} requests: migrating, loading")
    await migrations.upgrade(owner_url=server.urls.owner, app_url=server.urls.app)
    async with connection(server.urls.owner) as owner:
        definitions = await _drop_what_slows_copy(owner)
        await _copy(owner, DataSet(seed=SEED, requests=server.requests))
        say("making the indexes and keys")
        for definition in definitions:
            await owner.execute(definition)
        await _set_sequences(owner)
        await owner.execute("VACUUM (FREEZE, ANALYZE)")


async def _settle(server: Server) -> None:
    """The same initial state for every run: checkpointed and vacuumed."""
    async with connection(server.urls.owner) as owner:
        await owner.execute("VACUUM ANALYZE")
    async with connection(server.superuser) as superuser:
        await superuser.execute("CHECKPOINT")


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Any]:
    opened = await asyncpg.connect(url)
    try:
        yield opened
    finally:
        await opened.close()


async def _drop_what_slows_copy(owner: Any) -> Sequence[str]:
    """Drop foreign keys and indexes that are not unique; returns the statements that create them again."""
    indexes = await owner.fetch(
        "SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index"
        " JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'public'::regnamespace"
        " AND NOT indisunique"
    )
    keys = await owner.fetch(
        "SELECT conrelid::regclass AS on, conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
    )
    for index in indexes:
        await owner.execute(f"DROP INDEX {index['name']}")
    for key in keys:
        await owner.execute(f"ALTER TABLE {key['on']} DROP CONSTRAINT {key['name']}")
    made = [index["definition"] for index in indexes]
    return [*made, *(f"ALTER TABLE {key['on']} ADD CONSTRAINT {key['name']} {key['definition']}" for key in keys)]


async def _copy(owner: Any, data: DataSet) -> None:
    """Copy one batch while the next one is generated."""
    batches = data.batches()
    pending: asyncio.Task[None] | None = None
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        if pending is not None:
            await pending
        pending = asyncio.create_task(_copy_batch(owner, batch))
    if pending is not None:
        await pending


async def _copy_batch(owner: Any, batch: Batch) -> None:
    for table, columns in COLUMNS.items():
        if rows := batch.get(table):
            source = BytesIO("".join(rows).encode())
            await owner.copy_to_table(table, source=source, columns=columns.split(), format="text")


async def _set_sequences(owner: Any) -> None:
    """Set the identities after the ids that COPY has inserted."""
    for table, columns in COLUMNS.items():
        if "id" in columns.split():
            await owner.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            )
