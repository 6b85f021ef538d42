"""Bodies of requests and responses about organisations."""

from datetime import datetime
from typing import Annotated, Self
from zoneinfo import available_timezones

from pydantic import MISSING, AfterValidator, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from po_api.core.money import TaxRounding
from po_api.core.permissions import Role
from po_api.web.schemas import (
    AmountString,
    Currency,
    KnownCurrency,
    Multiline,
    Page,
    Schema,
    ShortText,
    Title,
    ToleranceString,
)


def _known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise PydanticCustomError("unknown_timezone", "must be a time zone of the IANA database")
    return name


Timezone = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_known_timezone), Field(examples=["Europe/London"])
]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,10}$"), Field(examples=["PO"])]
FolderId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$"), Field(examples=["1AbC_dEf"])]
Address = Annotated[
    Multiline, StringConstraints(min_length=1, max_length=1000), Field(examples=["1 High Street\nLondon"])
]


OrganisationName = Annotated[Title, Field(examples=["Acme Ltd"])]


class OrganisationCreate(Schema):
    """A new organisation. Omitted fields get their defaults."""

    name: OrganisationName
    currency: Currency = "EUR"
    timezone: Timezone = "UTC"
    tax_rounding: TaxRounding = TaxRounding.DOCUMENT
    over_order_percent: ToleranceString = Field(default="0", validate_default=True)
    allow_self_approval: StrictBool = False
    porf_prefix: Prefix = "PORF"
    po_prefix: Prefix = "PO"
    workspace_folder_id: FolderId | None = None
    tax_id: ShortText | None = None
    address: Address | None = None


class OrganisationUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: OrganisationName | MISSING = MISSING
    currency: KnownCurrency | MISSING = MISSING
    timezone: Timezone | MISSING = MISSING
    tax_rounding: TaxRounding | MISSING = MISSING
    over_order_percent: ToleranceString | MISSING = MISSING
    allow_self_approval: StrictBool | MISSING = MISSING
    porf_prefix: Prefix | MISSING = MISSING
    po_prefix: Prefix | MISSING = MISSING
    workspace_folder_id: FolderId | None | MISSING = MISSING
    tax_id: ShortText | None | MISSING = MISSING
    address: Address | None | MISSING = MISSING


class OrganisationSummary(Schema):
    """An organisation in a list."""

    id: int
    name: str = Field(examples=["Acme Ltd"])
    currency: str
    timezone: str
    version: int
    created_at: datetime
    updated_at: datetime


class Member(Schema):
    """A user as a member of an organisation."""

    id: int
    email: str
    name: str = Field(examples=["Ada Lovelace"])
    roles: list[Role]
    approval_limit: AmountString | None | MISSING = Field(
        default=MISSING, description="In the base currency; null is no limit. Shown to admins, auditors and the member"
    )
    is_active: bool
    joined_at: datetime
    left_at: datetime | None
    last_login: datetime | None | MISSING = Field(
        default=MISSING, description="Shown to admins, auditors and the member"
    )


class OrganisationRead(OrganisationSummary):
    """An organisation; `users` only with `include=users`."""

    workspace_folder_id: str | None
    tax_rounding: TaxRounding
    over_order_percent: ToleranceString
    allow_self_approval: bool
    porf_prefix: str
    po_prefix: str
    tax_id: str | None
    address: str | None
    users: list[Member] | None = None

    @classmethod
    def of(cls, organisation: object) -> Self:
        """`organisation` has the fields as attributes, but for `users`."""
        fields = {name: getattr(organisation, name) for name in cls.model_fields if name != "users"}
        return cls.model_validate(fields)


class OrganisationPage(Page):
    """One page of organisations."""

    items: list[OrganisationSummary]
