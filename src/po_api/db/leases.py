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
    Boolean,
    CheckConstraint,
    ColumnElement,
    Index,
    Integer,
    Interval,
    Text,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from po_api.core.actor import Actor
from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor


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


class _TakenRow(NamedTuple):
    id: int
    attempts: int
    leased_until: datetime | None
    status: str


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
        self._take = self._taking()
        self._end = self._ending()

    async def take(
        self, executor: QueryExecutor, organisation_id: int, lease: timedelta, *, most: int, **parameters: object
    ) -> Job | None:
        """Lease the row that is due for the longest time; None if none is due.

        A row that has had `most` attempts, the last of which was interrupted, ends as failed.
        """
        row = await executor.row(self._take, organisation_id=organisation_id, lease=lease, most=most, **parameters)
        if row is None:
            return None
        is_spent = row.status == WorkStatus.FAILED
        return Job(organisation_id, row.id, row.attempts, row.leased_until, is_spent=is_spent)

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
        attempt = {"id": job.id, "attempts": job.attempts, "leased_until": job.leased_until, "taken_back": not counts}
        result = {"status": status, "after": after, "error_code": code, "error_detail": detail}
        ended = await executor.row(self._end, organisation_id=job.organisation_id, **attempt, **result)
        return ended is not None

    def _taking(self) -> Query[_TakenRow]:
        row = self._table.c
        due: ColumnElement[int] = (
            select(row.id)
            .where(
                row.organisation_id == ORGANISATION_ID,
                row.next_attempt_at <= func.now(),
                or_(row.leased_until.is_(None), row.leased_until <= func.now()),
                *self._conditions,
            )
            .order_by(row.next_attempt_at, row.id)
            .limit(1)
            .with_for_update(skip_locked=True, key_share=True)
            .scalar_subquery()
        )
        is_spent = row.attempts >= bindparam("most", type_=Integer)
        statement = (
            update(self._table)
            .where(row.organisation_id == ORGANISATION_ID, row.id == due)
            .values(
                attempts=row.attempts + 1,
                leased_until=case((is_spent, null()), else_=func.now() + bindparam("lease", type_=Interval)),
                status=case((is_spent, str(WorkStatus.FAILED)), else_=row.status),
                next_attempt_at=case((is_spent, null()), else_=row.next_attempt_at),
                error_code=case((is_spent, INTERRUPTED), else_=row.error_code),
                finished_at=case((is_spent, func.now()), else_=null()),
            )
            .returning(row.id, row.attempts, row.leased_until, row.status)
        )
        return Query(f"{self._table.name}.take", statement, _TakenRow)

    def _ending(self) -> Query[_Key]:
        row = self._table.c
        after, status = bindparam("after", type_=Interval), bindparam("status", type_=Text)
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
                status=status,
                attempts=row.attempts - case((bindparam("taken_back", type_=Boolean), 1), else_=0),
                next_attempt_at=func.now() + after,
                leased_until=null(),
                error_code=bindparam("error_code", type_=Text),
                error_detail=bindparam("error_detail", type_=Text),
                finished_at=case((after.is_(None), func.now()), else_=null()),
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
