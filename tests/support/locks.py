"""Rows that a test locks, and requests at once, each of which waits for such a row, or for the request before."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import httpx

from support.polling import until_blocked

Request = Callable[[], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Row:
    """A row of an organisation. The organisation leads to the server that can lock it."""

    table: str
    organisation_id: int
    id: int
    key: str = "id"

    async def lock(self, connection: asyncpg.Connection, wait: str = "") -> None:
        """Lock it until the end of the connection's transaction; with "NOWAIT", raise if it is locked already."""
        statement = f"SELECT 1 FROM {self.table} WHERE organisation_id = $1 AND {self.key} = $2 FOR UPDATE {wait}"
        assert await connection.fetchval(statement, self.organisation_id, self.id) == 1


def member_row(organisation_id: int, user_id: int) -> Row:
    return Row("members", organisation_id, user_id, key="user_id")


async def in_this_order(owner: asyncpg.Connection, url: str, row: Row, *requests: Request) -> list[httpx.Response]:
    """The responses to requests that are sent one by one while the row is locked; all of them wait."""
    tasks = []
    async with owner.transaction():
        await row.lock(owner)
        for number, request in enumerate(requests, start=1):
            tasks.append(asyncio.ensure_future(request()))
            await until_blocked(url, number)
    return await asyncio.gather(*tasks)
