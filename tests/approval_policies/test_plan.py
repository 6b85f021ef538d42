"""Planning as pure functions: bands, conditions, places of people, and what replaces them."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.approval_policies.domain import DEFAULT_STEP, Carry, NoRule, OnEmpty, PlannedStep, SlotOrigin, StepKind
from po_api.approval_policies.errors import NoApprover
from po_api.approval_policies.facts import DocumentFacts, LineFacts, People, Person
from po_api.approval_policies.plan import outline, plan
from po_api.approval_policies.rules import AmountBasis, ApproverKind, ApproverRef, Conditions, Policy, Rule
from po_api.core.money import TaxRounding, in_base_currency

RITA, MAX, OLGA, BOSS, IVO, INA, FAY, FRED, FINN = range(1, 10)
NAMES = ("Rita", "Max", "Olga", "Boss", "Ivo", "Ina", "Fay", "Fred", "Finn")
IT, LAPTOPS, FURNITURE = 1, 2, 3
CC_10, CC_11, CC_20 = 10, 11, 20
IT_BOARD, FINANCE, EMPTY = 1, 2, 3
DESIGN, PRODUCT = 1, 2
SELLER = 1

_LIMITS = {MAX: Decimal("500.00"), OLGA: Decimal("5000.00")}
_MANAGERS = {RITA: MAX, MAX: OLGA, OLGA: BOSS}
PEOPLE = People(
    persons={
        user_id: Person(user_id, name, True, user_id != RITA, _LIMITS.get(user_id), _MANAGERS.get(user_id))
        for user_id, name in enumerate(NAMES, start=1)
    },
    groups={IT_BOARD: (IVO, INA), FINANCE: (FAY, FRED, FINN), EMPTY: ()},
    owners={CC_10: OLGA, CC_11: BOSS, CC_20: None},
    leads={DESIGN: OLGA, PRODUCT: BOSS},
    team_id=DESIGN,
    cost_centres={CC_10: None, CC_11: CC_10, CC_20: None},
    categories={IT: None, LAPTOPS: IT, FURNITURE: None},
    teams={DESIGN: PRODUCT, PRODUCT: None},
)

_manager = ApproverRef(ApproverKind.REQUESTER_MANAGER)
_owner = ApproverRef(ApproverKind.COST_CENTRE_OWNER)


def _group(group_id: int) -> ApproverRef:
    return ApproverRef(ApproverKind.GROUP, group_id)


def _user(user_id: int) -> ApproverRef:
    return ApproverRef(ApproverKind.USER, user_id)


def _rule(number: int, stage: int, conditions: Conditions, *approvers: ApproverRef, **others: object) -> Rule:
    return Rule(number, stage, number, f"R{number}", conditions, approvers, **others)  # type: ignore[arg-type]


def _policy(*rules: Rule, no_rule: NoRule = NoRule.ANY_APPROVER) -> Policy:
    return Policy(1, 1, no_rule, Carry.CONSECUTIVE, Decimal(0), None, rules)


def _from(amount: str, **others: object) -> Conditions:
    return Conditions(total_gte=Decimal(amount), **others)  # type: ignore[arg-type]


IT_LINES = _from("500.00", category_ids=frozenset({IT}), amount_basis=AmountBasis.MATCHING_LINES)
P1 = _policy(
    _rule(1, 1, Conditions(), _manager),
    _rule(2, 2, _from("1000.00"), _owner),
    _rule(3, 2, IT_LINES, _group(IT_BOARD), required_count=1),
    _rule(4, 3, _from("10000.00"), _group(FINANCE), required_count=2),
)


def _line(amount: str, category_id: int | None = None, cost_centre_id: int | None = CC_10) -> LineFacts:
    return LineFacts(category_id, cost_centre_id, Decimal(0), Decimal(amount))


def _facts(*lines: LineFacts | str, currency: str = "EUR", rate: str | None = "1", **others: object) -> DocumentFacts:
    given_lines = [_line(line) if isinstance(line, str) else line for line in lines]
    total = sum((line.net for line in given_lines), Decimal(0))
    known = {
        "requester_id": RITA,
        "author_ids": (RITA,),
        "allow_self_approval": False,
        "supplier_id": SELLER,
        "currency": currency,
        "tax_rounding": TaxRounding.DOCUMENT,
        "base_currency": "EUR",
        "base_rate": None if rate is None else Decimal(rate),
        "base_ceiling": None if rate is None else in_base_currency(total, Decimal(rate), "EUR"),
        "lines": given_lines,
    }
    return DocumentFacts(**(known | others))  # type: ignore[arg-type]


def _people(**changed: dict[str, object]) -> People:
    """The people, with changes of some, by name."""
    ids = {name.lower(): user_id for user_id, name in enumerate(NAMES, start=1)}
    persons = {ids[name]: PEOPLE.persons[ids[name]]._replace(**values) for name, values in changed.items()}  # type: ignore[arg-type]
    return replace(PEOPLE, persons={**PEOPLE.persons, **persons})


def _rules(steps: Sequence[PlannedStep]) -> list[int | None]:
    return [step.rule_id for step in steps]


def _asked(step: PlannedStep) -> list[int]:
    return [slot.user_id for slot in step.slots]


@pytest.mark.parametrize(
    ("facts", "rules"),
    [
        (_facts("999.99"), [1]),
        (_facts("1000.00"), [1, 2]),
        (_facts("10000.00"), [1, 2, 4]),
        (_facts("10852.00", currency="USD", rate="0.9215"), [1, 2, 4]),
        (_facts("10851.00", currency="USD", rate="0.9215"), [1, 2]),
        # An amount that is not known in the base currency is in the highest band.
        (_facts(_line("1.00", IT), currency="USD", rate=None), [1, 2, 3, 4]),
        (_facts(_line("450.00", IT), _line("400.00", FURNITURE)), [1]),
        (_facts(_line("300.00", IT), _line("200.00", LAPTOPS), _line("400.00", FURNITURE)), [1, 3]),
        (_facts(_line("12000.00", FURNITURE)), [1, 2, 4]),
    ],
)
def test_the_amount_of_a_document_or_of_its_lines_chooses_the_rules(facts: DocumentFacts, rules: list[int]) -> None:
    assert _rules(plan(P1, facts, PEOPLE)) == rules


def test_steps_ascend_by_stage_with_the_people_and_pools_of_their_rules() -> None:
    manager, owner, board, finance = plan(P1, _facts(_line("12000.00", IT)), PEOPLE)

    assert [step.stage for step in (manager, owner, board, finance)] == [1, 2, 2, 3]
    assert [(slot.user_id, slot.origin) for slot in manager.slots] == [(MAX, SlotOrigin.MANAGER)]
    assert [(slot.user_id, slot.origin) for slot in owner.slots] == [(OLGA, SlotOrigin.OWNER)]
    assert (board.kind, board.pool_group_id, board.required_count, board.slots) == (StepKind.POOL, IT_BOARD, 1, ())
    assert (finance.kind, finance.pool_group_id, finance.required_count) == (StepKind.POOL, FINANCE, 2)


def test_nobody_decides_on_their_own_cost_centre() -> None:
    own = replace(PEOPLE, owners={CC_10: RITA}, persons=_people(rita={"is_approver": True}).persons)
    with pytest.raises(NoApprover, match='"R2"'):
        plan(P1, _facts("1500.00"), own)

    manager = replace(P1.rules[1], on_empty=OnEmpty.REQUESTER_MANAGER)
    first, second = plan(replace(P1, rules=(P1.rules[0], manager)), _facts("1500.00"), own)
    assert (_asked(first), _asked(second)) == ([MAX], [MAX])
    assert second.slots[0].origin is SlotOrigin.VACANCY

    allowed = plan(P1, _facts("1500.00", allow_self_approval=True), own)
    assert _asked(allowed[1]) == [RITA]


@pytest.mark.parametrize(
    ("conditions", "matching", "other"),
    [
        ({"cost_centre_ids": {CC_10}}, _facts(_line("1.00", None, CC_11)), _facts(_line("1.00", None, CC_20))),
        ({"cost_centre_ids": {CC_11}}, _facts(_line("1.00", None, CC_11)), _facts(_line("1.00", None, CC_10))),
        ({"category_ids": {IT}}, _facts(_line("1.00", LAPTOPS)), _facts("1.00")),
        # One line has to match all conditions on lines.
        (
            {"category_ids": {IT}, "cost_centre_ids": {CC_20}},
            _facts(_line("1.00", IT, CC_20)),
            _facts(_line("1.00", IT), _line("1.00", FURNITURE, CC_20)),
        ),
        ({"supplier_ids": {SELLER}}, _facts("1.00"), _facts("1.00", supplier_id=None)),
        ({"requester_ids": {RITA}}, _facts("1.00"), _facts("1.00", requester_id=MAX)),
        ({"currencies": {"USD", "CHF"}}, _facts("1.00", currency="USD"), _facts("1.00")),
        ({"total_lt": Decimal("5.00")}, _facts("4.99"), _facts("5.00")),
        ({"total_lt": Decimal("5.00")}, _facts("4.99"), _facts("1.00", currency="USD", rate=None)),
    ],
)
def test_a_rule_applies_where_all_its_conditions_hold(
    conditions: dict[str, object], matching: DocumentFacts, other: DocumentFacts
) -> None:
    frozen = {name: frozenset(value) if isinstance(value, set) else value for name, value in conditions.items()}
    policy = _policy(_rule(1, 1, Conditions(**frozen), _user(BOSS)))  # type: ignore[arg-type]
    assert _rules(plan(policy, matching, PEOPLE)) == [1]
    assert plan(policy, other, PEOPLE) == [DEFAULT_STEP]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_supplier_is_new_or_not(is_new: bool) -> None:
    policy = _policy(_rule(1, 1, Conditions(supplier_is_new=is_new), _user(BOSS)))
    assert _rules(plan(policy, _facts("1.00"), replace(PEOPLE, supplier_is_new=is_new))) == [1]
    assert _rules(plan(policy, _facts("1.00"), replace(PEOPLE, supplier_is_new=not is_new))) == [None]


@pytest.mark.parametrize(("teams", "applies"), [({DESIGN}, True), ({PRODUCT}, True), ({3}, False)])
def test_a_team_covers_those_below_it(teams: set[int], applies: bool) -> None:
    policy = _policy(_rule(1, 1, Conditions(team_ids=frozenset(teams)), _user(BOSS)))
    assert _rules(plan(policy, _facts("1.00"), PEOPLE)) == ([1] if applies else [None])
    assert _rules(plan(policy, _facts("1.00"), replace(PEOPLE, team_id=None))) == [None]


_KINDS = ApproverKind


@pytest.mark.parametrize(
    ("approvers", "facts", "people"),
    [
        ([_user(IVO), _user(INA)], _facts("1.00"), [IVO, INA]),
        ([_user(IVO), _group(IT_BOARD)], _facts("1.00"), [IVO, INA]),
        ([_group(FINANCE)], _facts("1.00"), [FAY, FRED, FINN]),
        ([_group(FINANCE)], _facts("1.00", author_ids=(RITA, FRED)), [FAY, FINN]),
        ([ApproverRef(_KINDS.ROLE_APPROVER)], _facts("1.00"), [MAX, OLGA, BOSS, IVO, INA, FAY, FRED, FINN]),
        ([_owner], _facts("1.00", _line("1.00", None, CC_11), _line("1.00", None, None)), [OLGA, BOSS]),
        ([ApproverRef(_KINDS.REQUESTER_MANAGER, levels=2)], _facts("1.00"), [MAX, OLGA]),
        ([ApproverRef(_KINDS.REQUESTER_MANAGER, levels=9)], _facts("1.00"), [MAX, OLGA, BOSS]),
        ([ApproverRef(_KINDS.MANAGER_CHAIN)], _facts("500.00"), [MAX]),
        ([ApproverRef(_KINDS.MANAGER_CHAIN)], _facts("500.01"), [MAX, OLGA]),
        ([ApproverRef(_KINDS.MANAGER_CHAIN)], _facts("9000.00", author_ids=(RITA, OLGA)), [MAX, BOSS]),
        ([ApproverRef(_KINDS.FIRST_QUALIFIED_MANAGER)], _facts("5000.00"), [OLGA]),
        ([ApproverRef(_KINDS.FIRST_QUALIFIED_MANAGER)], _facts("5000.01"), [BOSS]),
        ([ApproverRef(_KINDS.FIRST_QUALIFIED_MANAGER)], _facts("1.00", currency="USD", rate=None), [BOSS]),
        ([ApproverRef(_KINDS.TEAM_LEAD)], _facts("1.00"), [OLGA]),
    ],
)
def test_all_of_the_people_whom_a_rule_names_have_to_approve(
    approvers: list[ApproverRef], facts: DocumentFacts, people: list[int]
) -> None:
    (step,) = plan(_policy(_rule(1, 1, Conditions(), *approvers)), facts, PEOPLE)
    assert (step.kind, _asked(step), step.required_count) == (StepKind.PEOPLE, people, len(people))


def test_the_owners_are_those_of_the_lines_that_the_rule_is_about() -> None:
    policy = _policy(_rule(1, 1, Conditions(category_ids=frozenset({IT})), _owner))
    facts = _facts(_line("1.00", LAPTOPS, CC_11), _line("1.00", FURNITURE, CC_10))
    assert _asked(plan(policy, facts, PEOPLE)[0]) == [BOSS]


def test_a_limit_that_nobody_above_has_leaves_the_chain_empty() -> None:
    limited = _people(boss={"limit": Decimal("6000.00")})
    for kind in (_KINDS.MANAGER_CHAIN, _KINDS.FIRST_QUALIFIED_MANAGER):
        with pytest.raises(NoApprover):
            plan(_policy(_rule(1, 1, Conditions(), ApproverRef(kind))), _facts("6000.01"), limited)


_NONE, _TWO = None, 2
_GROUP = {"on_empty": OnEmpty.GROUP, "on_empty_group_id": FINANCE}
_MANAGER = {"on_empty": OnEmpty.REQUESTER_MANAGER}
_SKIP = {"on_empty": OnEmpty.SKIP}


@pytest.mark.parametrize(
    ("approvers", "required", "on_empty", "expected"),
    [
        # Nobody is left.
        ([_user(RITA)], _NONE, _MANAGER, ([MAX], 1)),
        ([_user(RITA)], _TWO, _MANAGER, ([MAX, OLGA], 2)),
        ([_user(RITA)], _NONE, _GROUP, (FINANCE, 1)),
        ([_user(RITA)], _TWO, _GROUP, (FINANCE, 2)),
        ([_user(RITA)], 4, _GROUP, None),
        ([_user(RITA)], _NONE, {"on_empty": OnEmpty.GROUP, "on_empty_group_id": EMPTY}, None),
        ([_user(RITA)], _NONE, {}, None),
        ([_owner], _NONE, _SKIP, ([], 1)),
        # Somebody is left: they decide, too.
        ([_user(RITA), _user(IVO)], _NONE, {}, None),
        ([_user(RITA), _user(IVO)], _NONE, _MANAGER, ([IVO, MAX], 2)),
        ([_user(RITA), _user(MAX)], _NONE, _MANAGER, ([MAX], 1)),
        ([_user(RITA), _user(IVO)], _NONE, _GROUP, ([IVO, FAY, FRED, FINN], 4)),
        ([_user(RITA), _user(IVO)], _NONE, _SKIP, ([IVO], 1)),
        ([_user(RITA), _user(IVO)], _TWO, _MANAGER, ([IVO, MAX], 2)),
        ([_user(RITA), _user(MAX)], _TWO, _MANAGER, ([MAX, OLGA], 2)),
        ([_user(RITA), _user(IVO)], _TWO, _GROUP, ([IVO, FAY, FRED, FINN], 2)),
        ([_user(RITA), _user(IVO)], _TWO, _SKIP, ([IVO], 1)),
        ([_group(IT_BOARD)], 3, _MANAGER, ([IVO, INA, MAX], 3)),
        # Enough are left.
        ([_user(RITA), _user(IVO)], 1, {}, ([IVO], 1)),
        ([_user(RITA), _user(IVO), _user(INA)], _TWO, {}, ([IVO, INA], 2)),
    ],
)
def test_others_decide_where_people_are_missing(
    approvers: list[ApproverRef], required: int | None, on_empty: dict[str, object], expected: tuple[object, int] | None
) -> None:
    policy = _policy(_rule(1, 1, Conditions(), *approvers, required_count=required, **on_empty))
    found = outline(policy, _facts(_line("1.00", None, CC_20)), PEOPLE)
    if expected is None:
        assert (found.steps, len(found.blocked)) == ([], 1)
        return
    step = found.steps[0]
    people, count = expected
    assert (step.pool_group_id if step.kind is StepKind.POOL else _asked(step), step.required_count) == (people, count)
    assert step.is_skipped == (people == [])


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_approver": False}])
def test_managers_who_may_not_decide_are_passed_over(change: dict[str, object]) -> None:
    policy = _policy(_rule(1, 1, Conditions(), _manager, on_empty=OnEmpty.REQUESTER_MANAGER))
    assert _asked(plan(policy, _facts("1.00"), _people(max=change))[0]) == [OLGA]


def test_a_document_without_rules() -> None:
    rule = _rule(1, 1, _from("1000.00"), _manager)
    small = _facts("1.00")
    assert plan(None, small, PEOPLE) == [DEFAULT_STEP]
    assert plan(_policy(rule), small, PEOPLE) == [DEFAULT_STEP]
    assert plan(_policy(rule, no_rule=NoRule.AUTO_APPROVE), small, PEOPLE) == []
    with pytest.raises(NoApprover):
        plan(_policy(rule, no_rule=NoRule.REFUSE), small, PEOPLE)


def test_a_policy_of_skipped_steps_approves_nothing() -> None:
    rules = [_rule(number, number, Conditions(), _user(RITA), on_empty=OnEmpty.SKIP) for number in (1, 2)]
    *skipped, last = plan(_policy(*rules), _facts("1.00"), PEOPLE)
    assert [step.is_skipped for step in skipped] == [True, True]
    assert last == replace(DEFAULT_STEP, stage=2)


_amounts = st.decimals(0, 20_000, places=2)


@given(bounds=st.lists(_amounts, min_size=1, max_size=6, unique=True), amount=_amounts, data=st.data())
def test_half_open_bands_cover_every_amount_once(bounds: list[Decimal], amount: Decimal, data: st.DataObject) -> None:
    edges = [None, *sorted(bounds), None]
    rules = [
        _rule(number, 1, Conditions(total_gte=low, total_lt=high), _user(BOSS))
        for number, (low, high) in enumerate(pairwise(edges), start=1)
    ]
    exact = data.draw(st.sampled_from([amount, *bounds]))
    assert len(plan(_policy(*rules), _facts(f"{exact:f}"), PEOPLE)) == 1


_refs = st.one_of(
    st.builds(_user, st.integers(1, 12)),
    st.builds(_group, st.integers(1, 4)),
    st.builds(ApproverRef, st.sampled_from(ApproverKind), st.just(1), st.integers(1, 4)),
)
_rules_of = st.builds(
    _rule,
    st.integers(1, 50),
    st.integers(1, 4),
    st.builds(Conditions, total_gte=st.none() | _amounts, category_ids=st.none() | st.frozensets(st.integers(1, 3))),
    _refs,
    _refs,
    required_count=st.none() | st.integers(1, 3),
    on_empty=st.sampled_from(OnEmpty),
    on_empty_group_id=st.integers(1, 4),
)
_persons: st.SearchStrategy[dict[int, dict[str, object]]] = st.dictionaries(
    st.integers(1, 9),
    st.builds(
        dict,
        is_active=st.booleans(),
        is_approver=st.booleans(),
        limit=st.none() | _amounts,
        manager_id=st.none() | st.integers(1, 9),
    ),
)


@pytest.mark.heavy
@given(
    rules=st.lists(_rules_of, min_size=1, max_size=5, unique_by=lambda rule: rule.id),
    changed=_persons,
    authors=st.sets(st.integers(1, 9)),
    amounts=st.lists(st.tuples(_amounts, st.sampled_from([None, IT, LAPTOPS]), st.sampled_from([None, CC_10, CC_20]))),
)
def test_only_members_who_may_decide_are_asked_and_no_step_needs_more_than_there_are(
    rules: list[Rule],
    changed: dict[int, dict[str, object]],
    authors: set[int],
    amounts: list[tuple[Decimal, int | None, int | None]],
) -> None:
    persons = {user_id: PEOPLE.persons[user_id]._replace(**values) for user_id, values in changed.items()}  # type: ignore[arg-type]
    people = replace(PEOPLE, persons={**PEOPLE.persons, **persons})
    lines = [LineFacts(category, centre, Decimal(0), amount) for amount, category, centre in amounts]
    facts = _facts(*lines, author_ids=tuple(sorted({RITA, *authors})))

    found = outline(_policy(*rules), facts, people)

    assert found == outline(_policy(*reversed(rules)), facts, people)
    assert [step.stage for step in found.steps] == sorted(step.stage for step in found.steps)
    may = {
        person.user_id
        for person in people.persons.values()
        if person.is_active and person.is_approver and person.user_id not in {RITA, *authors}
    }
    for step in found.steps:
        asked = _asked(step)
        assert set(asked) <= may
        assert len(asked) == len(set(asked))
        assert step.kind is StepKind.POOL or step.is_skipped or 1 <= step.required_count <= len(asked)
        if step.pool_group_id is not None:
            assert step.required_count <= len(may.intersection(people.groups[step.pool_group_id]))
