"""The rows that a change of a run writes: pure functions of the steps before and after it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from po_api.approval_policies.domain import PlannedStep
from po_api.approvals.domain import Decision, DecisionSource, RunStatus, StepStatus, least_limit
from po_api.approvals.machine import Approval, Given, Outcome, Step, in_order
from po_api.approvals.queries import Run
from po_api.core.records import field_names

Row = dict[str, object]


@dataclass(frozen=True)
class RunWrites:
    """Rows by table: of a new run, and of one that changes. `carried` are decisions that refer to others.

    `has_timers`: the timers of steps have to be adjusted.
    """

    opened_runs: Sequence[Row] = ()
    opened_steps: Sequence[Row] = ()
    opened_slots: Sequence[Row] = ()
    opened_decisions: Sequence[Row] = ()
    runs: Sequence[Row] = ()
    steps: Sequence[Row] = ()
    slots: Sequence[Row] = ()
    decisions: Sequence[Row] = ()
    carried: Sequence[Row] = ()
    has_timers: bool = False


class Basis(NamedTuple):
    """What the decisions of a change have in common."""

    porf_id: int
    round: int
    content_hash: str
    hash_version: int
    supplier_hash: str | None
    limit_currency: str
    requester_id: int
    self_allowed: bool


class NewRun(NamedTuple):
    """The run of a submission; amounts are in the base currency."""

    porf_id: int
    round: int
    submitted_by_id: int
    submitted_version: int
    opened_at: datetime
    run_no: int = 1
    policy_id: int | None = None
    content_hash: str | None = None
    hash_version: int | None = None
    fixed_hash: str | None = None
    base_total: Decimal | None = None
    base_ceiling: Decimal | None = None
    base_rate: Decimal | None = None


def opening(
    run: NewRun, plan: Sequence[PlannedStep], outcome: Outcome, basis: Basis | None, *, now: datetime
) -> RunWrites:
    """The rows of a new run. `basis` is needed if decisions are carried, or if the run is approved at once."""
    is_closed = outcome.status is not RunStatus.OPEN
    decided = any(step.approvals for step in outcome.steps)
    supplier_hash = basis.supplier_hash if is_closed and not decided and basis is not None else None
    steps, slots, decisions = [], [], []
    for planned, step in zip(in_order(plan), outcome.steps, strict=True):
        steps.append(_new_step(planned, step, run.base_ceiling, now))
        origins = {slot.user_id: slot.origin for slot in planned.slots}
        for slot in step.slots:
            status = {"user_id": slot.user_id, "origin": origins[slot.user_id], "status": slot.status}
            slots.append({"position": step.position, **status})
        for approval in step.approvals:
            assert basis is not None
            decisions.append({"position": step.position, **_decision(approval, basis)})
    status = {"status": outcome.status, "closed_at": now if is_closed else None, "supplier_hash": supplier_hash}
    return RunWrites(
        opened_runs=[run._asdict() | status],
        opened_steps=steps,
        opened_slots=slots,
        opened_decisions=decisions,
        has_timers=any(step.remind_after_hours or step.escalate_after_hours for step in plan),
    )


def changing(
    run: Run, outcome: Outcome, basis: Basis | None, *, now: datetime, comment: str | None = None
) -> RunWrites:
    """The rows of a run that changes, and of its new approvals. Without decisions, there is no `basis`."""
    content_hash, hash_version = run.content_hash, run.hash_version
    if basis is not None:
        content_hash, hash_version = basis.content_hash, basis.hash_version
    closed_at = None if outcome.status is RunStatus.OPEN else now
    changed = {"status": outcome.status, "closed_at": closed_at}
    ids = {step.position: step.id for step in run.steps}
    approvals = [*_new_approvals(run.steps, outcome.steps)]
    rows = [] if basis is None else [_decision_in(step, each, basis) for step, each in approvals]
    return RunWrites(
        runs=[{"id": run.id, "content_hash": content_hash, "hash_version": hash_version, **changed}],
        steps=[*_changed_steps(run.steps, outcome.steps, now)],
        slots=[*_changed_slots(run.steps, outcome.steps)],
        decisions=[row | {"comment": comment} for row in rows if row["source"] is not DecisionSource.CARRIED],
        carried=[
            row | {"root_step_id": None if each.root_position is None else ids[each.root_position]}
            for row, (_, each) in zip(rows, approvals, strict=False)
            if each.source is DecisionSource.CARRIED
        ],
        has_timers=run.has_timers,
    )


def refusing(
    run: Run, outcome: Outcome, given: Given, decision: Decision, comment: str, basis: Basis, *, now: datetime
) -> RunWrites:
    """The rows of a run that a decision ends."""
    (step,) = (step for step in run.steps if step.position == given.position)
    approval = Approval(None, given.approver_id, given.principal_id, DecisionSource.GIVEN, approver_limit=given.limit)
    row = _decision_in(step, approval, basis) | {"decision": decision, "comment": comment}
    return replace(changing(run, outcome, basis, now=now), decisions=[row])


def _new_step(planned: PlannedStep, step: Step, ceiling: Decimal | None, now: datetime) -> Row:
    copied = ("stage", "rule_id", "source", "name", "kind", "pool_group_id", "pool_role", "required_count")
    return {
        **{name: getattr(planned, name) for name in (*copied, "enforce_limit", "comment_required", "added_by_id")},
        **{name: getattr(step, name) for name in ("seq", "position", "status", "skip_reason")},
        "least_limit": least_limit(ceiling) if planned.enforce_limit else 0,
        "activated_at": now if step.status in (StepStatus.ACTIVE, StepStatus.APPROVED) else None,
        "closed_at": None if step.is_open else now,
    }


def _changed_steps(before: Sequence[Step], after: Sequence[Step], now: datetime) -> Iterator[Row]:
    for was, step in zip(before, after, strict=True):
        if was.status is not step.status:
            begins = was.status is StepStatus.WAITING and step.status in (StepStatus.ACTIVE, StepStatus.APPROVED)
            yield {
                "id": step.id,
                "status": step.status,
                "skip_reason": step.skip_reason,
                "activated_at": now if begins else None,
                "closed_at": None if step.is_open else now,
            }


def _changed_slots(before: Sequence[Step], after: Sequence[Step]) -> Iterator[Row]:
    for was, step in zip(before, after, strict=True):
        for earlier, slot in zip(was.slots, step.slots, strict=True):
            if earlier.status is not slot.status:
                yield {"id": slot.id, "status": slot.status}


def _new_approvals(before: Sequence[Step], after: Sequence[Step]) -> Iterator[tuple[Step, Approval]]:
    for was, step in zip(before, after, strict=True):
        for approval in step.approvals[len(was.approvals) :]:
            yield step, approval


def _decision_in(step: Step, approval: Approval, basis: Basis) -> Row:
    """The row of a decision on a stored step."""
    slot_id = next((slot.id for slot in step.slots if slot.user_id == approval.principal_id), None)
    return _decision(approval, basis) | {"step_id": step.id, "slot_id": slot_id}


def _decision(approval: Approval, basis: Basis) -> Row:
    is_carried = approval.source is DecisionSource.CARRIED
    common: Mapping[str, object] = {name: getattr(basis, name) for name in field_names(Basis)}
    row = {
        **common,
        "decision": Decision.APPROVED,
        "comment": None,
        "approver_id": approval.approver_id,
        "principal_id": approval.principal_id,
        "on_behalf_of_id": approval.principal_id if approval.principal_id != approval.approver_id else None,
        "approver_limit": approval.approver_limit,
        "source": approval.source,
        "carried_from_id": approval.root_id,
    }
    if is_carried and approval.root_id is not None:
        # As when it was given.
        row |= {"supplier_hash": approval.supplier_hash, "limit_currency": approval.limit_currency}
    return row
