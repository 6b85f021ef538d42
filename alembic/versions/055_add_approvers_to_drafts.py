"""Approvers who are added to drafts.

Revises: 054
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "055"
down_revision = "054"
branch_labels = None
depends_on = None

expands = True
loses = "approvers who were added to drafts"
lost_rows = ("added_approvers",)

TABLE = "added_approvers"
TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"


def _of_member(column: str) -> sa.Constraint:
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        ["members.organisation_id", "members.user_id"],
        name=f"fk_{TABLE}_organisation_id_{column}",
    )


def upgrade() -> None:
    ddl.create_tenant_table(
        TABLE,
        *ddl.tenant_columns(),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("porf_id", "user_id")),
        sa.Column("placement", sa.Text, nullable=False),
        sa.Column("added_by_id", sa.BigInteger, nullable=False),
        *ddl.tenant_constraints(TABLE),
        ddl.tenant_reference(TABLE, "porf_id", "porfs", ondelete="CASCADE"),
        *(_of_member(column) for column in ("user_id", "added_by_id")),
        sa.UniqueConstraint("organisation_id", "porf_id", "user_id", name=f"uq_{TABLE}_user_id"),
        sa.CheckConstraint("placement IN ('before', 'parallel', 'after')", name=op.f(f"ck_{TABLE}_placement")),
    )
    for column in ("user_id", "added_by_id"):
        op.create_index(f"ix_{TABLE}_organisation_id_{column}", TABLE, ["organisation_id", column])
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {TABLE} USING ({TENANT}) WITH CHECK ({TENANT})")


def downgrade() -> None:
    op.drop_table(TABLE)
