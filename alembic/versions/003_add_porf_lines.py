"""PORF lines and the money columns.

Revises: 002
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "003"
down_revision = "002"
branch_labels = None
depends_on = None

ORGANISATION_CHECKS = {
    "ck_organisations_currency": "currency ~ '^[A-Z]{3}$'",
    "ck_organisations_tax_rounding": "tax_rounding IN ('document', 'line')",
    "ck_organisations_over_order_percent": "over_order_percent >= 0",
}
PORF_CHECKS = {
    "ck_porfs_currency": "currency ~ '^[A-Z]{3}$'",
    "ck_porfs_tax_rounding": "tax_rounding IN ('document', 'line')",
    "ck_porfs_totals": (
        "net >= 0 AND tax >= 0 AND total = net + tax AND total < 1000000000000000 AND scale(total) <= 4"
    ),
}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "organisations",
            sa.Column("currency", sa.Text, server_default="EUR", nullable=False),
            sa.Column("tax_rounding", sa.Text, server_default="document", nullable=False),
            sa.Column("over_order_percent", sa.Numeric(7, 4), server_default="0", nullable=False),
        )
        ddl.add_checks("organisations", ORGANISATION_CHECKS)
        ddl.add_columns(
            "porfs",
            sa.Column("cost_centre", sa.Text),
            sa.Column("needed_by", sa.Date),
            sa.Column("currency", sa.Text, server_default="EUR", nullable=False),
            sa.Column("tax_rounding", sa.Text, server_default="document", nullable=False),
            *(sa.Column(amount, sa.Numeric, server_default="0", nullable=False) for amount in ("net", "tax", "total")),
        )
        ddl.add_checks("porfs", PORF_CHECKS)

    op.create_table(
        "porf_lines",
        *ddl.tenant_columns(),
        sa.Column("porf_id", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("sku", sa.Text),
        sa.Column("quantity", sa.Numeric(18, 4), nullable=False),
        sa.Column("unit", sa.Text, server_default="C62", nullable=False),
        sa.Column("unit_price", sa.Numeric(18, 4), nullable=False),
        sa.Column("discount_percent", sa.Numeric(7, 4), server_default="0", nullable=False),
        sa.Column("tax_rate", sa.Numeric(7, 4), server_default="0", nullable=False),
        sa.Column("needed_by", sa.Date),
        sa.Column("net", sa.Numeric, nullable=False),
        sa.Column("over_order_percent", sa.Numeric(7, 4), server_default="0", nullable=False),
        sa.Column("closed_quantity", sa.Numeric(18, 4), server_default="0", nullable=False),
        sa.Column("ordered_quantity", sa.Numeric(18, 4), server_default="0", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("porf_lines"),
        ddl.tenant_reference("porf_lines", "porf_id", "porfs", ondelete="CASCADE"),
        sa.UniqueConstraint(
            "organisation_id",
            "porf_id",
            "position",
            name="uq_porf_lines_position",
        ),
        sa.CheckConstraint("position >= 1", name=op.f("ck_porf_lines_position")),
        sa.CheckConstraint("length(description) BETWEEN 1 AND 2000", name=op.f("ck_porf_lines_description")),
        sa.CheckConstraint("quantity > 0 AND quantity < 'Infinity'", name=op.f("ck_porf_lines_quantity")),
        sa.CheckConstraint("unit ~ '^[A-Z0-9]{2,3}$'", name=op.f("ck_porf_lines_unit")),
        sa.CheckConstraint("unit_price >= 0 AND unit_price < 'Infinity'", name=op.f("ck_porf_lines_unit_price")),
        sa.CheckConstraint("discount_percent BETWEEN 0 AND 100", name=op.f("ck_porf_lines_discount_percent")),
        sa.CheckConstraint("tax_rate BETWEEN 0 AND 100", name=op.f("ck_porf_lines_tax_rate")),
        sa.CheckConstraint("over_order_percent >= 0", name=op.f("ck_porf_lines_over_order_percent")),
        sa.CheckConstraint("closed_quantity >= 0 AND ordered_quantity >= 0", name=op.f("ck_porf_lines_quantities")),
        sa.CheckConstraint(
            "ordered_quantity + closed_quantity <= quantity * (1 + over_order_percent / 100)",
            name=op.f("ck_porf_lines_remaining"),
        ),
    )
    op.create_index("ix_porf_lines_organisation_id_porf_id", "porf_lines", ["organisation_id", "porf_id", "id"])


def downgrade() -> None:
    op.drop_table("porf_lines")
    for name in PORF_CHECKS:
        op.drop_constraint(op.f(name), "porfs")
    for column in ("total", "tax", "net", "tax_rounding", "currency", "needed_by", "cost_centre"):
        op.drop_column("porfs", column)
    for name in ORGANISATION_CHECKS:
        op.drop_constraint(op.f(name), "organisations")
    for column in ("over_order_percent", "tax_rounding", "currency"):
        op.drop_column("organisations", column)
