"""Queries: their rows have the type that they name; connections return to the pool or are closed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
import pytest
from sqlalchemy import event, func, literal, select, true

from po_api.db.database import Database, enter_tenant, open_database
from po_api.db.query import (
    ORGANISATION_ID,
    USER_ID,
    ConnectionExecutor,
    NoRow,
    Query,
    TransactionExecutor,
    connected,
    tenant_transaction,
)
from po_api.members.models import Member
from po_api.settings import Settings


class _Pid(NamedTuple):
    pid: int


@dataclass(frozen=True)
class _Port:
    port: int


@dataclass(frozen=True)
class _Server(_Port):
    name: str


class _Name(NamedTuple):
    name: str | None


_WHERE = Query("test.where", select(func.pg_backend_pid().label("pid")), _Pid)
_FOR_EVER = Query("test.for_ever", select(func.pg_sleep(600)), NoRow)


@pytest.fixture
async def small(urls: tuple[str, str], settings: Settings) -> AsyncIterator[tuple[Database, list[Any]]]:
    """A database with a pool of one connection and four more, and the connections that were opened."""
    database = open_database(urls[1], settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 4}))
    lent: list[Any] = []
    event.listen(database.engine.sync_engine, "checkout", lambda pooled, *_: lent.append(pooled.driver_connection))
    yield database, lent
    await database.dispose()


async def test_the_pool_closes_what_it_does_not_keep(small: tuple[Database, list[Any]]) -> None:
    database, lent = small
    executors = [ConnectionExecutor(database.engine) for _ in range(5)]
    assert len({await executor.row(_WHERE) for executor in executors}) == 5
    for executor in executors:
        await executor.close()
    assert [connection.is_closed() for connection in lent].count(False) == 1
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0


async def test_an_interrupted_executor_closes_its_connection(small: tuple[Database, list[Any]]) -> None:
    database, lent = small
    executor = ConnectionExecutor(database.engine)
    await executor.enter_tenant(1)
    asking = asyncio.create_task(executor.execute(_FOR_EVER))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    executor.discard()
    assert [connection.is_closed() for connection in lent] == [True]
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0
    another = ConnectionExecutor(database.engine)
    assert await another.row(_WHERE)
    await another.close()


async def test_a_row_can_be_a_dataclass_which_has_inherited_fields_first(small: tuple[Database, list[Any]]) -> None:
    database, _ = small
    columns = (literal(5432).label("port"), literal("primary").label("name"))
    executor = ConnectionExecutor(database.engine)
    assert await executor.rows(Query("test.server", select(*columns), _Server)) == [_Server(5432, "primary")]
    with pytest.raises(TypeError, match="its rows have"):
        await executor.row(Query("test.reversed", select(*reversed(columns)), _Server))
    await executor.close()
    async with database.sessions.begin() as session:
        transaction = TransactionExecutor(session)
        for _ in range(2):  # the first begins the transaction
            assert await transaction.row(Query("test.port", select(columns[0]), _Port)) == _Port(5432)


_TENANT = Query("test.tenant", select(func.current_setting("app.organisation_id", true()).label("name")), _Name)
# A setting of the session is kept if the transaction is committed.
_MARK = Query("test.mark", select(func.set_config("app.mark", "left", literal(False)).label("name")), _Name)
_MARKED = Query("test.marked", select(func.current_setting("app.mark", true()).label("name")), _Name)


async def test_a_transaction_inside_an_organisation_is_committed_or_an_error(small: tuple[Database, list[Any]]) -> None:
    database, lent = small
    async with tenant_transaction(database.engine, 42) as executor:
        assert await executor.row(_TENANT) == _Name("42")
        await executor.row(_MARK)
    async with connected(database.engine) as reader:
        assert await reader.row(_MARKED) == _Name("left")
    with pytest.raises(asyncpg.InterfaceError):
        async with tenant_transaction(database.engine, 42):
            lent[-1].terminate()
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0


async def test_a_session_has_a_transaction_of_its_own_after_each_commit(small: tuple[Database, list[Any]]) -> None:
    database, _ = small
    async with database.sessions() as session:
        executor = TransactionExecutor(session)
        for end in (session.commit, session.rollback, session.commit):
            await enter_tenant(session, 42)
            assert await executor.row(_TENANT) == _Name("42")
            await end()
            assert (await executor.row(_TENANT)) in (_Name(""), _Name(None))
            await session.rollback()


async def test_a_query_whose_columns_are_not_the_fields_of_its_rows_is_refused(
    small: tuple[Database, list[Any]],
) -> None:
    database, _ = small
    executor = ConnectionExecutor(database.engine)
    wrong = Query("test.wrong", select(func.pg_backend_pid().label("process")), _Pid)
    with pytest.raises(TypeError, match=r"test\.wrong selects \('process',\)"):
        await executor.row(wrong)
    await executor.close()


class _UserId(NamedTuple):
    user_id: int


@pytest.mark.parametrize("user_first", [True, False])
def test_where_the_database_is_distributed_the_text_says_which_organisation(user_first: bool) -> None:
    conditions = [Member.organisation_id == ORGANISATION_ID, Member.user_id == USER_ID]
    mine = select(Member.user_id).where(*(reversed(conditions) if user_first else conditions))
    query = Query("test.members", mine.where(Member.organisation_id == ORGANISATION_ID), _UserId)
    text, arguments = query.for_distributed({"organisation_id": 42, "user_id": 7})
    assert text.count("members.organisation_id = 42::BIGINT") == 2
    assert "members.user_id = $1::BIGINT" in text
    assert arguments == [7]
    assert query.for_distributed({"organisation_id": None, "user_id": 7})[0] == query.sql
