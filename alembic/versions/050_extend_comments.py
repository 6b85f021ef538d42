"""Comments on orders; comments that mention members, and can be edited and deleted for a while.

The table of the comments keeps its name: the version before adds to it and reads from it, meanwhile, what is about
requests. It shows a comment that was deleted without its text.

Revises: 049
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "050"
down_revision = "049"
branch_labels = None
depends_on = None

expands = True
loses = "comments on orders, deleted comments, mentions in comments and the times of edits"
NEW = "purchase_order_id IS NOT NULL OR num_nonnulls(deleted_at, deleted_by_id) > 0"
lost_rows = ("comment_mentions", f"porf_comments WHERE {NEW} OR edited_at IS NOT NULL OR version > 1")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
COLUMNS = ("purchase_order_id", "version", "edited_at", "deleted_at", "deleted_by_id")
CHECKS = {
    "document": "num_nonnulls(porf_id, purchase_order_id) = 1",
    "deleted": "(text IS NULL) = (deleted_at IS NOT NULL)",
    "deleted_by": "(deleted_at IS NULL) = (deleted_by_id IS NULL)",
}
INDEXES = {"purchase_order_id": "purchase_order_id, created_at, id", "deleted_by_id": "deleted_by_id"}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "porf_comments",
            sa.Column("purchase_order_id", sa.BigInteger),
            sa.Column("version", sa.Integer, server_default="1", nullable=False),
            *(sa.Column(name, TIMESTAMP(timezone=True)) for name in ("edited_at", "deleted_at")),
            sa.Column("deleted_by_id", sa.BigInteger),
        )
        # What the version before reads is about a request; its text is missing only once this version has deleted it.
        nullable = (f"ALTER TABLE porf_comments ALTER COLUMN {column} DROP NOT NULL" for column in ("porf_id", "text"))
        ddl.as_one(*nullable)
        for name, condition in CHECKS.items():
            ddl.add_check("porf_comments", f"ck_porf_comments_{name}", condition)
        ddl.add_reference("porf_comments", "purchase_order_id", "purchase_orders (organisation_id, id)")
        ddl.add_reference("porf_comments", "deleted_by_id", "members (organisation_id, user_id)")
        for column, columns in INDEXES.items():
            on = f"porf_comments (organisation_id, {columns}) WHERE {column} IS NOT NULL"
            ddl.create_index(f"ix_porf_comments_organisation_id_{column}", on)
    ddl.create_tenant_table(
        "comment_mentions",
        *ddl.tenant_columns(),
        sa.Column("comment_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        *ddl.tenant_constraints("comment_mentions"),
        sa.ForeignKeyConstraint(
            ["organisation_id", "comment_id"],
            ["porf_comments.organisation_id", "porf_comments.id"],
            name="fk_comment_mentions_organisation_id_comment_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id", "user_id"],
            ["members.organisation_id", "members.user_id"],
            name="fk_comment_mentions_organisation_id_user_id",
        ),
        sa.UniqueConstraint("organisation_id", "comment_id", "user_id", name="uq_comment_mentions_user_id"),
    )
    op.create_index(
        "ix_comment_mentions_organisation_id_user_id", "comment_mentions", ["organisation_id", "user_id", "comment_id"]
    )
    op.execute(f"CREATE POLICY tenant ON comment_mentions USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE comment_mentions ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("comment_mentions")
    # With their files, which refer to them.
    op.execute(f"DELETE FROM porf_comments WHERE {NEW}")
    for name in CHECKS:
        op.drop_constraint(f"ck_porf_comments_{name}", "porf_comments")
    for name in reversed(COLUMNS):
        op.drop_column("porf_comments", name)
    for column in ("text", "porf_id"):
        op.alter_column("porf_comments", column, nullable=False)
