"""Notifications of delegations.

The version before shows none of them, and fails to plan mails as long as there are new ones: replace it soon.

Revises: 052
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "053"
down_revision = "052"
branch_labels = None
depends_on = None

expands = True
loses = "notifications of delegations"
lost_rows = ("notifications WHERE approval_delegation_id IS NOT NULL",)

TABLE, COLUMN = "notifications", "approval_delegation_id"
EARLIER = "num_nonnulls(porf_id, purchase_order_id) = 1"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(TABLE, sa.Column(COLUMN, sa.BigInteger))
        ddl.add_check(TABLE, f"ck_{TABLE}_entity", f"num_nonnulls(porf_id, purchase_order_id, {COLUMN}) = 1")
        ddl.create_index(
            f"ix_{TABLE}_organisation_id_{COLUMN}", f"{TABLE} (organisation_id, {COLUMN}) WHERE {COLUMN} IS NOT NULL"
        )
        ddl.add_reference(TABLE, COLUMN, "approval_delegations (organisation_id, id)")
    op.drop_constraint(f"ck_{TABLE}_one_entity", TABLE)


def downgrade() -> None:
    # With the mails about them.
    op.execute(f"DELETE FROM {TABLE} WHERE {COLUMN} IS NOT NULL")
    op.drop_constraint(f"ck_{TABLE}_entity", TABLE)
    op.drop_column(TABLE, COLUMN)
    op.create_check_constraint(op.f(f"ck_{TABLE}_one_entity"), TABLE, EARLIER)
