"""What the workers of an installation have to do, and whether they do it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.db.periodic import IS_FREE, WorkerTask
from po_api.work import QUEUES

# A worker polls every few seconds. What is due for this time in seconds has found none, or one that cannot keep up.
LATE_SECONDS = 300

_QUEUE = text(
    "SELECT due, coalesce(extract(epoch FROM now() - oldest_due_at), 0) AS late_seconds, failed FROM work_in(:table)"
)
_FEED_LAG = text("SELECT greatest(0, coalesce(extract(epoch FROM clock_timestamp() - oldest_waiting_event()), 0))")
_LATE = func.greatest(func.extract("epoch", func.now() - WorkerTask.next_run_at), 0)
_TASKS = select(
    WorkerTask.name,
    case((IS_FREE, _LATE), else_=0).label("late_seconds"),
    WorkerTask.succeeded_at,
    WorkerTask.failures,
    WorkerTask.error,
).order_by(WorkerTask.name)


class QueueState(NamedTuple):
    """The rows of a queue, of all organisations: those that are due, and for how long the oldest one; those that have
    failed for good. `depends_on_others`: neither says that a worker does not work."""

    name: str
    due: int
    late_seconds: float
    failed: int
    depends_on_others: bool


class TaskState(NamedTuple):
    """A periodic task: for how long it has been due and no worker has run it; its last success, the number of failed
    runs, and the error of the last run if it has failed."""

    name: str
    late_seconds: float
    succeeded_at: datetime | None
    failures: int
    error: str | None


async def queue_states(connection: AsyncConnection) -> Sequence[QueueState]:
    found = []
    for queue in QUEUES:
        row = (await connection.execute(_QUEUE, {"table": queue.table.name})).one()
        found.append(QueueState(queue.name, row.due, float(row.late_seconds), row.failed, queue.depends_on_others))
    return found


async def task_states(connection: AsyncConnection) -> Sequence[TaskState]:
    rows = (await connection.execute(_TASKS)).all()
    return [TaskState(name, float(late), *others) for name, late, *others in rows]


async def feed_lag(connection: AsyncConnection) -> float:
    """The age in seconds of the oldest event of all organisations that has no number; 0 if there is none."""
    return float(await connection.scalar(_FEED_LAG))
