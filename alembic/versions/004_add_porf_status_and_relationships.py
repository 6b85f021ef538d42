"""PORF status fields; links to requester, supplier and organisation.

The author (`user_id`) becomes the requester. The column is only renamed, last of all: nothing has to be copied while
others write, and up to that moment there is no second column for them to leave empty.

Revises: 003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "004"
down_revision = "003"
branch_labels = None
depends_on = None

CHECKS = {
    "ck_porfs_status": (
        "status IN ('draft', 'pending', 'approved', 'partially_ordered', 'ordered', 'closed', 'rejected', 'cancelled')"
    ),
    "ck_porfs_submitted_at": "status IN ('draft', 'cancelled') OR submitted_at IS NOT NULL",
    "ck_porfs_decided_at": "status IN ('draft', 'pending', 'cancelled') OR decided_at IS NOT NULL",
    "ck_porfs_approval_round": "approval_round >= 1",
}
INDEXES = {
    "ix_porfs_organisation_id_total": "organisation_id, total, id",
    "ix_porfs_organisation_id_status": "organisation_id, status, created_at, id",
    "ix_porfs_organisation_id_requester_id": "organisation_id, user_id, created_at, id",
    "ix_porfs_organisation_id_supplier_id": "organisation_id, supplier_id, created_at, id",
}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "organisations", sa.Column("allow_self_approval", sa.Boolean, server_default=sa.false(), nullable=False)
        )
        ddl.add_columns(
            "porfs",
            sa.Column("status", sa.Text, server_default="draft", nullable=False),
            sa.Column("supplier_id", sa.BigInteger),
            sa.Column("approval_round", sa.Integer, server_default="1", nullable=False),
            sa.Column("submitted_at", TIMESTAMP(timezone=True)),
            sa.Column("decided_at", TIMESTAMP(timezone=True)),
        )
        ddl.add_checks("porfs", CHECKS)
        ddl.add_tenant_reference("porfs", "supplier_id", "suppliers")
        for name, columns in INDEXES.items():
            ddl.create_index(name, f"porfs ({columns})")

    rename_author("user_id", "requester_id")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "porfs")
    for name in CHECKS:
        op.drop_constraint(op.f(name), "porfs")
    for column in ("decided_at", "submitted_at", "approval_round", "supplier_id", "status"):
        op.drop_column("porfs", column)
    op.drop_column("organisations", "allow_self_approval")
    rename_author("requester_id", "user_id")


def rename_author(old: str, new: str) -> None:
    op.execute(f"ALTER TABLE porfs RENAME COLUMN {old} TO {new}")
    op.execute(f"ALTER TABLE porfs RENAME CONSTRAINT fk_porfs_organisation_id_{old} TO fk_porfs_organisation_id_{new}")
    # From PostgreSQL 18 on, NOT NULL is a constraint that has a name.
    op.execute(
        f"""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'porfs_{old}_not_null') THEN
                ALTER TABLE porfs RENAME CONSTRAINT porfs_{old}_not_null TO porfs_{new}_not_null;
            END IF;
        END $$
        """
    )
