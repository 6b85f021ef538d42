"""The database's metrics, read once for each scrape, independent of the number of workers, within a time limit."""

import asyncio
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import pool
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.database import connect_to, primary_at
from po_api.db.driver import engine_by
from po_api.observability.logging import get_logger
from po_api.operations.metrics.statistics import PARTS, Part
from po_api.settings import Settings

# Prometheus' default time-out for a scrape is ten seconds; a response without the database's metrics is useful, too.
SECONDS = 2.0

_log = get_logger(__name__)


class DatabaseFigures:
    """Reads the metrics on a connection of its own, which is kept between scrapes and replaced after an error.

    A scrape takes `seconds` at most; half of them are for a new connection.
    """

    def __init__(self, url: str, settings: Settings, *, seconds: float) -> None:
        self._driver: Any = None
        self._seconds = seconds

        primary = primary_at(url, seconds=seconds / 2)

        async def connect(**_: Any) -> Any:
            self._driver = await connect_to(primary, settings)
            return self._driver

        engine = engine_by(connect, is_pooled_again=settings.db_pgbouncer, poolclass=pool.NullPool)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._is_late = False
        self._refused: set[Part] = set()

    async def __call__(self) -> list[Metric]:
        """The metrics that could be read in time; `po_db_up` is 1 if the database responds."""
        async with self._turn:
            self._is_late = False
            deadline = asyncio.get_running_loop().call_later(self._seconds, self._hang_up)
            was_kept = self._connection is not None
            try:
                found = await self._read()
                if was_kept and not found and not self._is_late:
                    # The connection was closed since the last scrape: by a restart, or because it was idle.
                    found = await self._read()
            finally:
                deadline.cancel()
        return [GaugeMetricFamily("po_db_up", "1 if the database responds", float(bool(found))), *found]

    async def _read(self) -> list[Metric]:
        found: list[Metric] = []
        try:
            if self._connection is None:
                self._connection = await self._engine.connect()
            for part in PARTS:
                found += await self._read_part(part, self._connection)
        except (SQLAlchemyError, *CONNECTION_LOST) as error:
            _log.warning("database_metrics_unavailable", error=type(error).__name__, is_late=self._is_late)
            await self.close()
            return found if self._is_late else []
        return found

    async def _read_part(self, part: Part, connection: AsyncConnection) -> list[Metric]:
        """Empty if it fails: a default privilege was revoked, or an extension is not loaded."""
        try:
            return await part(connection)
        except DBAPIError as error:
            sqlstate = getattr(error.orig, "sqlstate", None)
            if error.connection_invalidated or not sqlstate:
                raise
            if part not in self._refused:
                self._refused.add(part)
                _log.warning("database_metrics_denied", part=part.__name__, sqlstate=sqlstate)
            return []

    def _hang_up(self) -> None:
        """Make the current statement fail at once, by closing its connection."""
        self._is_late = True
        self._terminate()

    def _terminate(self) -> None:
        if self._driver is not None:
            self._driver.terminate()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self._terminate()
        if connection is not None:
            await connection.close()
