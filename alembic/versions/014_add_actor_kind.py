"""The kind of actor in the audit trail: member, API key, command line, system, invitee or supplier.

The version before goes on writing events without a kind. A later revision requires it.

Revises: 013
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "014"
down_revision = "013"
branch_labels = None
depends_on = None

expands = True
loses = "the kinds of actors in the audit trail"
lost_rows = ("audit_events WHERE actor_kind NOT IN ('member', 'command_line')",)


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("audit_events", sa.Column("actor_kind", sa.Text))
        ddl.backfill_by_key(
            "audit_events",
            "actor_kind = CASE WHEN actor_id IS NULL THEN 'command_line' ELSE 'member' END",
            where="actor_kind IS NULL",
        )
        ddl.add_check(
            "audit_events",
            "ck_audit_events_actor_kind",
            "actor_kind IN ('member', 'api_key', 'command_line', 'system', 'invitee', 'supplier')",
        )
        ddl.add_check(
            "audit_events",
            "ck_audit_events_actor",
            "(actor_kind IN ('member', 'api_key')) = (actor_id IS NOT NULL)",
        )


def downgrade() -> None:
    op.drop_constraint("ck_audit_events_actor", "audit_events")
    op.drop_constraint("ck_audit_events_actor_kind", "audit_events")
    op.drop_column("audit_events", "actor_kind")
