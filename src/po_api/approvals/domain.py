"""The terms of running approvals."""

from decimal import Decimal
from enum import StrEnum


class Decision(StrEnum):
    """The decision of an approver."""

    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"


class DecisionSource(StrEnum):
    """Whether a decision was given, stands for another step or a later run (`carried`), or overrides the rules."""

    GIVEN = "given"
    CARRIED = "carried"
    OVERRIDE = "override"


class RunStatus(StrEnum):
    """The status of an approval; all but `open` are final."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    RECALLED = "recalled"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    """The status of a step; all but `waiting` and `active` are final."""

    WAITING = "waiting"
    ACTIVE = "active"
    APPROVED = "approved"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


OPEN_STEPS = frozenset({StepStatus.WAITING, StepStatus.ACTIVE})


class InboxState(StrEnum):
    """Which steps a member looks for: those that they may approve now, or will be asked for after the steps before."""

    ACTIVE = "active"
    WAITING = "waiting"


# What its column can hold: of larger amounts, the limit is looked at later.
HIGHEST_LEAST_LIMIT = 2**63 - 1


def least_limit(ceiling: Decimal | None) -> int:
    """The whole units of the limit that permits to approve an amount in the base currency; 0 if that is not known."""
    return 0 if ceiling is None else min(int(ceiling), HIGHEST_LEAST_LIMIT)


class SkipReason(StrEnum):
    """Why a step was skipped: its rule says that nobody is needed where nobody is found or left, an admin has
    overridden the rules, or the approver was added and removed again."""

    ON_EMPTY = "on_empty"
    OVERRIDE = "override"
    REMOVED = "removed"


class StepWarning(StrEnum):
    """What deserves attention in an open step: too few of its people are left."""

    NO_APPROVER_LEFT = "no_approver_left"


class Placement(StrEnum):
    """When an added approver is asked: before those who are asked now, together with them, or after them."""

    BEFORE = "before"
    PARALLEL = "parallel"
    AFTER = "after"


class SlotStatus(StrEnum):
    """The status of a person in a step; of the others but `open`, only a vacant one may be asked once more."""

    OPEN = "open"
    APPROVED = "approved"
    CARRIED = "carried"
    VACANT = "vacant"
    CLOSED = "closed"


class TimerKind(StrEnum):
    """What a timer of a step does when it is due."""

    REMIND = "remind"
    ESCALATE = "escalate"


class Standing(StrEnum):
    """What a member may do now about an approval, as themselves or for others who have delegated to them; of several
    steps, the first of these.

    `limited`: they may decide a step, but no limit permits the amount; `limited_by_rule`: likewise, in steps that only
    a policy asks for.
    """

    DECIDES = "decides"
    LIMITED = "limited"
    LIMITED_BY_RULE = "limited_by_rule"
    WAITS = "waits"
    DECIDED = "decided"
    NONE = "none"
