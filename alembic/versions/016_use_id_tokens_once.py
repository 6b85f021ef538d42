"""ID tokens that were used, and the front end that a sign-in code is for.

Revises: 015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "016"
down_revision = "015"
branch_labels = None
depends_on = None

expands = True
loses = "the record of ID tokens that were used; the front ends of sign-in codes"
lost_rows = ("used_id_tokens", "sign_in_codes WHERE origin IS NOT NULL")


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("sign_in_codes", sa.Column("origin", sa.Text))

    op.create_table(
        "used_id_tokens",
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_used_id_tokens"),
        sa.CheckConstraint("token ~ '^[0-9a-f]{64}$'", name=op.f("ck_used_id_tokens_token")),
    )
    op.create_index("ix_used_id_tokens_expires_at", "used_id_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_table("used_id_tokens")
    op.drop_column("sign_in_codes", "origin")
