"""Bodies of requests and responses about purchase orders."""

from datetime import date, datetime
from typing import Annotated

from pydantic import MISSING, Field

from po_api.core.money import TaxRounding
from po_api.core.parties import Incoterm, Language
from po_api.organisations.party_schemas import AddressRead, PartyRead, PaymentDays, PaymentTerms
from po_api.organisations.schemas import Address, BuyerReference, MailSubject, Place, Terms
from po_api.porfs.content import MAX_LINES
from po_api.porfs.schemas import BASE_NET, AllowedActions, Description, TaxRead
from po_api.purchase_orders.domain import DocumentStatus, OrderDeliveryStatus, PurchaseOrderStatus, TaxCategory
from po_api.web.schemas import (
    AmountString,
    Email,
    IsoDate,
    LongText,
    Page,
    PercentString,
    PriceString,
    QuantityString,
    RateString,
    Reference,
    RemainderString,
    Schema,
    Title,
)


class OrderedLine(Schema):
    """A quantity of a line of a request; without a quantity, all that remains of the line."""

    line_id: Reference
    quantity: QuantityString | None = None


ShortReason = Annotated[Title, Field(examples=["Intra-community supply"])]
OrderedLines = Annotated[list[OrderedLine], Field(max_length=MAX_LINES)]


class ConvertPorf(Schema):
    """The lines of a request to order; without lines, all remaining quantities.

    Omitted terms are those of the supplier (payment) or of the organisation. An omitted delivery address is that of the
    request, or the default one of the organisation.
    """

    supplier_id: Reference | None = Field(
        default=None, description="Required if the request names no supplier", examples=[1]
    )
    lines: OrderedLines = Field(default=[], examples=[[]])
    terms: Terms | None = None
    delivery_address: Address | None = None
    delivery_address_id: Reference | None = Field(
        default=None, description="An active delivery address of the organisation; or `delivery_address`"
    )
    payment_days: PaymentDays | None = None
    payment_terms: PaymentTerms | None = None
    incoterms: Incoterm | None = None
    incoterms_place: Place | None = None
    buyer_reference: BuyerReference | None = None


class PurchaseOrderCreate(ConvertPorf):
    """A purchase order from several requests of one supplier and currency."""

    porf_ids: Annotated[list[Reference], Field(min_length=1, max_length=50)]


class PurchaseOrderUpdate(Schema):
    """A merge patch of a draft: omitted fields keep their values."""

    terms: Terms | None | MISSING = MISSING
    delivery_address: Address | None | MISSING = MISSING
    delivery_address_id: Reference | None | MISSING = MISSING
    payment_days: PaymentDays | None | MISSING = MISSING
    payment_terms: PaymentTerms | None | MISSING = MISSING
    incoterms: Incoterm | None | MISSING = MISSING
    incoterms_place: Place | None | MISSING = MISSING
    buyer_reference: BuyerReference | None | MISSING = MISSING


class PurchaseOrderLineUpdate(Schema):
    """A merge patch of a line of a draft: omitted fields keep their values. An order whose net exceeds what was
    approved is not issued."""

    description: Description | MISSING = MISSING
    quantity: QuantityString | MISSING = Field(
        default=MISSING, description="At most what may still be ordered of the request's line, in addition"
    )
    unit_price: PriceString | MISSING = MISSING
    discount_percent: PercentString | MISSING = MISSING
    tax_rate: PercentString | MISSING = MISSING
    needed_by: IsoDate | None | MISSING = MISSING

    tax_category: TaxCategory | None | MISSING = Field(
        default=MISSING, description="Code of UNCL5305: S for a rate above 0, else Z, E, AE, O, K or G", examples=["S"]
    )
    tax_exemption_reason: ShortReason | None | MISSING = Field(
        default=MISSING, description="With E, AE, O, K and G only"
    )


MailAddresses = Annotated[list[Email], Field(max_length=10)]


class MailRequest(Schema):
    """A mail with the order to its supplier. Without recipients, it goes to the supplier's active contacts for orders,
    or else to `supplier_email`."""

    contact_ids: Annotated[list[Reference], Field(max_length=10)] = Field(
        default=[], description="Active contacts of the supplier for orders", examples=[[1]]
    )
    to: MailAddresses = Field(
        default=[],
        description="Further addresses; others than those of contacts only if the organisation has"
        " `allow_other_recipients`",
        examples=[[]],
    )
    cc: MailAddresses = Field(default=[], description="As `to`, at most 10 recipients in all", examples=[[]])
    subject: MailSubject | None = Field(default=None, examples=["Purchase order PO-2026-000001, as discussed"])
    message: LongText | None = Field(
        default=None, description="Comes before the text of the template", examples=["As discussed on the phone."]
    )
    locale: Language | None = Field(default=None, description="By default that of the supplier, or of the organisation")


class IssueOrder(Schema):
    """What follows the issue."""

    deliver: MailRequest | None = Field(default=None, description="Send the order to the supplier by mail")


class PurchaseOrderLineRead(Schema):
    """A line, with the request's line that it is allocated from."""

    id: int
    position: int
    description: str
    sku: str | None
    quantity: QuantityString
    unit: str
    unit_price: PriceString
    discount_percent: PercentString
    tax_rate: PercentString
    needed_by: date | None = Field(description="The date of the requested line, or else that of its request")
    category_id: int | None
    cost_centre_id: int | None
    cost_centre: str | None = Field(description="The code of the requested line's cost centre", examples=["4711"])
    tax_category: TaxCategory | None = Field(description="Code of UNCL5305", examples=["S"])
    tax_exemption_reason: str | None
    net: AmountString
    porf_id: int
    porf_number: str = Field(examples=["PORF-2026-000001"])
    porf_title: str = Field(examples=["Desk lamps for the new office"])
    porf_line_id: int
    released_quantity: RemainderString = Field(description="Quantity released by cancelling")
    base_net: AmountString | None = BASE_NET


class PurchaseOrderBase(Schema):
    """What a list and a single representation of an order have in common. It has a number once it is issued.

    Requesters see the part of an order that comes from their own requests: amounts, `line_count`, `cost_centres` and
    `delivery_date` are those of its lines.
    """

    id: int
    number: str | None = Field(examples=["PO-2026-000001"])
    status: PurchaseOrderStatus
    revision: int
    supplier_id: int
    supplier_name: str
    currency: str
    net: AmountString
    tax: AmountString = Field(examples=["49.80"])
    total: AmountString = Field(examples=["298.80"])
    base_total: AmountString | None = Field(
        description="`total` in the base currency at the rate of the issue; null before, and where there was no rate",
        examples=["298.80"],
    )
    line_count: int
    is_partial: bool = Field(description="The order has lines of other requests, which the caller does not see")
    cost_centres: list[str] = Field(description="The cost centres of the lines", examples=[["4711"]])
    delivery_date: date | None = Field(description="The earliest date by which a line is needed")
    delivery_status: OrderDeliveryStatus = Field(
        description="`failed`: the last delivery of this revision has failed or bounced; `viewed`: the supplier has"
        " confirmed to have read it",
        examples=["sent"],
    )
    created_by_id: int
    created_by_name: str = Field(examples=["Bo Buyer"])
    version: int
    issued_at: datetime | None
    created_at: datetime
    updated_at: datetime


class PurchaseOrderSummary(PurchaseOrderBase):
    """A purchase order in a list."""

    allowed_actions: list[str] = Field(
        description="What the caller may do now; the order itself says why the rest is not allowed",
        examples=[["issue", "cancel"]],
    )


class OrderWarning(Schema):
    """Something about the order that needs attention. It prevents no action."""

    code: str = Field(
        description="`supplier_without_tax_id`, `supplier_without_vat_id`, `supplier_without_address` or"
        " `supplier_currency`",
        examples=["supplier_without_address"],
    )
    pointer: str = Field(description="RFC 6901 JSON pointer into the order", examples=["/supplier_address"])
    detail: str = Field(examples=["the supplier has no address"])


class BuyerRead(PartyRead):
    """The organisation as the buyer."""

    name: str = Field(examples=["Acme Ltd"])
    tax_id: str | None
    address: str | None = Field(description="In one text, printed if there is no structured address")


class OrderSupplierRead(BuyerRead):
    """The supplier of an order."""

    email: str | None
    currency: str | None


class OrderAddressRead(AddressRead):
    """An address of the organisation."""

    name: str
    lines: str | None
    contact: str | None
    phone: str | None


class OrderParties(Schema):
    """Buyer and supplier, and the addresses of delivery and invoice."""

    buyer: BuyerRead
    supplier: OrderSupplierRead
    delivery: OrderAddressRead | None = Field(description="That of `delivery_address_id`")
    billing: OrderAddressRead | None = Field(description="The organisation's default billing address")


class PurchaseOrderRead(PurchaseOrderBase):
    """A purchase order with its lines.

    `supplier_name` and `supplier_tax_id` are those from its creation. E-mail address, address and `parties` follow the
    supplier while the order is a draft; from then on, `supplier_is_frozen`.
    """

    allowed_actions: AllowedActions
    supplier_email: str | None = Field(examples=["orders@mueller.example"])
    supplier_tax_id: str | None = Field(examples=["DE123456789"])
    supplier_address: str | None = Field(examples=["Hafenstraße 12\n20457 Hamburg"])
    supplier_is_frozen: bool = Field(description="Whether changes of the supplier no longer change the order")
    tax_rounding: TaxRounding
    base_currency: str | None = Field(description="That of the base amounts", examples=["EUR"])
    base_rate: RateString | None = Field(description="Units of the base currency for one unit of `currency`")
    base_rate_date: date | None = Field(description="The day of the exchange rate")
    base_net: AmountString | None
    terms: str | None
    delivery_address: str | None
    delivery_address_id: int | None
    payment_days: int | None = Field(examples=[30])
    payment_terms: str | None
    incoterms: Incoterm | None
    incoterms_place: str | None
    buyer_reference: str | None
    document_status: DocumentStatus | None = Field(
        description="`due`: rendered soon, or by its first reader; `failed`: it could not be rendered, and only the"
        " next reader tries again; null before the issue",
        examples=["stored"],
    )
    document_attempts: int = Field(description="How often rendering was attempted in the background", examples=[1])
    document_error: str | None = Field(
        description="Code of the last attempt's error; null if it succeeded", examples=["document_not_rendered"]
    )
    filed_at: datetime | None = Field(description="When the document was filed in the organisation's folder")
    filed_url: str | None = Field(
        description="Where the filed document is shown; null in a directory",
        examples=["https://drive.google.com/file/d/1AbC_dEf/view"],
    )
    taxes: list[TaxRead]
    lines: list[PurchaseOrderLineRead]
    parties: OrderParties | None = Field(
        description="As they are now while the order is a draft, then frozen; null in orders that were issued before"
        " there were parties"
    )
    warnings: list[OrderWarning]


class PurchaseOrderPage(Page):
    """One page of purchase orders."""

    items: list[PurchaseOrderSummary]
