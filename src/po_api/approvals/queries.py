"""Reading runs: the last one of a request with its steps, and who may decide them now."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.approval_policies.domain import Carry
from po_api.approval_policies.models import ApprovalPolicy, ApprovalRule
from po_api.approval_policies.people_queries import policy_from, published_policy
from po_api.approval_policies.rules import Policy
from po_api.approvals.domain import OPEN_STEPS, Decision, Placement, RunStatus
from po_api.approvals.eligibility import ApproverColumns, RequestColumns, may_decide
from po_api.approvals.machine import Place, Step
from po_api.approvals.models import AddedApprover, ApprovalDecision, ApprovalRun, ApprovalSlot, ApprovalStep
from po_api.approvals.projections import (
    has_decided,
    is_asked,
    is_within_limit,
    members_with,
    of_principals,
    principal_ids,
    steps_of,
)
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.fences import ids_of
from po_api.db.json_sql import columns_of, json_array, json_object, nested
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor
from po_api.members.models import Member
from po_api.organisations.models import Organisation
from po_api.structure.models import ApprovalGroup, ApprovalGroupMember

_RUNS, _STEPS, _SLOTS = ApprovalRun.__table__, ApprovalStep.__table__, ApprovalSlot.__table__
_DECISIONS, _POLICIES, _RULES = ApprovalDecision.__table__, ApprovalPolicy.__table__, ApprovalRule.__table__
_ADDED = AddedApprover.__table__
_PORF_ID = bindparam("porf_id", type_=BigInteger)


class RunRow(NamedTuple):
    """The last run of a request; `steps` is JSON. `carry` is that of its policy, None without one; `has_timers`: one of
    its rules has reminders or an escalation."""

    id: int
    run_no: int
    round: int
    policy_id: int | None
    carry: str | None
    content_hash: str | None
    hash_version: int | None
    fixed_hash: str | None
    submitted_version: int
    status: str
    opened_at: datetime
    has_timers: bool
    steps: str


class Run(NamedTuple):
    """The last run of a request, with its steps in the order of their positions."""

    id: int
    run_no: int
    round: int
    policy_id: int | None
    carry: Carry
    content_hash: str | None
    hash_version: int | None
    fixed_hash: str | None
    submitted_version: int
    status: RunStatus
    opened_at: datetime
    has_timers: bool
    steps: tuple[Step, ...]


class AddedRow(NamedTuple):
    """A member whom the submissions of a request ask, too, with their present rights."""

    user_id: int
    name: str
    placement: Placement
    added_by_id: int
    roles: tuple[Role, ...]
    approval_limit: Decimal | None
    is_active: bool


class Submission(NamedTuple):
    """What a submission follows: the last run, the published policy (None without one), and who was added."""

    previous: Run | None
    policy: Policy | None
    added: Sequence[AddedRow]


class _SubmissionRow(NamedTuple):
    """A `Submission`, each part as JSON."""

    run: str | None
    policy: str | None
    added: str


class PrincipalRow(NamedTuple):
    """The committed rights of the member, or of one who has delegated to them; locked."""

    user_id: int
    roles: Sequence[str]
    approval_limit: Decimal | None
    is_active: bool


class Voter(NamedTuple):
    """A member who has decided or is to decide, as of now; `group_ids` are those of active approval groups."""

    user_id: int
    name: str
    roles: Sequence[str]
    approval_limit: Decimal | None
    is_active: bool
    group_ids: Sequence[int] | None


_STEPS_ADAPTER, _RUN_ADAPTER = TypeAdapter(tuple[Step, ...]), TypeAdapter(Run)
_ADDED_ADAPTER = TypeAdapter(list[AddedRow])


def _approvals() -> ColumnElement[str]:
    """The approvals of a step as a JSON array, with what could be ordered at most when they were given."""
    c = _DECISIONS.c
    given, its_run = _DECISIONS.alias("root"), _RUNS.alias("root_run")
    root_id = func.coalesce(c.carried_from_id, c.id)
    baseline = (
        select(its_run.c.base_ceiling)
        .select_from(given)
        .join(its_run, and_(its_run.c.organisation_id == ORGANISATION_ID, its_run.c.id == given.c.run_id))
        .where(given.c.organisation_id == ORGANISATION_ID, given.c.id == root_id)
        .correlate(_DECISIONS)
        .scalar_subquery()
    )
    fields = {
        **columns_of(_DECISIONS, ("id", "approver_id", "principal_id", "source", "supplier_hash")),
        **columns_of(_DECISIONS, ("approver_limit", "limit_currency")),
        "root_id": c.carried_from_id,
        "baseline": baseline,
    }
    approval, text = json_object("approval", fields)
    return (
        select(json_array(text, c.id))
        .select_from(_DECISIONS.join(approval, true()))
        .where(c.organisation_id == ORGANISATION_ID, c.step_id == _STEPS.c.id, c.decision == Decision.APPROVED)
        .correlate(_STEPS)
        .scalar_subquery()
    )


def _steps() -> ColumnElement[str]:
    slot, slot_text = json_object("slot", columns_of(_SLOTS, ("id", "user_id", "status")))
    slots = (
        select(json_array(slot_text, _SLOTS.c.id))
        .select_from(_SLOTS.join(slot, true()))
        .where(_SLOTS.c.organisation_id == ORGANISATION_ID, _SLOTS.c.step_id == _STEPS.c.id)
        .correlate(_STEPS)
        .scalar_subquery()
    )
    names = ("id", "seq", "position", "rule_id", "source", "name", "required_count", "comment_required", "status")
    fields = {
        **columns_of(_STEPS, (*names, "skip_reason", "added_by_id", "kind")),
        "slots": nested(slots),
        "approvals": nested(_approvals()),
    }
    step, text = json_object("shown_step", fields)
    return (
        select(json_array(text, _STEPS.c.position))
        .select_from(_STEPS.join(step, true()))
        .where(_STEPS.c.organisation_id == ORGANISATION_ID, _STEPS.c.run_id == _RUNS.c.id)
        .correlate(_RUNS)
        .scalar_subquery()
    )


def _last_run() -> AnySelect:
    its_policy = and_(_POLICIES.c.organisation_id == ORGANISATION_ID, _POLICIES.c.id == _RUNS.c.policy_id)
    carry = select(_POLICIES.c.carry).where(its_policy).correlate(_RUNS).scalar_subquery()
    with_timers = and_(
        _RULES.c.organisation_id == ORGANISATION_ID,
        _RULES.c.policy_id == _RUNS.c.policy_id,
        func.num_nonnulls(_RULES.c.remind_after_hours, _RULES.c.escalate_after_hours) > 0,
    )
    has_timers = select(func.count() > 0).where(with_timers).correlate(_RUNS).scalar_subquery()
    return (
        select(
            *_RUNS.c["id", "run_no", "round", "policy_id"],
            carry.label("carry"),
            *_RUNS.c["content_hash", "hash_version", "fixed_hash", "submitted_version", "status", "opened_at"],
            has_timers.label("has_timers"),
            _steps().label("steps"),
        )
        .where(_RUNS.c.organisation_id == ORGANISATION_ID, _RUNS.c.porf_id == _PORF_ID)
        .order_by(_RUNS.c.run_no.desc())
        .limit(1)
    )


def _added() -> ColumnElement[str]:
    """The members who are added to a request, in the order in which they were."""
    member, c = Member.__table__, _ADDED.c
    fields = {
        **columns_of(member, ("user_id", "name")),
        **columns_of(_ADDED, ("placement", "added_by_id")),
        **columns_of(member, ("roles", "approval_limit", "is_active")),
    }
    added, text = json_object("added", fields)
    of_member = and_(member.c.organisation_id == ORGANISATION_ID, member.c.user_id == c.user_id)
    found = select(json_array(text, c.id)).select_from(_ADDED.join(member, of_member).join(added, true()))
    return found.where(c.organisation_id == ORGANISATION_ID, c.porf_id == _PORF_ID).scalar_subquery()


def _submission() -> Query[_SubmissionRow]:
    """What a submission follows, in one row."""
    last = _last_run().subquery("last")
    fields = columns_of(last, [name for name in RunRow._fields if name not in {"carry", "steps"}])
    carry = func.coalesce(last.c.carry, literal_column(f"'{Carry.NEVER}'"))
    run, text = json_object("run", {**fields, "carry": carry, "steps": nested(last.c.steps)})
    columns = (
        select(text).select_from(last.join(run, true())).scalar_subquery().label("run"),
        published_policy().label("policy"),
        _added().label("added"),
    )
    statement: AnySelect = select(*columns).where(Organisation.id == ORGANISATION_ID)
    return Query("approvals.submission", statement, _SubmissionRow, one_plan=True)


class _AddedRow(NamedTuple):
    """Who was added, as JSON."""

    added: str


def lock_principals() -> Query[PrincipalRow]:
    """The member and those who have delegated to them, locked against changes in the order of their ids."""
    c = Member.__table__.c
    statement = (
        select(*c["user_id", "roles", "approval_limit", "is_active"])
        .where(c.organisation_id == ORGANISATION_ID, of_principals(c.user_id))
        .order_by(c.user_id)
        .with_for_update(read=True)
    )
    return Query("approvals.lock_principals", statement, PrincipalRow)


def _voters() -> Query[Voter]:
    c, group, of_group = Member.__table__.c, ApprovalGroup.__table__.c, ApprovalGroupMember.__table__.c
    active = and_(group.organisation_id == ORGANISATION_ID, group.id == of_group.group_id, group.is_active)
    groups = (
        select(func.array_agg(of_group.group_id))
        .join_from(ApprovalGroupMember, ApprovalGroup, active)
        .where(of_group.organisation_id == ORGANISATION_ID, of_group.user_id == c.user_id)
        .correlate(Member)
        .scalar_subquery()
    )
    statement = select(*c["user_id", "name", "roles", "approval_limit", "is_active"], groups.label("group_ids")).where(
        c.organisation_id == ORGANISATION_ID, c.user_id == any_(bindparam("user_ids", type_=ARRAY(BigInteger)))
    )
    return Query("approvals.voters", statement, Voter)


class PlaceRow(NamedTuple):
    """A `Place`, and whether it is one of the member or of somebody who has delegated to them."""

    position: int
    user_id: int
    is_within_limit: bool
    limit: Decimal | None
    is_mine: bool

    @property
    def place(self) -> Place:
        return Place(self.position, self.user_id, self.is_within_limit, self.limit)


def places(porf: FromClause, request: RequestColumns) -> AnySelect:
    """The columns of `PlaceRow`: who may decide the open steps of a request now, of the member, of those who have
    delegated to them, and of those who have decided in the same run."""
    step = steps_of(porf, *OPEN_STEPS)
    voters = (
        select(_DECISIONS.c.principal_id)
        .join(_RUNS, and_(_RUNS.c.organisation_id == ORGANISATION_ID, _RUNS.c.id == _DECISIONS.c.run_id))
        .where(
            _DECISIONS.c.organisation_id == ORGANISATION_ID,
            _RUNS.c.porf_id == _PORF_ID,
            _RUNS.c.status == RunStatus.OPEN,
        )
    )
    ids = func.array_cat(principal_ids(), ids_of(voters), type_=ARRAY(BigInteger))
    table = members_with(ids, "principal").subquery("principal")
    who = ApproverColumns(*table.c[ApproverColumns._fields])
    return (
        select(
            step.c.position,
            who.user_id,
            is_within_limit(step, request, who).label("is_within_limit"),
            who.limit,
            of_principals(who.user_id).cast(Boolean).label("is_mine"),
        )
        .select_from(porf.join(Organisation, Organisation.id == ORGANISATION_ID).join(step, true()).join(table, true()))
        .where(
            may_decide(request, who),
            is_asked(step, who.user_id),
            ~has_decided(step, who.user_id, who.user_id),
        )
        # Some of the ids are there twice.
        .distinct()
        .order_by(step.c.position, who.user_id)
    )


_LAST_RUN, _SUBMISSION = Query("approvals.last_run", _last_run(), RunRow, one_plan=True), _submission()
_ADDED_MEMBERS = Query("approvals.added", select(_added().label("added")), _AddedRow)
LOCK_PRINCIPALS, _VOTERS = lock_principals(), _voters()


class RunQueries:
    """Reads the runs of requests that the caller has checked to be visible."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._who = {"organisation_id": actor.organisation_id, "user_id": actor.user_id}

    async def last(self, porf_id: int) -> Run | None:
        """The last run of a request."""
        row = await self._executor.row(_LAST_RUN, **self._who, porf_id=porf_id)
        if row is None:
            return None
        carry, status = Carry(row.carry or Carry.NEVER), RunStatus(row.status)
        return Run(
            **row._asdict() | {"carry": carry, "status": status, "steps": _STEPS_ADAPTER.validate_json(row.steps)}
        )

    async def submission(self, porf_id: int) -> Submission:
        """What a submission of a request follows."""
        row = await self._executor.row(_SUBMISSION, **self._who, porf_id=porf_id)
        assert row is not None
        previous = None if row.run is None else _RUN_ADAPTER.validate_json(row.run)
        return Submission(previous, policy_from(row.policy), _ADDED_ADAPTER.validate_json(row.added))

    async def first_submission(self, porf_id: int) -> Submission:
        """What the first submission of a request follows where no policy is published."""
        row = await self._executor.row(_ADDED_MEMBERS, **self._who, porf_id=porf_id)
        assert row is not None
        return Submission(None, None, _ADDED_ADAPTER.validate_json(row.added))

    async def lock_principals(self) -> Sequence[PrincipalRow]:
        """The committed rights of the member, and of those who have delegated to them, locked."""
        return await self._executor.rows(LOCK_PRINCIPALS, **self._who, now=utc_now())

    async def voters(self, user_ids: Collection[int]) -> Sequence[Voter]:
        """The rights and groups of members."""
        return await self._executor.rows(_VOTERS, **self._who, user_ids=sorted(user_ids)) if user_ids else []
