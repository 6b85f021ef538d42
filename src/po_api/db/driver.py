"""Undocumented parts of SQLAlchemy and asyncpg. tests/db/test_driver.py fails when a version changes them."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def engine_by(connect: Callable[..., Awaitable[Any]], *, is_pooled_again: bool, **options: Any) -> AsyncEngine:
    """An engine whose asyncpg connections are opened by `connect`; `options` are create_async_engine's.

    Behind another pool (`is_pooled_again`) SQLAlchemy must not cache prepared statements, for which the documented
    `async_creator` has no option.
    """
    arguments: dict[str, Any] = {"async_creator_fn": connect}
    if is_pooled_again:
        arguments["prepared_statement_cache_size"] = 0
    return create_async_engine("postgresql+asyncpg://", connect_args=arguments, **options)


def socket_of(connection: asyncpg.Connection) -> socket.socket:
    """The socket of a connection, whose options asyncpg has no parameters for."""
    found: socket.socket = connection._transport.get_extra_info("socket")
    return found
