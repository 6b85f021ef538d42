"""Identity-provider ids, roles, last login, operators; sessions.

Revises: 008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from po_api.operations import ddl

revision = "009"
down_revision = "008"
branch_labels = None
depends_on = None

CHECKS = {
    "ck_users_roles": (
        "cardinality(roles) >= 1 AND roles <@ ARRAY['requester', 'approver', 'buyer', 'admin', 'auditor']"
    ),
    "ck_users_identity": "(google_id IS NULL) = (identity_issuer IS NULL)",
}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "users",
            sa.Column("google_id", sa.Text),
            sa.Column("identity_issuer", sa.Text),
            sa.Column("roles", ARRAY(sa.Text), server_default="{requester}", nullable=False),
            sa.Column("is_operator", sa.Boolean, server_default=sa.false(), nullable=False),
            sa.Column("last_login", TIMESTAMP(timezone=True)),
        )
        ddl.add_checks("users", CHECKS)
        ddl.add_unique("uq_users_google_id", "users", "google_id")
        ddl.create_index("ix_users_last_login", "users (last_login)")

    op.create_table(
        "sessions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_seen_at", TIMESTAMP(timezone=True)),
        sa.Column("ip_address", sa.Text),
        sa.Column("user_agent", sa.Text),
        sa.Column("revoked_at", TIMESTAMP(timezone=True)),
        *ddl.timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("token", name="uq_sessions_token"),
        sa.CheckConstraint("token ~ '^[0-9a-f]{64}$'", name=op.f("ck_sessions_token")),
    )
    op.create_index("ix_sessions_user_id_created_at", "sessions", ["user_id", "created_at", "id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def downgrade() -> None:
    op.drop_table("sessions")
    op.drop_index("ix_users_last_login", "users")
    op.drop_constraint(op.f("uq_users_google_id"), "users")
    for name in CHECKS:
        op.drop_constraint(op.f(name), "users")
    for column in ("last_login", "is_operator", "roles", "identity_issuer", "google_id"):
        op.drop_column("users", column)
