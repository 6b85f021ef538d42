"""The suppliers of an organisation."""

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from po_api.db.models import Base, TenantRow, Timestamped, Versioned


class Supplier(TenantRow, Versioned, Timestamped, Base):
    """A supplier. `name_key` is that of core/text.py, unique among an organisation's active suppliers."""

    __tablename__ = "suppliers"
    __table_args__ = (
        CheckConstraint("name <> '' AND length(name) <= 255", name="name"),
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
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
