"""Exports a list batch by batch: each batch is a page of the list, read in a transaction of its own.

No connection is held while a client receives the file, however slow it is. The rows are those of the list while it is
read: a row that is created meanwhile may be missing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from json import loads

from sqlalchemy.ext.asyncio import AsyncEngine

from po_api.db.pagination import PageOf, PageRequest
from po_api.db.query import QueryExecutor, connected
from po_api.exports.columns import Column, values_of
from po_api.exports.errors import ExportTooLarge
from po_api.exports.files import TableFile

BATCH_ROWS = 500
# Reads a page of the list; the items are JSON.
ReadPage = Callable[[QueryExecutor, PageRequest], Awaitable[PageOf[str]]]
# Counts the rows of the list up to a number that is one more than the maximum.
CountRows = Callable[[int], Awaitable[int]]


async def require_size(count: CountRows, max_rows: int) -> None:
    """Raises ExportTooLarge if the list has more rows."""
    if await count(max_rows + 1) > max_rows:
        raise ExportTooLarge(max_rows)


async def parts_of(
    engine: AsyncEngine,
    read: ReadPage,
    first: PageOf[str],
    *,
    sort: str | None,
    columns: Sequence[Column],
    new_file: Callable[[Sequence[Column]], TableFile],
) -> AsyncIterator[bytes]:
    """The file in parts; `first` is the first page.

    The file is written in a thread of its own, which also closes it if the client disconnects while it is written.
    """
    run, loop = ThreadPoolExecutor(max_workers=1), asyncio.get_running_loop()
    file = await loop.run_in_executor(run, new_file, columns)
    try:
        page = first
        while True:
            if part := await loop.run_in_executor(run, _add, file, page.items, columns):
                yield part
            if page.next_cursor is None:
                break
            page = await _page(engine, read, request_for(sort, page.next_cursor))
        rest = await loop.run_in_executor(run, file.finish)
        while part := await loop.run_in_executor(run, next, rest, b""):
            yield part
    finally:
        run.submit(file.close)
        run.shutdown(wait=False)


def request_for(sort: str | None, cursor: str | None = None) -> PageRequest:
    """The request for a batch."""
    return PageRequest(limit=BATCH_ROWS, cursor=cursor, sort=sort)


def _add(file: TableFile, items: Sequence[str], columns: Sequence[Column]) -> bytes:
    rows: list[dict[str, object]] = [loads(item) for item in items]
    return file.add(values_of(row, columns) for row in rows)


async def _page(engine: AsyncEngine, read: ReadPage, request: PageRequest) -> PageOf[str]:
    async with connected(engine) as executor:
        return await read(executor, request)
