"""The basic schema: organisations, users, purchase order requests.

Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organisations",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("workspace_folder_id", sa.Text),
        sa.Column("timezone", sa.Text, server_default="UTC", nullable=False),
        sa.Column("tax_id", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_organisations"),
        sa.CheckConstraint("name <> '' AND length(name) <= 255", name=op.f("ck_organisations_name")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("name", sa.Text, server_default="", nullable=False),
        sa.Column("organisation_id", sa.BigInteger),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name="fk_users_organisation_id"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.UniqueConstraint("organisation_id", "id", name="uq_users_organisation_id_id"),
        sa.CheckConstraint("email <> '' AND length(email) <= 255", name=op.f("ck_users_email")),
    )
    op.create_index("ix_users_organisation_id_name", "users", ["organisation_id", "name", "id"])
    op.create_index("ix_users_organisation_id_created_at", "users", ["organisation_id", "created_at", "id"])
    op.create_table(
        "porfs",
        *ddl.tenant_columns(),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("justification", sa.Text),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("porfs"),
        ddl.tenant_reference("porfs", "user_id", "users"),
        sa.UniqueConstraint("organisation_id", "number", name="uq_porfs_organisation_id_number"),
        sa.CheckConstraint("title <> '' AND length(title) <= 255", name=op.f("ck_porfs_title")),
    )
    op.create_index("ix_porfs_organisation_id_created_at", "porfs", ["organisation_id", "created_at", "id"])
    op.create_index("ix_porfs_organisation_id_updated_at", "porfs", ["organisation_id", "updated_at", "id"])


def downgrade() -> None:
    op.drop_table("porfs")
    op.drop_table("users")
    op.drop_table("organisations")
