"""The engine, its sessions and the tenant that PostgreSQL's row-level security sees."""

from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, event, func, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import Text

from po_api.settings import Settings

TENANT_SETTING = "app.organisation_id"


class Record(asyncpg.Record):  # type: ignore[misc]
    """A row whose columns are attributes, as SQLAlchemy's are."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Database:
    """One engine and the factory of its sessions."""

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]

    async def dispose(self) -> None:
        await self.engine.dispose()


def open_database(url: str, settings: Settings) -> Database:
    """A pool of connections to `url`, any form that libpq and asyncpg understand; nothing is connected yet."""
    server_settings = {
        "application_name": "po-api",
        "timezone": "UTC",
        "statement_timeout": str(settings.db_statement_timeout_ms),
        "lock_timeout": str(settings.db_lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(settings.db_idle_in_transaction_timeout_ms),
        # A list query is over before LLVM has warmed up.
        "jit": "off",
    }

    async def connect(**_: Any) -> Any:
        # asyncpg reads the URL itself: several hosts, sslmode and the other parameters of libpq keep their meaning.
        return await asyncpg.connect(
            libpq_url(url), server_settings=server_settings, timeout=settings.db_pool_timeout, record_class=Record
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout,
        # The one that was used last has its statements prepared, in the driver as in the server.
        pool_use_lifo=True,
        echo=settings.sqlalchemy_echo,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkout", _require_open)
    return Database(engine, async_sessionmaker(engine, expire_on_commit=False, autoflush=False))


def _require_open(connection: Any, *_: Any) -> None:
    """Have a connection replaced whose socket was closed. The driver knows: asking the server (`pool_pre_ping`) would
    take three round trips before every request."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has closed this connection")


def libpq_url(url: str) -> str:
    """`url` without the driver that SQLAlchemy's form may name."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.split('+')[0]}://{rest}"


def tenant_setting(organisation_id: int | InstrumentedAttribute[int | None]) -> ColumnElement[str]:
    """The expression that opens one organisation's rows until the end of the transaction.

    It is `SET LOCAL` as a function, so that it can travel inside another statement; at session level it would leak
    into the next request that gets the pooled connection.
    """
    value: Any = organisation_id
    if isinstance(value, int):
        return func.set_config(TENANT_SETTING, str(value), True)
    return func.set_config(TENANT_SETTING, func.coalesce(value.cast(Text), ""), True)


async def enter_tenant(session: AsyncSession, organisation_id: int) -> None:
    """Let this transaction see and write the rows of one organisation."""
    await session.execute(select(tenant_setting(organisation_id)))
