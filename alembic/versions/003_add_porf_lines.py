"""PORF lines and the money columns.

A column added with a constant default costs no rewrite of the table, whatever its size. Checks over such columns hold
for every row there is; they are added NOT VALID and validated afterwards, which lets readers and writers go on.

Revises: 002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

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


def add_checks(table: str, checks: dict[str, str]) -> None:
    for name, condition in checks.items():
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def upgrade() -> None:
    op.add_column("organisations", sa.Column("currency", sa.Text, server_default="EUR", nullable=False))
    op.add_column("organisations", sa.Column("tax_rounding", sa.Text, server_default="document", nullable=False))
    op.add_column(
        "organisations", sa.Column("over_order_percent", sa.Numeric(7, 4), server_default="0", nullable=False)
    )
    add_checks("organisations", ORGANISATION_CHECKS)

    op.add_column("porfs", sa.Column("cost_centre", sa.Text))
    op.add_column("porfs", sa.Column("needed_by", sa.Date))
    op.add_column("porfs", sa.Column("currency", sa.Text, server_default="EUR", nullable=False))
    op.add_column("porfs", sa.Column("tax_rounding", sa.Text, server_default="document", nullable=False))
    for amount in ("net", "tax", "total"):
        op.add_column("porfs", sa.Column(amount, sa.Numeric, server_default="0", nullable=False))
    add_checks("porfs", PORF_CHECKS)

    op.create_table(
        "porf_lines",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
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
        sa.Column("created_at", TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "id", name="pk_porf_lines"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name="fk_porf_lines_organisation_id"),
        sa.ForeignKeyConstraint(
            ["organisation_id", "porf_id"],
            ["porfs.organisation_id", "porfs.id"],
            name="fk_porf_lines_organisation_id_porf_id",
            ondelete="CASCADE",
        ),
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
