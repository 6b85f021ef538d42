"""Who may decide on a request, in SQL: the steps of its open run, and the members whom they ask.

A pending request without a run, which the version before revision 048 has submitted, has one step that any approver
decides: a row of NULLs stands for it. docs/development/domain.md has the rules.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    Text,
    and_,
    any_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.approval_delegations.projections import delegators
from po_api.approval_policies.domain import StepSource
from po_api.approvals.domain import RunStatus, SlotStatus, Standing, StepStatus
from po_api.approvals.eligibility import TOTAL_WITHIN_LIMIT, ApproverColumns, RequestColumns, may_decide
from po_api.approvals.models import ApprovalDecision, ApprovalRun, ApprovalSlot, ApprovalStep
from po_api.core.permissions import Permission
from po_api.db.fences import fenced, ids_of
from po_api.db.models import Timestamp
from po_api.db.query import ORGANISATION_ID, USER_ID, AnyColumn, AnySelect
from po_api.members.models import Member
from po_api.members.projections import has_role_for
from po_api.structure.models import ApprovalGroup, ApprovalGroupMember

_RUNS, _STEPS, _SLOTS = ApprovalRun.__table__, ApprovalStep.__table__, ApprovalSlot.__table__
_DECISIONS = ApprovalDecision.__table__
_GROUPS, _GROUP_MEMBERS = ApprovalGroup.__table__, ApprovalGroupMember.__table__
_NOW = bindparam("now", type_=Timestamp)
_OF_STEP = ("id", "position", "status", "source", "pool_role", "pool_group_id", "required_count", "enforce_limit")

# By which one standing precedes another.
_RANKS = {value: rank for rank, value in enumerate(Standing) if value is not Standing.NONE}

UserId = SQLColumnExpression[int]


class Principals(NamedTuple):
    """Members to select from, and their columns."""

    table: FromClause
    columns: ApproverColumns


def members(name: str) -> Principals:
    """The members of organisations, as approvers."""
    member = Member.__table__.alias(name)
    has_role = has_role_for(Permission.PORFS_DECIDE, member)
    return Principals(member, ApproverColumns(member.c.user_id, member.c.approval_limit, has_role, member.c.is_active))


def members_with(ids: ColumnElement[Sequence[int]], name: str) -> AnySelect:
    """The `ApproverColumns` of the members with these ids.

    Each is found by the primary key. By a condition such as `of_principals`, PostgreSQL may read all members of the
    organisation.
    """
    of_ids = func.unnest(ids).table_valued("user_id", name=f"{name}_ids").render_derived()
    member = members(f"{name}_member")
    columns = (column.label(label) for label, column in member.columns._asdict().items())
    is_one = and_(member.table.c.organisation_id == ORGANISATION_ID, member.columns.user_id == of_ids.c.user_id)
    found = fenced(select(*columns).where(is_one).correlate(of_ids), f"{name}_row")
    return select(*found.c).select_from(of_ids.join(found, true()))


def _principals() -> Principals:
    found = members_with(principal_ids(), "principal")
    groups = func.array(_groups_of(found.selected_columns.user_id).scalar_subquery())
    # Otherwise PostgreSQL would find them again for each request.
    table = found.add_columns(groups.label("group_ids")).cte("principals").prefix_with("MATERIALIZED")
    return Principals(table, ApproverColumns(*table.c[ApproverColumns._fields]))


def _groups_of(user_id: UserId) -> AnySelect:
    """The ids of the member's active groups."""
    of_group = and_(_GROUPS.c.organisation_id == ORGANISATION_ID, _GROUPS.c.id == _GROUP_MEMBERS.c.group_id)
    return (
        select(_GROUP_MEMBERS.c.group_id)
        .join(_GROUPS, of_group)
        .where(
            _GROUP_MEMBERS.c.organisation_id == ORGANISATION_ID,
            _GROUP_MEMBERS.c.user_id == user_id,
            _GROUPS.c.is_active,
        )
    )


def of_principals(user_id: UserId) -> ColumnElement[bool]:
    """Whether this is the member, or one who has delegated to them."""
    return user_id == any_(principal_ids())


def principal_ids() -> ColumnElement[Sequence[int]]:
    """The ids of the member and of those who have delegated to them."""
    return func.array_append(ids_of(delegators()), USER_ID, type_=ARRAY(BigInteger))


# The member, and those who have delegated to them, with their active groups as `group_ids`; once in a statement.
PRINCIPALS = _principals()


def steps_of(porf: FromClause, *statuses: StepStatus) -> FromClause:
    """The steps of the open run of a request, with these statuses or all; to join LEFT on true."""
    its_run = and_(
        _RUNS.c.organisation_id == ORGANISATION_ID,
        _RUNS.c.porf_id == porf.c.id,
        _RUNS.c.status == RunStatus.OPEN,
        # Otherwise the version before has recalled and submitted it again.
        _RUNS.c.opened_at == porf.c.submitted_at,
    )
    of_run = and_(_STEPS.c.organisation_id == ORGANISATION_ID, _STEPS.c.run_id == _RUNS.c.id)
    found = select(*_STEPS.c[_OF_STEP]).select_from(_RUNS.join(_STEPS, of_run)).where(its_run)
    if statuses:
        found = found.where(_STEPS.c.status.in_(sorted(statuses)))
    return found.correlate(porf).lateral("step")


def is_asked(step: FromClause, user_id: UserId) -> ColumnElement[bool]:
    """Whether the member is one of the step's people who are still asked, or of its pool."""
    return _asks(step, _is_in_group(step, user_id), _is_open(_slot_status(step, user_id)))


def _asks(step: FromClause, in_group: ColumnElement[bool], has_slot: ColumnElement[bool]) -> ColumnElement[bool]:
    # Members of a role are those who may decide. Members of a group may also be asked by an escalation.
    return or_(step.c.id.is_(None), step.c.pool_role.is_not(None), in_group, has_slot)


# Scalar subqueries, not EXISTS: PostgreSQL may execute those by hashing all rows of the organisation.
def _is_in_group(step: FromClause, user_id: UserId) -> ColumnElement[bool]:
    found = _groups_of(user_id).where(_GROUP_MEMBERS.c.group_id == step.c.pool_group_id)
    return found.scalar_subquery().is_not(None)


def _slot_status(step: FromClause, user_id: UserId) -> ColumnElement[str | None]:
    """The status of the member's place among the step's people; NULL for none."""
    c = _SLOTS.c
    # FILTER: with both conditions in WHERE, PostgreSQL may read all places that the member ever had, for each step.
    status = func.min(c.status).filter(c.user_id == user_id)
    return select(status).where(c.organisation_id == ORGANISATION_ID, c.step_id == step.c.id).scalar_subquery()


def _is_open(slot_status: ColumnElement[str | None]) -> ColumnElement[bool]:
    return func.coalesce(slot_status == SlotStatus.OPEN, false())


def has_decided(step: FromClause, approver_id: UserId, principal_id: UserId) -> ColumnElement[bool]:
    """Whether one of both fills a place of an open step already."""
    c = _DECISIONS.c
    found = select(func.min(c.id)).where(
        c.organisation_id == ORGANISATION_ID,
        c.step_id == step.c.id,
        or_(
            *(c.principal_id == who for who in (approver_id, principal_id)),
            *(c.approver_id == who for who in (approver_id, principal_id)),
        ),
    )
    # Steps that one person decides are closed by their decision.
    return case((step.c.required_count > 1, found.scalar_subquery().is_not(None)), else_=false())


def is_within_limit(step: FromClause, request: RequestColumns, approver: ApproverColumns) -> ColumnElement[bool]:
    """Whether the limit of the approver permits to approve the step."""
    return or_(not_(func.coalesce(step.c.enforce_limit, true())), TOTAL_WITHIN_LIMIT.sql(request, approver))


def of_standing(value: Standing) -> ColumnElement[str]:
    """The value in SQL."""
    return literal_column(f"'{value}'", Text)


def standing(porf: FromClause, request: RequestColumns) -> ColumnElement[str]:
    """The `Standing` of the member in a pending request, whose Organisation the statement joins."""
    place = _places(porf, request)
    # The first of all steps and principals. One aggregate: several would evaluate the same conditions again.
    first = func.min(_rank(place))
    value = case(
        {rank: of_standing(value) for value, rank in _RANKS.items()}, value=first, else_=of_standing(Standing.NONE)
    )
    return select(value).select_from(place).scalar_subquery()


def _rank(place: FromClause) -> ColumnElement[int | None]:
    """The rank of the standing in one of the `_places`; NULL for none."""
    c = place.c
    is_asked_now = _asks(place, c.in_group, _is_open(c.slot_status))
    was_asked = _asks(place, c.in_group, c.slot_status.is_not(None))
    is_active = or_(c.id.is_(None), c.status == StepStatus.ACTIVE)
    was_decided = or_(c.status == StepStatus.APPROVED, and_(c.status == StepStatus.ACTIVE, c.has_decided))
    is_default = or_(c.id.is_(None), c.source == StepSource.DEFAULT)
    new = case(
        (c.is_within_limit, _RANKS[Standing.DECIDES]),
        (is_default, _RANKS[Standing.LIMITED]),
        else_=_RANKS[Standing.LIMITED_BY_RULE],
    )
    return case(
        (and_(is_active, is_asked_now, not_(c.has_decided)), new),
        (and_(c.status == StepStatus.WAITING, is_asked_now), _RANKS[Standing.WAITS]),
        (and_(was_decided, was_asked), _RANKS[Standing.DECIDED]),
    )


def _places(porf: FromClause, request: RequestColumns) -> FromClause:
    """The steps of a request's open run for each principal who may decide, with what determines their standing."""
    step, principal = steps_of(porf), PRINCIPALS
    who = principal.columns
    columns: dict[str, AnyColumn] = {
        "in_group": func.coalesce(step.c.pool_group_id == any_(principal.table.c.group_ids), false()),
        # A pool of a role has no people.
        "slot_status": case((step.c.pool_role.is_(None), _slot_status(step, who.user_id))),
        "has_decided": has_decided(step, USER_ID, who.user_id),
        "is_within_limit": is_within_limit(step, request, who),
    }
    found = select(
        *step.c["id", "status", "source", "pool_role"], *(column.label(name) for name, column in columns.items())
    )
    joined = found.select_from(principal.table.outerjoin(step, true())).where(may_decide(request, who))
    return fenced(joined.correlate_except(principal.table, step), "place")


def may_approve_step(step: FromClause, request: RequestColumns, approver: ApproverColumns) -> ColumnElement[bool]:
    """Whether a member may approve an active step of `steps_of` for themselves."""
    return and_(
        may_decide(request, approver),
        is_within_limit(step, request, approver),
        is_asked(step, approver.user_id),
        not_(has_decided(step, approver.user_id, approver.user_id)),
    )
