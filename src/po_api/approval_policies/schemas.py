"""Bodies of requests and responses about approval policies and what they plan."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import MISSING, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from po_api.approval_policies.domain import (
    Carry,
    DocumentType,
    EscalateTo,
    NoRule,
    OnEmpty,
    PolicyStatus,
    PoolRole,
    SlotOrigin,
    StepKind,
    StepSource,
)
from po_api.approval_policies.rules import (
    MAX_APPROVERS,
    MAX_HOURS,
    MAX_IDS,
    MAX_LEVELS,
    MAX_PEOPLE,
    MAX_RULES,
    MAX_STAGE,
    AmountBasis,
)
from po_api.web.schemas import AmountString, KnownCurrency, Page, Reference, Schema, Title, ToleranceString

_AMOUNT = "In the base currency, with what orders may exceed the quantities by"
References = Annotated[list[Reference], Field(min_length=1, max_length=MAX_IDS)]
RuleName = Annotated[Title, Field(examples=["Finance above 10,000"])]
Stage = Annotated[int, Strict(), Field(ge=1, le=MAX_STAGE, description="Stages are decided in ascending order")]
Place = Annotated[int, Strict(), Field(ge=1, le=MAX_RULES, description="The place in its stage")]
People = Annotated[
    int, Strict(), Field(ge=1, le=MAX_PEOPLE, description="How many people have to approve; null for all of them")
]
Hours = Annotated[int, Strict(), Field(ge=1, le=MAX_HOURS)]
GroupId = Annotated[Reference, Field(description="An approval group")]


def _is_none(value: object) -> bool:
    return value is None


class RuleConditions(Schema):
    """What a document must be like: all that are given must hold, and values inside one are alternatives.

    Without conditions, the rule applies to every document. Those on lines (`category_ids`, `cost_centre_ids`) hold if
    one line matches all of them.
    """

    total_gte: AmountString | None = Field(default=None, exclude_if=_is_none, description=f"{_AMOUNT}; included")
    total_lt: AmountString | None = Field(default=None, exclude_if=_is_none, description=f"{_AMOUNT}; not included")
    amount_basis: AmountBasis = Field(
        default=AmountBasis.DOCUMENT,
        exclude_if=lambda value: value is AmountBasis.DOCUMENT,
        description="Compare the amount of the document, or that of the lines that match",
    )
    cost_centre_ids: References | None = Field(default=None, exclude_if=_is_none, description="And those below them")
    category_ids: References | None = Field(default=None, exclude_if=_is_none, description="And those below them")
    supplier_ids: References | None = Field(default=None, exclude_if=_is_none)
    supplier_is_new: bool | None = Field(
        default=None, exclude_if=_is_none, strict=True, description="Whether a supplier has no issued order yet"
    )
    team_ids: References | None = Field(
        default=None, exclude_if=_is_none, description="Of the requester, and those below them"
    )
    requester_ids: References | None = Field(default=None, exclude_if=_is_none)
    currencies: Annotated[list[KnownCurrency], Field(min_length=1, max_length=MAX_IDS)] | None = Field(
        default=None, exclude_if=_is_none
    )

    @model_validator(mode="after")
    def _band(self) -> "RuleConditions":
        if self.total_gte is not None and self.total_lt is not None and self.total_gte >= self.total_lt:
            raise PydanticCustomError("empty_band", "total_gte must be less than total_lt")
        return self


class UserApprover(Schema):
    """A member."""

    kind: Literal["user"]
    id: Reference


class GroupApprover(Schema):
    """The members of an approval group."""

    kind: Literal["group"]
    id: GroupId


class ManagersApprover(Schema):
    """The requester's manager or, with more `levels`, also the manager of that one, and so on."""

    kind: Literal["requester_manager"]
    levels: Annotated[int, Strict(), Field(ge=1, le=MAX_LEVELS)] = 1


class DerivedApprover(Schema):
    """People who follow from the document.

    `role_approver`: members with the role `approver`; `cost_centre_owner`: the owners of the cost centres of the lines
    that match; `manager_chain`: the requester's managers up to the first whose limit covers the amount;
    `first_qualified_manager`: only that one; `team_lead`: the lead of the requester's team.
    """

    kind: Literal["role_approver", "cost_centre_owner", "manager_chain", "first_qualified_manager", "team_lead"]


Approver = Annotated[UserApprover | GroupApprover | ManagersApprover | DerivedApprover, Field(discriminator="kind")]
Approvers = Annotated[list[Approver], Field(min_length=1, max_length=MAX_APPROVERS)]


class ApprovalRuleCreate(Schema):
    """A rule: who decides on documents that fulfil its conditions."""

    stage: Stage
    position: Place | None = Field(default=None, description="Default: the last of its stage")
    name: RuleName
    conditions: RuleConditions = RuleConditions()
    approvers: Approvers
    required_count: People | None = None
    enforce_limit: bool = Field(default=False, strict=True, description="Only within their approval limits")
    on_empty: OnEmpty = Field(default=OnEmpty.BLOCK, description="Who decides if too few of the people may")
    on_empty_group_id: GroupId | None = None
    remind_after_hours: Hours | None = None
    escalate_after_hours: Hours | None = None
    escalate_to: EscalateTo | None = None
    escalation_group_id: GroupId | None = None
    comment_required: bool = Field(default=False, strict=True)


class ApprovalRuleUpdate(Schema):
    """A merge patch: omitted fields keep their values. `conditions` and `approvers` are replaced as a whole."""

    stage: Stage | MISSING = MISSING
    position: Place | MISSING = MISSING
    name: RuleName | MISSING = MISSING
    conditions: RuleConditions | MISSING = MISSING
    approvers: Approvers | MISSING = MISSING
    required_count: People | None | MISSING = MISSING
    enforce_limit: Annotated[bool, Strict()] | MISSING = MISSING
    on_empty: OnEmpty | MISSING = MISSING
    on_empty_group_id: GroupId | None | MISSING = MISSING
    remind_after_hours: Hours | None | MISSING = MISSING
    escalate_after_hours: Hours | None | MISSING = MISSING
    escalate_to: EscalateTo | None | MISSING = MISSING
    escalation_group_id: GroupId | None | MISSING = MISSING
    comment_required: Annotated[bool, Strict()] | MISSING = MISSING


class ApprovalRuleRead(Schema):
    """A rule."""

    id: int
    stage: int
    position: int
    name: str = Field(examples=["Finance above 10,000"])
    conditions: RuleConditions
    approvers: Approvers
    required_count: int | None
    enforce_limit: bool
    on_empty: OnEmpty
    on_empty_group_id: int | None
    remind_after_hours: int | None
    escalate_after_hours: int | None
    escalate_to: EscalateTo | None
    escalation_group_id: int | None
    comment_required: bool
    created_at: datetime
    updated_at: datetime


class ApprovalRulePage(Page):
    """One page of rules."""

    items: list[ApprovalRuleRead]


_NO_RULE = Field(description="What happens to documents that no rule applies to")
_CARRY = Field(description="Whether a decision counts in the next stage, too, where the same person is asked again")
_PERCENT = Field(description="How much more may be submitted again so that earlier approvals stand")
ReapprovalAmount = Annotated[AmountString, Field(description="The same as an amount in the base currency")]


class ApprovalPolicyCreate(Schema):
    """A draft of a new version: empty, with `rules`, or a copy of another version."""

    from_id: Reference | None = Field(
        default=None, alias="from", description="The version to copy; what else is given replaces what it has"
    )
    document_type: DocumentType = DocumentType.PORF
    no_rule: Annotated[NoRule, _NO_RULE] | MISSING = MISSING
    carry: Annotated[Carry, _CARRY] | MISSING = MISSING
    reapproval_percent: Annotated[ToleranceString, _PERCENT] | MISSING = MISSING
    reapproval_amount: ReapprovalAmount | None | MISSING = MISSING
    rules: Annotated[list[ApprovalRuleCreate], Field(max_length=MAX_RULES)] | MISSING = MISSING


class ApprovalPolicyUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    no_rule: Annotated[NoRule, _NO_RULE] | MISSING = MISSING
    carry: Annotated[Carry, _CARRY] | MISSING = MISSING
    reapproval_percent: Annotated[ToleranceString, _PERCENT] | MISSING = MISSING
    reapproval_amount: ReapprovalAmount | None | MISSING = MISSING


class ApprovalPolicySummary(Schema):
    """A version of the rules in a list. A published one never changes; a retired one stays for the requests that were
    submitted under it."""

    id: int
    document_type: DocumentType
    version_no: int
    status: PolicyStatus
    no_rule: NoRule = _NO_RULE
    carry: Carry = _CARRY
    reapproval_percent: ToleranceString = _PERCENT
    reapproval_amount: ReapprovalAmount | None
    published_at: datetime | None
    published_by_id: int | None
    published_by_name: str | None = Field(examples=["Ada Admin"])
    version: int
    created_at: datetime
    updated_at: datetime


class ApprovalPolicyRead(ApprovalPolicySummary):
    """A version of the rules, in the order of their stages and positions."""

    rules: list[ApprovalRuleRead]


class ApprovalPolicyPublished(ApprovalPolicyRead):
    """A version that was published."""

    open_runs: int = Field(
        description="The number of pending requests, which keep the version they were submitted under"
    )


class ApprovalPolicyPage(Page):
    """One page of versions."""

    items: list[ApprovalPolicySummary]


class PlannedPerson(Schema):
    """A person who has to decide a step."""

    user_id: int
    name: str = Field(examples=["Max Manager"])
    origin: SlotOrigin


class CarriedApproval(Schema):
    """An approval of an earlier submission that would stand for the new one."""

    decision_id: int = Field(description="The decision that was given")
    approver_id: int
    approver_name: str = Field(examples=["Max Manager"])
    on_behalf_of_id: int | None


class PlannedStepRead(Schema):
    """A step that a submission would have. `people` are those of a step of people; a pool has a group or a role."""

    stage: int
    rule_id: int | None
    source: StepSource
    name: str = Field(examples=["Finance above 10,000"])
    kind: StepKind
    required_count: int
    enforce_limit: bool
    comment_required: bool
    is_skipped: bool = Field(description="Too few people may decide it, and its rule skips it then")
    pool_group_id: int | None
    pool_group_name: str | None = Field(examples=["IT board"])
    pool_role: PoolRole | None
    added_by_id: int | None = Field(description="The member who has added the step; null for steps of rules")
    people: list[PlannedPerson]
    carried: list[CarriedApproval] = Field(description="Of a draft that was submitted before")
    is_approved: bool = Field(description="Nobody would be asked: enough approvals would be carried")


class PlanWarning(Schema):
    """What deserves attention; `no_approver`: a submission would be refused."""

    code: Literal["no_approver", "unknown_amount", "limits_too_low", "no_decision"]
    detail: str = Field(examples=['too few people may decide what the rule "Finance" asks for'])


class ApprovalPlanRead(Schema):
    """Who would have to approve a request: the steps in their order. Without a policy, any approver decides."""

    policy_id: int | None
    policy_version_no: int | None
    steps: list[PlannedStepRead]
    warnings: list[PlanWarning]
