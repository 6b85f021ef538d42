"""Connections that are checked out for too long are closed."""

import asyncio
from typing import Any

from po_api.db.database import open_database
from po_api.settings import Settings
from support.polling import Deadline


async def test_all_that_are_out_for_too_long_are_closed_and_what_was_given_back_is_not(
    urls: tuple[str, str], settings: Settings
) -> None:
    database = open_database(urls[1], settings.model_copy(update={"db_transaction_timeout_ms": 300}))
    first, second, given_back = [await database.engine.raw_connection() for _ in range(3)]
    kept = given_back.driver_connection
    given_back.close()
    await _closed(first)
    await _closed(second)
    # Nothing is out any more: the next loan is watched anew.
    third = await database.engine.raw_connection()
    assert third.driver_connection is kept
    await _closed(third)
    for out in (first, second, third):
        out.invalidate()
    await database.dispose()


async def _closed(out: Any) -> None:
    deadline = Deadline("a connection that is closed")
    while not out.driver_connection.is_closed():
        deadline.check()
        await asyncio.sleep(0.01)
