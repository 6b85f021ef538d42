"""What the actions of requests do to their approvals: the runs that they open, decide and end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import StepSource
from po_api.approval_policies.facts import DocumentFacts
from po_api.approval_policies.planning import Plan, plan_for
from po_api.approval_policies.rules import Policy
from po_api.approvals import machine
from po_api.approvals.domain import Decision, RunStatus
from po_api.approvals.events import RunEnded, StepsActivated
from po_api.approvals.machine import Given, Outcome, Place, Rules, Step
from po_api.approvals.queries import PlaceRow, Run, RunQueries
from po_api.approvals.service import ApprovalService, barred, chosen, started, unable, with_added
from po_api.approvals.writes import Basis, NewRun, RunWrites, changing, opening, refusing
from po_api.core.actor import Actor
from po_api.core.offload import offload
from po_api.core.versions import ExpectedVersions
from po_api.db.query import TransactionExecutor
from po_api.porfs import errors
from po_api.porfs.content import HASH_VERSION, content_hash
from po_api.porfs.domain import PorfAction, PorfFacts, PorfStatus
from po_api.porfs.planning import document_facts, resubmission
from po_api.porfs.queries import LockedPorf, PorfLineRow, PorfQueries
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.repository import RunChange

ENDS = {
    PorfAction.REJECT: RunStatus.REJECTED,
    PorfAction.RETURN: RunStatus.RETURNED,
    PorfAction.RECALL: RunStatus.RECALLED,
    PorfAction.CANCEL: RunStatus.CANCELLED,
}


class Opened(NamedTuple):
    """The status of a new run, and what its submission writes."""

    status: RunStatus
    writes: RunWrites


@dataclass(frozen=True)
class Changed:
    """What an action has made of a run. Of a decision: the steps that it is about, and for whom it was made."""

    status: RunStatus
    change: RunChange
    steps: Sequence[Step] = ()
    on_behalf_of: Sequence[int] = ()

    @property
    def shown(self) -> dict[str, object]:
        """What the event of a decision has: the names of steps that rules ask for, and the delegators."""
        named = [step.name for step in self.steps if step.source is not StepSource.DEFAULT]
        delegators = list(self.on_behalf_of)
        return ({"steps": named} if named else {}) | ({"on_behalf_of": delegators} if delegators else {})


class PorfApprovals:
    """The approvals of locked requests, in the caller's transaction."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._approvals = ApprovalService(session, actor)
        self._porfs = PorfQueries(TransactionExecutor(session), actor)
        self._runs = RunQueries(TransactionExecutor(session), actor)

    async def approver(self) -> Actor:
        """The actor with the committed rights, locked. Raises ApproverInactive."""
        return await self._approvals.approver()

    async def open_run(self, porf: LockedPorf, now: datetime) -> Run:
        """The open run of a pending request."""
        assert porf.submitted_at is not None
        run = NewRun(
            porf_id=porf.id,
            round=porf.approval_round,
            submitted_by_id=porf.requester_id,
            submitted_version=porf.version,
            opened_at=porf.submitted_at,
        )
        return await self._approvals.open_run(run, now=now)

    async def submit(self, porf: LockedPorf, facts: PorfFacts, after: Mapping[str, Any], now: datetime) -> Opened:
        """Open the run of a submission; `after` is the state of the request. Raises NoApprover."""
        read = self._runs.submission if facts.submitted or facts.has_policy else self._runs.first_submission
        previous, published, added = await read(porf.id)
        if previous is not None and previous.status is RunStatus.OPEN:
            # The version before has recalled the request.
            await self._approvals.close(previous, now=now)
        lines = [
            replace(line, over_order_percent=facts.over_order_percent) for line in await self._porfs.content(porf.id)
        ]
        request = replace(facts, author_ids=after["author_ids"])
        policy, rules = await self._plan(porf, facts, after, lines, published)
        plan = with_added(rules, added)
        if (reason := unable(added, request)) is not None:
            raise errors.NoApprover(reason)
        new = await offload(len(lines), resubmission, porf, lines, facts, policy, after["base_ceiling"])
        run = NewRun(
            porf_id=porf.id,
            run_no=1 if previous is None else previous.run_no + 1,
            policy_id=None if policy is None else policy.id,
            round=porf.approval_round,
            content_hash=new.content_hash,
            hash_version=new.hash_version,
            fixed_hash=new.fixed_hash,
            base_total=after["base_total"],
            base_ceiling=new.base_ceiling,
            base_rate=after["base_rate"],
            submitted_by_id=self._actor.member_id,
            submitted_version=porf.version + 1,
            opened_at=now,
        )
        outcome, _ = await started(self._runs, previous, plan, request, new)
        basis = _basis(porf, facts, new.content_hash, new.hash_version)
        return Opened(outcome.status, opening(run, plan, outcome, basis, now=now))

    async def _plan(
        self,
        porf: LockedPorf,
        facts: PorfFacts,
        after: Mapping[str, Any],
        lines: Sequence[PorfLineRow],
        policy: Policy | None,
    ) -> Plan:
        """The steps of a submission by the published policy, if there is one. Raises NoApprover."""

        async def read_facts() -> DocumentFacts:
            return await offload(
                len(lines),
                document_facts,
                facts,
                porf,
                lines,
                author_ids=after["author_ids"],
                cost_centre_id=after["cost_centre_id"],
                base_rate=facts.base_rate,
            )

        plan = await plan_for(TransactionExecutor(self._session), self._actor, policy, read_facts)
        asks_anybody = any(step.source is StepSource.DEFAULT for step in plan.steps)
        if asks_anybody and not facts.has_approver:
            raise await PorfReadService(TransactionExecutor(self._session), self._actor).no_approver(porf.id, facts)
        return plan

    async def has_approved(self, porf: LockedPorf, user_id: int) -> bool:
        """Whether an approval of the member, or one on their behalf, counts for a step while the request is pending."""
        run = await self._runs.last(porf.id) if porf.status == PorfStatus.PENDING else None
        if run is None or run.status is not RunStatus.OPEN:
            return False
        approvals = (approval for step in run.steps for approval in step.approvals)
        return any(user_id in (approval.approver_id, approval.principal_id) for approval in approvals)

    async def approve(
        self, porf: LockedPorf, run: Run, facts: PorfFacts, *, step_id: int | None, comment: str | None, now: datetime
    ) -> Changed:
        """Approve the active steps that ask the actor, or the one with the id, and advance the run.

        Raises RunClosed, the reason why the step cannot be decided, or CommentRequired.
        """
        places = await self._porfs.places(porf.id)
        given = self._chosen(run, places, step_id=step_id, within_limit=True)
        steps = _steps_of(run, given)
        if comment is None and any(step.comment_required for step in steps):
            raise errors.CommentRequired.at("/comment")
        outcome = machine.approve(run.steps, given, Rules(run.carry, [row.place for row in places], barred(facts)))
        basis = await self.basis(porf, run, facts)
        return self._changed(run, outcome, changing(run, outcome, basis, now=now, comment=comment), steps, given)

    async def refuse(
        self,
        porf: LockedPorf,
        run: Run,
        facts: PorfFacts,
        decision: Decision,
        *,
        step_id: int | None,
        comment: str,
        now: datetime,
    ) -> Changed:
        """Reject or return the request, in the first of the active steps that ask the actor."""
        places = await self._porfs.places(porf.id)
        given = self._chosen(run, places, step_id=step_id, within_limit=False)[:1]
        outcome = machine.end(run.steps, _ENDING[decision], given)
        basis = await self.basis(porf, run, facts)
        writes = refusing(run, outcome, given[0], decision, comment, basis, now=now)
        return self._changed(run, outcome, writes, _steps_of(run, given), given)

    def end(self, run: Run, status: RunStatus, now: datetime) -> Changed:
        """End the run without a decision."""
        outcome = machine.end(run.steps, status)
        return self._changed(run, outcome, changing(run, outcome, None, now=now), (), ())

    def _chosen(self, run: Run, places: Sequence[PlaceRow], *, step_id: int | None, within_limit: bool) -> list[Given]:
        mine: list[Place] = [row.place for row in places if row.is_mine]
        return chosen(run, mine, self._actor.member_id, step_id=step_id, within_limit=within_limit)

    def _changed(
        self, run: Run, outcome: Outcome, writes: RunWrites, steps: Sequence[Step], given: Sequence[Given]
    ) -> Changed:
        others = sorted({each.principal_id for each in given} - {self._actor.user_id})
        return Changed(outcome.status, RunChange(run.id, writes), steps, others)

    async def basis(self, porf: LockedPorf, run: Run, facts: PorfFacts) -> Basis:
        """What the decisions of a change of the run have in common."""
        if run.content_hash is not None and run.hash_version is not None:
            return _basis(porf, facts, run.content_hash, run.hash_version)
        lines = await self._porfs.content(porf.id)
        return _basis(porf, facts, await offload(len(lines), content_hash, porf, lines), HASH_VERSION)


_ENDING = {Decision.REJECTED: RunStatus.REJECTED, Decision.RETURNED: RunStatus.RETURNED}


def accepts(run: Run, current: int, expected: ExpectedVersions) -> ExpectedVersions:
    """The versions that a decision accepts: those since the submission are versions of the same content, so that
    parallel approvers do not push each other out."""
    if expected is None or not any(run.submitted_version <= version <= current for version in expected):
        return expected
    return None


def approval_event(actor: Actor, porf: LockedPorf, status: RunStatus) -> StepsActivated | RunEnded:
    """What has become of the approval of a request, which was as given."""
    if status is RunStatus.OPEN:
        return StepsActivated(actor, porf.id)
    return RunEnded(actor, porf.id, porf.requester_id, porf.version + 1, status)


def _basis(porf: LockedPorf, facts: PorfFacts, content: str, hash_version: int) -> Basis:
    return Basis(
        porf_id=porf.id,
        round=porf.approval_round,
        content_hash=content,
        hash_version=hash_version,
        supplier_hash=facts.supplier_hash,
        limit_currency=facts.base_currency,
        requester_id=porf.requester_id,
        self_allowed=facts.allow_self_approval,
    )


def _steps_of(run: Run, given: Sequence[Given]) -> list[Step]:
    positions = {each.position for each in given}
    return [step for step in run.steps if step.position in positions]
