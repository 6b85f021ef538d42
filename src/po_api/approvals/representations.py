"""The JSON of runs that schemas.py describes: steps, people and decisions, with the names of members."""

from sqlalchemy import ColumnElement, FromClause, Text, and_, case, func, literal_column, null, select, true

from po_api.approval_policies.domain import StepKind
from po_api.approval_policies.models import ApprovalPolicy
from po_api.approvals.domain import OPEN_STEPS, Decision, SlotStatus, StepWarning
from po_api.approvals.models import ApprovalDecision, ApprovalRun, ApprovalSlot, ApprovalStep, ApprovalTimer
from po_api.db.json_sql import columns_of, json_array, json_object, nested
from po_api.db.query import ORGANISATION_ID, AnySelect
from po_api.members.projections import member_name
from po_api.structure.models import ApprovalGroup

_STEPS, _SLOTS, _DECISIONS = ApprovalStep.__table__, ApprovalSlot.__table__, ApprovalDecision.__table__
_TIMERS = ApprovalTimer.__table__
_POLICIES, _GROUPS = ApprovalPolicy.__table__, ApprovalGroup.__table__
RUNS = ApprovalRun.__table__


def run_item(runs: FromClause) -> AnySelect:
    """`item`: a run, as JSON."""
    of_policy = and_(_POLICIES.c.organisation_id == ORGANISATION_ID, _POLICIES.c.id == runs.c.policy_id)
    version_no = select(_POLICIES.c.version_no).where(of_policy).correlate(runs).scalar_subquery()
    fields = {
        **columns_of(runs, ("id", "run_no", "round", "status", "policy_id")),
        "policy_version_no": version_no,
        **columns_of(runs, ("base_total", "base_ceiling", "submitted_by_id")),
        "submitted_by_name": member_name(runs.c.submitted_by_id),
        **columns_of(runs, ("submitted_version", "opened_at", "closed_at")),
        "steps": nested(_steps(runs)),
    }
    item, text = json_object("run_item", fields)
    return select(text.label("item")).select_from(runs.join(item, true()))


def _steps(runs: FromClause) -> ColumnElement[str]:
    of_group = and_(_GROUPS.c.organisation_id == ORGANISATION_ID, _GROUPS.c.id == _STEPS.c.pool_group_id)
    group_name = select(_GROUPS.c.name).where(of_group).correlate(_STEPS).scalar_subquery()
    asked = ("required_count", "enforce_limit", "comment_required", "status", "skip_reason")
    fields = {
        **columns_of(_STEPS, ("id", "stage", "position", "rule_id", "source", "name", "kind", "pool_group_id")),
        "pool_group_name": group_name,
        **columns_of(_STEPS, ("pool_role", *asked, "added_by_id")),
        "added_by_name": member_name(_STEPS.c.added_by_id),
        "warning": _warning(),
        **columns_of(_STEPS, ("activated_at", "closed_at")),
        "people": nested(_people()),
        "timers": nested(_timers()),
        "decisions": nested(_decisions()),
    }
    step, text = json_object("step_item", fields)
    return (
        select(json_array(text, _STEPS.c.seq, _STEPS.c.position))
        .select_from(_STEPS.join(step, true()))
        .where(_STEPS.c.organisation_id == ORGANISATION_ID, _STEPS.c.run_id == runs.c.id)
        .correlate(runs)
        .scalar_subquery()
    )


def _warning() -> ColumnElement[str | None]:
    """`Step.is_short` in SQL: evaluated for open steps only."""
    asked = select(func.count()).where(
        _SLOTS.c.organisation_id == ORGANISATION_ID,
        _SLOTS.c.step_id == _STEPS.c.id,
        _SLOTS.c.status == SlotStatus.OPEN,
    )
    given = select(func.count()).where(
        _DECISIONS.c.organisation_id == ORGANISATION_ID,
        _DECISIONS.c.step_id == _STEPS.c.id,
        _DECISIONS.c.decision == Decision.APPROVED,
    )
    left, decided = (counted.correlate(_STEPS).scalar_subquery() for counted in (asked, given))
    is_open = and_(_STEPS.c.kind == StepKind.PEOPLE, _STEPS.c.status.in_(sorted(OPEN_STEPS)))
    warning = literal_column(f"'{StepWarning.NO_APPROVER_LEFT}'", Text)
    return case((is_open, case((left + decided < _STEPS.c.required_count, warning))), else_=null())


def _people() -> ColumnElement[str]:
    fields = {
        **columns_of(_SLOTS, ("user_id",)),
        "name": member_name(_SLOTS.c.user_id),
        **columns_of(_SLOTS, ("origin", "status")),
    }
    person, text = json_object("person_item", fields)
    return (
        select(json_array(text, _SLOTS.c.id))
        .select_from(_SLOTS.join(person, true()))
        .where(_SLOTS.c.organisation_id == ORGANISATION_ID, _SLOTS.c.step_id == _STEPS.c.id)
        .correlate(_STEPS)
        .scalar_subquery()
    )


def _timers() -> ColumnElement[str]:
    timer, text = json_object("timer_item", columns_of(_TIMERS, ("kind", "n", "due_at", "done_at")))
    return (
        select(json_array(text, _TIMERS.c.id))
        .select_from(_TIMERS.join(timer, true()))
        .where(_TIMERS.c.organisation_id == ORGANISATION_ID, _TIMERS.c.step_id == _STEPS.c.id)
        .correlate(_STEPS)
        .scalar_subquery()
    )


def _decisions() -> ColumnElement[str]:
    c = _DECISIONS.c
    fields = {
        **columns_of(_DECISIONS, ("id", "decision", "source", "approver_id")),
        "approver_name": member_name(c.approver_id),
        "on_behalf_of_id": c.on_behalf_of_id,
        "on_behalf_of_name": member_name(c.on_behalf_of_id),
        **columns_of(_DECISIONS, ("carried_from_id", "comment", "decided_at")),
    }
    decision, text = json_object("decision_item", fields)
    return (
        select(json_array(text, c.id))
        .select_from(_DECISIONS.join(decision, true()))
        .where(c.organisation_id == ORGANISATION_ID, c.step_id == _STEPS.c.id)
        .correlate(_STEPS)
        .scalar_subquery()
    )
