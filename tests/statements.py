"""What is sent to PostgreSQL, as the driver itself sees it: whoever sends it, SQLAlchemy or a reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from po_api.core.database import Database

_TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK")


@dataclass(frozen=True)
class Sent:
    """One round trip."""

    sql: str
    arguments: tuple[Any, ...]

    @property
    def is_statement(self) -> bool:
        return not self.sql.startswith(_TRANSACTION_CONTROL)


@contextmanager
def sent_to(database: Database) -> Iterator[list[Sent]]:
    """What is sent in the meantime, on connections that are taken from the pool in the meantime."""
    sent: list[Sent] = []

    def note(query: Any) -> None:
        sent.append(Sent(query.query, tuple(query.args or ())))

    def taken(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(note)

    def given_back(_connection: Any, record: Any) -> None:
        record.driver_connection.remove_query_logger(note)

    engine = database.engine.sync_engine
    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)
    try:
        yield sent
    finally:
        event.remove(engine, "checkout", taken)
        event.remove(engine, "checkin", given_back)


async def plan_of(database: Database, sent: Sent) -> str:
    """How PostgreSQL would answer, if it had to use indexes wherever one could serve: tests' tables are small."""
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        lines = await connection.exec_driver_sql(f"EXPLAIN {sent.sql}", sent.arguments)
        return "\n".join(lines.scalars())
