"""The undocumented parts of SQLAlchemy and asyncpg in db/driver.py still have their effect."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg import CannotConnectNowError
from sqlalchemy import text

from po_api.db.client_files import home_of_programs
from po_api.db.database import libpq_url
from po_api.db.driver import engine_by, in_transaction, socket_of
from po_api.db.hosts import Hosts
from po_api.operations.embedded import server_user
from support.refusing_server import refusing


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


async def test_a_transaction_is_begun_as_sqlalchemy_ends_it(urls: tuple[str, str]) -> None:
    engine = engine_by(lambda: asyncpg.connect(libpq_url(urls[1])), is_pooled_again=False, pool_size=1, max_overflow=0)
    async with engine.connect() as connection:
        async with connection.begin():
            driver = await in_transaction(connection)
            assert driver is await in_transaction(connection)
            assert driver.is_in_transaction()
        assert not driver.is_in_transaction()
    # Nobody gets a connection whose BEGIN was cancelled.
    async with engine.connect() as connection:
        cancelled = asyncio.create_task(in_transaction(connection))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert connection.invalidated
    async with engine.connect() as connection:
        assert await in_transaction(connection) is not driver
    await engine.dispose()


async def test_the_socket_is_the_one_that_leads_to_the_server(urls: tuple[str, str]) -> None:
    connection = await asyncpg.connect(libpq_url(urls[1]))
    found = socket_of(connection)
    assert found.family in {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
    port = await connection.fetchval("SELECT current_setting('port')")
    assert port in str(found.getpeername())
    await connection.close()


@pytest.fixture
def closed_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home directory whose `.postgresql` the user may not enter, with a certificate of another user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    files = tmp_path / ".postgresql"
    files.mkdir()
    (files / "postgresql.crt").touch()
    user = server_user.find(tmp_path)
    files.chmod(0o000)
    if user is not None:
        server_user.admit(user.pw_uid, files)
        os.seteuid(user.pw_uid)
    yield files
    if user is not None:
        os.seteuid(0)
    files.chmod(0o700)


async def test_files_in_a_home_directory_of_another_user_count_as_absent(closed_home: Path) -> None:
    assert home_of_programs() == os.devnull
    async with refusing("57P03") as url:
        for mode in ("prefer", "require"):
            # The server offers no TLS, which only `require` insists on.
            expected = CannotConnectNowError if mode == "prefer" else ConnectionError
            with pytest.raises(expected):
                await Hosts(f"{libpq_url(url)}?sslmode={mode}", seconds=5).connect(server_settings={})


async def test_files_that_the_url_names_are_not_passed_over(closed_home: Path) -> None:
    async with refusing("57P03") as url:
        with pytest.raises(PermissionError):
            named = f"{libpq_url(url)}?sslcert={closed_home / 'postgresql.crt'}"
            await Hosts(named, seconds=5).connect(server_settings={})
