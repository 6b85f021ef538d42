"""Bodies of requests and responses about the organisation's structure."""

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, AfterValidator, Field

from po_api.structure.domain import MAX_GROUP_MEMBERS
from po_api.web.schemas import Page, Reference, Schema, ShortText, Title, unique

Code = Annotated[ShortText, Field(description="Fixed: documents and other systems keep it", examples=["4711"])]
CostCentreName = Annotated[Title, Field(examples=["Facilities"])]
CategoryName = Annotated[Title, Field(examples=["Office supplies"])]
TeamName = Annotated[Title, Field(examples=["Design"])]
GroupName = Annotated[Title, Field(examples=["IT board"])]
MemberIds = Annotated[list[Reference], Field(max_length=MAX_GROUP_MEMBERS), AfterValidator(unique)]


class CostCentreCreate(Schema):
    """A new cost centre."""

    code: Code
    name: CostCentreName
    parent_id: Reference | None = None
    owner_id: Reference | None = None


class CostCentreUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: CostCentreName | MISSING = MISSING
    parent_id: Reference | None | MISSING = MISSING
    owner_id: Reference | None | MISSING = MISSING


class CostCentreRead(Schema):
    """A cost centre. A parent covers those below it."""

    id: int
    code: str = Field(examples=["4711"])
    name: str = Field(examples=["Facilities"])
    parent_id: int | None
    owner_id: int | None = Field(description="The member who answers for it")
    owner_name: str | None = Field(examples=["Olga Owner"])
    owner_is_active: bool | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class CostCentrePage(Page):
    """One page of cost centres."""

    items: list[CostCentreRead]


class CategoryCreate(Schema):
    """A new category."""

    code: Code
    name: CategoryName
    parent_id: Reference | None = None


class CategoryUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: CategoryName | MISSING = MISSING
    parent_id: Reference | None | MISSING = MISSING


class CategoryRead(Schema):
    """A category of goods and services. A parent covers those below it."""

    id: int
    code: str = Field(examples=["4711"])
    name: str = Field(examples=["Office supplies"])
    parent_id: int | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class CategoryPage(Page):
    """One page of categories."""

    items: list[CategoryRead]


class TeamCreate(Schema):
    """A new team."""

    name: TeamName
    parent_id: Reference | None = None
    lead_id: Reference | None = None


class TeamUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: TeamName | MISSING = MISSING
    parent_id: Reference | None | MISSING = MISSING
    lead_id: Reference | None | MISSING = MISSING


class TeamRead(Schema):
    """A team; its members are found by `GET /users?team_id=`."""

    id: int
    name: str = Field(examples=["Design"])
    parent_id: int | None
    lead_id: int | None
    lead_name: str | None = Field(examples=["Lea Lead"])
    lead_is_active: bool | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class TeamPage(Page):
    """One page of teams."""

    items: list[TeamRead]


class ApprovalGroupCreate(Schema):
    """A new approval group."""

    name: GroupName
    member_ids: MemberIds = Field(default=[])


class ApprovalGroupUpdate(Schema):
    """A merge patch: omitted fields keep their values. `member_ids` are all members."""

    name: GroupName | MISSING = MISSING
    member_ids: MemberIds | MISSING = MISSING


class ApprovalGroupSummary(Schema):
    """An approval group in a list."""

    id: int
    name: str = Field(examples=["IT board"])
    member_count: int
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class GroupMember(Schema):
    """A member of an approval group; one who is not active decides nothing."""

    id: int
    name: str = Field(examples=["Ada Approver"])
    is_active: bool


class ApprovalGroupRead(ApprovalGroupSummary):
    """An approval group with its members, by name."""

    members: list[GroupMember]


class ApprovalGroupPage(Page):
    """One page of approval groups."""

    items: list[ApprovalGroupSummary]
