"""Purchase orders, their lines, the allocations of requests' lines, and their documents."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA
from sqlalchemy.orm import Mapped, mapped_column, relationship

from po_api.core.parties import Incoterm
from po_api.db.leases import Leased, lease_constraints
from po_api.db.models import Amount, Base, Percent, Quantity, TenantRow, Timestamped, Versioned, optional_reference
from po_api.exchange_rates.models import BaseAmountColumns, base_amount_constraints
from po_api.organisations.parties import LANGUAGES

_INCOTERMS = ", ".join(f"'{rule}'" for rule in Incoterm)


class PurchaseOrder(TenantRow, Versioned, Timestamped, BaseAmountColumns, Base):
    """An order to one supplier, with a supplier snapshot: copies of the supplier's data at the order's creation.
    `supplier_hash` is the digest of its identity then; null in orders of before revision 035.

    Drafts do not show the snapshot's contact data, but the supplier's; the issue renews them.
    `cost_centres` are those of its lines, sorted; `delivery_date` is the earliest date by which a line is needed.
    `parties` are buyer, supplier, delivery and billing address as JSON (projections.parties), frozen like the contact
    data; null in orders that were frozen before revision 036.
    """

    __tablename__ = "purchase_orders"
    __table_args__ = (
        UniqueConstraint("organisation_id", "number"),
        ForeignKeyConstraint(["organisation_id", "supplier_id"], ["suppliers.organisation_id", "suppliers.id"]),
        ForeignKeyConstraint(["organisation_id", "created_by_id"], ["members.organisation_id", "members.user_id"]),
        ForeignKeyConstraint(["organisation_id", "delivery_address_id"], ["addresses.organisation_id", "addresses.id"]),
        CheckConstraint("num_nonnulls(delivery_address_id, delivery_address) <= 1", name="delivery_address"),
        CheckConstraint("payment_days BETWEEN 0 AND 365", name="payment_days"),
        CheckConstraint(f"incoterms IN ({_INCOTERMS})", name="incoterms"),
        CheckConstraint("status IN ('draft', 'issued', 'closed', 'cancelled')", name="status"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("tax_rounding IN ('document', 'line')", name="tax_rounding"),
        CheckConstraint(
            "net >= 0 AND tax >= 0 AND total = net + tax AND total < 1000000000000000 AND scale(total) <= 4",
            name="totals",
        ),
        CheckConstraint("(number IS NULL) = (issued_at IS NULL)", name="number"),
        CheckConstraint("status NOT IN ('issued', 'closed') OR number IS NOT NULL", name="issued"),
        CheckConstraint("status <> 'draft' OR number IS NULL", name="draft"),
        CheckConstraint("revision >= 1", name="revision"),
        CheckConstraint("length(supplier_hash) = 512 AND supplier_hash ~ '^[0-9a-f]+$'", name="supplier_digests"),
        *base_amount_constraints("purchase_orders"),
        Index("ix_purchase_orders_organisation_id_created_at", "organisation_id", "created_at", "id"),
        Index("ix_purchase_orders_organisation_id_updated_at", "organisation_id", "updated_at", "id"),
        Index("ix_purchase_orders_organisation_id_total", "organisation_id", "total", "id"),
        Index("ix_purchase_orders_organisation_id_status", "organisation_id", "status", "created_at", "id"),
        Index("ix_purchase_orders_organisation_id_supplier_id", "organisation_id", "supplier_id", "created_at", "id"),
        Index("ix_purchase_orders_organisation_id_created_by_id", "organisation_id", "created_by_id"),
        Index(
            "ix_purchase_orders_organisation_id_delivery_address_id",
            "organisation_id",
            "delivery_address_id",
            postgresql_where=text("delivery_address_id IS NOT NULL"),
        ),
    )

    number: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    revision: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    supplier_id: Mapped[int]
    supplier_name: Mapped[str]
    supplier_email: Mapped[str | None]
    supplier_tax_id: Mapped[str | None]
    supplier_address: Mapped[str | None]
    supplier_hash: Mapped[str | None]
    created_by_id: Mapped[int]
    currency: Mapped[str]
    tax_rounding: Mapped[str]
    net: Mapped[Decimal] = mapped_column(Amount)
    tax: Mapped[Decimal] = mapped_column(Amount)
    total: Mapped[Decimal] = mapped_column(Amount)
    terms: Mapped[str | None]
    delivery_address: Mapped[str | None]
    delivery_address_id: Mapped[int | None]
    payment_days: Mapped[int | None] = mapped_column(Integer)
    payment_terms: Mapped[str | None]
    incoterms: Mapped[str | None]
    incoterms_place: Mapped[str | None]
    buyer_reference: Mapped[str | None]
    parties: Mapped[str | None]
    delivery_date: Mapped[date | None]
    cost_centres: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    issued_at: Mapped[datetime | None]

    lines: Mapped[list["PurchaseOrderLine"]] = relationship(
        back_populates="purchase_order",
        lazy="raise",
        order_by="PurchaseOrderLine.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class PurchaseOrderLine(TenantRow, Base):
    """An ordered line, with its content at the order's creation.

    `tax_category` is a code of UNCL5305, which the buyer states, with the reason of an exemption.
    The cost centre is that of the requested line, or else of its request, and so is `needed_by`. `cost_centre` is its
    code, or the text of the request.
    """

    __tablename__ = "purchase_order_lines"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"],
            ["purchase_orders.organisation_id", "purchase_orders.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("organisation_id", "purchase_order_id", "position", name="uq_purchase_order_lines_position"),
        CheckConstraint("quantity > 0 AND quantity < 'Infinity'", name="quantity"),
        CheckConstraint("unit_price >= 0 AND unit_price < 'Infinity'", name="unit_price"),
        CheckConstraint("discount_percent BETWEEN 0 AND 100", name="discount_percent"),
        CheckConstraint("tax_rate BETWEEN 0 AND 100", name="tax_rate"),
        CheckConstraint(
            "tax_category IS NULL OR (tax_category = 'S' AND tax_rate > 0)"
            " OR (tax_category IN ('Z', 'E', 'AE', 'O', 'K', 'G') AND tax_rate = 0)",
            name="tax_category",
        ),
        CheckConstraint(
            "tax_exemption_reason IS NULL OR (tax_category IS NOT NULL AND tax_category IN ('E', 'AE', 'O', 'K', 'G'))",
            name="tax_exemption_reason",
        ),
        Index(
            "ix_purchase_order_lines_organisation_id_cost_centre",
            "organisation_id",
            "cost_centre",
            "purchase_order_id",
            postgresql_where=text("cost_centre IS NOT NULL"),
        ),
        *optional_reference("purchase_order_lines", "category_id", "categories", "purchase_order_id"),
        *optional_reference("purchase_order_lines", "cost_centre_id", "cost_centres", "purchase_order_id"),
    )

    purchase_order_id: Mapped[int]
    position: Mapped[int] = mapped_column(Integer)
    description: Mapped[str]
    sku: Mapped[str | None]
    quantity: Mapped[Decimal]
    unit: Mapped[str]
    unit_price: Mapped[Decimal]
    discount_percent: Mapped[Decimal] = mapped_column(Percent)
    tax_rate: Mapped[Decimal] = mapped_column(Percent)
    needed_by: Mapped[date | None]
    category_id: Mapped[int | None]
    cost_centre: Mapped[str | None]
    cost_centre_id: Mapped[int | None]
    tax_category: Mapped[str | None]
    tax_exemption_reason: Mapped[str | None]
    net: Mapped[Decimal] = mapped_column(Amount)

    purchase_order: Mapped[PurchaseOrder] = relationship(back_populates="lines", lazy="raise")
    allocation: Mapped["Allocation"] = relationship(back_populates="purchase_order_line", lazy="raise")


class Allocation(TenantRow, Base):
    """The quantity of a request's line that is allocated to an order's line; cancelling the order releases it."""

    __tablename__ = "allocations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_line_id"],
            ["purchase_order_lines.organisation_id", "purchase_order_lines.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(["organisation_id", "porf_line_id"], ["porf_lines.organisation_id", "porf_lines.id"]),
        UniqueConstraint("organisation_id", "purchase_order_line_id", "porf_line_id", name="uq_allocations_lines"),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("released_quantity BETWEEN 0 AND quantity", name="released_quantity"),
        Index("ix_allocations_organisation_id_porf_line_id", "organisation_id", "porf_line_id"),
    )

    purchase_order_line_id: Mapped[int]
    porf_line_id: Mapped[int]
    quantity: Mapped[Decimal]
    released_quantity: Mapped[Decimal] = mapped_column(Quantity, default=Decimal(0), server_default="0")

    purchase_order_line: Mapped[PurchaseOrderLine] = relationship(back_populates="allocation", lazy="raise")


class PurchaseOrderSheet(TenantRow, Base):
    """What the documents of an issued order are rendered from: its printed texts as JSON, frozen when it was issued,
    and the version of the template. `timezone` is that of the dates, `language` that of the texts; `logo_digest` is the
    logo that the organisation had. Both are null before revision 041, when documents were English and had no logo.
    """

    __tablename__ = "purchase_order_sheets"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"], ["purchase_orders.organisation_id", "purchase_orders.id"]
        ),
        UniqueConstraint("organisation_id", "purchase_order_id", "revision", name="uq_purchase_order_sheets_revision"),
        CheckConstraint("template >= 1", name="template"),
        CheckConstraint(f"language IN ({LANGUAGES})", name="language"),
    )

    purchase_order_id: Mapped[int]
    revision: Mapped[int] = mapped_column(Integer)
    template: Mapped[int] = mapped_column(Integer)
    timezone: Mapped[str]
    sheet: Mapped[str]
    created_at: Mapped[datetime]
    language: Mapped[str | None]
    logo_digest: Mapped[str | None]


class PurchaseOrderFile(TenantRow, Base):
    """A document, byte for byte as it was first rendered or written; `digest` is its SHA-256 (hex)."""

    __tablename__ = "purchase_order_files"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"], ["purchase_orders.organisation_id", "purchase_orders.id"]
        ),
        UniqueConstraint(
            "organisation_id", "purchase_order_id", "revision", "kind", name="uq_purchase_order_files_kind"
        ),
        CheckConstraint("kind IN ('issued', 'cancelled', 'superseded', 'electronic')", name="kind"),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
    )

    purchase_order_id: Mapped[int]
    revision: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(default="issued", server_default="issued")
    content: Mapped[bytes] = mapped_column(BYTEA)
    digest: Mapped[str]
    created_at: Mapped[datetime]


class DocumentRendering(TenantRow, Leased, Base):
    """A document that is rendered by a worker, or was; one that is stored may have none."""

    __tablename__ = "document_renderings"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "purchase_order_id"], ["purchase_orders.organisation_id", "purchase_orders.id"]
        ),
        UniqueConstraint(
            "organisation_id", "purchase_order_id", "revision", "kind", name="uq_document_renderings_kind"
        ),
        CheckConstraint("kind IN ('issued', 'cancelled', 'superseded')", name="kind"),
        CheckConstraint("status IN ('queued', 'done', 'failed')", name="status"),
        *lease_constraints("document_renderings"),
    )

    purchase_order_id: Mapped[int]
    revision: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(sort_order=90)


class DocumentFiling(TenantRow, Leased, Base):
    """A stored document that is filed in the organisation's folder: when it is done, since `finished_at`.

    In Google Drive, `drive_id` is its id there, which is kept before the upload, and `url` its link.
    """

    __tablename__ = "document_filings"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organisation_id", "file_id"], ["purchase_order_files.organisation_id", "purchase_order_files.id"]
        ),
        UniqueConstraint("organisation_id", "file_id", name="uq_document_filings_file_id"),
        CheckConstraint("status IN ('queued', 'held', 'done', 'failed')", name="status"),
        *lease_constraints("document_filings"),
        Index("ix_document_filings_created_at", "organisation_id", "created_at", "id"),
    )

    file_id: Mapped[int]
    drive_id: Mapped[str | None]
    url: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(sort_order=90)
