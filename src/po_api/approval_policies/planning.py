"""Planning the approval of a document: for its submission, for a preview and for a simulation."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from po_api.approval_policies.domain import DEFAULT_STEP, PlannedStep, StepSource
from po_api.approval_policies.errors import ApprovalPolicyNotFound
from po_api.approval_policies.facts import DocumentFacts, People
from po_api.approval_policies.people_queries import PlanningQueries
from po_api.approval_policies.plan import Outline, covers, eligible, outline, plan
from po_api.approval_policies.rules import Policy
from po_api.core.actor import Actor
from po_api.core.offload import offload
from po_api.db.query import QueryExecutor

# Read only where there is a policy: without one, a submission takes no more than the query that finds none.
ReadFacts = Callable[[], Awaitable[DocumentFacts]]


class Plan(NamedTuple):
    """The steps of a document, and the policy that they follow; None without a published one."""

    policy: Policy | None
    steps: Sequence[PlannedStep]


class WarningCode(StrEnum):
    """What deserves attention in a preview."""

    NO_APPROVER = "no_approver"
    UNKNOWN_AMOUNT = "unknown_amount"
    LIMITS_TOO_LOW = "limits_too_low"
    NO_DECISION = "no_decision"


class Attention(NamedTuple):
    """A warning in a preview."""

    code: WarningCode
    detail: str


class Preview(NamedTuple):
    """What a submission would plan now, the names of the people, and warnings."""

    policy: Policy | None
    steps: Sequence[PlannedStep]
    people: People
    warnings: Sequence[Attention]


async def plan_for(executor: QueryExecutor, actor: Actor, policy: Policy | None, read_facts: ReadFacts) -> Plan:
    """The steps of a document of the actor's organisation by its published policy. Raises NoApprover."""
    if policy is None:
        return Plan(None, [DEFAULT_STEP])
    facts = await read_facts()
    people = await PlanningQueries(executor, actor).people(policy, facts)
    return Plan(policy, await offload(len(facts.lines), plan, policy, facts, people))


async def preview_for(
    executor: QueryExecutor, actor: Actor, read_facts: ReadFacts, *, policy_id: int | None = None
) -> Preview:
    """What `plan_for` would plan, with warnings instead of errors; by another version if `policy_id` is given.

    Raises ApprovalPolicyNotFound.
    """
    queries = PlanningQueries(executor, actor)
    policy = await (queries.published() if policy_id is None else queries.policy(policy_id))
    if policy is None:
        if policy_id is not None:
            raise ApprovalPolicyNotFound
        return Preview(None, [DEFAULT_STEP], People(), ())
    facts = await read_facts()
    people = await queries.people(policy, facts)
    planned = await offload(len(facts.lines), outline, policy, facts, people)
    return Preview(policy, planned.steps, people, [*_attention(planned, facts, people)])


def _attention(planned: Outline, facts: DocumentFacts, people: People) -> Iterable[Attention]:
    for reason in planned.blocked:
        yield Attention(WarningCode.NO_APPROVER, reason)
    if facts.base_ceiling is None:
        detail = f"no exchange rate of {facts.currency} is known: the amount counts as above all others"
        yield Attention(WarningCode.UNKNOWN_AMOUNT, detail)
    for step in planned.steps:
        if step.source is StepSource.RULE and _is_over_limits(step, facts, people):
            detail = f'too few of the people whom the rule "{step.name}" asks have a limit that permits the amount'
            yield Attention(WarningCode.LIMITS_TOO_LOW, detail)
    if not planned.steps and not planned.blocked:
        yield Attention(WarningCode.NO_DECISION, "no rule applies: a submission is approved without a decision")


def _is_over_limits(step: PlannedStep, facts: DocumentFacts, people: People) -> bool:
    if not step.enforce_limit or step.is_skipped:
        return False
    asked = [slot.user_id for slot in step.slots]
    if step.pool_group_id is not None:
        asked = [*people.groups.get(step.pool_group_id, ())]
    elif step.pool_role is not None:
        asked = [*people.persons]
    persons = (people.persons[user_id] for user_id in asked if user_id in people.persons)
    return sum(eligible(person, facts) and covers(person, facts) for person in persons) < step.required_count
