"""Which steps a policy asks for: one pure function for the submission, the preview and the simulation.

Each rule that applies makes a step. It names *places*: a user, the owner of a cost centre, a level of managers, a
group. Without a number of people (`required_count`), every place needs at least one person who may decide, and all of
them have to approve; with a number, so many of all. Who is inactive, lacks the role `approver` or is an author of the
document may not. If places are empty, or people too few, the rule's `on_empty` says who decides instead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from po_api.approval_policies.conditions import applies, matching_lines
from po_api.approval_policies.domain import (
    DEFAULT_STEP,
    NoRule,
    OnEmpty,
    PlannedSlot,
    PlannedStep,
    PoolRole,
    SlotOrigin,
    StepKind,
    StepSource,
)
from po_api.approval_policies.errors import NoApprover
from po_api.approval_policies.facts import DocumentFacts, People, Person
from po_api.approval_policies.rules import ApproverKind, ApproverRef, Policy, Rule


class Outline(NamedTuple):
    """The steps of a document. `blocked` are the reasons why it cannot be submitted, each with the name of its rule."""

    steps: Sequence[PlannedStep]
    blocked: Sequence[str]


class _Place(NamedTuple):
    """People of whom a rule asks for: those who may decide, and why they are asked."""

    user_ids: Sequence[int]
    origin: SlotOrigin


def plan(policy: Policy | None, facts: DocumentFacts, people: People) -> list[PlannedStep]:
    """The steps, in their order. Raises NoApprover with the names of rules that nobody could decide.

    Without a policy there is one step that any approver decides. An empty list is a document that needs no approval.
    """
    steps, blocked = outline(policy, facts, people)
    if blocked:
        raise NoApprover("; ".join(blocked))
    return list(steps)


def outline(policy: Policy | None, facts: DocumentFacts, people: People) -> Outline:
    """The steps of `plan`, and what it would raise."""
    if policy is None:
        return Outline([DEFAULT_STEP], ())
    rules = sorted((rule for rule in policy.rules if applies(rule.conditions, facts, people)), key=_order)
    if not rules:
        return _without_rules(policy.no_rule)
    steps: list[PlannedStep] = []
    blocked: list[str] = []
    for rule in rules:
        step = _Planner(rule, facts, people).step()
        if step is None:
            blocked.append(f'too few people may decide what the rule "{rule.name}" asks for')
        else:
            steps.append(step)
    if not blocked and all(step.is_skipped for step in steps):
        # Skipped steps approve nothing.
        steps.append(replace(DEFAULT_STEP, stage=steps[-1].stage))
    return Outline(steps, blocked)


def refill(rule: Rule, facts: DocumentFacts, people: People, present: Iterable[int]) -> PlannedStep | None:
    """The step of a rule that has lost people since it was planned, as `on_empty` says; None if nobody takes their
    places. `present` are those who are left, and those who have decided it."""
    return _Planner(rule, facts, people).instead(dict.fromkeys(sorted(present), SlotOrigin.NAMED))


def eligible(person: Person, facts: DocumentFacts) -> bool:
    """Whether a member may decide on the document, whatever the amount."""
    if not person.is_active or not person.is_approver:
        return False
    return facts.allow_self_approval or person.user_id not in {facts.requester_id, *facts.author_ids}


def covers(person: Person, facts: DocumentFacts) -> bool:
    """Whether a member's limit permits the document. An unknown amount is above every limit."""
    return person.limit is None or (facts.base_ceiling is not None and facts.base_ceiling <= person.limit)


def _order(rule: Rule) -> tuple[int, int, int]:
    return rule.stage, rule.position, rule.id


def _without_rules(no_rule: NoRule) -> Outline:
    if no_rule is NoRule.REFUSE:
        return Outline((), ["no rule of the policy applies"])
    return Outline([DEFAULT_STEP] if no_rule is NoRule.ANY_APPROVER else (), ())


def _joined(people: dict[int, SlotOrigin], more: Iterable[int], origin: SlotOrigin) -> dict[int, SlotOrigin]:
    """The people and `more`; those who were there before keep their place."""
    return people | {user_id: origin for user_id in more if user_id not in people}


class _Planner:
    """Plans the step of one rule."""

    def __init__(self, rule: Rule, facts: DocumentFacts, people: People) -> None:
        self._rule = rule
        self._facts = facts
        self._people = people

    def step(self) -> PlannedStep | None:
        """The step; None if too few people may decide it, and nobody instead of them."""
        required = self._rule.required_count
        places = [place for ref in self._rule.approvers for place in self._places(ref)]
        present: dict[int, SlotOrigin] = {}
        for place in places:
            present = _joined(present, place.user_ids, place.origin)
        is_complete = all(place.user_ids for place in places) if required is None else len(present) >= required
        if not is_complete:
            return self.instead(present)
        if required is not None and len(self._rule.approvers) == 1:
            pool = self._rule.approvers[0]
            if pool.kind is ApproverKind.GROUP:
                return self._pool(required, group_id=pool.id)
            if pool.kind is ApproverKind.ROLE_APPROVER:
                return self._pool(required, role=PoolRole.APPROVER)
        return self._decided_by(present, required)

    def instead(self, present: dict[int, SlotOrigin]) -> PlannedStep | None:
        """The step after `on_empty`; `present` are those who may decide, but are too few."""
        match self._rule.on_empty:
            case OnEmpty.SKIP:
                return self._decided_by(present, None) if present else self._step(StepKind.PEOPLE, 1, is_skipped=True)
            case OnEmpty.GROUP:
                return self._joined_by_group(present)
            case OnEmpty.REQUESTER_MANAGER:
                return self._joined_by_managers(present)
            case OnEmpty.BLOCK:
                return None

    def _joined_by_managers(self, present: dict[int, SlotOrigin]) -> PlannedStep | None:
        """The nearest managers of the requester join: as many as are missing, or the first one if all are required."""
        required = self._rule.required_count
        managers = [person.user_id for person in self._managers() if eligible(person, self._facts)]
        if required is None:
            joining, missing = managers, 1
        else:
            joining, missing = [each for each in managers if each not in present], required - len(present)
        if len(joining) < missing:
            return None
        return self._decided_by(_joined(present, joining[:missing], SlotOrigin.VACANCY), required)

    def _joined_by_group(self, present: dict[int, SlotOrigin]) -> PlannedStep | None:
        """The group decides; if there are others, all of the group join them."""
        group_id, required = self._rule.on_empty_group_id, self._rule.required_count
        joining = self._may_decide(self._people.groups.get(group_id or 0, ()))
        everybody = _joined(present, joining, SlotOrigin.VACANCY)
        if not joining or len(everybody) < (required or 1):
            return None
        return self._decided_by(everybody, required) if present else self._pool(required or 1, group_id=group_id)

    def _decided_by(self, people: dict[int, SlotOrigin], required: int | None) -> PlannedStep:
        slots = tuple(PlannedSlot(user_id, origin) for user_id, origin in people.items())
        return self._step(StepKind.PEOPLE, len(slots) if required is None else required, slots=slots)

    def _pool(self, required: int, *, group_id: int | None = None, role: PoolRole | None = None) -> PlannedStep:
        return self._step(StepKind.POOL, required, group_id=group_id, role=role)

    def _step(
        self,
        kind: StepKind,
        required: int,
        *,
        group_id: int | None = None,
        role: PoolRole | None = None,
        slots: tuple[PlannedSlot, ...] = (),
        is_skipped: bool = False,
    ) -> PlannedStep:
        rule = self._rule
        return PlannedStep(
            stage=rule.stage,
            position=rule.position,
            rule_id=rule.id,
            source=StepSource.RULE,
            name=rule.name,
            kind=kind,
            pool_group_id=group_id,
            pool_role=role,
            required_count=required,
            enforce_limit=rule.enforce_limit,
            comment_required=rule.comment_required,
            is_skipped=is_skipped,
            slots=slots,
            remind_after_hours=rule.remind_after_hours,
            escalate_after_hours=rule.escalate_after_hours,
            escalate_to=rule.escalate_to,
            escalation_group_id=rule.escalation_group_id,
        )

    def _places(self, ref: ApproverRef) -> Sequence[_Place]:
        """The places of which one entry of `approvers` consists; at least one."""
        match ref.kind:
            case ApproverKind.USER:
                return [self._place([ref.id], SlotOrigin.NAMED)]
            case ApproverKind.GROUP:
                return [self._place(self._people.groups.get(ref.id or 0, ()), SlotOrigin.NAMED)]
            case ApproverKind.ROLE_APPROVER:
                return [self._place(self._people.persons, SlotOrigin.NAMED)]
            case ApproverKind.COST_CENTRE_OWNER:
                return [self._place([owner], SlotOrigin.OWNER) for owner in self._owners()]
            case ApproverKind.REQUESTER_MANAGER:
                managers: list[int | None] = [person.user_id for person in self._managers()[: ref.levels]]
                return [self._place([manager], SlotOrigin.MANAGER) for manager in (managers or [None])]
            case ApproverKind.MANAGER_CHAIN:
                return [_Place(self._chain(), SlotOrigin.CHAIN)]
            case ApproverKind.FIRST_QUALIFIED_MANAGER:
                return [_Place(self._chain()[-1:], SlotOrigin.CHAIN)]
            case ApproverKind.TEAM_LEAD:
                lead = self._people.leads.get(self._people.team_id or 0)
                return [self._place([lead], SlotOrigin.NAMED)]

    def _place(self, user_ids: Iterable[int | None], origin: SlotOrigin) -> _Place:
        return _Place(self._may_decide(user_ids), origin)

    def _may_decide(self, user_ids: Iterable[int | None]) -> Sequence[int]:
        """Those who may decide, by id."""
        persons = (self._people.persons.get(user_id or 0) for user_id in user_ids)
        return sorted(person.user_id for person in persons if person is not None and eligible(person, self._facts))

    def _owners(self) -> Sequence[int | None]:
        """The owners of the cost centres of the lines that the rule is about; None for a cost centre without one, and
        for a document without cost centres."""
        lines = matching_lines(self._rule.conditions, self._facts, self._people)
        cost_centres = sorted({line.cost_centre_id for line in lines if line.cost_centre_id is not None})
        return [self._people.owners.get(cost_centre) for cost_centre in cost_centres] or [None]

    def _managers(self) -> Sequence[Person]:
        return self._people.managers(self._facts.requester_id)

    def _chain(self) -> Sequence[int]:
        """The managers up to the first whose limit covers the document; nobody if there is none."""
        chain: list[int] = []
        for manager in self._managers():
            if eligible(manager, self._facts):
                chain.append(manager.user_id)
                if covers(manager, self._facts):
                    return chain
        return ()
