"""Bodies of requests and responses about suppliers."""

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field

from po_api.organisations.party_schemas import ContactName, PartyFields, PartyPatch, PartyRead
from po_api.organisations.schemas import Address
from po_api.suppliers.domain import ContactPurpose
from po_api.web.schemas import Currency, Email, KnownCurrency, Page, Schema, ShortText, Title

ContactEmail = Annotated[Email, Field(examples=["mia@mueller.example"])]
SupplierName = Annotated[Title, Field(examples=["Müller & Söhne GmbH"])]


class SupplierCreate(PartyFields):
    """A new supplier. Its name is unique among active suppliers, regardless of letter case, width, white space and
    characters that are not displayed."""

    name: SupplierName
    email: Email | None = None
    tax_id: ShortText | None = Field(default=None, examples=["DE123456789"])
    address: Address | None = None
    currency: Currency | None = Field(default=None, description="The currency of its invoices")


class SupplierUpdate(PartyPatch):
    """A merge patch: omitted fields keep their values."""

    name: SupplierName | MISSING = MISSING
    email: Email | None | MISSING = MISSING
    tax_id: ShortText | None | MISSING = MISSING
    address: Address | None | MISSING = MISSING
    currency: KnownCurrency | None | MISSING = MISSING


class SupplierRead(PartyRead):
    """A supplier. The address in one text is printed if there is no structured one."""

    id: int
    name: str = Field(examples=["Müller & Söhne GmbH"])
    email: str | None = Field(
        description="The address of the first active contact for orders", examples=["orders@mueller.example"]
    )
    tax_id: str | None
    address: str | None
    currency: str | None
    payment_days: int | None
    payment_terms: str | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class ContactCreate(Schema):
    """A new contact."""

    email: ContactEmail
    name: ContactName | None = None
    purpose: ContactPurpose = ContactPurpose.BOTH


class ContactUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    email: ContactEmail | MISSING = MISSING
    name: ContactName | None | MISSING = MISSING
    purpose: ContactPurpose | MISSING = MISSING


class ContactRead(Schema):
    """A contact of a supplier."""

    id: int
    name: str | None = Field(examples=["Mia Müller"])
    email: str = Field(examples=["mia@mueller.example"])
    purpose: ContactPurpose
    is_active: bool
    created_at: datetime
    updated_at: datetime


class ContactPage(Page):
    """One page of contacts."""

    items: list[ContactRead]


class SupplierPage(Page):
    """One page of suppliers."""

    items: list[SupplierRead]
