"""Timers of active steps: reminders and escalations that the rules ask for.

Whoever changes steps or timers has locked the request. Nothing is approved or rejected by time.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import EscalateTo, SlotOrigin
from po_api.approval_policies.models import ApprovalRule
from po_api.approvals.domain import SlotStatus, StepStatus, TimerKind
from po_api.approvals.models import ApprovalRun, ApprovalSlot, ApprovalStep, ApprovalTimer
from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, AnyColumn, AnySelect, NoRow, Query, QueryExecutor, TransactionExecutor
from po_api.db.separate_writes import SeparateWrites
from po_api.members.models import Member
from po_api.members.projections import has_role_for
from po_api.structure.models import ApprovalGroup, ApprovalGroupMember

MOST_REMINDERS = 5

_RUNS, _STEPS, _SLOTS = ApprovalRun.__table__, ApprovalStep.__table__, ApprovalSlot.__table__
_TIMERS, _RULES = ApprovalTimer.__table__, ApprovalRule.__table__
_HOURS = _RULES.c["remind_after_hours", "escalate_after_hours"]


class DueTimer(NamedTuple):
    """A timer that is due, and the request of its step. The rest is of the step's rule."""

    id: int
    porf_id: int
    step_id: int
    kind: str
    n: int
    hours: int
    escalate_to: str | None
    escalation_group_id: int | None


class StartingStep(NamedTuple):
    """An active step, and when its rule wants timers, in hours; None for none."""

    id: int
    activated_at: datetime
    remind_after_hours: int | None
    escalate_after_hours: int | None


class _OrganisationRow(NamedTuple):
    organisation_id: int


def _of_run() -> ColumnElement[bool]:
    return and_(_RUNS.c.organisation_id == ORGANISATION_ID, _RUNS.c.id == _STEPS.c.run_id)


def _of_rule() -> ColumnElement[bool]:
    return and_(_RULES.c.organisation_id == ORGANISATION_ID, _RULES.c.id == _STEPS.c.rule_id)


def _steps_of_porfs(*columns: AnyColumn) -> AnySelect:
    these = _RUNS.c.porf_id == any_(bindparam("porf_ids", type_=ARRAY(BigInteger)))
    joined = _STEPS.join(_RUNS, _of_run())
    return select(*columns).select_from(joined).where(_STEPS.c.organisation_id == ORGANISATION_ID, these)


def _stop() -> Query[NoRow]:
    """Delete the timers of steps that are not active."""
    others = _steps_of_porfs(_STEPS.c.id).where(_STEPS.c.status != StepStatus.ACTIVE)
    of_others = (_TIMERS.c.organisation_id == ORGANISATION_ID, _TIMERS.c.step_id.in_(others))
    return Query("approvals.stop_timers", delete(ApprovalTimer).where(*of_others), NoRow)


def _starting() -> Query[StartingStep]:
    """The active steps without timers, whose rules have some."""
    its_timers = and_(_TIMERS.c.organisation_id == ORGANISATION_ID, _TIMERS.c.step_id == _STEPS.c.id)
    statement = (
        _steps_of_porfs(*_STEPS.c["id", "activated_at"], *_HOURS)
        .join(_RULES, _of_rule())
        .where(_STEPS.c.status == StepStatus.ACTIVE, func.num_nonnulls(*_HOURS) > 0)
        .where(~select(_TIMERS.c.id).where(its_timers).exists())
    )
    return Query("approvals.starting_timers", statement, StartingStep)


_STARTING, _STOP = _starting(), _stop()
_WITH_DUE = Query(
    "approvals.organisations_with_due_timers",
    select(func.organisations_with_due_timers(bindparam("now", type_=Timestamp)).label("organisation_id")),
    _OrganisationRow,
)


async def adjust(session: AsyncSession, actor: Actor, porf_ids: Sequence[object], now: datetime) -> None:
    """Start the timers of the steps of requests that have become active, and stop those of all others."""
    executor, whose = TransactionExecutor(session), {"organisation_id": actor.organisation_id, "porf_ids": porf_ids}
    await executor.execute(_STOP, **whose)
    rows = [row for step in await executor.rows(_STARTING, **whose) for row in _first_timers(step)]
    await SeparateWrites(session, actor.organisation_id, now).insert(_TIMERS, rows)


def _first_timers(step: StartingStep) -> Iterator[dict[str, object]]:
    by_kind = {TimerKind.REMIND: step.remind_after_hours, TimerKind.ESCALATE: step.escalate_after_hours}
    for kind, hours in by_kind.items():
        if hours is not None:
            yield {"step_id": step.id, "kind": kind, "n": 1, "due_at": step.activated_at + timedelta(hours=hours)}


async def organisations_with_due(executor: QueryExecutor, now: datetime) -> Sequence[int]:
    """The organisations with timers that are due; no tenant is entered."""
    return [row.organisation_id for row in await executor.rows(_WITH_DUE, now=now)]


class Timers:
    """The timers of one organisation that are due at a time, in the caller's transaction."""

    def __init__(self, session: AsyncSession, organisation_id: int, now: datetime) -> None:
        self._session = session
        self._organisation_id = organisation_id
        self._now = now
        self._writes = SeparateWrites(session, organisation_id, now)

    async def due(self, timer_id: int | None = None) -> DueTimer | None:
        """The timer that is due for the longest time, or the one with the id if it is still due."""
        c = _TIMERS.c
        hours = case((c.kind == TimerKind.REMIND, _RULES.c.remind_after_hours), else_=_RULES.c.escalate_after_hours)
        statement = (
            select(
                *(c.id, _RUNS.c.porf_id, c.step_id, c.kind, c.n, hours),
                *(_RULES.c.escalate_to, _RULES.c.escalation_group_id),
            )
            .join(_STEPS, and_(_STEPS.c.organisation_id == ORGANISATION_ID, _STEPS.c.id == c.step_id))
            .join(_RUNS, _of_run())
            .join(_RULES, _of_rule())
            .where(c.organisation_id == ORGANISATION_ID, c.done_at.is_(None), c.due_at <= self._now)
            .order_by(c.due_at, c.id)
            .limit(1)
        )
        if timer_id is not None:
            statement = statement.where(c.id == timer_id)
        row = (await self._session.execute(statement, {"organisation_id": self._organisation_id})).one_or_none()
        return None if row is None else DueTimer(*row)

    async def reminded(self, timer: DueTimer) -> None:
        """The timer is done; the next one counts from now on: a worker that was down does not send two in a row."""
        await self._done(timer)
        if timer.n < MOST_REMINDERS:
            due_at = self._now + timedelta(hours=timer.hours)
            row = {"step_id": timer.step_id, "kind": timer.kind, "n": timer.n + 1, "due_at": due_at}
            await self._writes.insert(_TIMERS, [row])

    async def escalated(self, timer: DueTimer, excluded: Sequence[int]) -> list[int]:
        """Let the step ask the managers of its people or of the active members of its pool, or the group, too; returns
        whom.

        Only active approvers who are not asked yet, and are none of the `excluded`: a pool of all approvers has none.
        """
        await self._done(timer)
        found = await self._session.scalars(_successors(timer, excluded), {"organisation_id": self._organisation_id})
        user_ids = list(found)
        status = {"step_id": timer.step_id, "origin": SlotOrigin.ESCALATED, "status": SlotStatus.OPEN}
        await self._writes.insert(_SLOTS, [{"user_id": user_id, **status} for user_id in user_ids])
        return user_ids

    async def _done(self, timer: DueTimer) -> None:
        its = (_TIMERS.c.organisation_id == self._organisation_id, _TIMERS.c.id == timer.id)
        await self._session.execute(update(ApprovalTimer).values(done_at=self._now).where(*its))


def _pool_of(timer: DueTimer) -> AnySelect:
    """The members of the group that the step asks."""
    of_group = and_(
        ApprovalGroupMember.organisation_id == ORGANISATION_ID,
        ApprovalGroupMember.group_id == _STEPS.c.pool_group_id,
    )
    its = (_STEPS.c.organisation_id == ORGANISATION_ID, _STEPS.c.id == timer.step_id)
    return select(ApprovalGroupMember.user_id).join_from(ApprovalStep, ApprovalGroupMember, of_group).where(*its)


def _successors(timer: DueTimer, excluded: Sequence[int]) -> AnySelect:
    member, asked = Member.__table__.c, _SLOTS.c
    of_step = (asked.organisation_id == ORGANISATION_ID, asked.step_id == timer.step_id)
    if timer.escalate_to == EscalateTo.GROUP:
        group, of_group = ApprovalGroup.__table__.c, ApprovalGroupMember.__table__.c
        active = and_(group.organisation_id == ORGANISATION_ID, group.id == of_group.group_id, group.is_active)
        whom = (
            select(of_group.user_id)
            .join_from(ApprovalGroupMember, ApprovalGroup, active)
            .where(of_group.organisation_id == ORGANISATION_ID, of_group.group_id == timer.escalation_group_id)
        )
    else:
        person = Member.__table__.alias("person").c
        people = select(asked.user_id).where(*of_step, asked.status == SlotStatus.OPEN)
        whom = select(person.manager_id).where(
            person.organisation_id == ORGANISATION_ID,
            or_(person.user_id.in_(people), and_(person.user_id.in_(_pool_of(timer)), person.is_active)),
        )
    return (
        select(member.user_id)
        .where(
            member.organisation_id == ORGANISATION_ID,
            member.user_id.in_(whom),
            member.user_id.not_in(select(asked.user_id).where(*of_step)),
            member.user_id.not_in(_pool_of(timer)),
            member.user_id.not_in(excluded),
            member.is_active,
            has_role_for(Permission.PORFS_DECIDE, Member.__table__),
        )
        .order_by(member.user_id)
    )
