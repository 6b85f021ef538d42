"""The database's figures, asked for once in a scrape, whatever the number of workers, and without waiting for it."""

import asyncio
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import pool
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from po_api.core.database import connect_to
from po_api.core.errors import CONNECTION_LOST
from po_api.core.logging import get_logger
from po_api.operations.metrics.statistics import PARTS
from po_api.settings import Settings

# A scrape is given up after ten seconds, unless Prometheus is told otherwise; an answer without the database is one.
CONNECT_SECONDS = 1
SECONDS = 2

_log = get_logger(__name__)


class DatabaseFigures:
    """Asks on one connection of its own, which is kept from scrape to scrape and made again after trouble."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._driver: Any = None

        async def connect(**_: Any) -> Any:
            self._driver = await connect_to(url, settings, seconds=CONNECT_SECONDS)
            return self._driver

        options: dict[str, Any] = {"prepared_statement_cache_size": 0} if settings.db_pgbouncer else {}

        def create() -> Any:
            return engine.sync_engine.dialect.dbapi.connect(async_creator_fn=connect, **options)  # type: ignore[union-attr]

        engine = create_async_engine("postgresql+asyncpg://", creator=create, poolclass=pool.NullPool)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._hidden: set[str] = set()

    async def __call__(self) -> list[Metric]:
        """The figures, or as many as there are in time; `po_db_up` says whether the database answers."""
        async with self._turn:
            found: list[Metric] = []
            deadline = asyncio.get_running_loop().call_later(SECONDS, self._hang_up)
            try:
                await self._ask(found)
                is_up = True
            except (SQLAlchemyError, *CONNECTION_LOST) as error:
                is_up = bool(found) and deadline.when() <= asyncio.get_running_loop().time()
                _log.warning("database_figures_missing", error=type(error).__name__, parts=len(found))
                await self.close()
            finally:
                deadline.cancel()
        return [GaugeMetricFamily("po_db_up", "1 if the database answers", float(is_up)), *found]

    async def _ask(self, found: list[Metric]) -> None:
        if self._connection is None:
            self._connection = await self._engine.connect()
        for part in PARTS:
            try:
                found += await part(self._connection)
            except DBAPIError as error:
                if error.connection_invalidated or not getattr(error.orig, "sqlstate", None):
                    raise
                self._tell_once(part.__name__, error)

    def _tell_once(self, part: str, error: DBAPIError) -> None:
        """Somebody took a right away that everybody has, or an extension is not loaded: the rest is there."""
        if part not in self._hidden:
            self._hidden.add(part)
            _log.warning("database_figures_refused", part=part, sqlstate=getattr(error.orig, "sqlstate", None))

    def _hang_up(self) -> None:
        """Whoever waits for an answer on the connection is told at once that there is none."""
        if self._driver is not None:
            self._driver.terminate()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self._hang_up()
        if connection is not None:
            await connection.close()
