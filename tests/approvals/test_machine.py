"""The steps of an approval as a state machine: whatever people decide, the rules of domain.md hold."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from po_api.approval_policies.domain import Carry, PlannedSlot, PlannedStep, SlotOrigin, StepKind, StepSource
from po_api.approvals import machine
from po_api.approvals.domain import DecisionSource, RunStatus, SlotStatus, StepStatus
from po_api.approvals.machine import Approval, Given, Outcome, Place, Rules, Step

PEOPLE = (1, 2, 3, 4)


def planned(stage: int, *people: int, required: int = 1, **fields: object) -> PlannedStep:
    slots = tuple(PlannedSlot(user_id, SlotOrigin.NAMED) for user_id in people)
    step = PlannedStep(stage, 1, stage * 10, StepSource.RULE, f"R{stage}", StepKind.PEOPLE, required_count=required)
    return replace(step, slots=slots, **fields)  # type: ignore[arg-type]


def places(steps: tuple[Step, ...]) -> list[Place]:
    """Everybody who has a slot, within their limits."""
    return [Place(step.position, slot.user_id, True, None) for step in steps for slot in step.slots]


def start(*plan: PlannedStep, carry: Carry = Carry.CONSECUTIVE) -> tuple[Outcome, Rules]:
    steps = machine.planned(plan)
    rules = Rules(carry, places(steps))
    return machine.advance(steps, rules), rules


def approve(outcome: Outcome, rules: Rules, user_id: int) -> Outcome:
    mine = [place for place in rules.places if place.user_id == user_id]
    given_now = machine.choose(outcome.steps, mine, user_id, within_limit=True)
    return machine.approve(outcome.steps, given_now, rules)


def statuses(outcome: Outcome) -> list[str]:
    return [str(step.status) for step in outcome.steps]


def test_stages_follow_one_another_and_nobody_is_carried_past_another_person() -> None:
    outcome, rules = start(planned(1, 1), planned(2, 2), planned(3, 1))
    assert statuses(outcome) == ["active", "waiting", "waiting"]
    outcome = approve(outcome, rules, 1)
    assert (outcome.status, statuses(outcome), outcome.activated) == (
        RunStatus.OPEN,
        ["approved", "active", "waiting"],
        (2,),
    )
    outcome = approve(outcome, rules, 2)
    assert (statuses(outcome), outcome.steps[2].approvals) == (["approved", "approved", "active"], ())
    assert approve(outcome, rules, 1).status is RunStatus.APPROVED


def test_equal_neighbours_collapse_also_past_skipped_stages() -> None:
    outcome, rules = start(planned(1, 1), planned(2, is_skipped=True), planned(3, 1, 2), planned(4, 1))
    outcome = approve(outcome, rules, 1)
    assert outcome.status is RunStatus.APPROVED
    assert [[each.root_position for each in step.approvals] for step in outcome.steps] == [[None], [], [1], [1]]
    assert [each.source for each in outcome.steps[3].approvals] == [DecisionSource.CARRIED]
    assert outcome.steps[2].slots[1].status is SlotStatus.CLOSED
    outcome, rules = start(planned(1, 1), planned(2, 1), carry=Carry.NEVER)
    assert statuses(approve(outcome, rules, 1)) == ["approved", "active"]


def test_a_stored_decision_is_carried_from_where_it_was_given() -> None:
    outcome, rules = start(planned(1, 1, 2, required=2), planned(2, 1, required=1), planned(3, 1))
    outcome = approve(outcome, rules, 1)
    stored = tuple(
        replace(step, approvals=tuple(each._replace(id=70) for each in step.approvals)) for step in outcome.steps
    )
    outcome = approve(Outcome(outcome.status, stored), rules, 2)
    assert outcome.status is RunStatus.APPROVED
    assert [[(each.root_id, each.root_position) for each in step.approvals] for step in outcome.steps[1:]] == [
        [(70, None)],
        [(70, None)],
    ]


def test_nothing_to_decide_is_approved_at_once() -> None:
    assert start()[0].status is RunStatus.APPROVED
    assert start(planned(1, is_skipped=True))[0].status is RunStatus.APPROVED


def test_approvals_of_an_earlier_run_wait_for_their_stage() -> None:
    steps = machine.planned([planned(1, 1), planned(2, 2)])
    rules = Rules(Carry.NEVER, places(steps))
    earlier = {20: [Approval(None, 2, 2, DecisionSource.CARRIED, root_id=5)]}
    outcome = machine.advance(machine.carried_over(steps, earlier, rules), rules)
    assert statuses(outcome) == ["active", "waiting"]
    assert approve(outcome, rules, 1).status is RunStatus.APPROVED
    # Nothing is carried of who may no longer approve the step, nor of who has become an author.
    for others in (Rules(Carry.NEVER, ()), replace(rules, barred={2})):
        assert machine.carried_over(steps, earlier, others) == steps


def test_who_has_decided_for_another_fills_one_place_and_comes_before_others() -> None:
    outcome, rules = start(planned(1, 1, 2, 3, required=2))
    mine = [place for place in rules.places if place.user_id in (1, 2)]
    assert machine.choose(outcome.steps, mine, 2, within_limit=True) == [Given(1, 2, 2)]
    decided = machine.approve(outcome.steps, [Given(1, 4, 1)], rules)
    assert machine.choose(decided.steps, mine, 4, within_limit=True) == []
    assert decided.steps[0].slots[0].status is SlotStatus.APPROVED


plans = st.lists(
    st.tuples(st.integers(1, 3), st.frozensets(st.sampled_from(PEOPLE), min_size=1), st.integers(1, 4)), max_size=5
).map(
    lambda steps: [
        planned(stage, *sorted(people), required=min(required, len(people))) for stage, people, required in steps
    ]
)


@settings(max_examples=150, deadline=None)
@given(plan=plans, people=st.lists(st.sampled_from(PEOPLE), max_size=12), carry=st.sampled_from(Carry))
def test_an_approval_ends_exactly_when_enough_have_approved_every_step(
    plan: list[PlannedStep], people: list[int], carry: Carry
) -> None:
    outcome, rules = start(*plan, carry=carry)
    for user_id in people:
        before = outcome
        if outcome.status is RunStatus.OPEN:
            outcome = approve(outcome, rules, user_id)
        for was, step in zip(before.steps, outcome.steps, strict=True):
            assert step.approvals[: len(was.approvals)] == was.approvals
            assert not (was.status is StepStatus.WAITING and step.status is StepStatus.WAITING and step.approvals)
        _assert_sound(outcome)
    # Everybody, as often as there are steps: nothing is stuck.
    for _ in plan:
        for user_id in PEOPLE:
            if outcome.status is RunStatus.OPEN:
                outcome = approve(outcome, rules, user_id)
    assert outcome.status is RunStatus.APPROVED
    _assert_sound(outcome)


def _assert_sound(outcome: Outcome) -> None:
    active = {step.seq for step in outcome.steps if step.status is StepStatus.ACTIVE}
    assert (outcome.status is RunStatus.OPEN) == bool(active)
    assert len(active) <= 1
    for step in outcome.steps:
        assert len({each.principal_id for each in step.approvals}) == len(step.approvals) <= step.required_count
        assert (step.status is StepStatus.APPROVED) == (len(step.approvals) == step.required_count)
        if active and step.status is StepStatus.WAITING:
            assert step.seq > min(active)
        if not step.is_open:
            assert all(slot.status is not SlotStatus.OPEN for slot in step.slots)


@given(plan=plans.filter(bool), status=st.sampled_from([RunStatus.REJECTED, RunStatus.RETURNED, RunStatus.RECALLED]))
def test_an_end_closes_everything(plan: list[PlannedStep], status: RunStatus) -> None:
    outcome, _ = start(*plan)
    decided = [Given(step.position, 9, 9) for step in outcome.steps if step.status is StepStatus.ACTIVE][:1]
    ended = machine.end(outcome.steps, status, decided)
    assert ended.status is status
    assert {step.status for step in ended.steps} <= {StepStatus.CANCELLED, StepStatus.REJECTED}
    rejected = [step.position for step in ended.steps if step.status is StepStatus.REJECTED]
    assert rejected == ([decided[0].position] if status is RunStatus.REJECTED else [])
    assert all(slot.status is SlotStatus.CLOSED for step in ended.steps for slot in step.slots)
