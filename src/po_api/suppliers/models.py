"""The suppliers of an organisation."""

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base, TenantRow, Timestamped, Versioned
from po_api.organisations.parties import PartyColumns, party_constraints


class Supplier(TenantRow, Versioned, Timestamped, PartyColumns, Base):
    """A supplier. `name_key` is that of core/text.py, unique among an organisation's active suppliers."""

    __tablename__ = "suppliers"
    __table_args__ = (
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        *party_constraints(),
        Index(
            "uq_suppliers_organisation_id_name_key",
            "organisation_id",
            "name_key",
            unique=True,
            postgresql_where=text("is_active"),
        ),
        # For lookups of names by id: without it, PostgreSQL may use an index with another order.
        Index("ix_suppliers_organisation_id_id", "organisation_id", "id", postgresql_include=["name"]),
        Index("ix_suppliers_organisation_id_name", "organisation_id", "name", "id"),
        Index("ix_suppliers_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_suppliers_organisation_id_updated_at", "organisation_id", "updated_at", "id"),
    )

    name: Mapped[str]
    name_key: Mapped[str]
    email: Mapped[str | None]
    tax_id: Mapped[str | None]
    address: Mapped[str | None]
    currency: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")


class SupplierContact(TenantRow, Timestamped, Base):
    """An address of a supplier, and what is sent there. A change of it is one of its supplier, with its version.

    The supplier's `email` is the address of its first contact: of those that are active and receive orders, the one
    with the lowest id.
    """

    __tablename__ = "supplier_contacts"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "supplier_id"], ["suppliers.organisation_id", "suppliers.id"]),
        CheckConstraint("email <> '' AND length(email) <= 255", name="email"),
        CheckConstraint("purpose IN ('orders', 'invoices', 'both')", name="purpose"),
        Index("ix_supplier_contacts_supplier_id", "organisation_id", "supplier_id", "created_at", "id"),
        Index(
            "uq_supplier_contacts_email",
            "organisation_id",
            "supplier_id",
            "email",
            unique=True,
            postgresql_where=text("is_active"),
        ),
    )

    supplier_id: Mapped[int]
    name: Mapped[str | None]
    email: Mapped[str]
    purpose: Mapped[str] = mapped_column(default="both", server_default="both")
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
