"""Purchase orders, their lines, allocations to PORF lines, issued documents and number series.

Revises: 004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP

from po_api.operations import ddl

revision = "005"
down_revision = "004"
branch_labels = None
depends_on = None

CHECKS = {"ck_organisations_prefixes": "porf_prefix ~ '^[A-Z0-9]{1,10}$' AND po_prefix ~ '^[A-Z0-9]{1,10}$'"}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "organisations",
            sa.Column("porf_prefix", sa.Text, server_default="PORF", nullable=False),
            sa.Column("po_prefix", sa.Text, server_default="PO", nullable=False),
        )
        ddl.add_checks("organisations", CHECKS)

    op.create_table(
        "number_series",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("document_type", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("next_value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "document_type", "period", name="pk_number_series"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name="fk_number_series_organisation_id"),
        sa.CheckConstraint("document_type IN ('porf', 'purchase_order')", name=op.f("ck_number_series_document_type")),
        sa.CheckConstraint("next_value >= 1", name=op.f("ck_number_series_next_value")),
    )
    op.create_table(
        "purchase_orders",
        *ddl.tenant_columns(),
        sa.Column("number", sa.Text),
        sa.Column("status", sa.Text, server_default="draft", nullable=False),
        sa.Column("revision", sa.Integer, server_default="1", nullable=False),
        sa.Column("supplier_id", sa.BigInteger, nullable=False),
        sa.Column("supplier_name", sa.Text, nullable=False),
        sa.Column("supplier_email", sa.Text),
        sa.Column("supplier_tax_id", sa.Text),
        sa.Column("supplier_address", sa.Text),
        sa.Column("created_by_id", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("tax_rounding", sa.Text, nullable=False),
        sa.Column("net", sa.Numeric, nullable=False),
        sa.Column("tax", sa.Numeric, nullable=False),
        sa.Column("total", sa.Numeric, nullable=False),
        sa.Column("terms", sa.Text),
        sa.Column("delivery_address", sa.Text),
        sa.Column("issued_at", TIMESTAMP(timezone=True)),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("purchase_orders"),
        ddl.tenant_reference("purchase_orders", "supplier_id", "suppliers"),
        ddl.tenant_reference("purchase_orders", "created_by_id", "users"),
        sa.UniqueConstraint("organisation_id", "number", name="uq_purchase_orders_organisation_id_number"),
        sa.CheckConstraint(
            "status IN ('draft', 'issued', 'closed', 'cancelled')", name=op.f("ck_purchase_orders_status")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_purchase_orders_currency")),
        sa.CheckConstraint("tax_rounding IN ('document', 'line')", name=op.f("ck_purchase_orders_tax_rounding")),
        sa.CheckConstraint(
            "net >= 0 AND tax >= 0 AND total = net + tax AND total < 1000000000000000 AND scale(total) <= 4",
            name=op.f("ck_purchase_orders_totals"),
        ),
        sa.CheckConstraint("(number IS NULL) = (issued_at IS NULL)", name=op.f("ck_purchase_orders_number")),
        sa.CheckConstraint(
            "status NOT IN ('issued', 'closed') OR number IS NOT NULL", name=op.f("ck_purchase_orders_issued")
        ),
        sa.CheckConstraint("status <> 'draft' OR number IS NULL", name=op.f("ck_purchase_orders_draft")),
        sa.CheckConstraint("revision >= 1", name=op.f("ck_purchase_orders_revision")),
    )
    for suffix, columns in {
        "created_at": ["created_at", "id"],
        "updated_at": ["updated_at", "id"],
        "total": ["total", "id"],
        "status": ["status", "created_at", "id"],
        "supplier_id": ["supplier_id", "created_at", "id"],
        "created_by_id": ["created_by_id"],
    }.items():
        op.create_index(
            f"ix_purchase_orders_organisation_id_{suffix}", "purchase_orders", ["organisation_id", *columns]
        )
    op.create_table(
        "purchase_order_lines",
        *ddl.tenant_columns(),
        sa.Column("purchase_order_id", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("sku", sa.Text),
        sa.Column("quantity", sa.Numeric(18, 4), nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("unit_price", sa.Numeric(18, 4), nullable=False),
        sa.Column("discount_percent", sa.Numeric(7, 4), nullable=False),
        sa.Column("tax_rate", sa.Numeric(7, 4), nullable=False),
        sa.Column("needed_by", sa.Date),
        sa.Column("net", sa.Numeric, nullable=False),
        *ddl.tenant_constraints("purchase_order_lines"),
        ddl.tenant_reference("purchase_order_lines", "purchase_order_id", "purchase_orders", ondelete="CASCADE"),
        sa.UniqueConstraint(
            "organisation_id",
            "purchase_order_id",
            "position",
            name="uq_purchase_order_lines_position",
        ),
        sa.CheckConstraint("quantity > 0 AND quantity < 'Infinity'", name=op.f("ck_purchase_order_lines_quantity")),
        sa.CheckConstraint(
            "unit_price >= 0 AND unit_price < 'Infinity'", name=op.f("ck_purchase_order_lines_unit_price")
        ),
        sa.CheckConstraint("discount_percent BETWEEN 0 AND 100", name=op.f("ck_purchase_order_lines_discount_percent")),
        sa.CheckConstraint("tax_rate BETWEEN 0 AND 100", name=op.f("ck_purchase_order_lines_tax_rate")),
    )
    op.create_table(
        "allocations",
        *ddl.tenant_columns(),
        sa.Column("purchase_order_line_id", sa.BigInteger, nullable=False),
        sa.Column("porf_line_id", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.Numeric(18, 4), nullable=False),
        sa.Column("released_quantity", sa.Numeric(18, 4), server_default="0", nullable=False),
        *ddl.tenant_constraints("allocations"),
        ddl.tenant_reference("allocations", "purchase_order_line_id", "purchase_order_lines", ondelete="CASCADE"),
        ddl.tenant_reference("allocations", "porf_line_id", "porf_lines"),
        sa.UniqueConstraint(
            "organisation_id",
            "purchase_order_line_id",
            "porf_line_id",
            name="uq_allocations_lines",
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_allocations_quantity")),
        sa.CheckConstraint("released_quantity BETWEEN 0 AND quantity", name=op.f("ck_allocations_released_quantity")),
    )
    op.create_index("ix_allocations_organisation_id_porf_line_id", "allocations", ["organisation_id", "porf_line_id"])
    op.create_table(
        "purchase_order_files",
        *ddl.tenant_columns(),
        sa.Column("purchase_order_id", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("content", BYTEA, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("purchase_order_files"),
        ddl.tenant_reference("purchase_order_files", "purchase_order_id", "purchase_orders"),
        sa.UniqueConstraint(
            "organisation_id",
            "purchase_order_id",
            "revision",
            name="uq_purchase_order_files_revision",
        ),
        sa.CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name=op.f("ck_purchase_order_files_digest")),
    )


def downgrade() -> None:
    for table in ("purchase_order_files", "allocations", "purchase_order_lines", "purchase_orders", "number_series"):
        op.drop_table(table)
    for name in CHECKS:
        op.drop_constraint(op.f(name), "organisations")
    op.drop_column("organisations", "po_prefix")
    op.drop_column("organisations", "porf_prefix")
