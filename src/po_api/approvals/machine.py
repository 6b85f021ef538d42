"""The steps of an approval as a state machine: pure functions of steps, decisions, and who is eligible.

Stages are the steps with the same `seq`, decided in ascending order; the steps of one stage are active at the same
time. A decision may stand for several steps: given in one, carried in those of the next stage (`Carry.CONSECUTIVE`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from po_api.approval_policies.domain import Carry, PlannedStep, StepKind, StepSource
from po_api.approvals.domain import (
    OPEN_STEPS,
    DecisionSource,
    Placement,
    RunStatus,
    SkipReason,
    SlotStatus,
    StepStatus,
)


class Slot(NamedTuple):
    """A person of a step; `id` is None until it is stored."""

    id: int | None
    user_id: int
    status: SlotStatus


class Approval(NamedTuple):
    """An approval that counts for a step.

    `id` is None until it is stored. `root_id` is the decision that was given, if this one is carried from a stored one;
    `root_position` the step in which it is given, if that happens in the same change. `baseline` is what could be
    ordered at most, in the base currency, when it was given; None if that is not known. The limit is the principal's.
    """

    id: int | None
    approver_id: int
    principal_id: int
    source: DecisionSource
    root_id: int | None = None
    root_position: int | None = None
    baseline: Decimal | None = None
    supplier_hash: str | None = None
    approver_limit: Decimal | None = None
    limit_currency: str | None = None


@dataclass(frozen=True)
class Step:
    """A step of a run; `position` is unique in it, and `id` None until it is stored."""

    id: int | None
    seq: int
    position: int
    rule_id: int | None
    source: StepSource
    name: str
    required_count: int
    comment_required: bool
    status: StepStatus
    skip_reason: SkipReason | None = None
    slots: tuple[Slot, ...] = ()
    approvals: tuple[Approval, ...] = ()
    added_by_id: int | None = None
    kind: StepKind = StepKind.PEOPLE

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STEPS

    @property
    def asked(self) -> frozenset[int]:
        """Its people who have not decided."""
        return frozenset(slot.user_id for slot in self.slots if slot.status is SlotStatus.OPEN)

    @property
    def remaining(self) -> frozenset[int]:
        """Its people who have not decided, and those who have."""
        return self.asked | {given.principal_id for given in self.approvals}

    @property
    def unavailable(self) -> frozenset[int]:
        """Who takes no other place of it: those whose places are vacant, and those who have decided for others."""
        vacant = {slot.user_id for slot in self.slots if slot.status is SlotStatus.VACANT}
        return frozenset(vacant | {given.approver_id for given in self.approvals}) - self.remaining

    @property
    def is_short(self) -> bool:
        """Whether it waits for more people than are left. Pools have the members of now."""
        return self.is_open and self.kind is StepKind.PEOPLE and len(self.remaining) < self.required_count

    def has_decided(self, *user_ids: int) -> bool:
        """Whether one of these members has approved the step, for themselves or for another."""
        return any(not {given.approver_id, given.principal_id}.isdisjoint(user_ids) for given in self.approvals)


class Place(NamedTuple):
    """A member who may decide an open step now, as one of its people or of its pool.

    `is_within_limit`: they may also approve it. `limit` is theirs, in the base currency; None is no limit.
    """

    position: int
    user_id: int
    is_within_limit: bool
    limit: Decimal | None


class Given(NamedTuple):
    """A decision on a step for one of its places; `limit` is the principal's, in the base currency."""

    position: int
    approver_id: int
    principal_id: int
    limit: Decimal | None = None


@dataclass(frozen=True)
class Outcome:
    """The steps after a change, and the status of the run. `activated` are the positions of steps that have begun."""

    status: RunStatus
    steps: tuple[Step, ...]
    activated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What advancing a run depends on: who may approve which step, and whether decisions are carried.

    `barred` are the authors of the request: what they have decided for others, before they became one, is not carried.
    """

    carry: Carry = Carry.CONSECUTIVE
    places: Collection[Place] = field(default_factory=tuple)
    barred: Collection[int] = ()

    def may_approve(self, step: Step, user_id: int) -> bool:
        """Whether the member may approve the step, once it is active."""
        return any(
            place.user_id == user_id and place.position == step.position and place.is_within_limit
            for place in self.places
        )

    def may_stand(self, step: Step, approval: Approval) -> bool:
        """Whether an approval that was given elsewhere may stand for the step."""
        return approval.approver_id not in self.barred and self.may_approve(step, approval.principal_id)


def in_order(steps: Iterable[PlannedStep]) -> list[PlannedStep]:
    """The steps in the order of their positions in a run."""
    return sorted(steps, key=lambda step: (step.stage, step.offset, step.position))


def planned(steps: Sequence[PlannedStep]) -> tuple[Step, ...]:
    """The steps of a new run, all of them waiting but those that are skipped."""
    stages = {stage: seq for seq, stage in enumerate(sorted({(step.stage, step.offset) for step in steps}), start=1)}
    return tuple(
        Step(
            id=None,
            seq=stages[step.stage, step.offset],
            position=position,
            rule_id=step.rule_id,
            source=step.source,
            name=step.name,
            required_count=step.required_count,
            comment_required=step.comment_required,
            status=StepStatus.SKIPPED if step.is_skipped else StepStatus.WAITING,
            skip_reason=SkipReason.ON_EMPTY if step.is_skipped else None,
            slots=tuple(Slot(None, slot.user_id, SlotStatus.OPEN) for slot in step.slots),
            added_by_id=step.added_by_id,
            kind=step.kind,
        )
        for position, step in enumerate(in_order(steps), start=1)
    )


def choose(steps: Iterable[Step], places: Iterable[Place], approver_id: int, *, within_limit: bool) -> list[Given]:
    """One decision for each active step that the approver may decide: for themselves or else for another.

    `places` are those of the approver and of the members who have delegated to them. `within_limit`: only those who may
    approve.
    """
    by_position: dict[int, list[Place]] = {}
    for place in places:
        if place.is_within_limit or not within_limit:
            by_position.setdefault(place.position, []).append(place)
    chosen: list[Given] = []
    for step in steps:
        mine = by_position.get(step.position, ())
        if step.status is StepStatus.ACTIVE and mine and not step.has_decided(approver_id):
            principal = min(mine, key=lambda place: (place.user_id != approver_id, place.user_id))
            chosen.append(Given(step.position, approver_id, principal.user_id, principal.limit))
    return chosen


def approve(steps: Sequence[Step], given: Iterable[Given], rules: Rules) -> Outcome:
    """Add approvals to active steps, and advance the run."""
    by_position = {each.position: each for each in given}
    return advance([_approved_by(step, by_position.get(step.position)) for step in steps], rules)


def end(steps: Sequence[Step], status: RunStatus, given: Iterable[Given] = ()) -> Outcome:
    """End a run: `status` is any but `open` and `approved`. A rejection rejects the steps in which it was given."""
    decided = {each.position for each in given} if status is RunStatus.REJECTED else set()
    return Outcome(
        status,
        tuple(
            _closed(step, StepStatus.REJECTED if step.position in decided else StepStatus.CANCELLED)
            if step.is_open
            else step
            for step in steps
        ),
    )


def seq_of_added(steps: Iterable[Step], placement: Placement) -> tuple[int, dict[int, int]]:
    """The `seq` of a step that is added to an open run, and the new ones of stored steps, by their ids."""
    open_steps = [step for step in steps if step.is_open]
    current = min(step.seq for step in open_steps)
    if placement is Placement.PARALLEL:
        return current, {}
    # What is decided of the present stage keeps its place.
    moved, by = (current, 2) if placement is Placement.BEFORE else (current + 1, 1)
    return current + 1, {step.id: step.seq + by for step in open_steps if step.id is not None and step.seq >= moved}


def resume(steps: Sequence[Step], rules: Rules) -> Outcome:
    """Advance a run to which a step was added: steps after it that were active wait."""
    current = min(step.seq for step in steps if step.is_open)
    return advance(
        [
            replace(step, status=StepStatus.WAITING)
            if step.status is StepStatus.ACTIVE and step.seq > current
            else step
            for step in steps
        ],
        rules,
    )


def remove(steps: Sequence[Step], step_id: int, rules: Rules) -> Outcome:
    """Skip a step that was added, and advance the run."""
    return advance([_skipped(step, SkipReason.REMOVED) if step.id == step_id else step for step in steps], rules)


def replaced(steps: Sequence[Step], step_id: int, replaced_id: int, user_id: int) -> Outcome:
    """Ask a person of a step no more, but another, or the same once more."""
    gone = {replaced_id} - {user_id}
    return Outcome(RunStatus.OPEN, tuple(_without(step, gone) if step.id == step_id else step for step in steps))


def vacated(steps: Iterable[Step], user_ids: Collection[int]) -> tuple[Step, ...]:
    """The steps after these members have lost the places that they had not decided."""
    return tuple(_without(step, step.asked & frozenset(user_ids)) for step in steps)


def emptied(steps: Iterable[Step], step_ids: Collection[int | None]) -> tuple[Step, ...]:
    """The steps without those for which nobody is left, and whose rules say that nobody is needed."""
    return tuple(_skipped(step, SkipReason.ON_EMPTY) if step.id in step_ids else step for step in steps)


def asks_nobody(steps: Collection[Step]) -> bool:
    """Whether nobody has approved any step, and none is left that could not be removed: skipped steps approve
    nothing."""
    return not any(step.approvals or (step.is_open and step.source is not StepSource.ADDED) for step in steps)


def override(steps: Sequence[Step], step_id: int, given: Given) -> Outcome:
    """Approve the step of the override, and skip all others that are open."""
    approval = Approval(
        None, given.approver_id, given.principal_id, DecisionSource.OVERRIDE, approver_limit=given.limit
    )
    return Outcome(
        RunStatus.APPROVED,
        tuple(
            _closed(_with_approval(step, approval, SlotStatus.APPROVED), StepStatus.APPROVED)
            if step.id == step_id
            else _skipped(step, SkipReason.OVERRIDE)
            if step.is_open
            else step
            for step in steps
        ),
    )


def advance(steps: Sequence[Step], rules: Rules) -> Outcome:
    """Close the steps that have enough approvals and begin the next stage, as often as this changes something."""
    current = {step.position: step for step in steps}
    activated: list[int] = []
    while True:
        for step in current.values():
            if step.status is StepStatus.ACTIVE and len(step.approvals) >= step.required_count:
                current[step.position] = _closed(step, StepStatus.APPROVED)
        open_steps = [step for step in current.values() if step.is_open]
        if not open_steps:
            return Outcome(RunStatus.APPROVED, tuple(current.values()), tuple(activated))
        seq = min(step.seq for step in open_steps)
        stage = [step for step in open_steps if step.seq == seq]
        waiting = [step for step in stage if step.status is StepStatus.WAITING]
        if not waiting:
            return Outcome(RunStatus.OPEN, tuple(current.values()), tuple(activated))
        before = [*_stage_before(current.values(), seq)] if rules.carry is Carry.CONSECUTIVE else []
        for step in waiting:
            active = replace(step, status=StepStatus.ACTIVE)
            current[step.position] = _carried(active, before, rules)
            activated.append(step.position)


def carried_over(steps: Sequence[Step], earlier: Mapping[int, Sequence[Approval]], rules: Rules) -> tuple[Step, ...]:
    """The steps with the approvals of an earlier run, by rule, of those who may still approve them."""
    return tuple(
        _with(step, (each for each in earlier.get(step.rule_id, ()) if rules.may_stand(step, each)))
        if step.rule_id is not None and step.is_open
        else step
        for step in steps
    )


def _stage_before(steps: Collection[Step], seq: int) -> Iterator[Approval]:
    """The approvals of the last stage before `seq` that anybody decided, as they would be carried.

    Only those that were given in this run, or carried from one that was.
    """
    last = max((step.seq for step in steps if step.seq < seq and step.status is StepStatus.APPROVED), default=0)
    own = {each.id for step in steps for each in step.approvals if each.source is DecisionSource.GIVEN}
    for step in steps:
        if step.seq == last and step.status is StepStatus.APPROVED:
            for each in step.approvals:
                carried = each._replace(id=None, source=DecisionSource.CARRIED)
                if each.source is DecisionSource.GIVEN:
                    at = step.position if each.id is None else None
                    yield carried._replace(root_id=each.id, root_position=at)
                elif each.root_position is not None or each.root_id in own:
                    yield carried


def _carried(step: Step, before: Iterable[Approval], rules: Rules) -> Step:
    return _with(step, (each for each in before if rules.may_stand(step, each)))


def _with(step: Step, more: Iterable[Approval]) -> Step:
    """The step with these approvals, as far as it needs them, and one for each person."""
    for each in more:
        if len(step.approvals) < step.required_count and not step.has_decided(each.approver_id, each.principal_id):
            step = _with_approval(step, each, SlotStatus.CARRIED)
    return step


def _approved_by(step: Step, given: Given | None) -> Step:
    if given is None:
        return step
    approval = Approval(None, given.approver_id, given.principal_id, DecisionSource.GIVEN, approver_limit=given.limit)
    return _with_approval(step, approval, SlotStatus.APPROVED)


def _with_approval(step: Step, approval: Approval, status: SlotStatus) -> Step:
    """The step with an approval, which gives the place of its principal the status."""
    slots = tuple(
        slot._replace(status=status) if slot.user_id == approval.principal_id else slot for slot in step.slots
    )
    return replace(step, approvals=(*step.approvals, approval), slots=slots)


def _without(step: Step, user_ids: Collection[int]) -> Step:
    """The step with vacant places of these people."""
    slots = (slot._replace(status=SlotStatus.VACANT) if slot.user_id in user_ids else slot for slot in step.slots)
    return replace(step, slots=tuple(slots))


def _skipped(step: Step, reason: SkipReason) -> Step:
    return replace(_closed(step, StepStatus.SKIPPED), skip_reason=reason)


def _closed(step: Step, status: StepStatus) -> Step:
    slots = tuple(
        slot._replace(status=SlotStatus.CLOSED) if slot.status is SlotStatus.OPEN else slot for slot in step.slots
    )
    return replace(step, status=status, slots=slots)
