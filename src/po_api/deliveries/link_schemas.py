"""Bodies of requests and responses of suppliers, who have a link."""

from datetime import date, datetime

from pydantic import Field

from po_api.core.parties import Language
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.web.schemas import AmountString, PercentString, PriceString, QuantityString, Schema, Title


class SupplierLineRead(Schema):
    """A line of the order."""

    position: int
    description: str
    sku: str | None
    quantity: QuantityString
    unit: str = Field(description="Code of UN/ECE Recommendation 20", examples=["C62"])
    unit_price: PriceString
    discount_percent: PercentString
    tax_rate: PercentString
    needed_by: date | None
    net: AmountString


class SupplierOrderRead(Schema):
    """An order as its supplier reads it: what its document says."""

    number: str = Field(examples=["PO-2026-000001"])
    status: PurchaseOrderStatus
    revision: int
    locale: Language = Field(description="The language of the mail")
    buyer_name: str = Field(examples=["Acme Ltd"])
    supplier_name: str
    currency: str
    net: AmountString
    tax: AmountString = Field(examples=["49.80"])
    total: AmountString = Field(examples=["298.80"])
    terms: str | None
    delivery_date: date | None = Field(description="The earliest date by which a line is needed")
    issued_at: datetime
    viewed_at: datetime | None = Field(description="When the supplier confirmed that the order was read")
    viewed_by_name: str | None = Field(examples=["Erika Muster"])
    lines: list[SupplierLineRead]


class SupplierView(Schema):
    """Who has read the order."""

    name: Title = Field(examples=["Erika Muster"])
