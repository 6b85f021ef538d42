"""A policy with its rules, as planning reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from po_api.approval_policies.domain import Carry, EscalateTo, NoRule, OnEmpty

MAX_RULES = 100
MAX_STAGE = 99
MAX_APPROVERS = 20
MAX_IDS = 100
MAX_LEVELS = 10
MAX_PEOPLE = 200
MAX_HOURS = 8784


class AmountBasis(StrEnum):
    """The amount that bands are compared with."""

    DOCUMENT = "document"
    MATCHING_LINES = "matching_lines"


class ApproverKind(StrEnum):
    """How a rule names people."""

    USER = "user"
    GROUP = "group"
    ROLE_APPROVER = "role_approver"
    COST_CENTRE_OWNER = "cost_centre_owner"
    REQUESTER_MANAGER = "requester_manager"
    MANAGER_CHAIN = "manager_chain"
    FIRST_QUALIFIED_MANAGER = "first_qualified_manager"
    TEAM_LEAD = "team_lead"


class ApproverRef(NamedTuple):
    """People whom a rule names: `id` of a user or a group, `levels` of managers."""

    kind: ApproverKind
    id: int | None = None
    levels: int = 1


@dataclass(frozen=True)
class Conditions:
    """What a document must be like for a rule to apply: all that are given must hold, values inside one are
    alternatives. Amounts are in the base currency; `total_gte` is included in the band, `total_lt` is not."""

    total_gte: Decimal | None = None
    total_lt: Decimal | None = None
    amount_basis: AmountBasis = AmountBasis.DOCUMENT
    cost_centre_ids: frozenset[int] | None = None
    category_ids: frozenset[int] | None = None
    supplier_ids: frozenset[int] | None = None
    supplier_is_new: bool | None = None
    team_ids: frozenset[int] | None = None
    requester_ids: frozenset[int] | None = None
    currencies: frozenset[str] | None = None

    @property
    def concern_lines(self) -> bool:
        """Whether there is a condition that lines have to match."""
        return self.cost_centre_ids is not None or self.category_ids is not None


@dataclass(frozen=True)
class Rule:
    """A rule: to which documents it applies, who decides, and what happens if they cannot or do not.

    `required_count` is the number of people who have to approve; None for all.
    """

    id: int
    stage: int
    position: int
    name: str
    conditions: Conditions
    approvers: Sequence[ApproverRef]
    required_count: int | None = None
    enforce_limit: bool = False
    on_empty: OnEmpty = OnEmpty.BLOCK
    on_empty_group_id: int | None = None
    remind_after_hours: int | None = None
    escalate_after_hours: int | None = None
    escalate_to: EscalateTo | None = None
    escalation_group_id: int | None = None
    comment_required: bool = False


@dataclass(frozen=True)
class Policy:
    """A version of the rules. `reapproval_percent` and `reapproval_amount`, in the base currency, are how much more a
    request may cost that is submitted again, so that earlier decisions stand."""

    id: int
    version_no: int
    no_rule: NoRule
    carry: Carry
    reapproval_percent: Decimal
    reapproval_amount: Decimal | None
    rules: Sequence[Rule]
