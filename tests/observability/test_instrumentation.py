"""Statements and connections are counted, whether they are the ORM's or those of queries."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from po_api.db.database import Database, open_database
from po_api.db.query import ConnectionExecutor, NoRow, Query, TransactionExecutor
from po_api.observability import instrumentation
from po_api.observability.metrics import REGISTRY
from po_api.settings import Settings
from po_api.users.models import User
from support.one_server import IS_DISTRIBUTED
from support.polling import Deadline

_ONE = Query("test.one", select(func.pg_backend_pid()), NoRow)
_WRONG = Query("test.wrong", select(func.pg_sleep(text("'many'"))), NoRow)


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def _asked(operation: str) -> float:
    return _value("po_db_query_duration_seconds_count", operation=operation)


@pytest.fixture
async def small(urls: tuple[str, str], settings: Settings, app: FastAPI) -> AsyncIterator[Database]:
    """A database with a pool of two connections, one of them overflow."""
    few = {"db_pool_size": 1, "db_max_overflow": 1}
    database = open_database(urls[1], settings.model_copy(update=few))
    yield database
    await database.dispose()


async def test_a_question_counts_once_inside_and_outside_a_transaction(small: Database) -> None:
    before = _asked("test.one")
    executor = ConnectionExecutor(small.engine)
    await executor.execute(_ONE)
    await executor.execute(_ONE)
    await executor.close()
    assert _asked("test.one") == before + 2
    async with small.sessions.begin() as session:
        await TransactionExecutor(session).execute(_ONE)  # by SQLAlchemy, which begins
        await TransactionExecutor(session).execute(_ONE)  # by the driver
    assert _asked("test.one") == before + 4


async def test_what_sqlalchemy_makes_up_is_named_by_its_table_and_kind(small: Database) -> None:
    names = ("users.select", "select")
    before = [_asked(name) for name in names]
    async with small.sessions.begin() as session:
        await session.execute(select(User).where(User.id == 1))
        await session.execute(text("  SELECT 1"))
    assert [_asked(name) for name in names] == [count + 1 for count in before]


@pytest.mark.heavy
async def test_what_the_database_refuses_is_counted_by_its_class(small: Database) -> None:
    classes = ("22", "42", "08")
    before = [_value("po_db_errors_total", sqlstate_class=found) for found in classes]
    executor = ConnectionExecutor(small.engine)
    with pytest.raises(asyncpg.PostgresError):
        await executor.execute(_WRONG)
    await executor.close()
    with pytest.raises(DBAPIError):
        async with small.sessions.begin() as session:
            await session.execute(text("SELECT * FROM nowhere"))
    away = open_database("postgresql://po_app@127.0.0.1:1/po_api", Settings(_env_file=None))
    with pytest.raises(OSError, match="Connect"):
        await ConnectionExecutor(away.engine).execute(_ONE)
    after = [_value("po_db_errors_total", sqlstate_class=found) for found in classes]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]


@pytest.mark.heavy
async def test_a_pool_exports_its_usage_and_waiting_checkouts(small: Database) -> None:
    pool = {"pool": "primary"}
    timeouts = _value("po_db_pool_timeouts_total", **pool)
    readers = [ConnectionExecutor(small.engine) for _ in range(2)]
    for executor in readers:
        await executor.execute(_ONE)
    assert _shown() == (2, 1, 0)
    lent: Any = small.engine.pool
    lent._timeout = 0.01  # so short a time would not have been enough to connect
    waiting = asyncio.create_task(ConnectionExecutor(small.engine).execute(_ONE))
    deadline = Deadline("a checkout that waits")
    while not _shown()[2]:
        deadline.check()
        await asyncio.sleep(0)
    with pytest.raises(PoolTimeoutError):
        await waiting
    assert _value("po_db_pool_timeouts_total", **pool) == timeouts + 1
    readers[0].discard()
    await readers[1].close()
    assert _shown() == (0, 0, 0)


@pytest.mark.heavy
async def test_a_pool_that_replaces_another_shows_how_full_it_is(small: Database) -> None:
    await small.engine.dispose()
    executor = ConnectionExecutor(small.engine)
    await executor.execute(_ONE)
    assert _shown() == (1, 0, 0)
    await executor.close()
    assert _shown() == (0, 0, 0)


async def test_a_connection_that_cannot_be_made_is_not_in_use(settings: Settings) -> None:
    away = open_database("postgresql://po_app@127.0.0.1:1/po_api", settings)
    with pytest.raises(OSError, match="Connect"):
        await ConnectionExecutor(away.engine).execute(_ONE)
    assert _shown() == (0, 0, 0)


def _shown() -> tuple[float, ...]:
    return tuple(_value(f"po_db_pool_{what}", pool="primary") for what in ("checked_out", "overflow", "waiting"))


@pytest.fixture
def everything_is_slow() -> Iterator[None]:
    instrumentation.configure(slow_query_ms=0)
    yield
    instrumentation.configure(slow_query_ms=500)


@pytest.mark.usefixtures("everything_is_slow")
async def test_slow_statements_are_counted(small: Database) -> None:
    before = _value("po_db_slow_queries_total")
    executor = ConnectionExecutor(small.engine)
    await executor.execute(_ONE)  # and the connection
    await executor.close()
    # The first connection to a distributed database is made again, as one that keeps more statements.
    assert _value("po_db_slow_queries_total") == before + 2 + IS_DISTRIBUTED
