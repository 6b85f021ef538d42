"""Rows that are work to do, and the leases under which it is done.

A row that is due (`next_attempt_at`) is leased in a short transaction, which counts the attempt. The work is done
outside of any transaction, and its result is written only if no other attempt has begun since: the attempt's number
and the end of its lease are the fencing token. The lease of a worker that dies ends by itself, so that nothing is lost;
since attempts are counted when they begin, a row that kills its worker ends as failed.

Tried instead: procrastinate leaves the work of killed workers in progress, pgqueuer counts no attempts of theirs; both
need a row beside the one that the API shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Index,
    Integer,
    Interval,
    Text,
    bindparam,
    func,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from po_api.core.actor import Actor
from po_api.db.query import ORGANISATION_ID, NoRow, Query, QueryExecutor


class WorkStatus(StrEnum):
    """The statuses of every queue; one whose success has a name of its own (`sent`) has that instead of `done`."""

    QUEUED = "queued"
    # Waits for a user or an operator to retry it, such as after a restore.
    HELD = "held"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


# The last attempt ended without a result: the process was killed, or stopped before the work was done.
INTERRUPTED = "interrupted"


class Leased:
    """The columns of a row that is work: due from `next_attempt_at` on, unless `leased_until` is in the future."""

    status: Mapped[str] = mapped_column(default="queued", server_default="queued", sort_order=80)
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0", sort_order=81)
    next_attempt_at: Mapped[datetime | None] = mapped_column(sort_order=82)
    leased_until: Mapped[datetime | None] = mapped_column(sort_order=83)
    error_code: Mapped[str | None] = mapped_column(sort_order=84)
    error_detail: Mapped[str | None] = mapped_column(sort_order=85)
    finished_at: Mapped[datetime | None] = mapped_column(sort_order=86)


def lease_constraints(table: str) -> list[Any]:
    """The constraints and the index of a table of `Leased` rows: exactly those that are queued have a next attempt."""
    return [
        CheckConstraint("(status = 'queued') = (next_attempt_at IS NOT NULL)", name="next_attempt_at"),
        CheckConstraint("status = 'queued' OR leased_until IS NULL", name="leased_until"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index(
            f"ix_{table}_next_attempt_at",
            "organisation_id",
            "next_attempt_at",
            "id",
            # Also for the figures of operators, which include what has failed.
            postgresql_where=text("next_attempt_at IS NOT NULL OR status = 'failed'"),
        ),
    ]


@dataclass(frozen=True)
class Job:
    """A row whose lease this process holds; `attempts` includes the present one.

    `is_spent`: it had all of its attempts before, and has ended as failed instead of being leased.
    """

    organisation_id: int
    id: int
    attempts: int
    leased_until: datetime | None
    is_spent: bool = False

    @property
    def actor(self) -> Actor:
        """The application itself, inside the organisation."""
        return Actor.system(self.organisation_id)


class _DueRow(NamedTuple):
    """A row that is due, which the transaction has locked; `now` is its time."""

    id: int
    attempts: int
    now: datetime


class _Key(NamedTuple):
    id: int


class _OrganisationRow(NamedTuple):
    organisation_id: int


class Leases:
    """Takes and returns the leases of the rows of a table, each in the caller's transaction inside the tenant.

    Rows are only taken if they fulfil all `conditions`, whose parameters are arguments of `take`.
    """

    def __init__(self, table: Any, *conditions: ColumnElement[bool]) -> None:
        self._table = table
        self._conditions = conditions
        self._find = self._finding()
        self._lease = self._leasing()
        self._expire = self._expiring()
        self._finish = self._ending(next_attempt_at=null(), finished_at=func.now())
        after = bindparam("after", type_=Interval)
        self._queue_again = self._ending(next_attempt_at=func.now() + after, finished_at=null())

    async def take(
        self, executor: QueryExecutor, organisation_id: int, lease: timedelta, *, most: int, **parameters: object
    ) -> Job | None:
        """Lease the row that is due for the longest time; None if none is due.

        A row that has had `most` attempts, the last of which was interrupted, ends as failed.
        """
        row = await executor.row(self._find, organisation_id=organisation_id, **parameters)
        if row is None:
            return None
        key = {"organisation_id": organisation_id, "of_id": row.id}
        if row.attempts >= most:
            await executor.execute(self._expire, **key, of_attempts=row.attempts + 1)
            return Job(organisation_id, row.id, row.attempts + 1, None, is_spent=True)
        job = Job(organisation_id, row.id, row.attempts + 1, row.now + lease)
        await executor.execute(self._lease, **key, of_attempts=job.attempts, of_leased_until=job.leased_until)
        return job

    async def end(
        self,
        executor: QueryExecutor,
        job: Job,
        status: str,
        *,
        after: timedelta | None = None,
        error: tuple[str, str | None] | None = None,
        counts: bool = True,
    ) -> bool:
        """Write the result of an attempt; with `after`, the row is queued again, as if there had been no attempt unless
        it `counts`. Returns False if it is no longer the job's: another attempt has begun, or the row was cancelled."""
        code, detail = error or (None, None)
        attempt = {"id": job.id, "attempts": job.attempts, "leased_until": job.leased_until}
        result = {"status": status, "error_code": code, "error_detail": detail, "taken_back": 0 if counts else 1}
        parameters = {"organisation_id": job.organisation_id, **attempt, **result}
        if after is None:
            return await executor.row(self._finish, **parameters) is not None
        return await executor.row(self._queue_again, **parameters, after=after) is not None

    def _finding(self) -> Query[_DueRow]:
        row = self._table.c
        statement = (
            select(row.id, row.attempts, func.now().label("now"))
            .where(
                row.organisation_id == ORGANISATION_ID,
                row.next_attempt_at <= func.now(),
                or_(row.leased_until.is_(None), row.leased_until <= func.now()),
                *self._conditions,
            )
            .order_by(row.next_attempt_at, row.id)
            .limit(1)
            .with_for_update(skip_locked=True, key_share=True, of=self._table)
        )
        return Query(f"{self._table.name}.find_due", statement, _DueRow)

    def _leasing(self) -> Query[NoRow]:
        # The names of parameters differ from those of columns: SQLAlchemy would take these for values to set.
        values = {
            name: bindparam(f"of_{name}", type_=self._table.c[name].type) for name in ("attempts", "leased_until")
        }
        return Query(f"{self._table.name}.lease", self._updating(**values, finished_at=null()), NoRow)

    def _expiring(self) -> Query[NoRow]:
        values = {
            "attempts": bindparam("of_attempts", type_=Integer),
            "status": str(WorkStatus.FAILED),
            "error_code": INTERRUPTED,
            "finished_at": func.now(),
        }
        statement = self._updating(**values, leased_until=null(), next_attempt_at=null())
        return Query(f"{self._table.name}.expire", statement, NoRow)

    def _updating(self, **values: Any) -> Any:
        row = self._table.c
        key = (row.organisation_id == ORGANISATION_ID, row.id == bindparam("of_id", type_=row.id.type))
        return update(self._table).where(*key).values(**values)

    def _ending(self, **times: Any) -> Query[_Key]:
        """`times` are `next_attempt_at` and `finished_at`.

        They differ between two statements, not in a CASE of one: Citus refuses functions of the time there.
        """
        row = self._table.c
        statement = (
            update(self._table)
            .where(
                row.organisation_id == ORGANISATION_ID,
                row.id == bindparam("id", type_=row.id.type),
                row.attempts == bindparam("attempts", type_=Integer),
                row.leased_until == bindparam("leased_until", type_=row.leased_until.type),
                row.status == str(WorkStatus.QUEUED),
            )
            .values(
                status=bindparam("status", type_=Text),
                attempts=row.attempts - bindparam("taken_back", type_=Integer),
                leased_until=null(),
                error_code=bindparam("error_code", type_=Text),
                error_detail=bindparam("error_detail", type_=Text),
                **times,
            )
            .returning(row.id)
        )
        return Query(f"{self._table.name}.end", statement, _Key)


_ORGANISATIONS = Query(
    "worker.organisations",
    select(func.organisations_with_work(bindparam("of_table", type_=Text)).label("organisation_id")),
    _OrganisationRow,
)


async def organisations_with_work(executor: QueryExecutor, table: str) -> Sequence[int]:
    """The organisations that have due rows in a table. No tenant is entered: a function with the owner's rights returns
    their ids and nothing else."""
    return [row.organisation_id for row in await executor.rows(_ORGANISATIONS, of_table=table)]
