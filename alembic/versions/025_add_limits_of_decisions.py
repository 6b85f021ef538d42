"""The limits that decisions were made with, and indexes for the filters of the audit trail.

The version before goes on writing decisions without the limit, which are shown like those of today.

Revises: 024
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "025"
down_revision = "024"
branch_labels = None
depends_on = None

expands = True
loses = "the approval limits that decisions were made with"
lost_rows = ("approval_decisions WHERE approver_limit IS NOT NULL OR limit_currency IS NOT NULL",)

INDEXES = {
    "ix_audit_events_action": "(organisation_id, action, created_at, id)",
    "ix_audit_events_actor": "(organisation_id, actor_id, created_at, id)",
    "ix_audit_events_actor_kind": "(organisation_id, actor_kind, created_at, id) WHERE actor_kind <> 'member'",
}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("approval_decisions", sa.Column("approver_limit", sa.Numeric))
        ddl.add_columns("approval_decisions", sa.Column("limit_currency", sa.Text))
        ddl.add_check(
            "approval_decisions",
            "ck_approval_decisions_approver_limit",
            "approver_limit IS NULL OR limit_currency IS NOT NULL",
        )
        for name, on in INDEXES.items():
            ddl.create_index(name, f"audit_events {on}")
        # Its columns lead another one now.
        ddl.drop_index("ix_audit_events_organisation_id_actor_id")


def downgrade() -> None:
    op.create_index("ix_audit_events_organisation_id_actor_id", "audit_events", ["organisation_id", "actor_id"])
    for name in reversed(INDEXES):
        op.drop_index(name, "audit_events")
    op.drop_constraint("ck_approval_decisions_approver_limit", "approval_decisions")
    op.drop_column("approval_decisions", "limit_currency")
    op.drop_column("approval_decisions", "approver_limit")
