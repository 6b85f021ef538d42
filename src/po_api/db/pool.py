"""Connection pools that export their figures as metrics."""

from typing import Any, ClassVar

from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from po_api.observability import metrics


class PrimaryPool(AsyncAdaptedQueuePool):
    """Connections to the primary."""

    name: ClassVar[str] = "primary"

    def __init__(self, creator: Any, *, max_overflow: int, **options: Any) -> None:
        super().__init__(creator, max_overflow=max_overflow, **options)
        self._capacity = self.size() + max_overflow
        self._waiting = metrics.POOL_WAITING.labels(self.name)
        self._timeouts = metrics.POOL_TIMEOUTS.labels(self.name)
        self._checked_out = metrics.POOL_CHECKED_OUT.labels(self.name)
        self._above_size = metrics.POOL_OVERFLOW.labels(self.name)
        metrics.POOL_CAPACITY.labels(self.name).set(self._capacity)

    def connect(self) -> PoolProxiedConnection:
        if self.checkedin() or self.checkedout() < self._capacity:
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
            self.export()

    def export(self, *, returning: int = 0) -> None:
        """Set the gauges. `returning` connections are about to be returned; they are closed if enough are idle."""
        self._checked_out.set(self.checkedout() - returning)
        if self._capacity > self.size():
            closing = returning if self.checkedin() == self.size() else 0
            self._above_size.set(max(0, self.overflow() - closing))


class ReplicaPool(PrimaryPool):
    """Connections to the replica."""

    name = "replica"


def export_checkins(engine: Engine) -> None:
    """Set the gauges of the engine's pool also when a connection is returned."""

    # A listener of the engine: it also applies to the pool that replaces a disposed one.
    def on_checkin(*_: Any) -> None:
        pool = engine.pool
        assert isinstance(pool, PrimaryPool)
        pool.export(returning=1)

    event.listen(engine, "checkin", on_checkin)
