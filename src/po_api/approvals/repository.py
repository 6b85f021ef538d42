"""The parts of a combined statement that write runs, their steps, people and decisions."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Insert, Update, and_, column, func, select, update

from po_api.approvals.models import ApprovalDecision, ApprovalRun, ApprovalSlot, ApprovalStep
from po_api.approvals.writes import Basis, NewRun, RunWrites
from po_api.core.records import field_names
from po_api.db.bulk_write import NOW, Rows, combine, insert_from, json_rows, update_from
from po_api.db.query import ORGANISATION_ID, NoRow, Query
from po_api.db.separate_writes import SeparateWrites

_RUNS, _STEPS, _SLOTS = ApprovalRun.__table__, ApprovalStep.__table__, ApprovalSlot.__table__
_DECISIONS = ApprovalDecision.__table__

_NEW_RUN = (*field_names(NewRun), "status", "closed_at", "supplier_hash")
_NEW_STEP = (
    *("stage", "rule_id", "source", "name", "kind", "pool_group_id", "pool_role", "required_count", "enforce_limit"),
    *("least_limit", "comment_required", "added_by_id", "seq", "position", "status", "skip_reason", "activated_at"),
    "closed_at",
)
_DECISION = (
    *field_names(Basis),
    *("decision", "comment", "approver_id", "principal_id", "on_behalf_of_id", "approver_limit", "source"),
)
_POSITION = _STEPS.c.position
_ROWS_OF_NEW_RUNS = json_rows("opened_runs", *_RUNS.c[_NEW_RUN])
_ROWS_OF_NEW_STEPS = json_rows("opened_steps", *_STEPS.c[_NEW_STEP])
_ROWS_OF_NEW_SLOTS = json_rows("opened_slots", _POSITION, *_SLOTS.c["user_id", "origin", "status"])
_ROWS_OF_NEW_DECISIONS = json_rows(
    "opened_decisions", _POSITION, *_DECISIONS.c[_DECISION], _DECISIONS.c.carried_from_id
)
_ROWS_OF_RUNS = json_rows("runs", *_RUNS.c["id", "status", "closed_at", "content_hash", "hash_version"])
_ROWS_OF_STEPS = json_rows("steps", *_STEPS.c["id", "status", "skip_reason", "activated_at", "closed_at"])
_ROWS_OF_SLOTS = json_rows("slots", *_SLOTS.c["id", "status"])
_GIVEN = (*_DECISION, "run_id", "step_id", "slot_id")
_ROWS_OF_DECISIONS = json_rows("decisions", *_DECISIONS.c[_GIVEN])
_ROWS_OF_CARRIED = json_rows(
    "carried",
    *_DECISIONS.c[_GIVEN],
    _DECISIONS.c.carried_from_id,
    column("root_step_id", _DECISIONS.c.step_id.type),
)


def opening_parts() -> list[Insert | Update]:
    """Insert a run with its steps, people and carried decisions."""
    run = insert_from(_RUNS, _ROWS_OF_NEW_RUNS).returning(_RUNS.c.id).cte("opened_run")
    step = insert_from(_STEPS, _ROWS_OF_NEW_STEPS, run_id=run.c.id).returning(_STEPS.c.id, _POSITION).cte("opened_step")
    rows = _ROWS_OF_NEW_SLOTS
    people = (
        select(step.c.id.label("step_id"), *rows.c["user_id", "origin", "status"])
        .select_from(rows.join(step, step.c.position == rows.c.position))
        .subquery("people")
    )
    slot = insert_from(_SLOTS, people).returning(*_SLOTS.c["id", "step_id", "user_id"]).cte("opened_slot")
    rows = _ROWS_OF_NEW_DECISIONS
    of_slot = and_(slot.c.step_id == step.c.id, slot.c.user_id == rows.c.principal_id)
    carried = (
        select(
            run.c.id.label("run_id"),
            step.c.id.label("step_id"),
            slot.c.id.label("slot_id"),
            *rows.c[(*_DECISION, "carried_from_id")],
        )
        .select_from(rows.join(step, step.c.position == rows.c.position).outerjoin(slot, of_slot))
        .join(run, run.c.id.is_not(None))
        .subquery("carried_over")
    )
    return [insert_from(_DECISIONS, carried, decided_at=NOW)]


def changing_parts() -> list[Insert | Update]:
    """Change a run, its steps and people, and insert decisions."""
    given = (
        insert_from(_DECISIONS, _ROWS_OF_DECISIONS, decided_at=NOW)
        .returning(*_DECISIONS.c["id", "step_id", "principal_id"])
        .cte("given")
    )
    rows = _ROWS_OF_CARRIED
    root = and_(given.c.step_id == rows.c.root_step_id, given.c.principal_id == rows.c.principal_id)
    carried = (
        select(*rows.c[_GIVEN], func.coalesce(rows.c.carried_from_id, given.c.id).label("carried_from_id"))
        .select_from(rows.outerjoin(given, root))
        .subquery("carried_from")
    )
    return [
        update_from(_RUNS, _ROWS_OF_RUNS),
        _changed_steps(),
        update_from(_SLOTS, _ROWS_OF_SLOTS),
        insert_from(_DECISIONS, carried, decided_at=NOW),
    ]


def _changed_steps() -> Update:
    rows = _ROWS_OF_STEPS.c
    return (
        update(ApprovalStep)
        .values(
            status=rows.status,
            skip_reason=rows.skip_reason,
            activated_at=func.coalesce(rows.activated_at, _STEPS.c.activated_at),
            closed_at=rows.closed_at,
        )
        .where(_STEPS.c.organisation_id == ORGANISATION_ID, _STEPS.c.id == rows.id)
    )


OPEN_RUN: Query[NoRow] = combine("approvals.open", *opening_parts())
CLOSE_RUN: Query[NoRow] = combine("approvals.close", *changing_parts())


def parameters(writes: RunWrites, run_id: int | None) -> Mapping[str, Rows]:
    """The rows of a combined statement; `run_id` is that of the run that changes."""
    own = {"run_id": run_id}
    return {
        "runs": writes.runs,
        "steps": writes.steps,
        "slots": writes.slots,
        "decisions": [row | own for row in writes.decisions],
        "carried": [row | own for row in writes.carried],
    }


def opening_parameters(writes: RunWrites) -> Mapping[str, Rows]:
    """The rows of a combined statement that opens a run."""
    names = ("opened_runs", "opened_steps", "opened_slots", "opened_decisions")
    return {name: getattr(writes, name) for name in names}


async def open_separately(separate: SeparateWrites, writes: RunWrites) -> None:
    """`opening_parts` as a statement for each table."""
    for run in writes.opened_runs:
        ((run_id,),) = await separate.insert(_RUNS, [run], "id")
        inserted = await separate.insert(_STEPS, writes.opened_steps, "id", "position", run_id=run_id)
        steps = {position: step_id for step_id, position in inserted}
        slots = [row | {"step_id": steps[row["position"]]} for row in writes.opened_slots]
        stored = await separate.insert(_SLOTS, slots, "id", "step_id", "user_id")
        slot_ids = {(step_id, user_id): slot_id for slot_id, step_id, user_id in stored}
        decisions = [
            row
            | {"step_id": steps[row["position"]]}
            | {"slot_id": slot_ids.get((steps[row["position"]], row["principal_id"]))}
            for row in writes.opened_decisions
        ]
        await separate.insert(_DECISIONS, decisions, run_id=run_id, decided_at=separate.now)


async def change_separately(separate: SeparateWrites, writes: RunWrites, run_id: int | None) -> None:
    """`changing_parts` as a statement for each table."""
    await separate.update(_RUNS, writes.runs)
    for step in writes.steps:
        begun = {} if step["activated_at"] else {"activated_at": _STEPS.c.activated_at}
        await separate.update(_STEPS, [step | begun])
    await separate.update(_SLOTS, writes.slots)
    own = {"run_id": run_id, "decided_at": separate.now}
    given = await separate.insert(_DECISIONS, writes.decisions, "id", "step_id", "principal_id", **own)
    roots: dict[tuple[object, object], int] = {(step_id, who): decision_id for decision_id, step_id, who in given}
    carried: Sequence[dict[str, object]] = [
        row | {"carried_from_id": row["carried_from_id"] or roots[row["root_step_id"], row["principal_id"]]}
        for row in writes.carried
    ]
    await separate.insert(_DECISIONS, carried, **own)
