"""The check that other tests end with: the database violates no invariant."""

from typing import Any

import asyncpg

from po_api.db.database import libpq_url
from po_api.operations.invariants import broken_rules, violations


async def check(owner_url: str, organisation_id: int | None = None) -> None:
    """Assert every invariant over one organisation, or over the whole database, as its tables' owner."""
    connection = await asyncpg.connect(libpq_url(owner_url))
    try:
        broken = await violations(connection, organisation_id)
        assert broken == [], broken
    finally:
        await connection.close()


async def check_connection(connection: Any, organisation_id: int | None = None) -> None:
    """The same, inside the transaction of an asyncpg connection."""
    broken = [line async for line in broken_rules(connection, organisation_id)]
    assert broken == [], broken
