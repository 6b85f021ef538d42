"""Approval decisions, comments, audit events; the approvers' limits.

Revises: 005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from po_api.operations import ddl

revision = "006"
down_revision = "005"
branch_labels = None
depends_on = None

CHECKS = {"ck_users_approval_limit": "approval_limit >= 0"}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("users", sa.Column("approval_limit", sa.Numeric))
        ddl.add_checks("users", CHECKS)

    op.create_table(
        "approval_decisions",
        *ddl.tenant_columns(),
        sa.Column("porf_id", sa.BigInteger, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("approver_id", sa.BigInteger, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("decided_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("approval_decisions"),
        ddl.tenant_reference("approval_decisions", "porf_id", "porfs"),
        ddl.tenant_reference("approval_decisions", "approver_id", "users"),
        sa.CheckConstraint(
            "decision IN ('approved', 'rejected', 'returned')", name=op.f("ck_approval_decisions_decision")
        ),
        sa.CheckConstraint("content_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_approval_decisions_content_hash")),
        sa.CheckConstraint("decision = 'approved' OR comment IS NOT NULL", name=op.f("ck_approval_decisions_comment")),
    )
    op.create_index(
        "uq_approval_decisions_approved",
        "approval_decisions",
        ["organisation_id", "porf_id", "round"],
        unique=True,
        postgresql_where=sa.text("decision = 'approved'"),
    )
    op.create_index(
        "ix_approval_decisions_organisation_id_porf_id", "approval_decisions", ["organisation_id", "porf_id", "id"]
    )
    op.create_index(
        "ix_approval_decisions_organisation_id_approver_id", "approval_decisions", ["organisation_id", "approver_id"]
    )
    op.create_table(
        "porf_comments",
        *ddl.tenant_columns(),
        sa.Column("porf_id", sa.BigInteger, nullable=False),
        sa.Column("author_id", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("porf_comments"),
        ddl.tenant_reference("porf_comments", "porf_id", "porfs", ondelete="CASCADE"),
        ddl.tenant_reference("porf_comments", "author_id", "users"),
        sa.CheckConstraint("length(text) BETWEEN 1 AND 5000", name=op.f("ck_porf_comments_text")),
    )
    op.create_index(
        "ix_porf_comments_organisation_id_porf_id",
        "porf_comments",
        ["organisation_id", "porf_id", "created_at", "id"],
    )
    op.create_index("ix_porf_comments_organisation_id_author_id", "porf_comments", ["organisation_id", "author_id"])
    op.create_table(
        "audit_events",
        *ddl.tenant_columns(),
        sa.Column("actor_id", sa.BigInteger),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("entity_id", sa.BigInteger, nullable=False),
        sa.Column("before", JSONB),
        sa.Column("after", JSONB),
        sa.Column("request_id", sa.Text),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("audit_events"),
        ddl.tenant_reference("audit_events", "actor_id", "users"),
    )
    op.create_index(
        "ix_audit_events_entity", "audit_events", ["organisation_id", "entity", "entity_id", "created_at", "id"]
    )
    op.create_index(
        "ix_audit_events_organisation_id_created_at", "audit_events", ["organisation_id", "created_at", "id"]
    )
    op.create_index("ix_audit_events_organisation_id_actor_id", "audit_events", ["organisation_id", "actor_id"])


def downgrade() -> None:
    for table in ("audit_events", "porf_comments", "approval_decisions"):
        op.drop_table(table)
    for name in CHECKS:
        op.drop_constraint(op.f(name), "users")
    op.drop_column("users", "approval_limit")
