"""Bodies of requests and responses about organisations."""

from datetime import datetime
from functools import cache
from typing import Annotated, Self
from zoneinfo import available_timezones

from fastapi import UploadFile
from pydantic import (
    MISSING,
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from po_api.core.money import TaxRounding
from po_api.core.parties import Incoterm, Language
from po_api.core.permissions import Role
from po_api.organisations.domain import Paper
from po_api.organisations.party_schemas import PartyFields, PartyPatch, PartyRead
from po_api.web.schemas import (
    AmountString,
    Currency,
    KnownCurrency,
    LongText,
    Multiline,
    Page,
    Schema,
    ShortText,
    SingleLine,
    Title,
    ToleranceString,
    require_file,
)


@cache
def _timezones() -> frozenset[str]:
    """Reads the whole directory of the time zones, in which time nothing else is answered."""
    return frozenset(available_timezones())


def _known_timezone(name: str) -> str:
    if name not in _timezones():
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
BuyerReference = Annotated[ShortText, Field(description="What invoices have to name", examples=["COST-4711"])]
RateAge = Annotated[int, Strict(), Field(ge=0, le=366)]
Terms = Annotated[LongText, Field(examples=["Payment within 30 days net"])]
Place = Annotated[Title, Field(description="The place that the Incoterms rule names", examples=["Hamburg"])]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$"), Field(examples=["#004a99"])]
# Of a mail; a longer one is cut by programs that show it.
MailSubject = Annotated[SingleLine, StringConstraints(min_length=1, max_length=200)]
FooterLines = Annotated[
    list[Title], Field(max_length=4, description="Printed on every page", examples=[["Acme Ltd · acme.example"]])
]


class MailTemplate(Schema):
    """The texts of a mail in one language. `{number}`, `{revision}`, `{supplier}`, `{total}` and `{needed_by}` are
    replaced, in bodies also `{link}`; a line without a value for one of its placeholders is left out."""

    subject: MailSubject = Field(examples=["Purchase order {number}"])
    body: LongText = Field(examples=["Please find our purchase order {number} attached.\nTotal: {total}"])


MailTemplates = Annotated[
    dict[Language, MailTemplate],
    Field(
        description="By language; a language without one has the built-in text",
        examples=[{"en": {"subject": "Purchase order {number}", "body": "Please find our order {number} attached."}}],
    ),
]


class OrganisationCreate(PartyFields):
    """A new organisation. Omitted fields get their defaults."""

    name: OrganisationName
    currency: Currency = "EUR"
    timezone: Timezone = "UTC"
    tax_rounding: TaxRounding = TaxRounding.DOCUMENT
    over_order_percent: ToleranceString = Field(default="0", validate_default=True)
    max_rate_age_days: RateAge = 7
    max_rate_jump_percent: ToleranceString = Field(default="20", validate_default=True)
    order_price_percent: ToleranceString = Field(default="0", validate_default=True)
    allow_self_approval: StrictBool = False
    allow_override: StrictBool = False
    porf_prefix: Prefix = "PORF"
    po_prefix: Prefix = "PO"
    workspace_folder_id: FolderId | None = None
    tax_id: ShortText | None = None
    address: Address | None = None
    buyer_reference: BuyerReference | None = None
    default_terms: Terms | None = None
    incoterms: Incoterm | None = None
    incoterms_place: Place | None = None
    accent_colour: Colour | None = None
    paper: Paper = Paper.A4
    footer_lines: FooterLines = Field(default=[])


class OrganisationUpdate(PartyPatch):
    """A merge patch: omitted fields keep their values."""

    name: OrganisationName | MISSING = MISSING
    currency: KnownCurrency | MISSING = MISSING
    timezone: Timezone | MISSING = MISSING
    tax_rounding: TaxRounding | MISSING = MISSING
    over_order_percent: ToleranceString | MISSING = MISSING
    max_rate_age_days: RateAge | MISSING = MISSING
    max_rate_jump_percent: ToleranceString | MISSING = MISSING
    order_price_percent: ToleranceString | MISSING = MISSING
    allow_self_approval: StrictBool | MISSING = MISSING
    allow_override: StrictBool | MISSING = MISSING
    porf_prefix: Prefix | MISSING = MISSING
    po_prefix: Prefix | MISSING = MISSING
    workspace_folder_id: FolderId | None | MISSING = MISSING
    tax_id: ShortText | None | MISSING = MISSING
    address: Address | None | MISSING = MISSING
    buyer_reference: BuyerReference | None | MISSING = MISSING
    default_terms: Terms | None | MISSING = MISSING
    incoterms: Incoterm | None | MISSING = MISSING
    incoterms_place: Place | None | MISSING = MISSING
    accent_colour: Colour | None | MISSING = MISSING
    paper: Paper | MISSING = MISSING
    footer_lines: FooterLines | MISSING = MISSING
    allow_other_recipients: StrictBool | MISSING = MISSING
    mail_templates: MailTemplates | MISSING = Field(default=MISSING, description="Replaces all that there are")


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


class OrganisationRead(PartyRead, OrganisationSummary):
    """An organisation; `users` only with `include=users`. The address in one text is printed if there is no structured
    one."""

    workspace_folder_id: str | None
    workspace_folder_verified: bool = Field(description="Documents are filed in the folder only if it is verified")
    tax_rounding: TaxRounding
    over_order_percent: ToleranceString
    max_rate_age_days: int = Field(description="Older exchange rates are not used", examples=[7])
    max_rate_jump_percent: ToleranceString = Field(
        description="An exchange rate that differs by more from the one before has to be confirmed", examples=["20"]
    )
    order_price_percent: ToleranceString = Field(
        description="The net of an order may exceed that of the approved lines by this, in per cent"
    )
    allow_self_approval: bool
    allow_override: bool = Field(description="Admins may approve requests against the rules, with a comment")
    porf_prefix: str
    po_prefix: str
    tax_id: str | None
    address: str | None
    buyer_reference: str | None
    default_terms: str | None
    incoterms: Incoterm | None
    incoterms_place: str | None
    accent_colour: str | None
    paper: Paper
    footer_lines: list[str] = Field(examples=[["Acme Ltd · acme.example"]])
    payment_days: int | None
    payment_terms: str | None
    logo_digest: str | None = Field(
        description="SHA-256 of the logo (hexadecimal); null if there is none", examples=["9f86d081884c7d65"]
    )
    mail_per_day: int | None = Field(
        description="How many mails the operators allow in a day (UTC); null: none", examples=[100]
    )
    allow_other_recipients: bool = Field(
        description="Orders may be sent to other addresses than those of the supplier's contacts"
    )
    mail_templates: MailTemplates
    users: list[Member] | None = None

    @classmethod
    def of(cls, organisation: object) -> Self:
        """`organisation` has the fields as attributes, but for `users`."""
        fields = {name: getattr(organisation, name) for name in cls.model_fields if name != "users"}
        return cls.model_validate(fields)


class OrganisationPage(Page):
    """One page of organisations."""

    items: list[OrganisationSummary]


class LogoBody(BaseModel):
    """The form of an upload."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[UploadFile, BeforeValidator(require_file), Field(description="A PNG image of at most 512 kB")]
