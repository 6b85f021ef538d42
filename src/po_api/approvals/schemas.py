"""Representations of approvals."""

from datetime import datetime

from pydantic import Field

from po_api.approval_policies.domain import PoolRole, SlotOrigin, StepKind, StepSource
from po_api.approvals.domain import (
    Decision,
    DecisionSource,
    RunStatus,
    SkipReason,
    SlotStatus,
    StepStatus,
    StepWarning,
    TimerKind,
)
from po_api.web.schemas import AmountString, Page, Schema


class ApprovalPersonRead(Schema):
    """A person of a step, and why they are asked."""

    user_id: int
    name: str = Field(examples=["Max Manager"])
    origin: SlotOrigin
    status: SlotStatus


class StepTimerRead(Schema):
    """When a step is due for its reminder `n`, or for its escalation, and when that was."""

    kind: TimerKind
    n: int
    due_at: datetime
    done_at: datetime | None


class StepDecisionRead(Schema):
    """A decision on a step. A carried one stands for what its approver has decided elsewhere."""

    id: int
    decision: Decision
    source: DecisionSource
    approver_id: int
    approver_name: str = Field(examples=["Ada Approver"])
    on_behalf_of_id: int | None = Field(description="The member for whom the approver decided, if not for themselves")
    on_behalf_of_name: str | None = Field(examples=["Max Manager"])
    carried_from_id: int | None = Field(description="The decision that was given")
    comment: str | None
    decided_at: datetime


class ApprovalStepRead(Schema):
    """A step of an approval. Steps of lower stages are decided first, those of one stage at the same time."""

    id: int
    stage: int
    position: int
    rule_id: int | None
    source: StepSource
    name: str = Field(examples=["Owner of the cost centre"])
    kind: StepKind
    pool_group_id: int | None
    pool_group_name: str | None = Field(examples=["IT board"])
    pool_role: PoolRole | None
    required_count: int = Field(description="How many have to approve")
    enforce_limit: bool = Field(description="Approvers need a limit that permits the amount")
    comment_required: bool
    status: StepStatus
    skip_reason: SkipReason | None
    added_by_id: int | None = Field(description="The member who has added the step; null for steps of rules")
    added_by_name: str | None = Field(examples=["Bo Buyer"])
    warning: StepWarning | None = Field(
        description="Of an open step: too few of its people are left, and an admin has to reassign it"
    )
    activated_at: datetime | None
    closed_at: datetime | None
    people: list[ApprovalPersonRead] = Field(
        description="Empty for a pool, whose members are those of now, but for those of an escalation"
    )
    timers: list[StepTimerRead] = Field(description="Of an active step")
    decisions: list[StepDecisionRead]


class ApprovalRunRead(Schema):
    """The approval of one submission."""

    id: int
    run_no: int
    round: int
    status: RunStatus
    policy_id: int | None = Field(description="The approval policy that it follows; null without one")
    policy_version_no: int | None
    base_total: AmountString | None = Field(description="In the base currency", examples=["298.80"])
    base_ceiling: AmountString | None = Field(description="What can be ordered at most, in the base currency")
    submitted_by_id: int
    submitted_by_name: str = Field(examples=["Rosa Requester"])
    submitted_version: int = Field(description="Decisions accept the versions of the request from this one on")
    opened_at: datetime
    closed_at: datetime | None
    steps: list[ApprovalStepRead]


class ApprovalRunPage(Page):
    """One page of approvals."""

    items: list[ApprovalRunRead]
