"""Which versions of the application work with the schema.

The migrations write it (env.py), each revision's word for itself: from here on, an application goes on with a later
revision that only adds to what it uses.

Revises: 012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "013"
down_revision = "012"
branch_labels = None
depends_on = None

expands = True
loses = None


def upgrade() -> None:
    op.create_table(
        "schema_info",
        sa.Column("is_only_row", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("compatible_since", sa.Text, nullable=False),
        sa.Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("is_only_row", name="pk_schema_info"),
        sa.CheckConstraint("is_only_row", name=op.f("ck_schema_info_is_only_row")),
    )


def downgrade() -> None:
    op.drop_table("schema_info")
