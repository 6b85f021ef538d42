"""Bodies of requests and responses about suppliers."""

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field

from po_api.members.schemas import Email
from po_api.organisations.schemas import Address
from po_api.web.schemas import Page, Schema, ShortText, Title

SupplierName = Annotated[Title, Field(examples=["Müller & Söhne GmbH"])]


class SupplierCreate(Schema):
    """A new supplier. Its name is unique among active suppliers, regardless of letter case, width, white space and
    characters that are not displayed."""

    name: SupplierName
    email: Email | None = None
    tax_id: ShortText | None = Field(default=None, examples=["DE123456789"])
    address: Address | None = None


class SupplierUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    name: SupplierName | MISSING = MISSING
    email: Email | None | MISSING = MISSING
    tax_id: ShortText | None | MISSING = MISSING
    address: Address | None | MISSING = MISSING


class SupplierRead(Schema):
    """A supplier."""

    id: int
    name: str = Field(examples=["Müller & Söhne GmbH"])
    email: str | None = Field(examples=["orders@mueller.example"])
    tax_id: str | None
    address: str | None
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class SupplierPage(Page):
    """One page of suppliers."""

    items: list[SupplierRead]
