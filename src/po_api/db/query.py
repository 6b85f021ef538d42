"""Reading: questions that are written and compiled once, and asked on the driver's own connection.

SQLAlchemy writes the SQL and keeps the pool. What a question then takes is one round trip: no entities, no transaction
around it, no second look at the statement (docs/scaling.md has the figures).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import BigInteger, BindParameter, Text, bindparam, case, func
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.sql.visitors import cloned_traverse
from sqlalchemy.util import greenlet_spawn

from po_api.db.database import TENANT_SETTING
from po_api.observability.instrumentation import count_errors, timed

# Parameters of whatever is asked by somebody.
ORGANISATION_ID = bindparam("organisation_id", type_=BigInteger)
USER_ID = bindparam("user_id", type_=BigInteger)

_DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]


# A commit is in the log by the time that it is confirmed; with synchronous_commit off it need not be written yet.
_LOG_POSITION = (
    case(
        (func.current_setting("synchronous_commit") == "off", func.pg_current_wal_insert_lsn()),
        else_=func.pg_current_wal_lsn(),
    )
    .cast(Text)
    .label("log_position")
)


class Query:
    """A statement with a `bindparam` for everything that differs from one asking to the next.

    `name` is what metrics, traces and the log of slow queries call it: the feature, and what is asked. It is compiled
    when it is first asked: the entities of all features are known by then.
    """

    def __init__(self, name: str, statement: Any) -> None:
        self.name = name
        self.statement = statement

    @cached_property
    def with_log_position(self) -> "Query":
        """The same, and with each row `log_position`: how far the server's log had been written by then."""
        return Query(self.name, self.statement.add_columns(_LOG_POSITION))

    @cached_property
    def _compiled(self) -> Any:
        # What does not differ is part of the text: nobody has to send it, and PostgreSQL plans with it.
        statement: Any = cloned_traverse(self.statement, {}, {"bindparam": _render_constant})
        return statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})

    @cached_property
    def sql(self) -> str:
        return str(self._compiled)

    @cached_property
    def _names(self) -> Sequence[str]:
        """The parameters in the order in which the driver wants them."""
        return self._compiled.positiontup or ()

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        return [parameters[name] for name in self._names]


def _render_constant(parameter: BindParameter[Any]) -> None:
    # What was written as a value is a parameter without a name of its own.
    parameter.literal_execute = parameter.unique
    # Only now is nothing compared with what was sent: `arguments` misses what is missing.
    parameter.required = False


class PlanCacheMode(StrEnum):
    """When PostgreSQL plans a question that it is asked again (its `plan_cache_mode`)."""

    AUTO = "auto"
    # One plan serves whatever the parameters are; PostgreSQL would look at them every time.
    GENERIC = "force_generic_plan"
    # The way depends on the parameters; after five askings PostgreSQL may stop looking at them.
    CUSTOM = "force_custom_plan"


class QueryExecutor(Protocol):
    """Whom to ask. Rows have their columns as attributes."""

    async def rows(self, question: Query, **parameters: Any) -> Sequence[Any]: ...

    async def row(self, question: Query, **parameters: Any) -> Any:
        """The only row; None if there is none."""

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        """See the rows of one organisation from now on."""


def entering(organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> str:
    """The statements that enter a tenant; SET takes no parameters."""
    script = f"SET LOCAL {TENANT_SETTING} = '{organisation_id:d}'"
    return (
        script if plan_cache_mode is PlanCacheMode.AUTO else f"{script}; SET LOCAL plan_cache_mode = {plan_cache_mode}"
    )


class ConnectionExecutor:
    """Asks outside of any transaction, on a connection that is taken from the pool with the first question.

    Entering a tenant begins a read-only transaction: row-level security goes by a setting that ends with one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pooled: Any = None
        self._in_transaction = False
        self._has_tenant = False

    @property
    def check(self) -> QueryExecutor:
        """Whom to ask about the credentials of a request."""
        return self

    async def rows(self, question: Query, **parameters: Any) -> Sequence[Any]:
        connection = await self._connection()
        rows: Sequence[Any] = await timed(
            question.name, connection.fetch(question.sql, *question.arguments(parameters))
        )
        return rows

    async def row(self, question: Query, **parameters: Any) -> Any:
        connection = await self._connection()
        return await timed(question.name, connection.fetchrow(question.sql, *question.arguments(parameters)))

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        if not self._has_tenant:
            await self.execute(tenant=entering(organisation_id, plan_cache_mode=plan_cache_mode))

    async def execute(self, *statements: str, tenant: str | None = None) -> str:
        """What PostgreSQL says of the last of some statements without parameters, in a read-only transaction.

        One round trip begins it, does what `entering` says of a tenant, and brings the answer.
        """
        connection = await self._connection()
        begin = [] if self._in_transaction else ["BEGIN READ ONLY"]
        self._in_transaction = True
        script = "; ".join([*begin, *([tenant] if tenant else []), *statements])
        said: str = await count_errors(connection.execute(script))
        self._has_tenant |= tenant is not None
        return said

    async def close(self) -> None:
        """End the transaction, if there is one, and give the connection back."""
        try:
            if self._in_transaction and not self._pooled.driver_connection.is_closed():
                await count_errors(self._pooled.driver_connection.execute("COMMIT"))
        except BaseException:
            self.discard()
            raise
        pooled, self._pooled = self._pooled, None
        self._in_transaction = self._has_tenant = False
        if pooled is None:
            return
        pool: Any = self._engine.sync_engine.pool
        if pool.checkedin() < pool.size():
            pooled.close()
        else:
            # The pool closes what it has too many of: where SQLAlchemy can wait for that.
            await greenlet_spawn(pooled.close)

    def discard(self) -> None:
        """Give the connection up: nobody gets one that is in the middle of something, or has a tenant open."""
        pooled, self._pooled = self._pooled, None
        self._in_transaction = self._has_tenant = False
        if pooled is not None:
            pooled.invalidate()

    async def _connection(self) -> Any:
        if self._pooled is None:
            self._pooled = await self._engine.raw_connection()
        return self._pooled.driver_connection


class TransactionExecutor:
    """Asks inside a session's transaction, whose own writes it sees. The tenant is the transaction's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def rows(self, question: Query, **parameters: Any) -> Sequence[Any]:
        connection = await self._session.connection()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if driver.is_in_transaction():
            found: Sequence[Any] = await timed(
                question.name, driver.fetch(question.sql, *question.arguments(parameters))
            )
            return found
        # SQLAlchemy begins the transaction with the first statement that it sends itself.
        named = {"operation": question.name}
        return (await connection.execute(question.statement, parameters, execution_options=named)).all()

    async def row(self, question: Query, **parameters: Any) -> Any:
        rows = await self.rows(question, **parameters)
        return rows[0] if rows else None

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        """The check of the credentials has done so, in the same transaction."""
