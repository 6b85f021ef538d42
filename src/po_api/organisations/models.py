"""The organisation: a tenant and its rules."""

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.core.parties import Incoterm
from po_api.db.models import Base, GlobalRow, Percent, TenantRow, Timestamped, Versioned
from po_api.organisations.domain import is_verified
from po_api.organisations.parties import PartyColumns, party_constraints

if TYPE_CHECKING:
    from po_api.users.models import User

MAX_LOGO_BYTES = 512 * 1024
_INCOTERMS = ", ".join(f"'{rule}'" for rule in Incoterm)


class Organisation(GlobalRow, Versioned, Timestamped, PartyColumns, Base):
    """A tenant: `currency` is its base currency (ISO 4217), `timezone` (IANA) determines the year in numbers.

    The exchange rate of a document is at most `max_rate_age_days` old; one that differs by more than
    `max_rate_jump_percent` from the one before has to be confirmed. The net of an order may exceed that of what was
    approved by `order_price_percent`.
    `allow_override`: admins may approve against the rules, with a comment.
    New orders take its terms of delivery and payment; `payment_days` and `payment_terms` where their supplier has none.
    `logo_digest` is the SHA-256 (hex) of the logo, `accent_colour` of its documents is #rrggbb.
    `workspace_folder_id` is the folder in Google Drive for its documents, which is used once it is the verified one.
    Mail is sent only if operators have allowed it: at most `mail_per_day`. `mail_templates` are its texts by language.
    """

    __tablename__ = "organisations"
    __table_args__ = (
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("tax_rounding IN ('document', 'line')", name="tax_rounding"),
        CheckConstraint("over_order_percent >= 0", name="over_order_percent"),
        CheckConstraint("porf_prefix ~ '^[A-Z0-9]{1,10}$' AND po_prefix ~ '^[A-Z0-9]{1,10}$'", name="prefixes"),
        CheckConstraint("max_rate_age_days BETWEEN 0 AND 366", name="max_rate_age_days"),
        CheckConstraint("max_rate_jump_percent >= 0", name="max_rate_jump_percent"),
        CheckConstraint("order_price_percent >= 0", name="order_price_percent"),
        CheckConstraint(f"incoterms IN ({_INCOTERMS})", name="incoterms"),
        CheckConstraint("paper IN ('a4', 'letter')", name="paper"),
        CheckConstraint("accent_colour ~ '^#[0-9a-f]{6}$'", name="accent_colour"),
        CheckConstraint("cardinality(footer_lines) <= 4", name="footer_lines"),
        CheckConstraint("mail_per_day >= 1", name="mail_per_day"),
        CheckConstraint("jsonb_typeof(mail_templates) = 'object'", name="mail_templates"),
        *party_constraints(),
        # Partial: an update of a column that a foreign key could refer to would wait for the rows of tenants.
        Index(
            "uq_organisations_verified_folder_id",
            "verified_folder_id",
            unique=True,
            postgresql_where=text("verified_folder_id IS NOT NULL"),
        ),
    )

    name: Mapped[str]
    workspace_folder_id: Mapped[str | None]
    verified_folder_id: Mapped[str | None]
    timezone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    currency: Mapped[str] = mapped_column(default="EUR", server_default="EUR")
    tax_rounding: Mapped[str] = mapped_column(default="document", server_default="document")
    over_order_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    max_rate_age_days: Mapped[int] = mapped_column(Integer, default=7, server_default="7")
    max_rate_jump_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(20), server_default="20")
    order_price_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    allow_self_approval: Mapped[bool] = mapped_column(default=False, server_default="false")
    allow_override: Mapped[bool] = mapped_column(default=False, server_default="false")
    porf_prefix: Mapped[str] = mapped_column(default="PORF", server_default="PORF")
    po_prefix: Mapped[str] = mapped_column(default="PO", server_default="PO")
    tax_id: Mapped[str | None]
    address: Mapped[str | None]
    buyer_reference: Mapped[str | None]
    default_terms: Mapped[str | None]
    incoterms: Mapped[str | None]
    incoterms_place: Mapped[str | None]
    accent_colour: Mapped[str | None]
    paper: Mapped[str] = mapped_column(default="a4", server_default="a4")
    footer_lines: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default="{}")
    logo_digest: Mapped[str | None]
    mail_per_day: Mapped[int | None] = mapped_column(Integer)
    allow_other_recipients: Mapped[bool] = mapped_column(default=False, server_default="false")
    mail_templates: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict, server_default="{}")

    users: Mapped[list["User"]] = relationship(back_populates="organisation", lazy="raise")

    @property
    def workspace_folder_verified(self) -> bool:
        return is_verified(self.workspace_folder_id, self.verified_folder_id)


class OrganisationLogo(TenantRow, Base):
    """The logo of an organisation: a PNG image, byte for byte as it was uploaded."""

    __tablename__ = "organisation_logos"
    __table_args__ = (
        UniqueConstraint("organisation_id"),
        CheckConstraint(f"octet_length(content) BETWEEN 1 AND {MAX_LOGO_BYTES}", name="content"),
    )

    content: Mapped[bytes] = mapped_column(BYTEA)


class DocumentLogo(TenantRow, Base):
    """A logo that documents print: each that the organisation had since revision 041, with its SHA-256 (hex). Rows are
    only ever added: an issued order keeps the logo of its issue."""

    __tablename__ = "document_logos"
    __table_args__ = (
        UniqueConstraint("organisation_id", "digest"),
        CheckConstraint(f"octet_length(content) BETWEEN 1 AND {MAX_LOGO_BYTES}", name="content"),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
    )

    digest: Mapped[str]
    content: Mapped[bytes] = mapped_column(BYTEA)


class NumberSeries(Base):
    """The next number of one kind of document in one period (a year of the organisation's time zone)."""

    __tablename__ = "number_series"
    __table_args__ = (
        CheckConstraint("document_type IN ('porf', 'purchase_order')", name="document_type"),
        CheckConstraint("next_value >= 1", name="next_value"),
    )

    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    document_type: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    next_value: Mapped[int]
