"""Read-your-writes on a replica: a request sees everything that had been committed when it arrived.

Credentials are checked on the primary, where a revocation takes effect at once; the same query returns the position of
its log. A replica that has replayed the log up to there shows every write that was confirmed to a client. Until then it
is polled for some milliseconds; after that, and after any failure, the primary is used. Nothing is kept from one
request to the next, so it does not matter which process serves it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import asyncpg
from sqlalchemy import select, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.database import Database
from po_api.db.query import ConnectionExecutor, NoRow, PlanCacheMode, Query, QueryExecutor, R, enter_tenant_sql
from po_api.db.replica.status import NoUseError, Replica, Trouble, trouble_in

T = TypeVar("T")


class _Probe(NamedTuple):
    answers: bool


# Seconds between two polls of a replica that is behind.
PAUSES = (0.002, 0.005, 0.01, 0.02)
_ONE_ROW = "SELECT 1"
_PROBE = Query("replica.examine", select(true().label("answers")), _Probe)
ERRORS = (NoUseError, DBAPIError, asyncpg.PostgresError, *CONNECTION_LOST)


class CredentialsExecutor:
    """Checks credentials on the primary, and reads the position of the primary's log in the same query."""

    def __init__(self, primary: ConnectionExecutor) -> None:
        self._primary = primary
        self.log_position: str | None = None

    @property
    def is_distributed(self) -> bool:
        return self._primary.is_distributed

    async def rows(self, query: Query[R], **parameters: object) -> Sequence[R]:
        return await self._primary.rows(query, **parameters)

    async def row(self, query: Query[R], **parameters: object) -> R | None:
        record = await self._primary.record(query, query.sql_with_log_position, parameters)
        if record is None:
            self.log_position = None
            return None
        *columns, self.log_position = record
        return query.make_row(columns)

    async def execute(self, query: Query[NoRow], **parameters: object) -> None:
        await self._primary.execute(query, **parameters)

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        await self._primary.enter_tenant(organisation_id, plan_cache_mode=plan_cache_mode)


class ReplicaExecutor:
    """Executes queries on the replica or, after a failure, on the primary; `credentials` has to be used first."""

    def __init__(self, engine: AsyncEngine, replica: Replica) -> None:
        self._replica = replica
        self._primary = ConnectionExecutor(engine)
        self._standby: ConnectionExecutor | None = None
        self._tenant: tuple[int, PlanCacheMode] | None = None
        self._is_decided = False
        self.credentials = CredentialsExecutor(self._primary)

    @property
    def is_distributed(self) -> bool:
        return self._primary.is_distributed

    async def rows(self, query: Query[R], **parameters: object) -> Sequence[R]:
        return await self._try(lambda executor: executor.rows(query, **parameters))

    async def row(self, query: Query[R], **parameters: object) -> R | None:
        return await self._try(lambda executor: executor.row(query, **parameters))

    async def execute(self, query: Query[NoRow], **parameters: object) -> None:
        await self._try(lambda executor: executor.execute(query, **parameters))

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        """Entered with the next query, in the same round trip."""
        self._tenant = (organisation_id, plan_cache_mode)

    async def close(self) -> None:
        """Return the connections. Failures of the replica are ignored: its results have been read."""
        try:
            await self._primary.close()
        except BaseException:
            self._leave_standby()
            raise
        if self._standby is not None:
            try:
                await self._standby.close()
            except ERRORS as error:
                if trouble_in(error) is None:
                    raise
            self._standby = None

    def discard(self) -> None:
        self._primary.discard()
        self._leave_standby()

    async def _try(self, execute: Callable[[QueryExecutor], Awaitable[T]]) -> T:
        standby = await self._find_standby()
        if standby is not None:
            try:
                await self._enter(standby)
                return await execute(standby)
            except ERRORS as error:
                trouble = trouble_in(error)
                if trouble is None:
                    raise
                self._replica.failed(trouble)
                self._leave_standby()
        await self._enter(self._primary)
        return await execute(self._primary)

    async def _find_standby(self) -> ConnectionExecutor | None:
        """The replica, if it can be used: decided with the first query, and no longer after one that fails."""
        position = self.credentials.log_position
        if not self._is_decided and position is not None:
            self._is_decided = True
            if self._replica.is_worth_trying():
                # No request waits for a connection to one server while it holds one to the other.
                await self._primary.close()
                with suppress(NoUseError):
                    self._standby = await self._standby_at(position)
        return self._standby

    async def _standby_at(self, log_position: str) -> ConnectionExecutor:
        if self._tenant is None:
            return await executor_at(self._replica, log_position)
        organisation_id, plan_cache_mode = self._tenant
        return await executor_at(
            self._replica, log_position, tenant=enter_tenant_sql(organisation_id, plan_cache_mode=plan_cache_mode)
        )

    async def _enter(self, executor: ConnectionExecutor) -> None:
        if self._tenant is not None:
            organisation_id, plan_cache_mode = self._tenant
            await executor.enter_tenant(organisation_id, plan_cache_mode=plan_cache_mode)

    def _leave_standby(self) -> None:
        if self._standby is not None:
            self._standby.discard()
            self._standby = None


def executor_of(database: Database) -> ConnectionExecutor | ReplicaExecutor:
    """The executor of one safe request."""
    if database.replica is None:
        return ConnectionExecutor(database.engine)
    return ReplicaExecutor(database.engine, database.replica)


async def examine(database: Database, replica: Replica) -> Trouble | None:
    """Execute a query as a safe request would; the reason why the replica was not used, if it was not."""
    executor = ReplicaExecutor(database.engine, replica)
    try:
        await executor.credentials.row(_PROBE)
        await executor.row(_PROBE)
    except BaseException:
        executor.discard()
        raise
    await executor.close()
    return replica.trouble


async def executor_at(replica: Replica, log_position: str, *, tenant: str | None = None) -> ConnectionExecutor:
    """An executor in a transaction on the replica, which shows what had been committed at that position of the log.

    Raises NoUseError with the reason if there is none; the replica is then not tried again for a while.
    """
    executor = ConnectionExecutor(replica.engine)
    try:
        await _wait_for(executor, log_position, tenant)
    except ERRORS as error:
        executor.discard()
        trouble = trouble_in(error) or Trouble.UNREACHABLE
        replica.failed(trouble)
        raise NoUseError(trouble) from error
    except BaseException:
        executor.discard()
        raise
    replica.worked()
    return executor


async def _wait_for(executor: ConnectionExecutor, log_position: str, tenant: str | None) -> None:
    # The position is PostgreSQL's own text. In a transaction each statement sees what has been replayed when it begins.
    has_replayed = f"SELECT WHERE pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= '{log_position}'"
    command_tag = await executor.run_script(has_replayed, tenant=tenant)
    for pause in PAUSES:
        if command_tag == _ONE_ROW:
            return
        await asyncio.sleep(pause)
        command_tag = await executor.run_script(has_replayed)
    if command_tag != _ONE_ROW:
        raise NoUseError(Trouble.BEHIND)
