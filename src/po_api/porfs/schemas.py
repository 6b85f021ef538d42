"""Bodies of requests and responses about purchase order requests."""

from datetime import date, datetime
from typing import Annotated

from fastapi import UploadFile
from pydantic import (
    MISSING,
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from po_api.approvals.domain import Decision
from po_api.core.money import TaxRounding
from po_api.organisations.schemas import Address
from po_api.porfs.content import MAX_LINES
from po_api.porfs.domain import PorfStatus, remaining
from po_api.porfs.models import PorfLine
from po_api.porfs.units import is_unit
from po_api.web.schemas import (
    AmountString,
    Currency,
    Id,
    IsoDate,
    KnownCurrency,
    LongText,
    Multiline,
    Page,
    PercentString,
    PriceString,
    QuantityString,
    RateString,
    Reference,
    RemainderString,
    Schema,
    ShortText,
    Title,
    ToleranceString,
    require_file,
)


def _known_unit(code: str) -> str:
    if not is_unit(code):
        raise PydanticCustomError("invalid_unit", "must be a unit code of UN/ECE Recommendation 20")
    return code


Unit = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z0-9]{2,3}$"),
    AfterValidator(_known_unit),
    Field(description="UN/ECE Recommendation 20 code; C62 is a piece", examples=["C62"]),
]
Description = Annotated[Multiline, StringConstraints(min_length=1, max_length=2000), Field(examples=["Desk lamp"])]
PorfTitle = Annotated[Title, Field(examples=["Desk lamps for the new office"])]
LineCostCentre = Annotated[Reference, Field(description="Default: that of the request")]
BASE_NET = Field(
    description="`net` in the base currency, rounded such that the sum is the document's `base_net`",
    examples=["249.00"],
)
NO_PERCENT = Field(default="0", validate_default=True)


class AllowedAction(Schema):
    """Whether the caller may perform the action now; if not, the reason."""

    allowed: bool
    reason: str | None = Field(description="The code of the problem that the action would return")


AllowedActions = Annotated[
    dict[str, AllowedAction], Field(examples=[{"submit": {"allowed": False, "reason": "no_approver"}}])
]


class PorfLineCreate(Schema):
    """A line. `net`, if sent, must equal the computed net."""

    description: Description
    quantity: QuantityString
    unit_price: PriceString
    sku: ShortText | None = Field(default=None, examples=["LAMP-7"])
    unit: Unit = "C62"
    discount_percent: PercentString = NO_PERCENT
    tax_rate: PercentString = NO_PERCENT
    needed_by: IsoDate | None = None
    category_id: Reference | None = None
    cost_centre_id: LineCostCentre | None = None
    net: AmountString | None = None


class PorfLineUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    description: Description | MISSING = MISSING
    quantity: QuantityString | MISSING = MISSING
    unit_price: PriceString | MISSING = MISSING
    sku: ShortText | None | MISSING = MISSING
    unit: Unit | MISSING = MISSING
    discount_percent: PercentString | MISSING = MISSING
    tax_rate: PercentString | MISSING = MISSING
    needed_by: IsoDate | None | MISSING = MISSING
    category_id: Reference | None | MISSING = MISSING
    cost_centre_id: LineCostCentre | None | MISSING = MISSING


class PorfLineRead(Schema):
    """A line. `remaining_quantity` is neither ordered nor closed."""

    id: int
    position: int
    description: str
    sku: str | None
    quantity: QuantityString
    unit: str
    unit_price: PriceString
    discount_percent: PercentString
    tax_rate: PercentString
    needed_by: date | None
    category_id: int | None
    cost_centre_id: int | None
    net: AmountString
    ordered_quantity: RemainderString
    closed_quantity: RemainderString
    remaining_quantity: RemainderString

    @classmethod
    def of(cls, line: PorfLine) -> "PorfLineRead":
        fields = {name: getattr(line, name) for name in cls.model_fields if name != "remaining_quantity"}
        return cls.model_validate({**fields, "remaining_quantity": remaining(line)})


class RequestedLineRead(PorfLineRead):
    """A line of a request as a whole."""

    base_net: AmountString | None = BASE_NET


class PorfLinePage(Page):
    """One page of lines."""

    items: list[PorfLineRead]


class PorfCreate(Schema):
    """A new draft. `total`, if sent, must equal the computed total."""

    title: PorfTitle
    justification: LongText | None = None
    cost_centre: ShortText | None = Field(
        default=None, description="A code or another text. Default: the caller's cost centre", examples=["4711"]
    )
    cost_centre_id: Reference | None = Field(default=None, description="An active cost centre; or its code")
    needed_by: IsoDate | None = None
    currency: Currency | None = Field(default=None, description="Default: the organisation's base currency")
    supplier_id: Reference | None = None
    delivery_address_id: Reference | None = Field(
        default=None, description="An active delivery address of the organisation; or `delivery_address`"
    )
    delivery_address: Address | None = Field(default=None, description="Where to deliver, in one text")
    total: AmountString | None = None
    lines: Annotated[list[PorfLineCreate], Field(max_length=MAX_LINES)] = Field(
        default=[],
        examples=[[{"description": "Desk lamp", "quantity": "10", "unit_price": "24.90", "tax_rate": "20"}]],
    )


class ImportPorfBody(BaseModel):
    """The form of an import: a file of lines, and the header. An empty field counts as omitted."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[UploadFile, BeforeValidator(require_file)]
    title: PorfTitle
    justification: LongText | MISSING = MISSING
    cost_centre: ShortText | MISSING = MISSING
    cost_centre_id: Id | MISSING = MISSING
    needed_by: IsoDate | MISSING = MISSING
    currency: Currency | MISSING = MISSING
    supplier_id: Id | MISSING = MISSING
    delivery_address_id: Id | MISSING = MISSING
    delivery_address: Address | MISSING = MISSING

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, fields: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in fields.items() if value != "" or name not in cls.model_fields}


class PorfUpdate(Schema):
    """A merge patch of a draft's header: omitted fields keep their values. Lines are a resource of their own."""

    title: PorfTitle | MISSING = MISSING
    justification: LongText | None | MISSING = MISSING
    cost_centre: ShortText | None | MISSING = MISSING
    cost_centre_id: Reference | None | MISSING = MISSING
    needed_by: IsoDate | None | MISSING = MISSING
    currency: KnownCurrency | MISSING = MISSING
    supplier_id: Reference | None | MISSING = MISSING
    delivery_address_id: Reference | None | MISSING = MISSING
    delivery_address: Address | None | MISSING = MISSING


class PorfBase(Schema):
    """What a list and a single representation of a request have in common."""

    id: int
    number: str = Field(examples=["PORF-2026-000001"])
    title: str
    status: PorfStatus
    requester_id: int
    requester_name: str = Field(examples=["Rosa Requester"])
    supplier_id: int | None
    supplier_name: str | None = Field(examples=["Müller & Söhne GmbH"])
    cost_centre: str | None
    needed_by: date | None
    currency: str
    total: AmountString = Field(examples=["298.80"])
    version: int
    submitted_at: datetime | None = Field(description="The last submission in the current approval round")
    decided_at: datetime | None = Field(description="The approval or rejection in the current approval round")
    created_at: datetime
    updated_at: datetime


class PorfSummary(PorfBase):
    """A purchase order request in a list."""

    allowed_actions: list[str] = Field(
        description="What the caller may do now, but for actions on steps; the request itself has these, too, and says"
        " why the rest is not allowed",
        examples=[["submit", "cancel"]],
    )


class TaxRead(Schema):
    """The tax at one rate."""

    rate: PercentString
    net: AmountString
    tax: AmountString = Field(examples=["49.80"])


class LimitRead(Schema):
    """An approval limit, in the organisation's base currency."""

    amount: AmountString | None = Field(description="null is no limit", examples=["5000.00"])
    currency: str = Field(examples=["EUR"])


class DecisionRead(Schema):
    """A decision of an approver."""

    decision: Decision
    approver_id: int
    approver_name: str = Field(examples=["Ada Approver"])
    on_behalf_of_id: int | None = Field(
        description="The member on whose behalf the approver decided; null if the approver decided as themselves"
    )
    on_behalf_of_name: str | None = Field(examples=["Max Manager"])
    approver_limit: LimitRead | None = Field(
        description="The approval limit that applied to the decision: that of the approver, or of the member on whose"
        " behalf they decided. Null if it was not recorded. Only admins, auditors and the member whose limit it is see"
        " it"
    )
    comment: str | None
    decided_at: datetime


class MemberReference(Schema):
    """A member of the organisation."""

    id: int
    name: str = Field(examples=["Ada Approver"])


class EligibleApprovers(Schema):
    """The active members who may approve a request now."""

    count: int
    members: list[MemberReference] | None = Field(
        description="At most 20, by name. Shown to admins and auditors, since it follows from limits"
    )


class PorfRead(PorfBase):
    """A purchase order request with its lines."""

    line_count: int
    allowed_actions: AllowedActions
    justification: str | None = Field(examples=["The new office opens in December"])
    cost_centre_id: int | None = Field(description="The cost centre, if there is one with the code `cost_centre`")
    delivery_address_id: int | None
    delivery_address: str | None
    net: AmountString
    tax: AmountString = Field(examples=["49.80"])
    approval_round: int
    tax_rounding: TaxRounding
    over_order_percent: ToleranceString = Field(
        description="Orders may exceed quantities by this tolerance, in per cent: the organisation's at the submission,"
        " which is approved with the request; in drafts, the organisation's present one"
    )
    maximum_total: AmountString = Field(
        description="The total with all quantities exceeded by the tolerance", examples=["298.80"]
    )
    base_currency: str | None = Field(description="That of the base amounts", examples=["EUR"])
    base_rate: RateString | None = Field(description="Units of the base currency for one unit of `currency`")
    base_rate_date: date | None = Field(description="The day of the exchange rate")
    base_net: AmountString | None
    base_total: AmountString | None = Field(
        description="`total` in the base currency at the rate of the submission; null in drafts, and where there was no"
        " rate",
        examples=["298.80"],
    )
    base_ceiling: AmountString | None = Field(
        description="`maximum_total` in the base currency, with which approval limits are compared", examples=["298.80"]
    )
    decisions: list[DecisionRead] = Field(
        description="The decisions in the current approval round, the latest first; at most 20"
    )
    approvers: EligibleApprovers | None = Field(description="Who is asked for approval; null unless pending")
    taxes: list[TaxRead]
    lines: list[RequestedLineRead]


class PorfPage(Page):
    """One page of purchase order requests."""

    items: list[PorfSummary]


class ActionNote(Schema):
    """The comment on an action. Required to reject or return a request, and to cancel an issued order."""

    comment: LongText | None = Field(default=None, examples=["Please use the framework contract"])


class DecisionNote(ActionNote):
    """The comment on a decision, and the step that it is about: by default all that ask the caller."""

    step_id: Reference | None = Field(default=None, description="A step of `/porfs/{porf_id}/approval`")


class Reassignment(Schema):
    """The new requester."""

    requester_id: Reference
