"""Undocumented parts of SQLAlchemy and asyncpg. tests/db/test_driver.py fails when a version changes them."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import connect_utils
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from po_api.db.client_files import CERTIFICATE, KEY, is_inaccessible

_path_of_client_file = connect_utils._dot_postgresql_path


def engine_by(connect: Callable[..., Awaitable[Any]], *, is_pooled_again: bool, **options: Any) -> AsyncEngine:
    """An engine whose asyncpg connections are opened by `connect`; `options` are create_async_engine's.

    Behind another pool (`is_pooled_again`) SQLAlchemy must not cache prepared statements, for which the documented
    `async_creator` has no option.
    """
    arguments: dict[str, Any] = {"async_creator_fn": connect}
    if is_pooled_again:
        arguments["prepared_statement_cache_size"] = 0
    return create_async_engine("postgresql+asyncpg://", connect_args=arguments, **options)


async def pooled_connection(engine: AsyncEngine) -> Any:
    """A connection of the engine's pool, as `raw_connection` returns it.

    If the server refuses a new one, raises the driver's error: SQLAlchemy's own is neither documented nor a DBAPIError.
    """
    try:
        return await engine.raw_connection()
    except AsyncAdapt_asyncpg_dbapi.Error as error:
        raise error.__cause__ or error from None


async def in_transaction(connection: AsyncConnection) -> Any:
    """The driver's connection, in the transaction of `connection`: begun, unless it is, as SQLAlchemy does before the
    first statement that it sends itself.

    A connection whose BEGIN fails or is cancelled is not used again: SQLAlchemy would not end what may have begun.
    Raises the driver's error.
    """
    pooled: Any = await connection.get_raw_connection()
    if pooled.driver_connection.is_in_transaction():
        return pooled.driver_connection
    try:
        await pooled.dbapi_connection._start_transaction()
    except BaseException as error:
        assert connection.sync_connection is not None
        connection.sync_connection.invalidate()
        if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):
            raise error.__cause__ or error from None
        raise
    return pooled.driver_connection


def socket_of(connection: asyncpg.Connection) -> socket.socket:
    """The socket of a connection, whose options asyncpg has no parameters for."""
    found: socket.socket = connection._transport.get_extra_info("socket")
    return found


def _accessible(name: str) -> Path | None:
    """The path of one of the client's files; None, as without a home directory, if it cannot be read."""
    path: Path | None = _path_of_client_file(name)
    needed = (path, path.with_name(KEY)) if path and name == CERTIFICATE else (path,)
    return None if any(each and is_inaccessible(each) for each in needed) else path


connect_utils._dot_postgresql_path = _accessible
