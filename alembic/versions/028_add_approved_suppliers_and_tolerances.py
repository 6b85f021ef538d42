"""Approvals cover the supplier's name and tax id, and the tolerance by which orders may exceed a request.

Decisions that are there keep their hashes, which are of the first version and cover neither.

The version before goes on: its decisions are of the first version, too. It does not convert what this version approves,
which is of the second: such a request is converted by this version, or reopened and approved again.

Revises: 027
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "028"
down_revision = "027"
branch_labels = None
depends_on = None

expands = True
loses = "suppliers' names and tax ids, and tolerances, in approvals: such requests need another approval"
lost_rows = (
    "approval_decisions WHERE hash_version > 1 OR supplier_hash IS NOT NULL",
    # Otherwise they are those of the lines.
    "porfs WHERE over_order_percent IS NOT NULL AND (maximum_total IS NULL OR NOT EXISTS (SELECT FROM porf_lines l"
    " WHERE l.organisation_id = porfs.organisation_id AND l.porf_id = porfs.id"
    " AND l.over_order_percent = porfs.over_order_percent))",
)

PERCENT = sa.Numeric(7, 4)


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("over_order_percent", PERCENT))
        ddl.add_columns("porfs", sa.Column("maximum_total", sa.Numeric))
        ddl.add_columns("approval_decisions", sa.Column("hash_version", sa.Integer, server_default="1", nullable=False))
        ddl.add_columns("approval_decisions", sa.Column("supplier_hash", sa.Text))
        ddl.add_check("porfs", "ck_porfs_over_order_percent", "over_order_percent >= 0")
        ddl.add_check("approval_decisions", "ck_approval_decisions_hash_version", "hash_version >= 1")
        ddl.add_check("approval_decisions", "ck_approval_decisions_supplier_hash", "supplier_hash ~ '^[0-9a-f]{128}$'")


def downgrade() -> None:
    op.drop_column("approval_decisions", "supplier_hash")
    op.drop_column("approval_decisions", "hash_version")
    op.drop_column("porfs", "maximum_total")
    op.drop_column("porfs", "over_order_percent")
