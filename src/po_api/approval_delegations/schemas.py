"""Bodies of requests and responses about delegations."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from po_api.approval_delegations.domain import DelegationWarning
from po_api.web.schemas import Moment, Multiline, Page, Reference, Schema

Reason = Annotated[Multiline, StringConstraints(min_length=1, max_length=1000)]


class DelegationCreate(Schema):
    """A member decides for another one from `starts_at` until before `ends_at`."""

    delegate_id: Reference
    delegator_id: Reference | None = Field(default=None, description="For admins; otherwise the caller")
    starts_at: Moment | None = Field(default=None, description="Now, if it is omitted")
    ends_at: Moment = Field(description="At most 366 days after `starts_at`", examples=["2026-07-15T00:00:00Z"])
    reason: Reason | None = Field(default=None, examples=["holiday"])


class DelegationRead(Schema):
    """A member decides for another one from `starts_at` until before `ends_at`, unless it is revoked."""

    id: int
    delegator_id: int
    delegator_name: str
    delegate_id: int
    delegate_name: str
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    created_by_id: int
    revoked_at: datetime | None
    warning: DelegationWarning | None = Field(
        description="Of a delegation that is not over: its delegate is inactive or lacks the role `approver` now, and"
        " decides nothing"
    )


class DelegationPage(Page):
    """One page of delegations."""

    items: list[DelegationRead]
