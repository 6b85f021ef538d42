"""The terms of approval policies: what a rule may say, and the steps that are planned."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

# The name of the step of an organisation without a policy, or of a request that no rule matches.
ANY_APPROVER = "any approver"
# That of the step of an approver who was added.
ADDED_APPROVER = "added approver"


class DocumentType(StrEnum):
    """The kind of document that a policy is for."""

    PORF = "porf"


class PolicyStatus(StrEnum):
    """Only drafts change; one policy of each kind is published, and a retired one stays for the runs that name it."""

    DRAFT = "draft"
    PUBLISHED = "published"
    RETIRED = "retired"


class NoRule(StrEnum):
    """What applies to a document that no rule matches."""

    ANY_APPROVER = "any_approver"
    AUTO_APPROVE = "auto_approve"
    REFUSE = "refuse"


class OnEmpty(StrEnum):
    """Who takes a step that has fewer eligible people than it requires."""

    REQUESTER_MANAGER = "requester_manager"
    GROUP = "group"
    BLOCK = "block"
    SKIP = "skip"


class EscalateTo(StrEnum):
    """Whom a step is escalated to."""

    MANAGER = "manager"
    GROUP = "group"


class Carry(StrEnum):
    """Whether a decision also stands for the next stage, if its decider is eligible there."""

    NEVER = "never"
    CONSECUTIVE = "consecutive"


class StepKind(StrEnum):
    """Who decides a step: named people, frozen at the submission, or the present members of a group or a role."""

    PEOPLE = "people"
    POOL = "pool"


class StepSource(StrEnum):
    """Where a step comes from; `default` is the one of requests that no rule matches."""

    RULE = "rule"
    ADDED = "added"
    OVERRIDE = "override"
    DEFAULT = "default"


class SlotOrigin(StrEnum):
    """Why a person is asked."""

    NAMED = "named"
    OWNER = "owner"
    MANAGER = "manager"
    CHAIN = "chain"
    ESCALATED = "escalated"
    ADDED = "added"
    VACANCY = "vacancy"


class PoolRole(StrEnum):
    """The role whose holders are a pool."""

    APPROVER = "approver"


class PlannedSlot(NamedTuple):
    """A person of a step."""

    user_id: int
    origin: SlotOrigin


@dataclass(frozen=True)
class PlannedStep:
    """A step of an approval, as a rule makes it.

    Stages are decided in ascending order, the steps of one stage at the same time. A step of people has `slots`, a pool
    exactly one of `pool_group_id` and `pool_role`. `is_skipped`: the rule found nobody, and says that nobody is needed.
    Of one stage, steps with a lower `offset` are decided before: those of rules have 0.
    """

    stage: int
    position: int
    rule_id: int | None
    source: StepSource
    name: str
    kind: StepKind
    pool_group_id: int | None = None
    pool_role: str | None = None
    required_count: int = 1
    enforce_limit: bool = False
    comment_required: bool = False
    is_skipped: bool = False
    slots: tuple[PlannedSlot, ...] = ()
    remind_after_hours: int | None = None
    escalate_after_hours: int | None = None
    escalate_to: str | None = None
    escalation_group_id: int | None = None
    offset: int = 0
    added_by_id: int | None = None


DEFAULT_STEP = PlannedStep(
    stage=1,
    position=1,
    rule_id=None,
    source=StepSource.DEFAULT,
    name=ANY_APPROVER,
    kind=StepKind.POOL,
    pool_role=PoolRole.APPROVER,
    enforce_limit=True,
)
