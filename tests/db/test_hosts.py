"""Connections by the parameters of libpq's URLs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from po_api.core.database_url import parse, postgresql_url
from po_api.db.driver import socket_of
from po_api.db.hosts import Hosts
from support.polling import Deadline

SETTINGS = {"application_name": "po-api"}


def _with(url: str, parameters: str) -> Hosts:
    return Hosts(postgresql_url(f"{url}{'&' if '?' in url else '?'}{parameters}"), seconds=5)


async def test_parameters_of_libpq_are_understood(urls: tuple[str, str]) -> None:
    hosts = _with(
        urls[1],
        "channel_binding=prefer&connect_timeout=10&gssencmode=disable&sslcompression=0&keepalives=1&keepalives_idle=30"
        "&keepalives_interval=5&keepalives_count=2&tcp_user_timeout=20000&target_session_attrs=any&client_encoding=UTF8"
        "&load_balance_hosts=disable&fallback_application_name=x&options=-c%20geqo%3Doff",
    )
    connection = await hosts.connect(server_settings=SETTINGS)
    assert await connection.fetchval("SHOW geqo") == "off"
    assert await connection.fetchval("SHOW application_name") == "po-api"
    await connection.close()


async def test_a_name_in_the_url_comes_first(urls: tuple[str, str]) -> None:
    connection = await _with(urls[1], "application_name=orders%20%231").connect(server_settings=SETTINGS)
    assert await connection.fetchval("SHOW application_name") == "orders #1"
    await connection.close()


@pytest.mark.parametrize(
    ("parameters", "kept_alive", "idle"),
    [
        ("sslmode=disable", 1, 5),
        ("sslmode=disable&keepalives_idle=77", 1, 77),
        ("keepalives=0&sslmode=disable", 0, None),
    ],
)
async def test_keepalive_is_that_of_the_url(
    urls: tuple[str, str], parameters: str, kept_alive: int, idle: int | None
) -> None:
    async with _over_tcp(urls[1]) as url:
        connection = await _with(url, parameters).connect(server_settings=SETTINGS)
        wire = socket_of(connection)
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == kept_alive
        assert idle is None or wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
        await connection.close()


@asynccontextmanager
async def _over_tcp(url: str) -> AsyncIterator[str]:
    """The database at a TCP port, which leads to its socket."""
    parsed = parse(url)
    (directory, port) = parsed.hosts[0]
    if not directory.startswith("/"):
        yield url
        return

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        deadline = Deadline("the end of the connection")
        try:
            while data := await source.read(65536):
                deadline.check()
                target.write(data)
                await target.drain()
        finally:
            target.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(f"{directory}/.s.PGSQL.{port or 5432}")
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield str(replace(parsed, hosts=(("127.0.0.1", server.sockets[0].getsockname()[1]),)))


async def test_the_time_out_is_the_shorter_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hosts = Hosts(
            postgresql_url(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable&connect_timeout=1"), seconds=600
        )
        with pytest.raises(TimeoutError):
            await hosts.connect(server_settings=SETTINGS)
