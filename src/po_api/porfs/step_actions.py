"""Actions on who is asked for approval: override, add and remove approvers, and reassign steps."""

from typing import NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.approval_policies.domain import ADDED_APPROVER, StepSource
from po_api.approvals import machine
from po_api.approvals.additions import Addition, Additions
from po_api.approvals.domain import Placement, SlotStatus, StepStatus
from po_api.approvals.eligibility import DECIDES, Approver, refusal
from po_api.approvals.errors import (
    RunClosed,
    StepNotReassignable,
    StepNotRemovable,
    TooManyAddedApprovers,
    UnknownApprover,
)
from po_api.approvals.machine import Given, Outcome, Step
from po_api.approvals.models import AddedApprover
from po_api.approvals.queries import Run
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.json_sql import JsonDocument
from po_api.db.listeners import Listeners
from po_api.db.query import TransactionExecutor
from po_api.members.service import rights_of
from po_api.porfs import errors
from po_api.porfs.approving import PorfApprovals, accepts
from po_api.porfs.domain import MACHINE, PorfAction, PorfFacts, PorfStatus
from po_api.porfs.queries import LockedPorf
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import PorfRepository, state_of
from po_api.porfs.step_changes import Pending, StepChanges

_OVERRIDE = "override"
# In one run: each change of a run and each list that shows who decides reads all of its steps.
_MOST_ADDED = 50


class NewApprover(NamedTuple):
    """A member who is to be asked, too."""

    user_id: int
    placement: Placement


class Replacement(NamedTuple):
    """A member who is asked in a step instead of another."""

    step_id: int
    user_id: int
    replaced_id: int


class _Allowed(NamedTuple):
    """A locked request on which an action is allowed; `actor` has the committed rights."""

    porf: LockedPorf
    facts: PorfFacts
    actor: Actor


class PorfStepActions:
    """Changes who is asked for approval; each writes one audit event in the caller's transaction, and tells the
    `listeners`."""

    def __init__(self, session: AsyncSession, actor: Actor, listeners: Listeners) -> None:
        self._session = session
        self._actor = actor
        executor = TransactionExecutor(session)
        self._repository = PorfRepository(session, actor)
        self._porfs = PorfReadService(executor, actor)
        self._approvals = PorfApprovals(session, actor)
        self._changes = StepChanges(session, actor, listeners)

    async def override(self, porf_id: int, *, comment: str | None, expected: ExpectedVersions) -> JsonDocument:
        """Approve a request against the rules: all open steps are skipped. Raises CommentRequired."""
        pending = await self._begin(PorfAction.OVERRIDE, porf_id, expected)
        if comment is None:
            raise errors.CommentRequired.at("/comment")
        run, actor = pending.run, pending.actor
        skipped = [step.name for step in run.steps if step.is_open]
        seq = max(step.seq for step in run.steps) + 1
        added = Addition(StepSource.OVERRIDE, _OVERRIDE, actor.member_id, seq, StepStatus.ACTIVE)
        pending, step_id = await self._with_step(pending, added)
        step = _step(pending.run, step_id)
        given = Given(step.position, actor.member_id, actor.member_id, actor.approval_limit)
        outcome = machine.override(pending.run.steps, step_id, given)
        shown: dict[str, object] = {"comment": comment, "skipped": skipped}
        return await self._change(PorfAction.OVERRIDE, pending, outcome, shown, comment=comment)

    async def add_approver(self, porf_id: int, added: NewApprover, *, expected: ExpectedVersions) -> JsonDocument:
        """Ask one more member before, with or after those who are asked now, or first.

        Raises TooManyAddedApprovers or UnknownApprover.
        """
        allowed = await self._allowed(PorfAction.ADD_APPROVER, porf_id)
        if allowed.porf.status == PorfStatus.DRAFT:
            return await self._add_to_draft(allowed, added, expected)
        pending = await self._pending(allowed, expected)
        if sum(step.source is StepSource.ADDED for step in pending.run.steps) >= _MOST_ADDED:
            raise TooManyAddedApprovers
        await self._require_approver(pending.facts, added.user_id)
        seq, moved = machine.seq_of_added(pending.run.steps, added.placement)
        addition = Addition(StepSource.ADDED, ADDED_APPROVER, added.user_id, seq, moved=moved)
        pending, step_id = await self._with_step(pending, addition)
        outcome = machine.resume(pending.run.steps, await self._changes.rules(pending))
        shown = {"user_id": added.user_id, "placement": added.placement, "step_id": step_id}
        return await self._change(PorfAction.ADD_APPROVER, pending, outcome, shown)

    async def remove_approver(
        self, porf_id: int, *, step_id: int | None, user_id: int | None, expected: ExpectedVersions
    ) -> JsonDocument:
        """Remove a step that was added, and that nobody has decided, or a member from a draft.

        Raises RunClosed or StepNotRemovable.
        """
        allowed = await self._allowed(PorfAction.REMOVE_APPROVER, porf_id)
        if allowed.porf.status == PorfStatus.DRAFT:
            return await self._remove_from_draft(allowed.porf, user_id, expected)
        pending = await self._pending(allowed, expected)
        if step_id is None:
            raise StepNotRemovable
        step = _step(pending.run, step_id)
        if step.source is not StepSource.ADDED or not step.is_open or step.approvals or not self._may_remove(step):
            raise StepNotRemovable
        outcome = machine.remove(pending.run.steps, step_id, await self._changes.rules(pending))
        return await self._change(PorfAction.REMOVE_APPROVER, pending, outcome, {"step_id": step_id})

    async def _add_to_draft(self, allowed: _Allowed, added: NewApprover, expected: ExpectedVersions) -> JsonDocument:
        porf = allowed.porf
        require_version(porf.version, expected)
        await self._require_approver(allowed.facts, added.user_id)
        asked = set(await self._session.scalars(self._added(porf).with_only_columns(AddedApprover.user_id)))
        if added.user_id in asked:
            raise UnknownApprover.at("/user_id")
        if len(asked) >= _MOST_ADDED:
            raise TooManyAddedApprovers
        self._session.add(
            AddedApprover(
                organisation_id=self._actor.organisation_id,
                porf_id=porf.id,
                added_by_id=self._actor.member_id,
                **added._asdict(),
            )
        )
        return await self._change_draft(PorfAction.ADD_APPROVER, porf, added._asdict())

    async def _remove_from_draft(
        self, porf: LockedPorf, user_id: int | None, expected: ExpectedVersions
    ) -> JsonDocument:
        if user_id is None:
            raise RunClosed
        require_version(porf.version, expected)
        row = await self._session.scalar(self._added(porf).where(AddedApprover.user_id == user_id))
        if row is None or not self._may_remove(row):
            raise StepNotRemovable
        await self._session.delete(row)
        return await self._change_draft(PorfAction.REMOVE_APPROVER, porf, {"user_id": user_id})

    def _added(self, porf: LockedPorf) -> Select[AddedApprover]:
        """Those who are added to a draft."""
        whose = AddedApprover.organisation_id == self._actor.organisation_id
        return select(AddedApprover).where(whose, AddedApprover.porf_id == porf.id)

    async def _change_draft(self, action: PorfAction, porf: LockedPorf, shown: dict[str, object]) -> JsonDocument:
        await self._session.flush()
        change = audit.Change(f"porf.{action}", "porf", porf.id, {}, shown, porf.version + 1)
        await self._repository.change([state_of(porf)], [change], now=utc_now())
        return await self._porfs.whole(porf.id)

    def _may_remove(self, added: Step | AddedApprover) -> bool:
        return added.added_by_id == self._actor.user_id or self._actor.may(Permission.PORFS_WRITE_ALL)

    async def reassign_step(self, porf_id: int, new: Replacement, *, expected: ExpectedVersions) -> JsonDocument:
        """Ask another member in a step instead of one who has not decided, or once more one whose place is vacant.

        Raises RunClosed, StepNotReassignable or UnknownApprover.
        """
        pending = await self._begin(PorfAction.REASSIGN_STEP, porf_id, expected)
        step = _step(pending.run, new.step_id)
        asked = {slot.user_id: slot.status for slot in step.slots}
        if not step.is_open or asked.get(new.replaced_id) not in (SlotStatus.OPEN, SlotStatus.VACANT):
            raise StepNotReassignable
        if asked.get(new.user_id, SlotStatus.VACANT) is not SlotStatus.VACANT:
            raise UnknownApprover.at("/user_id")
        await self._require_approver(pending.facts, new.user_id)
        await Additions(self._session, self._actor, pending.now).place(step, new.user_id)
        pending = await self._changes.again(pending)
        outcome = machine.replaced(pending.run.steps, new.step_id, new.replaced_id, new.user_id)
        return await self._change(PorfAction.REASSIGN_STEP, pending, outcome, new._asdict())

    async def _begin(self, action: PorfAction, porf_id: int, expected: ExpectedVersions) -> Pending:
        """Lock the pending request, and check that the action is allowed."""
        return await self._pending(await self._allowed(action, porf_id), expected)

    async def _allowed(self, action: PorfAction, porf_id: int) -> _Allowed:
        """Lock the request, and check that the action is allowed."""
        found = await self._repository.lock([porf_id])
        if not found:
            raise errors.PorfNotFound
        (porf,) = found
        actor = await self._approvals.approver()
        facts = await self._porfs.facts(porf_id)
        MACHINE.require(action, facts, actor)
        return _Allowed(porf, facts, actor)

    async def _pending(self, allowed: _Allowed, expected: ExpectedVersions) -> Pending:
        porf, now = allowed.porf, utc_now()
        run = await self._approvals.open_run(porf, now)
        require_version(porf.version, accepts(run, porf.version, expected))
        return Pending(porf, allowed.facts, run, allowed.actor, now)

    async def _with_step(self, pending: Pending, added: Addition) -> tuple[Pending, int]:
        step_id = await Additions(self._session, self._actor, pending.now).step(pending.run, added)
        return await self._changes.again(pending), step_id

    async def _require_approver(self, facts: PorfFacts, user_id: int) -> None:
        """Raise UnknownApprover unless the member, who is locked, may decide on the request."""
        rights = await rights_of(self._session, self._actor, user_id)
        if rights is None:
            raise UnknownApprover.at("/user_id")
        if refusal(DECIDES, facts, Approver.of_member(user_id, rights)) is not None:
            raise UnknownApprover.at("/user_id")

    async def _change(
        self,
        action: PorfAction,
        pending: Pending,
        outcome: Outcome,
        shown: dict[str, object],
        *,
        comment: str | None = None,
    ) -> JsonDocument:
        await self._changes.write(f"porf.{action}", pending, outcome, shown, comment=comment)
        return await self._porfs.whole(pending.porf.id)


def _step(run: Run, step_id: int) -> Step:
    """A step of the run. Raises RunClosed for all others."""
    step = next((step for step in run.steps if step.id == step_id), None)
    if step is None:
        raise RunClosed
    return step
