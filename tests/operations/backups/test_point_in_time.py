"""Recovery to a time between two writes, ten milliseconds apart, restores exactly the rows of that time."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from po_api.db.database import libpq_url
from po_api.operations.embedded.server import EmbeddedUrls, embedded_server
from po_api.tables import metadata
from support.applications import SECRET_KEY
from support.command_line import CommandLine
from support.polling import Deadline
from support.watchdog import temporary_directory

pytestmark = pytest.mark.heavy

APART = timedelta(milliseconds=10)
OWNED = [table.name for table in metadata.sorted_tables if "organisation_id" in table.c]
_WRITE = """
    INSERT INTO porfs (organisation_id, number, title, requester_id, net, total)
    SELECT organisation_id, $1, 'Lamps', min(id), 12.34, 12.34 FROM users GROUP BY organisation_id
"""


@pytest.fixture(scope="module")
def po() -> Iterator[CommandLine]:
    with temporary_directory("po-point-") as place, CommandLine.with_demo(place, SECRET_KEY=SECRET_KEY) as made:
        made.ok("organisations", "create", "--name", "Another")
        made.ok("users", "create", "--email", "a@another.example", "--name", "A", "--organisation", "2")
        made.backup()
        yield made


async def _contents(owner: Any) -> dict[str, list[tuple[Any, ...]]]:
    """For each table and organisation: the number of rows, their checksum, and the total of the requests."""
    return {
        table: [
            tuple(row)
            for row in await owner.fetch(
                "SELECT organisation_id, count(*), md5(string_agg(t::text, '' ORDER BY t::text)),"
                f" {'sum(total)' if table == 'porfs' else '0'} FROM {table} t GROUP BY organisation_id ORDER BY 1"
            )
        ]
        for table in OWNED
    }


async def _between_two_writes(urls: EmbeddedUrls) -> tuple[datetime, dict[str, list[tuple[Any, ...]]]]:
    """A time between two writes of a row in each organisation; and the digests of the data at that time."""
    writer, witness = [await asyncpg.connect(libpq_url(urls.owner)) for _ in range(2)]
    superuser = await asyncpg.connect(libpq_url(urls.superuser))
    try:
        for attempt in range(1000):
            await writer.execute(_WRITE, f"PORF-1-{attempt}")
            before = await writer.fetchval("SELECT clock_timestamp()")
            snapshot = witness.transaction(isolation="repeatable_read")
            await snapshot.start()
            moment = await witness.fetchval("SELECT clock_timestamp()")
            await writer.execute(_WRITE, f"PORF-2-{attempt}")
            after = await writer.fetchval("SELECT clock_timestamp()")
            if after - before <= APART:
                break
            await snapshot.rollback()  # this machine was busy with something else
        contents = await _contents(witness)
        await snapshot.rollback()
        assert await _contents(writer) != contents
        segment = await superuser.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = Deadline(f"{segment} in the archive")
        while (await superuser.fetchval("SELECT last_archived_wal FROM pg_stat_archiver") or "") < segment:
            deadline.check()
        assert after - before <= APART
        return moment, contents
    finally:
        for connection in (writer, witness, superuser):
            await connection.close()


def test_a_time_between_two_writes_comes_back_as_it_was(po: CommandLine) -> None:
    target = po.place / "restored"
    with embedded_server(po.data_dir) as urls:
        moment, contents = asyncio.run(_between_two_writes(urls))
    assert {organisation for organisation, *_ in contents["porfs"]} == {1, 2}
    po.ok("backup", "restore", "--to", moment.isoformat(), "--target", str(target))

    async def found(url: str) -> dict[str, list[tuple[Any, ...]]]:
        owner = await asyncpg.connect(libpq_url(url))
        try:
            return await _contents(owner)
        finally:
            await owner.close()

    with embedded_server(target) as urls:
        assert asyncio.run(found(urls.owner)) == contents
