"""Closes connections that have been checked out of the pool for too long.

PostgreSQL's own time-outs have no effect while the server is frozen or unreachable. The driver's time-out for each
statement would cost several times as much, and the rollback would wait for another time-out.
"""

import asyncio
from typing import Any

from sqlalchemy import Engine, event

from po_api.observability.logging import get_logger

_log = get_logger(__name__)


class CheckoutTimeout:
    """Limits the duration of checkouts. One timer serves all: the earliest checkout is the first to expire."""

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
            self._timer = loop.call_at(due, self._terminate_expired, loop)

    def _end(self, _: Any, record: Any) -> None:
        self._due.pop(record, None)

    def _terminate_expired(self, loop: asyncio.AbstractEventLoop) -> None:
        """Terminate the connections that have expired, and set the timer for the next one."""
        self._timer = None
        for record, (due, connection) in list(self._due.items()):
            if due > loop.time():
                self._timer = loop.call_at(due, self._terminate_expired, loop)
                return
            del self._due[record]
            if not connection.is_closed():
                _log.warning("connection_terminated_after_timeout")
                connection.terminate()
