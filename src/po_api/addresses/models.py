"""The addresses of an organisation."""

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base, TenantRow, Timestamped, Versioned


class Address(TenantRow, Versioned, Timestamped, Base):
    """Where goods or invoices are sent: structured, or as `lines` of text. New orders take the default address."""

    __tablename__ = "addresses"
    __table_args__ = (
        CheckConstraint("kind IN ('delivery', 'billing')", name="kind"),
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        Index(
            "uq_addresses_default",
            "organisation_id",
            "kind",
            unique=True,
            postgresql_where=text("is_default AND is_active"),
        ),
        Index("ix_addresses_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_addresses_organisation_id_updated_at", "organisation_id", "updated_at", "id"),
        Index("ix_addresses_organisation_id_name", "organisation_id", "name", "id"),
    )

    kind: Mapped[str]
    name: Mapped[str]
    lines: Mapped[str | None]
    street: Mapped[str | None]
    street2: Mapped[str | None]
    city: Mapped[str | None]
    postal_code: Mapped[str | None]
    region: Mapped[str | None]
    country: Mapped[str | None]
    contact: Mapped[str | None]
    phone: Mapped[str | None]
    is_default: Mapped[bool] = mapped_column(default=False, server_default="false")
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
