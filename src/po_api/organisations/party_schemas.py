"""Fields of organisations and suppliers as legal parties, in the bodies of requests and responses."""

from typing import Annotated

from pydantic import MISSING, AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from po_api.core.parties import COUNTRIES, ENDPOINT_SCHEMES, Language, vat_id_of
from po_api.organisations.parties import MAX_PAYMENT_DAYS
from po_api.web.schemas import Email, LongText, Schema, ShortText, SingleLine, Title


def _vat_id(text: str) -> str:
    try:
        return vat_id_of(text)
    except ValueError:
        raise PydanticCustomError(
            "invalid_vat_id", "must be a VAT id with the prefix of its country and valid check digits"
        ) from None


def _known_country(code: str) -> str:
    if code not in COUNTRIES:
        raise PydanticCustomError("unknown_country", "must be a country code of ISO 3166-1 alpha-2")
    return code


def _known_endpoint_scheme(code: str) -> str:
    if code not in ENDPOINT_SCHEMES:
        raise PydanticCustomError("unknown_endpoint_scheme", "must be a code of Peppol's Electronic Address Schemes")
    return code


VatId = Annotated[
    SingleLine,
    StringConstraints(max_length=40),
    AfterValidator(_vat_id),
    Field(description="With the prefix of its country; separators are removed", examples=["DE136695976"]),
]
Country = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{2}$"),
    AfterValidator(_known_country),
    Field(description="ISO 3166-1 alpha-2 code", examples=["DE"]),
]
CompanyScheme = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}$"),
    Field(description="ISO 6523 code of the register that `company_id` is from", examples=["0002"]),
]
EndpointScheme = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}$"),
    AfterValidator(_known_endpoint_scheme),
    Field(description="Code of Peppol's Electronic Address Schemes; 0088 is a GLN", examples=["0088"]),
]
CompanyId = Annotated[ShortText, Field(description="Number in a register of companies", examples=["732829320"])]
EndpointId = Annotated[ShortText, Field(description="Address for electronic documents", examples=["5790000436101"])]
LegalName = Annotated[Title, Field(description="Registered name", examples=["Müller & Söhne GmbH & Co. KG"])]
Street = Annotated[Title, Field(examples=["Hafenstraße 12"])]
Street2 = Annotated[Title, Field(examples=["Building C"])]
City = Annotated[ShortText, Field(examples=["Hamburg"])]
PostalCode = Annotated[ShortText, StringConstraints(max_length=20), Field(examples=["20457"])]
Region = Annotated[ShortText, Field(examples=["Hamburg"])]
ContactName = Annotated[Title, Field(examples=["Mia Müller"])]
Phone = Annotated[ShortText, Field(examples=["+49 40 123456"])]
PaymentDays = Annotated[
    int,
    Field(
        ge=0, le=MAX_PAYMENT_DAYS, strict=True, description="Days until payment is due; 0: immediately", examples=[30]
    ),
]
PaymentTerms = Annotated[
    LongText,
    StringConstraints(max_length=500),
    Field(description="Terms of payment in words, which are printed instead of the days", examples=["30 days net"]),
]


class AddressFields(Schema):
    """A structured address; every part is optional."""

    street: Street | None = None
    street2: Street2 | None = None
    city: City | None = None
    postal_code: PostalCode | None = None
    region: Region | None = None
    country: Country | None = None


class AddressPatch(Schema):
    """A merge patch of a structured address."""

    street: Street | None | MISSING = MISSING
    street2: Street2 | None | MISSING = MISSING
    city: City | None | MISSING = MISSING
    postal_code: PostalCode | None | MISSING = MISSING
    region: Region | None | MISSING = MISSING
    country: Country | None | MISSING = MISSING


class AddressRead(Schema):
    """A structured address."""

    street: str | None = Field(examples=["Hafenstraße 12"])
    street2: str | None
    city: str | None = Field(examples=["Hamburg"])
    postal_code: str | None = Field(examples=["20457"])
    region: str | None
    country: str | None = Field(examples=["DE"])


class PartyFields(AddressFields):
    """What a legal document says about a party; every field is optional."""

    legal_name: LegalName | None = None
    vat_id: VatId | None = None
    company_scheme: CompanyScheme | None = None
    company_id: CompanyId | None = None
    contact_name: ContactName | None = None
    contact_email: Email | None = None
    contact_phone: Phone | None = None
    endpoint_scheme: EndpointScheme | None = None
    endpoint_id: EndpointId | None = None
    language: Language | None = None
    payment_days: PaymentDays | None = None
    payment_terms: PaymentTerms | None = None


class PartyPatch(AddressPatch):
    """A merge patch of what a legal document says about a party."""

    legal_name: LegalName | None | MISSING = MISSING
    vat_id: VatId | None | MISSING = MISSING
    company_scheme: CompanyScheme | None | MISSING = MISSING
    company_id: CompanyId | None | MISSING = MISSING
    contact_name: ContactName | None | MISSING = MISSING
    contact_email: Email | None | MISSING = MISSING
    contact_phone: Phone | None | MISSING = MISSING
    endpoint_scheme: EndpointScheme | None | MISSING = MISSING
    endpoint_id: EndpointId | None | MISSING = MISSING
    language: Language | None | MISSING = MISSING
    payment_days: PaymentDays | None | MISSING = MISSING
    payment_terms: PaymentTerms | None | MISSING = MISSING


class PartyRead(AddressRead):
    """What a legal document says about a party."""

    legal_name: str | None
    vat_id: str | None = Field(examples=["DE136695976"])
    company_scheme: str | None
    company_id: str | None
    contact_name: str | None
    contact_email: str | None
    contact_phone: str | None
    endpoint_scheme: str | None
    endpoint_id: str | None
    language: Language | None
