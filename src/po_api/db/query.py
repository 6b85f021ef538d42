"""Typed queries: written with SQLAlchemy, compiled once, executed on the driver's own connection.

A query takes one round trip, without entities, without a transaction around it, and without compiling the statement
again. docs/scaling.md has the figures, docs/development/reading.md describes when to use one.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, Text, bindparam, case, func
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.sql.elements import KeyedColumnElement
from sqlalchemy.util import greenlet_spawn

from po_api.core.records import Record, field_names
from po_api.db.dialect import DIALECT
from po_api.db.distribution import is_distributed, keeps_plans
from po_api.db.driver import in_transaction, pooled_connection
from po_api.db.shard_plans import SHARD, call_of
from po_api.observability.instrumentation import count_errors, timed

# A row: a NamedTuple whose fields are the columns of the statement, in their order. A dataclass where rows share
# fields, which a NamedTuple cannot inherit.
R = TypeVar("R", bound=Record)

# A SELECT whose columns are checked against a row type when it is compiled, not by the type checker.
AnySelect = Select[*tuple[Any, ...]]
AnyColumn = ColumnElement[Any]

# Parameters of every query that is executed for a signed-in user.
ORGANISATION_ID = bindparam("organisation_id", type_=BigInteger)
USER_ID = bindparam("user_id", type_=BigInteger)

# The key of a session's information under which its executors keep the transaction and its connection.
_DRIVER = "po_api.driver"

_PLACEHOLDER = re.compile(r"\$(\d+)")

# A confirmed commit has been written to the log; with synchronous_commit off it has only been inserted.
_LOG_POSITION = (
    case(
        (func.current_setting("synchronous_commit") == "off", func.pg_current_wal_insert_lsn()),
        else_=func.pg_current_wal_lsn(),
    )
    .cast(Text)
    .label("log_position")
)


class PlanCacheMode(StrEnum):
    """When PostgreSQL plans a query that it has executed before (its parameter `plan_cache_mode`)."""

    AUTO = "auto"
    # One plan fits all values of the parameters; planning each time would cost more than it saves.
    GENERIC = "force_generic_plan"
    # The best plan depends on the values; after five executions PostgreSQL might switch to a generic one.
    CUSTOM = "force_custom_plan"


class NoRow(NamedTuple):
    """The row type of a statement that is executed for its effect; see `QueryExecutor.execute`."""


class Query(Generic[R]):
    """A statement with a `bindparam` for everything that differs between executions, and the type of its rows.

    `name` is used in metrics, traces and the log of slow queries, as in `porfs.list`. The statement is compiled at the
    first execution, when the entities of all features are known; TypeError then unless its columns are `row`'s fields.

    With `one_plan`, a distributed database keeps its plan (shard_plans.py): it reads tables of the organisation only,
    finds its rows by keys, and is so large that its planning takes longer than its execution.
    """

    def __init__(self, name: str, statement: Any, row: type[R], *, one_plan: bool = False) -> None:
        self.name = name
        self.statement = statement
        self.row = row
        self.one_plan = one_plan
        self._make: Callable[..., R] = row
        self._call: str | None = None

    @cached_property
    def sql(self) -> str:
        return str(self._compiled)

    @cached_property
    def sql_with_log_position(self) -> str:
        """The same with one more column: the position of the server's write-ahead log at that time."""
        return str(self._compile(self.statement.add_columns(_LOG_POSITION)))

    def arguments(self, parameters: Mapping[str, object]) -> list[object]:
        """The values of the parameters in the order in which the driver takes them."""
        return [parameters[name] for name in self._names]

    def for_distributed(self, parameters: Mapping[str, object]) -> tuple[str, list[object]]:
        """The text with the organisation's id in it, and the other arguments.

        Citus keeps the plan of a join only if the text says which server has the rows.
        """
        organisation_id = parameters.get("organisation_id")
        if organisation_id is None or "organisation_id" not in self._names:
            return self.sql, self.arguments(parameters)
        place = self._names.index("organisation_id") + 1

        def numbered(found: re.Match[str]) -> str:
            number = int(found[1])
            return f"{organisation_id:d}" if number == place else f"${number - (number > place)}"

        others = [parameters[name] for name in self._names if name != "organisation_id"]
        return _PLACEHOLDER.sub(numbered, self.sql), others

    async def on_shard(self, parameters: Mapping[str, object], connection: Any) -> tuple[str, list[object]]:
        """The text with which a distributed database keeps the plan, and the arguments."""
        if self._call is None:
            dialect = DIALECT.type_compiler_instance
            types = [dialect.process(self._compiled.binds[name].type) for name in self._names]
            place = self._names.index("organisation_id") + 1
            self._call = await call_of(self._sql_on_shard, self.sql, types=types, place=place, connection=connection)
        return self._call, self.arguments(parameters)

    def make_row(self, record: Any) -> R:
        """The row of a record of the driver."""
        return self._make(*record)

    @cached_property
    def _compiled(self) -> Any:
        if self.row is not NoRow:
            columns = tuple(self.statement.exported_columns.keys())
            if columns != self._columns:
                raise TypeError(f"{self.name} selects {columns}, its rows have {self._columns}")
        return self._compile(self.statement)

    @cached_property
    def _sql_on_shard(self) -> str:
        """Compiled once, although each of several new connections may ask for it before `_call` is known."""
        return str(self._compile(self.statement, schema_translate_map={None: SHARD}, render_schema_translate=True))

    @property
    def _columns(self) -> tuple[str, ...]:
        return field_names(self.row)

    @staticmethod
    def _compile(statement: Any, **options: Any) -> Any:
        return statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}, **options)

    @cached_property
    def _names(self) -> Sequence[str]:
        return self._compiled.positiontup or ()


def columns_for(row: type[Record], source: FromClause) -> list[KeyedColumnElement[Any]]:
    """The columns of `source` that a row of this type consists of."""
    return [source.c[name] for name in field_names(row)]


class QueryExecutor(Protocol):
    """Executes queries: on a connection, in a transaction, or on a replica."""

    @property
    def is_distributed(self) -> bool:
        """Whether the database is distributed over several servers, which is known once a connection has been used."""

    async def rows(self, query: Query[R], **parameters: object) -> Sequence[R]: ...

    async def row(self, query: Query[R], **parameters: object) -> R | None:
        """The only row; None if there is none."""

    async def execute(self, query: Query[NoRow], **parameters: object) -> None:
        """Execute a statement for its effect."""

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        """Make the rows of one organisation visible from now on."""


def enter_tenant_sql(
    organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO, distributed: bool = False
) -> str:
    """The statements that enter a tenant in a transaction.

    In a distributed database a SET of ours would be sent to the other servers with all of the message that it is in:
    there it is a function's, and the mode is the database's choice.
    """
    if distributed:
        return f"SELECT enter_tenant('{organisation_id:d}')"
    script = f"SET LOCAL app.organisation_id = '{organisation_id:d}'"
    if plan_cache_mode is PlanCacheMode.AUTO:
        return script
    return f"{script}; SET LOCAL plan_cache_mode = {plan_cache_mode}"


class ConnectionExecutor:
    """Executes queries outside of any transaction, on a connection that the first query takes from the pool.

    Entering a tenant begins a transaction, which is read-only unless it `writes`: row-level security depends on a
    setting that ends with one.
    """

    def __init__(self, engine: AsyncEngine, *, writes: bool = False) -> None:
        self._engine = engine
        self._writes = writes
        self._pooled: Any = None
        self._driver: Any = None
        self._is_distributed = False
        self._in_transaction = False
        self._has_tenant = False
        self._has_one_plan = False

    @property
    def credentials(self) -> QueryExecutor:
        """Executes the check of a request's credentials."""
        return self

    @property
    def is_distributed(self) -> bool:
        return self._is_distributed or is_distributed(self._engine)

    async def rows(self, query: Query[R], **parameters: object) -> Sequence[R]:
        return [*map(query.make_row, await self.records(query, query.sql, parameters))]

    async def row(self, query: Query[R], **parameters: object) -> R | None:
        record = await self.record(query, query.sql, parameters)
        return None if record is None else query.make_row(record)

    async def execute(self, query: Query[NoRow], **parameters: object) -> None:
        await self.records(query, query.sql, parameters)

    async def records(self, query: Query[Any], sql: str, parameters: Mapping[str, object]) -> Sequence[Any]:
        """The driver's records for one of the query's texts."""
        connection = self._driver or await self._connect()
        text, arguments = sql, query.arguments(parameters)
        if self._is_distributed:
            text, arguments = await self._for_distributed(query, parameters)
        records: Sequence[Any] = await timed(query.name, connection.fetch(text, *arguments))
        return records

    async def record(self, query: Query[Any], sql: str, parameters: Mapping[str, object]) -> Any:
        """The only record; None if there is none."""
        connection = self._driver or await self._connect()
        text, arguments = sql, query.arguments(parameters)
        if self._is_distributed:
            text, arguments = await self._for_distributed(query, parameters)
        return await timed(query.name, connection.fetchrow(text, *arguments))

    async def _for_distributed(self, query: Query[Any], parameters: Mapping[str, object]) -> tuple[str, list[object]]:
        has_one_plan = self._has_one_plan
        return await _for_distributed(self._engine, query, parameters, self._driver, has_one_plan=has_one_plan)

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        if self._has_tenant:
            return
        if self._driver is None:
            await self._connect()
        tenant = enter_tenant_sql(organisation_id, plan_cache_mode=plan_cache_mode, distributed=self._is_distributed)
        await self.run_script(tenant=tenant)
        # The functions that keep a plan in a distributed database are for statements that read.
        self._has_one_plan = plan_cache_mode is PlanCacheMode.GENERIC and not self._writes

    async def run_script(self, *statements: str, tenant: str | None = None) -> str:
        """The command tag of the last of some statements without parameters, in the transaction.

        One round trip begins it, enters a tenant with `enter_tenant_sql`, and executes the statements.
        """
        connection = self._driver or await self._connect()
        begin = [] if self._in_transaction else ["BEGIN" if self._writes else "BEGIN READ ONLY"]
        self._in_transaction = True
        script = "; ".join([*begin, *([tenant] if tenant else []), *statements])
        command_tag: str = await count_errors(connection.execute(script))
        self._has_tenant |= tenant is not None
        return command_tag

    async def close(self) -> None:
        """End the transaction, if there is one, and return the connection to the pool."""
        try:
            # On a closed connection nothing is left to end; what was written there is not committed, which is an error.
            if self._in_transaction and (self._writes or not self._driver.is_closed()):
                await count_errors(self._driver.execute("COMMIT"))
        except BaseException:
            self.discard()
            raise
        pooled = self._released()
        if pooled is None:
            return
        pool: Any = self._engine.sync_engine.pool
        if pool.checkedin() < pool.size():
            pooled.close()
        else:
            # The pool closes connections above its size, which has to happen where SQLAlchemy can await.
            await greenlet_spawn(pooled.close)

    def discard(self) -> None:
        """Close the connection: it may be in the middle of a query, or have a tenant open."""
        pooled = self._released()
        if pooled is not None:
            pooled.invalidate()

    async def _connect(self) -> Any:
        """The driver's connection, of one that is taken from the pool."""
        self._pooled = await pooled_connection(self._engine)
        self._driver = self._pooled.driver_connection
        self._is_distributed = is_distributed(self._engine)
        return self._driver

    def _released(self) -> Any:
        """The connection, which is no longer this executor's; None if it has none."""
        pooled, self._pooled, self._driver = self._pooled, None, None
        self._in_transaction = self._has_tenant = self._has_one_plan = False
        return pooled


async def _for_distributed(
    engine: AsyncEngine, query: Query[Any], parameters: Mapping[str, object], connection: Any, *, has_one_plan: bool
) -> tuple[str, list[object]]:
    """The text of a query for a distributed database, and its arguments."""
    if (query.one_plan or has_one_plan) and "organisation_id" in parameters and keeps_plans(engine):
        return await query.on_shard(parameters, connection)
    return query.for_distributed(parameters)


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[ConnectionExecutor]:
    """An executor whose connection is returned to the pool afterwards or, after an error, closed."""
    executor = ConnectionExecutor(engine)
    try:
        yield executor
        await executor.close()
    except BaseException:
        executor.discard()
        raise


@asynccontextmanager
async def tenant_transaction(engine: AsyncEngine, organisation_id: int) -> AsyncIterator[ConnectionExecutor]:
    """A transaction inside an organisation, committed at the end; after an error its connection is closed.

    For background work that is done often, and finds its rows by keys: a session costs as much as three statements, and
    each statement is planned once.
    """
    executor = ConnectionExecutor(engine, writes=True)
    try:
        await executor.enter_tenant(organisation_id, plan_cache_mode=PlanCacheMode.GENERIC)
        yield executor
        await executor.close()
    except BaseException:
        executor.discard()
        raise


class TransactionExecutor:
    """Executes queries in a session's transaction, whose own writes they see. The tenant is the transaction's."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    @property
    def is_distributed(self) -> bool:
        return isinstance(self._session.bind, AsyncEngine) and is_distributed(self._session.bind)

    async def rows(self, query: Query[R], **parameters: object) -> Sequence[R]:
        return [*map(query.make_row, await self._records(query, parameters))]

    async def row(self, query: Query[R], **parameters: object) -> R | None:
        rows = await self.rows(query, **parameters)
        return rows[0] if rows else None

    async def execute(self, query: Query[NoRow], **parameters: object) -> None:
        await self._records(query, parameters)

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        """The check of the credentials has entered it, in the same transaction."""

    async def _records(self, query: Query[Any], parameters: Mapping[str, object]) -> Sequence[Any]:
        driver = await self._driver()
        text, arguments = query.sql, query.arguments(parameters)
        if isinstance(engine := self._session.bind, AsyncEngine) and is_distributed(engine):
            text, arguments = await _for_distributed(engine, query, parameters, driver, has_one_plan=False)
        records: Sequence[Any] = await timed(query.name, driver.fetch(text, *arguments))
        return records

    async def _driver(self) -> Any:
        """The driver's connection, in the session's transaction.

        It is kept for this transaction: asking the session again takes as long as the rest of a statement.
        """
        transaction, driver = self._session.info.get(_DRIVER, (None, None))
        if transaction is not None and transaction is self._session.sync_session.get_transaction():
            return driver
        driver = await in_transaction(await self._session.connection())
        self._session.info[_DRIVER] = (self._session.sync_session.get_transaction(), driver)
        return driver
