"""Bodies of requests and responses about invitations."""

from datetime import datetime
from typing import Annotated, Protocol, Self

from pydantic import AfterValidator, Field

from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.members.domain import InvitationStatus, Invited, status_of
from po_api.web.schemas import AmountString, Email, Page, Schema, unique

Roles = Annotated[list[Role], Field(min_length=1, max_length=10), AfterValidator(unique)]


class InvitationCreate(Schema):
    """An invitation of the person who signs in with this verified e-mail address."""

    email: Email
    roles: Roles = Field(default=[Role.REQUESTER])
    approval_limit: AmountString | None = Field(default=None, description="In the base currency; null means no limit")


class Inviter(Schema):
    """The member who sent an invitation."""

    id: int
    name: str = Field(examples=["Ada Lovelace"])


class Shown(Invited, Protocol):
    """An invitation, with the fields of `InvitationRead` as attributes."""

    @property
    def invited_by_id(self) -> int: ...


class InvitationRead(Schema):
    """An invitation. It says nothing about whether the person has an account."""

    id: int
    email: str
    roles: list[Role]
    approval_limit: AmountString | None
    status: InvitationStatus
    invited_by: Inviter
    expires_at: datetime
    accepted_at: datetime | None
    declined_at: datetime | None
    revoked_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Shown, *, invited_by_name: str) -> Self:
        computed = {"status", "invited_by"}
        fields = {name: getattr(row, name) for name in cls.model_fields if name not in computed}
        inviter = Inviter(id=row.invited_by_id, name=invited_by_name)
        return cls.model_validate({**fields, "status": status_of(row, utc_now()), "invited_by": inviter})


class InvitationPage(Page):
    """One page of invitations."""

    items: list[InvitationRead]
