"""Files of requests, orders and comments; the content of each is stored once in an organisation.

Revises: 048
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP

from po_api.operations import ddl

revision = "049"
down_revision = "048"
branch_labels = None
depends_on = None

expands = True
loses = "the files of requests, orders and comments"
lost_rows = ("blobs", "attachments")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
PLACES = {"porf_id": "porfs", "purchase_order_id": "purchase_orders", "comment_id": "porf_comments"}
# Drafts of requests can be deleted.
DELETED_WITH_IT = {"porf_id", "comment_id"}
CHECKS = {
    "owner": "num_nonnulls(porf_id, purchase_order_id, comment_id) = 1",
    "name": "length(name) BETWEEN 1 AND 255",
    "visibility": "visibility IN ('internal', 'supplier')",
    "supplier": "visibility = 'internal' OR purchase_order_id IS NOT NULL",
    "frozen": "frozen_revision IS NULL OR (visibility = 'supplier' AND deleted_at IS NULL)",
    "deleted": "(deleted_at IS NULL) = (deleted_by_id IS NULL)",
}


def reference(column: str, table: str, key: str = "id", *, cascades: bool = False) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        [f"{table}.organisation_id", f"{table}.{key}"],
        name=f"fk_attachments_organisation_id_{column}",
        ondelete="CASCADE" if cascades else None,
    )


def upgrade() -> None:
    ddl.create_tenant_table(
        "blobs",
        *ddl.tenant_columns(),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("content", BYTEA, nullable=False),
        *ddl.tenant_constraints("blobs"),
        sa.UniqueConstraint("organisation_id", "digest", name="uq_blobs_organisation_id_digest"),
        sa.CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name=op.f("ck_blobs_digest")),
        sa.CheckConstraint("size = octet_length(content) AND size BETWEEN 1 AND 20971520", name=op.f("ck_blobs_size")),
    )
    ddl.create_tenant_table(
        "attachments",
        *ddl.tenant_columns(),
        *(sa.Column(name, sa.BigInteger) for name in PLACES),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("name", "media_type", "digest")),
        sa.Column("visibility", sa.Text, server_default="internal", nullable=False),
        sa.Column("frozen_revision", sa.Integer),
        sa.Column("uploaded_by_id", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("deleted_at", TIMESTAMP(timezone=True)),
        sa.Column("deleted_by_id", sa.BigInteger),
        *ddl.tenant_constraints("attachments"),
        *(reference(column, table, cascades=column in DELETED_WITH_IT) for column, table in PLACES.items()),
        reference("digest", "blobs", "digest"),
        reference("uploaded_by_id", "members", "user_id"),
        reference("deleted_by_id", "members", "user_id"),
        *(sa.CheckConstraint(condition, name=op.f(f"ck_attachments_{name}")) for name, condition in CHECKS.items()),
    )
    for column in PLACES:
        op.create_index(
            f"ix_attachments_{column}",
            "attachments",
            ["organisation_id", column, "created_at", "id"],
            postgresql_where=f"{column} IS NOT NULL",
        )
    for column, where in (("digest", None), ("uploaded_by_id", None), ("deleted_by_id", "deleted_by_id IS NOT NULL")):
        name = f"ix_attachments_organisation_id_{column}"
        op.create_index(name, "attachments", ["organisation_id", column], postgresql_where=where)
    for table in ("blobs", "attachments"):
        op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("attachments")
    op.drop_table("blobs")
