"""Suppliers.

Revises: 001
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "002"
down_revision = "001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suppliers",
        *ddl.tenant_columns(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("tax_id", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("suppliers"),
        sa.CheckConstraint("name <> '' AND length(name) <= 255", name=op.f("ck_suppliers_name")),
    )
    op.create_index(
        "uq_suppliers_organisation_id_name_key",
        "suppliers",
        ["organisation_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_index("ix_suppliers_organisation_id_name", "suppliers", ["organisation_id", "name", "id"])
    op.create_index("ix_suppliers_organisation_id_created_at", "suppliers", ["organisation_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("suppliers")
