"""The engine, its sessions and the tenant that PostgreSQL's row-level security sees."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, event, func, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import Text

from po_api.db.checkout_timeout import CheckoutTimeout
from po_api.db.driver import engine_by
from po_api.db.hosts import Hosts
from po_api.db.pool import PrimaryPool, ReplicaPool, export_checkins
from po_api.db.replica import status
from po_api.db.replica.status import Replica
from po_api.observability.instrumentation import listen, timed
from po_api.settings import Settings

TENANT_SETTING = "app.organisation_id"


@dataclass(frozen=True)
class Database:
    """The primary's engine, the factory of its sessions, and the replica that safe requests read on."""

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    replica: Replica | None = None

    async def dispose(self) -> None:
        await self.engine.dispose()
        if self.replica is not None:
            await self.replica.engine.dispose()


def open_database(url: str, settings: Settings, *, replica_url: str | None = None) -> Database:
    """Pools of connections to `url` and to a replica of it, as settings.postgresql_url leaves them; nothing is
    connected yet.

    Unless the URL says otherwise, `url` leads to a server that takes writes: a standby is refused as if it were away.
    """
    primary = primary_at(url, seconds=settings.db_pool_timeout)

    async def connect(**_: Any) -> Any:
        return await timed("connect", connect_to(primary, settings))

    async def connect_to_replica(**_: Any) -> Any:
        connection = await timed("connect", connect_to(standby, settings))
        try:
            await status.require_replica_of(engine, connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    engine = _engine(connect, settings, PrimaryPool)
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)
    if replica_url is None:
        return Database(engine, sessions)
    standby = Hosts(libpq_url(replica_url), seconds=status.CONNECT_SECONDS)
    return Database(engine, sessions, Replica(_engine(connect_to_replica, settings, ReplicaPool)))


def primary_at(url: str, *, seconds: float) -> Hosts:
    """The server that takes writes, of those that the URL names."""
    return Hosts(libpq_url(url), seconds=seconds, target="read-write")


async def connect_to(hosts: Hosts, settings: Settings) -> Any:
    """A connection of the driver's own."""
    return await hosts.connect(
        server_settings=_server_settings(settings),
        # Behind PgBouncer the next transaction may find itself on a connection that knows nothing of this one's.
        **({"statement_cache_size": 0} if settings.db_pgbouncer else {}),
    )


def _server_settings(settings: Settings) -> dict[str, str]:
    """What each connection begins with."""
    always = {"application_name": "po-api", "timezone": "UTC"}
    if settings.db_pgbouncer:
        return always  # it refuses all others: docs/scaling.md gives them to the role
    return always | {
        "statement_timeout": str(settings.db_statement_timeout_ms),
        "lock_timeout": str(settings.db_lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(settings.db_idle_in_transaction_timeout_ms),
        # A list query is over before LLVM has warmed up.
        "jit": "off",
    }


def _engine(connect: Callable[..., Awaitable[Any]], settings: Settings, pool_class: type[PrimaryPool]) -> AsyncEngine:
    engine = engine_by(
        connect,
        is_pooled_again=settings.db_pgbouncer,
        poolclass=pool_class,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout,
        # The one that was used last has its statements prepared, in the driver as in the server.
        pool_use_lifo=True,
        echo=settings.sqlalchemy_echo,
        hide_parameters=True,
    )
    export_checkins(engine.sync_engine)
    event.listen(engine.sync_engine, "checkout", _require_open)
    if settings.db_transaction_timeout_ms:
        CheckoutTimeout(engine.sync_engine, seconds=settings.db_transaction_timeout_ms / 1000)
    listen(engine.sync_engine)
    return engine


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
    named = {"operation": "tenant.enter"}
    await session.execute(select(tenant_setting(organisation_id)), execution_options=named)
