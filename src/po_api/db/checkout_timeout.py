"""Connections that are out of the pool for too long are closed.

PostgreSQL's own time-outs are of no use while the server is frozen or cut off. A timer of the driver's for every
statement would cost several times as much, and have whoever rolls back wait once more.
"""

import asyncio
from typing import Any

from sqlalchemy import Engine, event

from po_api.observability.logging import get_logger

_log = get_logger(__name__)


class CheckoutTimeout:
    """Limits how long a connection may be out. One timer does for all: the first loan is the first to be due."""

    def __init__(self, engine: Engine, *, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[Any, tuple[float, Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        event.listen(engine, "checkout", self._begin)
        event.listen(engine, "checkin", self._end)

    def _begin(self, connection: Any, record: Any, *_: Any) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        self._due[record] = (due, connection.driver_connection)
        if self._timer is None:
            self._timer = loop.call_at(due, self._give_up, loop)

    def _end(self, _: Any, record: Any) -> None:
        self._due.pop(record, None)

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what is due, and look again when the next one is."""
        self._timer = None
        for record, (due, connection) in list(self._due.items()):
            if due > loop.time():
                self._timer = loop.call_at(due, self._give_up, loop)
                return
            del self._due[record]
            if not connection.is_closed():
                _log.warning("connection_given_up")
                connection.terminate()
