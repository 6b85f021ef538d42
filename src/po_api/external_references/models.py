"""External references: the ids that entities have in other systems."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped

from po_api.db.models import Base, TenantRow


class ExternalReference(TenantRow, Base):
    """The id of a supplier, a request or an order in another system. Rows are added and deleted, never changed."""

    __tablename__ = "external_references"
    __table_args__ = (
        UniqueConstraint("organisation_id", "system", "entity", "external_id", name="uq_external_references_id"),
        ForeignKeyConstraint(["organisation_id", "supplier_id"], ["suppliers.organisation_id", "suppliers.id"]),
        ForeignKeyConstraint(["organisation_id", "porf_id"], ["porfs.organisation_id", "porfs.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"], ["purchase_orders.organisation_id", "purchase_orders.id"]
        ),
        CheckConstraint("num_nonnulls(supplier_id, porf_id, purchase_order_id) = 1", name="one_entity"),
        CheckConstraint(
            "CASE entity WHEN 'supplier' THEN supplier_id IS NOT NULL WHEN 'porf' THEN porf_id IS NOT NULL"
            " WHEN 'purchase_order' THEN purchase_order_id IS NOT NULL ELSE false END",
            name="entity",
        ),
        CheckConstraint("length(system) BETWEEN 1 AND 50", name="system"),
        CheckConstraint("length(external_id) BETWEEN 1 AND 100", name="external_id"),
        Index("ix_external_references_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_external_references_organisation_id_supplier_id", "organisation_id", "supplier_id"),
        Index("ix_external_references_organisation_id_porf_id", "organisation_id", "porf_id"),
        Index("ix_external_references_organisation_id_purchase_order_id", "organisation_id", "purchase_order_id"),
    )

    entity: Mapped[str]
    supplier_id: Mapped[int | None]
    porf_id: Mapped[int | None]
    purchase_order_id: Mapped[int | None]
    system: Mapped[str]
    external_id: Mapped[str]
    created_at: Mapped[datetime]
