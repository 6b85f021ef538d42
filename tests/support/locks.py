"""Requests at once, each of which waits for a row that a test holds, or for the request before."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx

from support.polling import until_blocked

Request = Callable[[], Awaitable[httpx.Response]]


async def in_this_order(
    owner: asyncpg.Connection, url: str, lock: str, row: int, *requests: Request
) -> list[httpx.Response]:
    """The responses to requests that are sent one by one while the statement `lock` holds a row; all of them wait."""
    tasks = []
    async with owner.transaction():
        await owner.execute(lock, row)
        for number, request in enumerate(requests, start=1):
            tasks.append(asyncio.ensure_future(request()))
            await until_blocked(url, number)
    return await asyncio.gather(*tasks)
