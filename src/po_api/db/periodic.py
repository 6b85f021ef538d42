"""The periodic tasks of the worker: when each is due, and how its last runs ended. One row for each task."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Integer,
    Interval,
    Text,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base
from po_api.db.query import NoRow, Query, QueryExecutor


class WorkerTask(Base):
    """A periodic task, leased like the rows of a queue (`db.leases`): `attempts` is the fencing token.

    `failures` counts all runs that failed, `error` is the type of the last one's error until a run succeeds.
    """

    __tablename__ = "worker_tasks"
    __table_args__ = (CheckConstraint("attempts >= 0 AND failures >= 0", name="counts"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    next_run_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    started_at: Mapped[datetime | None]
    succeeded_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    error: Mapped[str | None]


class Run(NamedTuple):
    """A leased run of a task."""

    name: str
    attempts: int


class _Name(NamedTuple):
    name: str


# Their names differ from those of columns: SQLAlchemy would take these for values to set.
_NAME, _ATTEMPTS = bindparam("of_task", type_=Text), bindparam("of_attempt", type_=Integer)
IS_FREE = or_(WorkerTask.leased_until.is_(None), WorkerTask.leased_until <= func.now())

_ADD = Query(
    "worker.add_task",
    insert(WorkerTask)
    .from_select(["name", "next_run_at"], select(_NAME, func.now()), include_defaults=False)
    .on_conflict_do_nothing()
    .returning(WorkerTask.name, WorkerTask.attempts),
    Run,
)
_DUE = Query("worker.due_tasks", select(WorkerTask.name).where(WorkerTask.next_run_at <= func.now(), IS_FREE), _Name)
# Of two workers, the second waits for the first, and then finds the task leased.
_TAKE = Query(
    "worker.take_task",
    update(WorkerTask)
    .where(WorkerTask.name == _NAME, WorkerTask.next_run_at <= func.now(), IS_FREE)
    .values(
        attempts=WorkerTask.attempts + 1,
        leased_until=func.now() + bindparam("lease", type_=Interval),
        started_at=func.now(),
    )
    .returning(WorkerTask.name, WorkerTask.attempts),
    Run,
)
_ERROR, _IS_DONE = bindparam("of_error", type_=Text), bindparam("is_done", type_=Boolean)
_END = Query(
    "worker.end_task",
    update(WorkerTask)
    .where(WorkerTask.name == _NAME, WorkerTask.attempts == _ATTEMPTS)
    .values(
        next_run_at=func.now() + bindparam("after", type_=Interval),
        leased_until=null(),
        succeeded_at=case((_IS_DONE, func.now()), else_=WorkerTask.succeeded_at),
        failures=WorkerTask.failures + case((_ERROR.is_(None), 0), else_=1),
        error=case((or_(_IS_DONE, _ERROR.is_not(None)), _ERROR), else_=WorkerTask.error),
    ),
    NoRow,
)


async def add_task(executor: QueryExecutor, name: str) -> None:
    """Add the row of a task, due at once, unless there is one."""
    await executor.row(_ADD, of_task=name)


async def due_tasks(executor: QueryExecutor) -> Collection[str]:
    """The names of the tasks that are due."""
    return {row.name for row in await executor.rows(_DUE)}


async def take_task(executor: QueryExecutor, name: str, lease: timedelta) -> Run | None:
    """Lease a task that is due; None if it is not, or another worker has it."""
    return await executor.row(_TAKE, of_task=name, lease=lease)


async def end_task(
    executor: QueryExecutor, run: Run, *, after: timedelta, error: str | None = None, is_done: bool = False
) -> None:
    """Write the end of a run, unless another one has begun since; the next one is due `after` that.

    A run that is neither done nor ended by an error was interrupted.
    """
    key = {"of_task": run.name, "of_attempt": run.attempts}
    await executor.execute(_END, **key, after=after, of_error=error, is_done=is_done)
