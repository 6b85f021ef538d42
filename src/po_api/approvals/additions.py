"""Steps and people that members add to the open run of a locked request."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import DEFAULT_STEP, PlannedStep, SlotOrigin, StepKind, StepSource
from po_api.approvals.domain import OPEN_STEPS, SlotStatus, StepStatus
from po_api.approvals.machine import Step
from po_api.approvals.models import ApprovalSlot, ApprovalStep
from po_api.approvals.queries import Run
from po_api.core.actor import Actor
from po_api.db.separate_writes import SeparateWrites

_STEPS, _SLOTS = ApprovalStep.__table__, ApprovalSlot.__table__


class Addition(NamedTuple):
    """A step that asks one member. `moved` are the new `seq` of steps that are decided after it, by their ids."""

    source: StepSource
    name: str
    user_id: int
    seq: int
    status: StepStatus = StepStatus.WAITING
    moved: Mapping[int, int] = {}


class Additions:
    """Adds rows of an open run, in the caller's transaction."""

    def __init__(self, session: AsyncSession, actor: Actor, now: datetime) -> None:
        self._session = session
        self._actor = actor
        self._now = now
        self._writes = SeparateWrites(session, actor.organisation_id, now)

    async def step(self, run: Run, added: Addition) -> int:
        """Add a step, with the stage of those that are decided now; returns its id."""
        await self._writes.update(_STEPS, [{"id": step_id, "seq": seq} for step_id, seq in added.moved.items()])
        row = {
            "seq": added.seq,
            "source": added.source,
            "name": added.name,
            "kind": StepKind.PEOPLE,
            "required_count": 1,
            "enforce_limit": False,
            "comment_required": False,
            "status": added.status,
            "activated_at": self._now if added.status is StepStatus.ACTIVE else None,
            "added_by_id": self._actor.member_id,
        }
        step_id = await self._insert(run, row)
        await self._person(step_id, added.user_id, SlotOrigin.ADDED)
        return step_id

    async def default_step(self, run: Run) -> None:
        """Add the step that any approver decides, after all others."""
        copied = ("source", "name", "kind", "pool_role", "required_count", "enforce_limit", "comment_required")
        row = {name: getattr(DEFAULT_STEP, name) for name in copied}
        seq = max(step.seq for step in run.steps) + 1
        await self._insert(run, row | {"seq": seq, "status": StepStatus.WAITING})

    async def refill(self, step: Step, planned: PlannedStep) -> None:
        """Give an open step the people or the group of `planned`, and its required count; places of before stay."""
        row = {name: getattr(planned, name) for name in ("kind", "pool_group_id", "required_count")}
        await self._writes.update(_STEPS, [{"id": step.id, **row}])
        asked = {slot.user_id for slot in step.slots}
        new = [slot for slot in planned.slots if slot.user_id not in asked]
        status = {"step_id": step.id, "status": SlotStatus.OPEN}
        await self._writes.insert(_SLOTS, [{**slot._asdict(), **status} for slot in new])

    async def place(self, step: Step, user_id: int) -> None:
        """Let a step ask one more member, or once more one whose place is vacant."""
        slot = next((slot for slot in step.slots if slot.user_id == user_id), None)
        if slot is not None:
            await self._writes.update(_SLOTS, [{"id": slot.id, "status": SlotStatus.OPEN}])
        elif step.id is not None:
            await self._person(step.id, user_id, SlotOrigin.VACANCY)

    async def _person(self, step_id: int, user_id: int, origin: SlotOrigin) -> None:
        row = {"step_id": step_id, "user_id": user_id, "origin": origin, "status": SlotStatus.OPEN}
        await self._writes.insert(_SLOTS, [row])

    async def _insert(self, run: Run, row: Mapping[str, object]) -> int:
        """Add the row of a step, with the stage of those that are decided now; returns its id."""
        place = {"stage": await self._stage(run), "position": max(step.position for step in run.steps) + 1}
        ((step_id,),) = await self._writes.insert(_STEPS, [{"run_id": run.id, **row, **place}], "id")
        return int(step_id)

    async def _stage(self, run: Run) -> int:
        stage = await self._session.scalar(
            select(func.min(_STEPS.c.stage)).where(
                _STEPS.c.organisation_id == self._actor.organisation_id,
                _STEPS.c.run_id == run.id,
                _STEPS.c.status.in_(sorted(OPEN_STEPS)),
            )
        )
        assert stage is not None
        return int(stage)
