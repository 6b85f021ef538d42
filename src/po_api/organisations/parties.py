"""The columns that make an organisation or a supplier a legal party, and what is printed of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import CheckConstraint, Integer
from sqlalchemy.orm import Mapped, mapped_column

from po_api.core.parties import Language

LANGUAGES = ", ".join(f"'{language}'" for language in Language)
MAX_PAYMENT_DAYS = 365


class PartyColumns:
    """Everything is optional. `company_scheme` is a code of ISO 6523, `endpoint_scheme` one of Peppol's EAS, `country`
    one of ISO 3166-1. Payment is due within `payment_days`; a text, if there is one, says more."""

    legal_name: Mapped[str | None]
    vat_id: Mapped[str | None]
    company_scheme: Mapped[str | None]
    company_id: Mapped[str | None]
    street: Mapped[str | None]
    street2: Mapped[str | None]
    city: Mapped[str | None]
    postal_code: Mapped[str | None]
    region: Mapped[str | None]
    country: Mapped[str | None]
    contact_name: Mapped[str | None]
    contact_email: Mapped[str | None]
    contact_phone: Mapped[str | None]
    endpoint_scheme: Mapped[str | None]
    endpoint_id: Mapped[str | None]
    language: Mapped[str | None]
    payment_days: Mapped[int | None] = mapped_column(Integer)
    payment_terms: Mapped[str | None]


def party_constraints() -> list[CheckConstraint]:
    """The constraints of `PartyColumns`."""
    return [
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        CheckConstraint("(endpoint_scheme IS NULL) = (endpoint_id IS NULL)", name="endpoint"),
        CheckConstraint("company_scheme IS NULL OR company_id IS NOT NULL", name="company"),
        CheckConstraint(f"language IN ({LANGUAGES})", name="language"),
        CheckConstraint(f"payment_days BETWEEN 0 AND {MAX_PAYMENT_DAYS}", name="payment_days"),
    ]


@dataclass(frozen=True)
class PartyRow:
    """The columns of `PartyColumns` in a row."""

    legal_name: str | None
    vat_id: str | None
    company_scheme: str | None
    company_id: str | None
    street: str | None
    street2: str | None
    city: str | None
    postal_code: str | None
    region: str | None
    country: str | None
    contact_name: str | None
    contact_email: str | None
    contact_phone: str | None
    endpoint_scheme: str | None
    endpoint_id: str | None
    language: str | None
    payment_days: int | None
    payment_terms: str | None


def after_change(party: object, values: Mapping[str, object]) -> Mapping[str, object]:
    """The identifiers of a party as they are after the change of `values`."""
    names = ("endpoint_scheme", "endpoint_id", "company_scheme", "company_id")
    return {name: values[name] if name in values else getattr(party, name, None) for name in names}
