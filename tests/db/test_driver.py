"""The undocumented parts of SQLAlchemy and asyncpg in db/driver.py still have their effect."""

import socket
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from po_api.db.database import libpq_url
from po_api.db.driver import engine_by, socket_of


@pytest.mark.parametrize("is_pooled_again", [False, True])
async def test_an_engine_has_the_connections_that_it_is_given(urls: tuple[str, str], is_pooled_again: bool) -> None:
    made: list[Any] = []

    async def connect(**_: Any) -> Any:
        made.append(await asyncpg.connect(libpq_url(urls[1]), server_settings={"application_name": "given"}))
        return made[-1]

    engine = engine_by(connect, is_pooled_again=is_pooled_again)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_setting('application_name')")) == "given"
        raw: Any = await connection.get_raw_connection()
        assert [raw.driver_connection] == made
    await engine.dispose()
    assert [connection.is_closed() for connection in made] == [True]


@pytest.mark.parametrize("is_pooled_again", [False, True])
async def test_prepared_statements_are_kept_unless_the_connection_is_pooled_again(
    urls: tuple[str, str], is_pooled_again: bool
) -> None:
    async def connect(**_: Any) -> Any:
        return await asyncpg.connect(libpq_url(urls[1]))

    engine = engine_by(connect, is_pooled_again=is_pooled_again)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
        raw: Any = await connection.get_raw_connection()
        kept = raw.dbapi_connection._prepared_statement_cache
        assert kept is None if is_pooled_again else "SELECT 1" in kept
    await engine.dispose()


async def test_the_socket_is_the_one_that_leads_to_the_server(urls: tuple[str, str]) -> None:
    connection = await asyncpg.connect(libpq_url(urls[1]))
    found = socket_of(connection)
    assert found.family in {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
    port = await connection.fetchval("SELECT current_setting('port')")
    assert port in str(found.getpeername())
    await connection.close()
