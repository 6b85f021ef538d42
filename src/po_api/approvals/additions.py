"""Steps and people that members add to the open run of a locked request."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import SlotOrigin, StepKind, StepSource
from po_api.approvals.domain import OPEN_STEPS, SlotStatus, StepStatus
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
            "run_id": run.id,
            "seq": added.seq,
            "stage": await self._stage(run),
            "position": max(step.position for step in run.steps) + 1,
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
        ((step_id,),) = await self._writes.insert(_STEPS, [row], "id")
        await self.person(step_id, added.user_id, SlotOrigin.ADDED)
        return int(step_id)

    async def person(self, step_id: int, user_id: int, origin: SlotOrigin) -> None:
        """Let a step ask one more member."""
        row = {"step_id": step_id, "user_id": user_id, "origin": origin, "status": SlotStatus.OPEN}
        await self._writes.insert(_SLOTS, [row])

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
