"""The statements that are sent to PostgreSQL, by SQLAlchemy or by an executor."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from po_api.db.database import Database

_TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK")


@dataclass(frozen=True)
class Sent:
    """One round trip."""

    sql: str
    arguments: tuple[Any, ...]

    @property
    def is_statement(self) -> bool:
        return not self.sql.startswith(_TRANSACTION_CONTROL)


@asynccontextmanager
async def sent_to(database: Database) -> AsyncIterator[list[Sent]]:
    """The statements sent while the context is open, on connections checked out while it is open."""
    async with sent_through(database.engine) as sent:
        yield sent


@asynccontextmanager
async def sent_through(asynchronous: AsyncEngine) -> AsyncIterator[list[Sent]]:
    """The same, for any pool: a replica's."""
    sent: list[Sent] = []

    def by_sqlalchemy(_connection: Any, _cursor: Any, sql: str, arguments: Any, *_: Any) -> None:
        sent.append(Sent(sql, tuple(arguments)))

    # The driver tells of all but the statements that SQLAlchemy prepares.
    def by_driver(query: Any) -> None:
        sent.append(Sent(query.query, tuple(query.args or ())))

    def taken(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(by_driver)

    def given_back(_connection: Any, record: Any) -> None:
        record.driver_connection.remove_query_logger(by_driver)

    listeners: dict[str, Callable[..., Any]] = {
        "before_cursor_execute": by_sqlalchemy,
        "checkout": taken,
        "checkin": given_back,
    }
    for name, listener in listeners.items():
        event.listen(asynchronous.sync_engine, name, listener)
    try:
        yield sent
        await asyncio.sleep(0)  # the driver tells of a query in the loop's next turn
    finally:
        for name, listener in listeners.items():
            event.remove(asynchronous.sync_engine, name, listener)


async def plan_of(database: Database, sent: Sent) -> str:
    """The plan of a statement with sequential scans disabled, since the tests' tables are small."""
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        lines = await connection.exec_driver_sql(f"EXPLAIN {sent.sql}", sent.arguments)
        return "\n".join(lines.scalars())
