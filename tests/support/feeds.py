"""Numbering the events of an organisation as a worker does, and reading its feed."""

from typing import Any

from po_api.audit.feed import BATCH, relay
from po_api.db.database import Database, enter_tenant
from po_api.db.query import TransactionExecutor
from support.organisations import Member, ok


async def relayed(database: Database, organisation_id: int) -> int:
    """Number all committed events of an organisation; returns how many there were."""
    total = 0
    for _ in range(100):
        async with database.sessions.begin() as session:
            await enter_tenant(session, organisation_id)
            count = await relay(TransactionExecutor(session), organisation_id)
        total += count
        if count < BATCH:
            return total
    raise AssertionError("the relay does not come to an end")


async def followed(reader: Member, after: str | None = None, **params: Any) -> tuple[list[dict[str, Any]], str | None]:
    """The items of the feed after a position, and the position to continue from."""
    items: list[dict[str, Any]] = []
    for _ in range(1000):
        position = {} if after is None else {"after": after}
        page = (await ok(reader.get("/events", params={**params, **position}))).json()
        items += page["items"]
        after = page["next"]
        if not page["has_more"]:
            return items, after
    raise AssertionError("the feed does not come to an end")
