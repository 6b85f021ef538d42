"""The engine, its sessions, and the tenant setting that row-level security uses."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, event, func, select, true
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import Text

from po_api.db import distribution
from po_api.db.checkout_timeout import CheckoutTimeout
from po_api.db.driver import engine_by
from po_api.db.hosts import Hosts
from po_api.db.pool import PrimaryPool, ReplicaPool, export_checkins
from po_api.db.query import NoRow, PlanCacheMode, Query, TransactionExecutor
from po_api.db.replica import status
from po_api.db.replica.status import Replica
from po_api.db.wakeups import Wakeups
from po_api.observability.instrumentation import listen, timed
from po_api.settings import Settings

# The driver prepares longer statements for each execution: PostgreSQL would parse and plan them again each time.
# Its default of 15 KiB is less than what one request as a whole takes.
MAX_STATEMENT_BYTES = 64 * 1024


_ENTER = Query("tenant.enter", select(func.enter_tenant(bindparam("tenant", type_=Text))), NoRow)


@dataclass(frozen=True)
class Database:
    """The primary's engine and session factory, and the replica that safe requests read from.

    `wakeups` are those of the sessions (`db.wakeups`).
    """

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    wakeups: Wakeups
    replica: Replica | None = None

    async def dispose(self) -> None:
        await self.engine.dispose()
        if self.replica is not None:
            await self.replica.engine.dispose()


def open_database(url: str, settings: Settings, *, replica_url: str | None = None) -> Database:
    """Connection pools for `url` and for a replica of it, both normalised by settings.postgresql_url; connects later.

    Unless the URL has another target_session_attrs, its server has to accept writes: a standby counts as unreachable.
    """
    primary = primary_at(url, seconds=settings.db_pool_timeout)

    async def connect(**_: Any) -> Any:
        kept = distribution.kept_statements(engine)
        connection = await timed("connect", connect_to(primary, settings, kept_statements=kept))
        try:
            await distribution.find_out(engine, connection)
        except BaseException:
            connection.terminate()
            raise
        if kept == distribution.kept_statements(engine):
            return connection
        # The first one, which could not know it, and is the one that the pool prefers.
        await connection.close()
        return await connect()

    async def connect_to_replica(**_: Any) -> Any:
        connection = await timed("connect", connect_to(standby, settings))
        try:
            await status.require_replica_of(engine, connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    engine = _engine(connect, settings, PrimaryPool)
    wakeups = Wakeups()
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False, **wakeups.session_options())
    if replica_url is None:
        return Database(engine, sessions, wakeups)
    standby = Hosts(libpq_url(replica_url), seconds=status.CONNECT_SECONDS)
    return Database(engine, sessions, wakeups, Replica(_engine(connect_to_replica, settings, ReplicaPool)))


def primary_at(url: str, *, seconds: float) -> Hosts:
    """The hosts of the URL; connections are to the one that accepts writes. `seconds` is the time-out."""
    return Hosts(libpq_url(url), seconds=seconds, target="read-write")


async def connect_to(hosts: Hosts, settings: Settings, *, kept_statements: int = distribution.KEPT_STATEMENTS) -> Any:
    """A new asyncpg connection with the settings of the application's connections."""
    return await hosts.connect(
        server_settings=_server_settings(settings),
        max_cacheable_statement_size=MAX_STATEMENT_BYTES,
        # By default the driver forgets each statement after five minutes. PostgreSQL makes new plans itself where
        # tables or statistics have changed; to prepare one request as a whole and to plan it again takes 80 ms.
        max_cached_statement_lifetime=0,
        # Behind PgBouncer the next transaction may use another server connection, without these prepared statements.
        statement_cache_size=0 if settings.db_pgbouncer else kept_statements,
    )


def _server_settings(settings: Settings) -> dict[str, str]:
    """The server settings of each connection."""
    always = {"application_name": "po-api", "timezone": "UTC"}
    if settings.db_pgbouncer:
        return always  # PgBouncer refuses all others: docs/scaling.md sets them for the role
    return always | {
        "statement_timeout": str(settings.db_statement_timeout_ms),
        "lock_timeout": str(settings.db_lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(settings.db_idle_in_transaction_timeout_ms),
        # Compilation takes longer than the queries.
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
        # The connection that was used last is the most likely one to have the statements prepared.
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
    """Replace a connection whose socket was closed, which the driver has noticed; `pool_pre_ping` would cost three
    round trips before every request."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has closed this connection")


def libpq_url(url: str) -> str:
    """`url` without the driver name of SQLAlchemy's form."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.split('+')[0]}://{rest}"


def tenant_setting(organisation_id: int | InstrumentedAttribute[int | None]) -> ColumnElement[str | None]:
    """The expression that makes one organisation's rows visible until the end of the transaction; NULL for none.

    It is `SET LOCAL` as a function, so that it can be part of another statement; a setting of the session would leak
    into the next request on the pooled connection. `set_config` would not reach the other servers of a distributed
    database.
    """
    value: Any = organisation_id
    return func.enter_tenant(str(value) if isinstance(value, int) else value.cast(Text), type_=Text)


def plan_setting() -> ColumnElement[str]:
    """The expression that lets PostgreSQL plan each statement once, until the end of the transaction.

    For changes, which find their rows by keys: otherwise each connection plans each of their statements five times
    more, the large ones for 10 ms and longer. A distributed database chooses itself: a generic plan could not be
    distributed.
    """
    is_one_server = func.to_regclass("pg_catalog.pg_dist_node").is_(None)
    mode = case((is_one_server, PlanCacheMode.GENERIC.value), else_=PlanCacheMode.AUTO.value)
    return func.set_config("plan_cache_mode", mode, true(), type_=Text)


async def enter_tenant(session: AsyncSession, organisation_id: int) -> None:
    """Make the rows of one organisation visible and writable in this transaction."""
    await TransactionExecutor(session).execute(_ENTER, tenant=str(organisation_id))
