"""Bodies of requests and responses about addresses."""

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field, StrictBool

from po_api.addresses.domain import AddressKind
from po_api.organisations.party_schemas import AddressFields, AddressPatch, AddressRead, ContactName, Phone
from po_api.organisations.schemas import Address
from po_api.web.schemas import Page, Title

AddressName = Annotated[Title, Field(description="Printed as the first line", examples=["Acme Ltd, Warehouse North"])]
Lines = Annotated[Address, Field(description="The address in one text, printed if there is no structured one")]


class AddressCreate(AddressFields):
    """A new address."""

    kind: AddressKind
    name: AddressName
    lines: Lines | None = None
    contact: ContactName | None = None
    phone: Phone | None = None
    is_default: StrictBool = False


class AddressUpdate(AddressPatch):
    """A merge patch: omitted fields keep their values."""

    name: AddressName | MISSING = MISSING
    lines: Lines | None | MISSING = MISSING
    contact: ContactName | None | MISSING = MISSING
    phone: Phone | None | MISSING = MISSING
    is_default: StrictBool | MISSING = MISSING


class AddressDetails(AddressRead):
    """An address of the organisation. There is at most one active default of each kind."""

    id: int
    kind: AddressKind
    name: str = Field(examples=["Acme Ltd, Warehouse North"])
    lines: str | None
    contact: str | None
    phone: str | None
    is_default: bool = Field(description="New orders take it unless they or their requests name another one")
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class AddressPage(Page):
    """One page of addresses."""

    items: list[AddressDetails]
