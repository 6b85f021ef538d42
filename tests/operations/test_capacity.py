"""Warnings at the start if the limits of the server do not suffice for the configuration."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.operations.capacity import shortage
from po_api.settings import Settings


@pytest.fixture
async def connection(app: FastAPI) -> AsyncIterator[AsyncConnection]:
    async with app.state.database.engine.connect() as made:
        yield made


async def found(connection: AsyncConnection, **settings: Any) -> dict[str, Any] | None:
    return await shortage(connection, Settings(_env_file=None, **settings))


async def test_more_connections_than_the_server_has_are_warned_of(connection: AsyncConnection) -> None:
    shared = {"rate_limit_storage_uri": "redis://cache", "db_pool_size": 30, "db_max_overflow": 10}
    assert await found(connection, **shared, web_concurrency=2) is None
    warning = await found(connection, **shared, web_concurrency=20)
    assert warning is not None
    assert (warning["event"], warning["required"]) == ("connection_limit_too_low", 800)
    assert 100 <= warning["available"] < 800


async def test_behind_pgbouncer_the_role_has_to_have_its_time_outs(connection: AsyncConnection) -> None:
    assert await found(connection, db_pgbouncer=True, db_pool_size=500) is None
    await connection.execute(text("SET LOCAL lock_timeout = 0"))
    warning = await found(connection, db_pgbouncer=True)
    assert warning is not None
    assert (warning["event"], warning["settings"]) == ("role_time_outs_missing", ["lock_timeout"])
