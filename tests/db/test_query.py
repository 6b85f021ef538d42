"""Connections that readers take: each goes back to the pool or is closed, whatever becomes of its request."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, func, select

from po_api.db.database import Database, open_database
from po_api.db.query import ConnectionExecutor, Query
from po_api.settings import Settings

_WHERE = Query("test.where", select(func.pg_backend_pid().label("pid")))
_FOR_EVER = Query("test.for_ever", select(func.pg_sleep(600)))


@pytest.fixture
async def small(urls: tuple[str, str], settings: Settings) -> AsyncIterator[tuple[Database, list[Any]]]:
    """A database that keeps one connection and lends five, and all that it has lent."""
    database = open_database(urls[1], settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 4}))
    lent: list[Any] = []
    event.listen(database.engine.sync_engine, "checkout", lambda pooled, *_: lent.append(pooled.driver_connection))
    yield database, lent
    await database.dispose()


async def test_the_pool_closes_what_it_does_not_keep(small: tuple[Database, list[Any]]) -> None:
    database, lent = small
    readers = [ConnectionExecutor(database.engine) for _ in range(5)]
    assert len({(await executor.row(_WHERE)).pid for executor in readers}) == 5
    for executor in readers:
        await executor.close()
    assert [connection.is_closed() for connection in lent].count(False) == 1
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0


async def test_a_reader_that_is_interrupted_gives_its_connection_up(small: tuple[Database, list[Any]]) -> None:
    database, lent = small
    executor = ConnectionExecutor(database.engine)
    await executor.enter_tenant(1)
    asking = asyncio.create_task(executor.row(_FOR_EVER))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    executor.discard()
    assert [connection.is_closed() for connection in lent] == [True]
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0
    another = ConnectionExecutor(database.engine)
    assert (await another.row(_WHERE)).pid
    await another.close()
