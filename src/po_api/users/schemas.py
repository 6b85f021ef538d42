"""Bodies of requests and responses about users."""

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from po_api.core.permissions import Role
from po_api.organisations.schemas import Member
from po_api.users.domain import MAX_EMAIL_LENGTH, canonical_email
from po_api.web.schemas import AmountString, Page, Schema, SingleLine, Title, unique


def _address(text: str) -> str:
    try:
        return canonical_email(text)
    except ValueError:
        raise PydanticCustomError("invalid_email", "must be an e-mail address") from None


Email = Annotated[
    SingleLine,
    StringConstraints(max_length=MAX_EMAIL_LENGTH),
    AfterValidator(_address),
    Field(json_schema_extra={"format": "email"}, examples=["ada@example.com"]),
]


Roles = Annotated[list[Role], Field(min_length=1, max_length=10), AfterValidator(unique)]


UserName = Annotated[Title, Field(examples=["Ada Lovelace"])]


class UserInvite(Schema):
    """A new member. The first sign-in with this verified e-mail address accepts the invitation."""

    email: Email
    name: UserName
    roles: Roles = Field(default=[Role.REQUESTER])
    approval_limit: AmountString | None = Field(default=None, description="In the base currency; null means no limit")


class UserUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: UserName | MISSING = MISSING
    roles: Roles | MISSING = MISSING
    approval_limit: AmountString | None | MISSING = MISSING


class PorfReference(Schema):
    """A reference to a purchase order request."""

    id: int
    number: str


class UserNotice(Schema):
    """A consequence of an accepted change that needs attention."""

    code: str = Field(examples=["no_approver_left"])
    detail: str
    porfs: list[PorfReference]


class UserRead(Member):
    """A user."""

    organisation_id: int | None
    version: int
    created_at: datetime
    updated_at: datetime
    warnings: list[UserNotice] = Field(default=[], description="Present only in the response to a change")


class Me(UserRead):
    """The signed-in user."""

    is_operator: bool


class UserPage(Page):
    """One page of users."""

    items: list[UserRead]
