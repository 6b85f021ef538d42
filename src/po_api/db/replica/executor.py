"""Reading on a replica, and yet whatever had been committed when the request came.

The check of the credentials stays on the primary, where a revocation holds at once, and tells besides how far its log
had been written. A replica that has replayed as much shows all that anybody had been told was done. Until it has,
it is asked again for some milliseconds; then, and after any trouble, the primary answers. Nothing is kept from one
request to the next, so it does not matter which process serves it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import select, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.database import Database
from po_api.db.query import ConnectionExecutor, PlanCacheMode, Query, QueryExecutor, entering
from po_api.db.replica.status import NoUseError, Replica, Trouble, trouble_in

T = TypeVar("T")

# Seconds between two looks at a replica that is behind.
PAUSES = (0.002, 0.005, 0.01, 0.02)
_ONE_ROW = "SELECT 1"
_SOMETHING = Query("replica.examine", select(true()))
ERRORS = (NoUseError, DBAPIError, asyncpg.PostgresError, *CONNECTION_LOST)


class CredentialsExecutor:
    """Asks the primary about credentials; with the answer it learns the position of the primary's log."""

    def __init__(self, primary: ConnectionExecutor) -> None:
        self._primary = primary
        self.log_position: str | None = None

    async def rows(self, question: Query, **parameters: Any) -> Sequence[Any]:
        return await self._primary.rows(question, **parameters)

    async def row(self, question: Query, **parameters: Any) -> Any:
        row = await self._primary.row(question.with_log_position, **parameters)
        self.log_position = None if row is None else row.log_position
        return row

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        await self._primary.enter_tenant(organisation_id, plan_cache_mode=plan_cache_mode)


class ReplicaExecutor:
    """Asks the replica as long as that answers, else the primary. What `check` asks goes before all else."""

    def __init__(self, engine: AsyncEngine, replica: Replica) -> None:
        self._replica = replica
        self._primary = ConnectionExecutor(engine)
        self._standby: ConnectionExecutor | None = None
        self._tenant: tuple[int, PlanCacheMode] | None = None
        self._is_decided = False
        self.check = CredentialsExecutor(self._primary)

    async def rows(self, question: Query, **parameters: Any) -> Sequence[Any]:
        return await self._ask(lambda executor: executor.rows(question, **parameters))

    async def row(self, question: Query, **parameters: Any) -> Any:
        return await self._ask(lambda executor: executor.row(question, **parameters))

    async def enter_tenant(self, organisation_id: int, *, plan_cache_mode: PlanCacheMode = PlanCacheMode.AUTO) -> None:
        """The question that follows takes it along."""
        self._tenant = (organisation_id, plan_cache_mode)

    async def close(self) -> None:
        """Give the connections back; what the replica has answered is not lost by trouble that it is in now."""
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

    async def _ask(self, ask: Callable[[QueryExecutor], Awaitable[T]]) -> T:
        standby = await self._find_standby()
        if standby is not None:
            try:
                await self._enter(standby)
                return await ask(standby)
            except ERRORS as error:
                trouble = trouble_in(error)
                if trouble is None:
                    raise
                self._replica.failed(trouble)
                self._leave_standby()
        await self._enter(self._primary)
        return await ask(self._primary)

    async def _find_standby(self) -> ConnectionExecutor | None:
        """The replica, if it is of use: the first question decides on that, and trouble with a later one ends it."""
        position = self.check.log_position
        if not self._is_decided and position is not None:
            self._is_decided = True
            if self._replica.is_worth_trying():
                # Nobody holds a connection to the one server and waits for one to the other.
                await self._primary.close()
                with suppress(NoUseError):
                    self._standby = await self._standby_at(position)
        return self._standby

    async def _standby_at(self, log_position: str) -> ConnectionExecutor:
        if self._tenant is None:
            return await executor_at(self._replica, log_position)
        organisation_id, plan_cache_mode = self._tenant
        return await executor_at(
            self._replica, log_position, tenant=entering(organisation_id, plan_cache_mode=plan_cache_mode)
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
    """Read something as a safe request would; what keeps the replica out of use then, if anything does."""
    executor = ReplicaExecutor(database.engine, replica)
    try:
        await executor.check.row(_SOMETHING)
        await executor.row(_SOMETHING)
    except BaseException:
        executor.discard()
        raise
    await executor.close()
    return replica.trouble


async def executor_at(replica: Replica, log_position: str, *, tenant: str | None = None) -> ConnectionExecutor:
    """A executor in a transaction on the replica, which shows what had been committed at that position of the log.

    NoUseError says why there is none; the replica then is not tried again for a while.
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
    said = await executor.execute(has_replayed, tenant=tenant)
    for pause in PAUSES:
        if said == _ONE_ROW:
            return
        await asyncio.sleep(pause)
        said = await executor.execute(has_replayed)
    if said != _ONE_ROW:
        raise NoUseError(Trouble.BEHIND)
