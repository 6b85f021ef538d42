"""Running approvals: what a submission opens, and what decisions change. The caller has locked the request."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import (
    ADDED_APPROVER,
    DEFAULT_STEP,
    Carry,
    PlannedSlot,
    PlannedStep,
    SlotOrigin,
    StepKind,
    StepSource,
)
from po_api.approvals import errors, machine
from po_api.approvals.domain import DecisionSource, Placement, RunStatus, StepStatus
from po_api.approvals.eligibility import APPROVES, DECIDES, Approver, Request, authors_of, refusal
from po_api.approvals.machine import Approval, Given, Outcome, Place, Rules, Step
from po_api.approvals.queries import AddedRow, Run, RunQueries, Voter
from po_api.approvals.repository import (
    CLOSE_RUN,
    OPEN_RUN,
    change_separately,
    open_separately,
    opening_parameters,
    parameters,
)
from po_api.approvals.writes import NewRun, RunWrites, changing, opening
from po_api.core.actor import Actor
from po_api.core.errors import AppError
from po_api.core.permissions import Role
from po_api.db.bulk_write import Rows, as_json
from po_api.db.query import NoRow, Query, TransactionExecutor
from po_api.db.separate_writes import SeparateWrites

_NOTHING_CARRIED = Rules(Carry.NEVER)


@dataclass(frozen=True)
class Resubmission:
    """How much more a request may cost that is submitted again, so that earlier approvals stand, and its content.

    `content_hash` and `fixed_hash` are those of the new content (`ApprovalRun`), with the fields of `hash_version`.
    """

    reapproval_percent: Decimal
    reapproval_amount: Decimal | None
    content_hash: str
    hash_version: int
    fixed_hash: str
    supplier_hash: str | None
    base_ceiling: Decimal | None
    round: int

    def keeps(self, previous: Run, approval: Approval) -> bool:
        """Whether an approval of the run before stands for the new content."""
        known = (approval.baseline, self.base_ceiling)
        if previous.round != self.round or previous.status not in (RunStatus.RETURNED, RunStatus.RECALLED):
            return False
        if approval.supplier_hash != self.supplier_hash or not self._is_like(previous):
            return False
        return _is_covered(*known, self.reapproval_percent, self.reapproval_amount)

    def _is_like(self, previous: Run) -> bool:
        if (previous.content_hash, previous.hash_version) == (self.content_hash, self.hash_version):
            return True
        may_differ = self.reapproval_percent > 0 or self.reapproval_amount is not None
        return may_differ and previous.fixed_hash == self.fixed_hash


def _is_covered(baseline: Decimal | None, ceiling: Decimal | None, percent: Decimal, amount: Decimal | None) -> bool:
    """Whether the ceiling exceeds what could be ordered at most, when the approval was given, by no more than this."""
    if baseline is None or ceiling is None:
        return False
    return ceiling <= baseline * (1 + percent / 100) and (amount is None or ceiling <= baseline + amount)


class Started(NamedTuple):
    """A new run after its submission, and the names of those whose approvals of the run before were looked at."""

    outcome: Outcome
    names: Mapping[int, str]


async def started(
    queries: RunQueries, previous: Run | None, plan: Sequence[PlannedStep], request: Request, new: Resubmission
) -> Started:
    """The steps of a new run, with the approvals of the one before that still stand: for submissions and previews."""
    earlier = {} if previous is None else _standing(previous, new)
    wanted = {step.rule_id for step in plan if step.rule_id is not None}
    earlier = {rule_id: approvals for rule_id, approvals in earlier.items() if rule_id in wanted}
    who = {user_id for each in _all(earlier) for user_id in (each.principal_id, each.approver_id)}
    voters = await queries.voters(who)
    rules = Rules(Carry.NEVER, _places(plan, voters, request), barred(request))
    return Started(start(plan, earlier, rules), {voter.user_id: voter.name for voter in voters})


class ApprovalService:
    """Reads and changes the run of a locked request, in the caller's transaction."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._executor = TransactionExecutor(session)
        self._queries = RunQueries(self._executor, actor)

    async def approver(self) -> Actor:
        """The actor with the committed rights, locked, as are those of the members who have delegated to them.

        They may have changed since the request began. Raises ApproverInactive.
        """
        rights = {row.user_id: row for row in await self._queries.lock_principals()}.get(self._actor.member_id)
        if rights is None or not rights.is_active:
            raise errors.ApproverInactive
        roles = frozenset(map(Role, rights.roles))
        return replace(self._actor, roles=roles, approval_limit=rights.approval_limit)

    async def gone(self, run: Run, request: Request) -> frozenset[int]:
        """The members whom the open steps of a run ask, and who may not decide on the request any more."""
        found = await self._queries.voters({user_id for step in run.steps for user_id in step.asked})
        return frozenset(
            each.user_id
            for each in found
            if refusal(DECIDES, request, Approver.of_member(each.user_id, each)) is not None
        )

    async def last(self, porf_id: int) -> Run | None:
        """The last run of a request."""
        return await self._queries.last(porf_id)

    async def open_run(self, run: NewRun, *, now: datetime) -> Run:
        """The open run of a pending request. The version before revision 048 leaves it without one, or with that of an
        earlier submission; `run` is what it gets then."""
        last = await self.last(run.porf_id)
        if last is not None and last.status is RunStatus.OPEN:
            if last.opened_at == run.opened_at:
                return last
            await self.close(last, now=now)
        plan = [DEFAULT_STEP]
        numbered = run._replace(run_no=1 if last is None else last.run_no + 1)
        await self._open(opening(numbered, plan, start(plan), None, now=run.opened_at), now)
        opened = await self.last(run.porf_id)
        assert opened is not None
        return opened

    async def close(self, run: Run, *, now: datetime) -> None:
        """Close the open run of a request that the version before has recalled or decided."""
        writes = changing(run, machine.end(run.steps, RunStatus.RECALLED), None, now=now)
        if self._executor.is_distributed:
            await change_separately(self._separate(now), writes, run.id)
            return
        await self._execute(CLOSE_RUN, parameters(writes, run.id), now)

    async def _open(self, writes: RunWrites, now: datetime) -> None:
        if self._executor.is_distributed:
            await open_separately(self._separate(now), writes)
        else:
            await self._execute(OPEN_RUN, opening_parameters(writes), now)

    async def _execute(self, query: Query[NoRow], rows: Mapping[str, Rows], now: datetime) -> None:
        sent = {name: as_json(some) for name, some in rows.items()}
        await self._executor.execute(query, organisation_id=self._actor.organisation_id, now=now, **sent)

    def _separate(self, now: datetime) -> SeparateWrites:
        return SeparateWrites(self._session, self._actor.organisation_id, now)


_OFFSETS = {Placement.BEFORE: -1, Placement.PARALLEL: 0, Placement.AFTER: 1}


def with_added(plan: Sequence[PlannedStep], added: Iterable[AddedRow]) -> list[PlannedStep]:
    """The steps of a plan, and one for each member who was added: before, with or after those who are asked first."""
    first = min((step.stage for step in plan if not step.is_skipped), default=1)
    position = max((step.position for step in plan), default=0)
    steps = [
        PlannedStep(
            stage=first,
            offset=_OFFSETS[each.placement],
            position=position + number,
            rule_id=None,
            source=StepSource.ADDED,
            name=ADDED_APPROVER,
            kind=StepKind.PEOPLE,
            slots=(PlannedSlot(each.user_id, SlotOrigin.ADDED),),
            added_by_id=each.added_by_id,
        )
        for number, each in enumerate(added, start=1)
    ]
    return [*plan, *steps]


def unable(added: Iterable[AddedRow], request: Request) -> str | None:
    """Why a submission would ask somebody in vain, for people; None if all who were added may decide."""
    for each in added:
        if refusal(DECIDES, request, Approver.of_member(each.user_id, each)) is not None:
            return f'the added approver "{each.name}" may not decide on the request: remove them'
    return None


def barred(request: Request) -> frozenset[int]:
    """The members whose decisions are not carried: authors, unless the organisation allows self-approval."""
    return frozenset() if request.allow_self_approval else frozenset(authors_of(request))


def start(
    plan: Sequence[PlannedStep],
    earlier: Mapping[int, Sequence[Approval]] | None = None,
    rules: Rules = _NOTHING_CARRIED,
) -> Outcome:
    """The steps of a new run after its submission."""
    return machine.advance(machine.carried_over(machine.planned(plan), earlier or {}, rules), rules)


def chosen(
    run: Run, places: Collection[Place], approver_id: int, *, step_id: int | None, within_limit: bool
) -> list[Given]:
    """The decisions of an approver on the active steps that ask them, or on the one with the id.

    Raises RunClosed if the step is not one of the run, otherwise the reason why it cannot be decided.
    """
    given = machine.choose(run.steps, places, approver_id, within_limit=within_limit)
    if step_id is None:
        if not given:
            raise errors.NotEligible
        return given
    step = next((step for step in run.steps if step.id == step_id), None)
    if step is None:
        raise errors.RunClosed
    narrowed = [each for each in given if each.position == step.position]
    if not narrowed:
        raise _refusal(step, places, approver_id)
    return narrowed


def _refusal(step: Step, places: Collection[Place], approver_id: int) -> AppError:
    if not step.is_open or step.has_decided(approver_id):
        return errors.AlreadyDecided()
    mine = [place for place in places if place.position == step.position]
    if not mine:
        return errors.NotEligible()
    return errors.NotYourTurn() if step.status is StepStatus.WAITING else errors.OverApprovalLimit()


def _standing(previous: Run, new: Resubmission) -> dict[int, list[Approval]]:
    """The approvals of the run before that stand for the new content, by rule, as they would be carried."""
    earlier: dict[int, list[Approval]] = {}
    for step in previous.steps:
        if step.rule_id is not None:
            for each in step.approvals:
                if each.source is not DecisionSource.OVERRIDE and new.keeps(previous, each):
                    carried = each._replace(id=None, source=DecisionSource.CARRIED, root_id=each.root_id or each.id)
                    earlier.setdefault(step.rule_id, []).append(carried)
    return earlier


def _all(earlier: Mapping[int, Sequence[Approval]]) -> list[Approval]:
    return [each for approvals in earlier.values() for each in approvals]


def _places(plan: Sequence[PlannedStep], voters: Sequence[Voter], request: Request) -> list[Place]:
    """Who of the voters may approve which step of a new run."""
    places = []
    for position, step in enumerate(machine.in_order(plan), start=1):
        asked = {slot.user_id for slot in step.slots}
        conditions = APPROVES if step.enforce_limit else DECIDES
        for voter in voters:
            in_pool = step.pool_role is not None or step.pool_group_id in (voter.group_ids or ())
            if (voter.user_id in asked or in_pool) and refusal(
                conditions, request, Approver.of_member(voter.user_id, voter)
            ) is None:
                places.append(Place(position, voter.user_id, True, voter.approval_limit))
    return places
