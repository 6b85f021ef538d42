"""Purchase order requests, their lines and decisions."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.db.models import Amount, Base, Percent, Quantity, TenantRow, Timestamped, Versioned, optional_reference
from po_api.exchange_rates.models import BaseAmountColumns, base_amount_constraints


class Porf(TenantRow, Versioned, Timestamped, BaseAmountColumns, Base):
    """A purchase order request form. `net + tax = total`, in the minor units of `currency`.

    `tax_rounding` is the organisation's setting at creation, stored so that the totals can be recomputed. `author_ids`
    are the members who may not approve it (`approval.authors_of`); none is ever removed. `submitted_at` and
    `decided_at` are the times of the last submission and of the decision in the current round. `over_order_percent` and
    `maximum_total` are fixed by submitting and null in drafts (maximum.py has both for all requests). `base_ceiling` is
    `maximum_total` in the base currency, with which approval limits are compared; fixed like the other base amounts.
    """

    __tablename__ = "porfs"
    __table_args__ = (
        UniqueConstraint("organisation_id", "number"),
        ForeignKeyConstraint(["organisation_id", "requester_id"], ["members.organisation_id", "members.user_id"]),
        ForeignKeyConstraint(["organisation_id", "supplier_id"], ["suppliers.organisation_id", "suppliers.id"]),
        ForeignKeyConstraint(["organisation_id", "delivery_address_id"], ["addresses.organisation_id", "addresses.id"]),
        CheckConstraint("title <> '' AND length(title) <= 255", name="title"),
        CheckConstraint("num_nonnulls(delivery_address_id, delivery_address) <= 1", name="delivery_address"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("tax_rounding IN ('document', 'line')", name="tax_rounding"),
        CheckConstraint(
            "net >= 0 AND tax >= 0 AND total = net + tax AND total < 1000000000000000 AND scale(total) <= 4",
            name="totals",
        ),
        CheckConstraint(
            "status IN ('draft', 'pending', 'approved', 'partially_ordered', 'ordered', 'closed', 'rejected',"
            " 'cancelled')",
            name="status",
        ),
        CheckConstraint("status IN ('draft', 'cancelled') OR submitted_at IS NOT NULL", name="submitted_at"),
        CheckConstraint("status IN ('draft', 'pending', 'cancelled') OR decided_at IS NOT NULL", name="decided_at"),
        CheckConstraint("approval_round >= 1", name="approval_round"),
        CheckConstraint("over_order_percent >= 0", name="over_order_percent"),
        *base_amount_constraints("porfs"),
        Index("ix_porfs_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_porfs_organisation_id_updated_at", "organisation_id", "updated_at", "id"),
        Index("ix_porfs_organisation_id_total", "organisation_id", "total", "id"),
        Index("ix_porfs_organisation_id_status", "organisation_id", "status", "created_at", "id"),
        Index("ix_porfs_organisation_id_requester_id", "organisation_id", "requester_id", "created_at", "id"),
        Index("ix_porfs_organisation_id_supplier_id", "organisation_id", "supplier_id", "created_at", "id"),
        Index(
            "ix_porfs_organisation_id_cost_centre",
            "organisation_id",
            "cost_centre",
            "created_at",
            "id",
            postgresql_where=text("cost_centre IS NOT NULL"),
        ),
        *optional_reference("porfs", "cost_centre_id", "cost_centres", "created_at", "id"),
        Index(
            "ix_porfs_organisation_id_needed_by",
            "organisation_id",
            "needed_by",
            "created_at",
            "id",
            postgresql_where=text("needed_by IS NOT NULL"),
        ),
        Index(
            "ix_porfs_organisation_id_delivery_address_id",
            "organisation_id",
            "delivery_address_id",
            postgresql_where=text("delivery_address_id IS NOT NULL"),
        ),
    )

    number: Mapped[str]
    title: Mapped[str]
    justification: Mapped[str | None]
    cost_centre: Mapped[str | None]
    cost_centre_id: Mapped[int | None]
    needed_by: Mapped[date | None]
    currency: Mapped[str] = mapped_column(default="EUR", server_default="EUR")
    tax_rounding: Mapped[str] = mapped_column(default="document", server_default="document")
    net: Mapped[Decimal] = mapped_column(Amount, default=Decimal(0), server_default="0")
    tax: Mapped[Decimal] = mapped_column(Amount, default=Decimal(0), server_default="0")
    total: Mapped[Decimal] = mapped_column(Amount, default=Decimal(0), server_default="0")
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    requester_id: Mapped[int]
    author_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    supplier_id: Mapped[int | None]
    delivery_address_id: Mapped[int | None]
    delivery_address: Mapped[str | None]
    approval_round: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    over_order_percent: Mapped[Decimal | None] = mapped_column(Percent)
    maximum_total: Mapped[Decimal | None] = mapped_column(Amount)
    base_ceiling: Mapped[Decimal | None] = mapped_column(Amount)

    lines: Mapped[list["PorfLine"]] = relationship(
        back_populates="porf",
        lazy="raise",
        order_by="PorfLine.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class PorfLine(TenantRow, Timestamped, Base):
    """A requested line. `ordered_quantity` is Σ(allocated − released); with `closed_quantity` it never exceeds
    `quantity` plus the tolerance `over_order_percent`, which is the organisation's at the last submission."""

    __tablename__ = "porf_lines"
    __table_args__ = (
        ForeignKeyConstraint(["organisation_id", "porf_id"], ["porfs.organisation_id", "porfs.id"], ondelete="CASCADE"),
        UniqueConstraint("organisation_id", "porf_id", "position", name="uq_porf_lines_position"),
        CheckConstraint("position >= 1", name="position"),
        CheckConstraint("length(description) BETWEEN 1 AND 2000", name="description"),
        CheckConstraint("quantity > 0 AND quantity < 'Infinity'", name="quantity"),
        CheckConstraint("unit ~ '^[A-Z0-9]{2,3}$'", name="unit"),
        CheckConstraint("unit_price >= 0 AND unit_price < 'Infinity'", name="unit_price"),
        CheckConstraint("discount_percent BETWEEN 0 AND 100", name="discount_percent"),
        CheckConstraint("tax_rate BETWEEN 0 AND 100", name="tax_rate"),
        CheckConstraint("over_order_percent >= 0", name="over_order_percent"),
        CheckConstraint("closed_quantity >= 0 AND ordered_quantity >= 0", name="quantities"),
        CheckConstraint(
            "ordered_quantity + closed_quantity <= quantity * (1 + over_order_percent / 100)", name="remaining"
        ),
        Index("ix_porf_lines_organisation_id_porf_id", "organisation_id", "porf_id", "id"),
        *optional_reference("porf_lines", "category_id", "categories", "porf_id"),
        *optional_reference("porf_lines", "cost_centre_id", "cost_centres", "porf_id"),
    )

    porf_id: Mapped[int]
    position: Mapped[int] = mapped_column(Integer)
    description: Mapped[str]
    sku: Mapped[str | None]
    quantity: Mapped[Decimal]
    unit: Mapped[str] = mapped_column(default="C62", server_default="C62")
    unit_price: Mapped[Decimal]
    discount_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    tax_rate: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    needed_by: Mapped[date | None]
    category_id: Mapped[int | None]
    cost_centre_id: Mapped[int | None]
    net: Mapped[Decimal] = mapped_column(Amount)
    over_order_percent: Mapped[Decimal] = mapped_column(Percent, default=Decimal(0), server_default="0")
    closed_quantity: Mapped[Decimal] = mapped_column(Quantity, default=Decimal(0), server_default="0")
    ordered_quantity: Mapped[Decimal] = mapped_column(Quantity, default=Decimal(0), server_default="0")

    porf: Mapped[Porf] = relationship(back_populates="lines", lazy="raise")
