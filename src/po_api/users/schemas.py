"""Bodies of requests and responses about users."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import MISSING, Field, StrictBool

from po_api.core.permissions import Role
from po_api.db.listeners import ChangeWarning
from po_api.members.schemas import Roles
from po_api.organisations.schemas import Member
from po_api.users.queries import AccountRow, MemberRow, OpenInvitation, ShownMember
from po_api.web.schemas import AmountString, Email, Page, Reference, Schema, Title

UserName = Annotated[Title, Field(examples=["Ada Lovelace"])]


class UserCreate(Schema):
    """A new account, with the rights in its organisation."""

    email: Email
    name: UserName
    roles: Roles


class UserUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: UserName | MISSING = MISSING
    roles: Roles | MISSING = MISSING
    approval_limit: AmountString | None | MISSING = MISSING
    team_id: Reference | None | MISSING = MISSING
    manager_id: Reference | None | MISSING = MISSING
    default_cost_centre_id: Reference | None | MISSING = MISSING


class PorfReference(Schema):
    """A reference to a purchase order request."""

    id: int
    number: str


class UserNotice(Schema):
    """A consequence of an accepted change that needs attention."""

    code: str = Field(examples=["no_approver_left"])
    detail: str
    porfs: list[PorfReference]

    @classmethod
    def of(cls, warning: ChangeWarning) -> Self:
        porfs = [PorfReference(id=porf_id, number=number) for porf_id, number in warning.porfs]
        return cls(code=warning.code, detail=warning.detail, porfs=porfs)


def fields_of(shown: ShownMember, schema: type[Schema]) -> dict[str, object]:
    """The fields of the schema that the reader may see of a member."""
    fields: dict[str, object] = shown.member._asdict() | {"last_login": shown.last_login}
    hidden = () if shown.shows_rights else ("approval_limit", "last_login")
    return {name: value for name, value in fields.items() if name in schema.model_fields and name not in hidden}


class UserRead(Member):
    """A member of an organisation, also after they have left it."""

    organisation_id: int
    team_id: int | None
    manager_id: int | None
    default_cost_centre_id: int | None = Field(description="New requests that name no cost centre take it")
    version: int
    created_at: datetime
    updated_at: datetime
    warnings: list[UserNotice] = Field(default=[], description="Present only in the response to a change")

    @classmethod
    def of(cls, shown: ShownMember, warnings: Sequence[ChangeWarning] = ()) -> Self:
        notices = [UserNotice.of(warning) for warning in warnings]
        return cls.model_validate({**fields_of(shown, cls), "warnings": notices})


class Me(Schema):
    """The signed-in user, and what they are in their organisation: without one, the roles are empty."""

    id: int
    email: str
    name: str = Field(examples=["Ada Lovelace"])
    organisation_id: int | None
    roles: list[Role]
    approval_limit: AmountString | None
    is_active: bool
    is_operator: bool
    last_login: datetime | None
    joined_at: datetime | None
    team_id: int | None
    manager_id: int | None
    default_cost_centre_id: int | None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, account: AccountRow, member: MemberRow | None) -> Self:
        names = ("approval_limit", "joined_at", "team_id", "manager_id", "default_cost_centre_id")
        without = {"roles": (), **dict.fromkeys(names)}
        fields = {**without, **account._asdict(), **(member._asdict() if member else {})}
        return cls.model_validate({name: fields[name] for name in cls.model_fields})


class UserPage(Page):
    """One page of users."""

    items: list[UserRead]


class InvitingOrganisation(Schema):
    """The organisation that a person is invited to."""

    id: int
    name: str = Field(examples=["Acme Ltd"])


class MyInvitation(Schema):
    """An open invitation of the signed-in user's address."""

    id: int
    organisation: InvitingOrganisation
    roles: list[Role]
    approval_limit: AmountString | None = Field(description="In that organisation's base currency; null is no limit")
    invited_by: str = Field(description="Name of the member who sent the invitation", examples=["Ada Lovelace"])
    expires_at: datetime
    version: int

    @classmethod
    def of(cls, row: OpenInvitation) -> Self:
        organisation = InvitingOrganisation(id=row.organisation_id, name=row.organisation_name)
        taken = {"id", "roles", "approval_limit", "expires_at", "version"}
        fields = {name: value for name, value in row._asdict().items() if name in taken}
        return cls.model_validate({**fields, "organisation": organisation, "invited_by": row.invited_by_name})


class MyInvitations(Schema):
    """All open invitations of the signed-in user's address."""

    items: list[MyInvitation]


class InvitationAnswer(Schema):
    """Whether to leave the present organisation."""

    leave: StrictBool = Field(
        default=False, description="Required to be true for a member of another organisation, which is left"
    )
