"""When a request has come to where somebody's lock holds it up."""

import asyncio

import asyncpg

from po_api.core.database import libpq_url

_BLOCKED = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'po-api' AND cardinality(pg_blocking_pids(pid)) > 0"
)


async def until_waiting(url: str, number: int = 1) -> list[int]:
    """The processes of PostgreSQL in which so many requests wait, once they do.

    They are looked for on a connection of its own: a transaction sees them as they were when it first looked.
    """
    observer = await asyncpg.connect(libpq_url(url))
    while len(found := await observer.fetch(_BLOCKED)) < number:
        await asyncio.sleep(0.01)
    await observer.close()
    return [row["pid"] for row in found]
