"""Pools of connections that show how full they are."""

from typing import Any, ClassVar

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection

from po_api.observability import metrics


class PrimaryPool(AsyncAdaptedQueuePool):
    """Connections to the primary."""

    name: ClassVar[str] = "primary"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = metrics.POOL_WAITING.labels(self.name)
        self._timeouts = metrics.POOL_TIMEOUTS.labels(self.name)
        self._checked_out = metrics.POOL_CHECKED_OUT.labels(self.name)
        self._above_size = metrics.POOL_OVERFLOW.labels(self.name)
        self._is_shown = True
        metrics.POOL_CAPACITY.labels(self.name).set(self.size() + self._max_overflow)

    def connect(self) -> PoolProxiedConnection:
        if self.checkedin() or self.overflow() < self._max_overflow:
            return self._connected()
        self._waiting.inc()
        try:
            return self._connected()
        except PoolTimeoutError:
            self._timeouts.inc()
            raise
        finally:
            self._waiting.dec()

    def _connected(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        finally:
            self._has_changed()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        self._has_changed()

    def _has_changed(self) -> None:
        if self._is_shown:
            self._is_shown = False
            metrics.later(PrimaryPool._show, self)

    def _show(self) -> None:
        self._is_shown = True
        self._checked_out.set(self.checkedout())
        if self._max_overflow:
            self._above_size.set(max(0, self.overflow()))


class ReplicaPool(PrimaryPool):
    """Connections to the replica."""

    name = "replica"
