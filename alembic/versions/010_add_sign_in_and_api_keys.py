"""Signing in through an identity provider: attempts, codes, rotated refresh tokens; keys for integrators.

Revises: 009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TIMESTAMP

from po_api.operations import ddl

revision = "010"
down_revision = "009"
branch_labels = None
depends_on = None

IS_DIGEST = "token ~ '^[0-9a-f]{64}$'"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_unique("uq_users_identity_issuer_google_id", "users", "identity_issuer, google_id")

    # One provider's subject may be another's, too: what is unique is the pair.
    op.drop_constraint(op.f("uq_users_google_id"), "users")
    op.create_table(
        "rotated_tokens",
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("session_id", sa.BigInteger, nullable=False),
        sa.Column("salt", BYTEA, nullable=False),
        sa.Column("rotated_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_rotated_tokens"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_rotated_tokens_session_id", ondelete="CASCADE"
        ),
        sa.CheckConstraint(IS_DIGEST, name=op.f("ck_rotated_tokens_token")),
    )
    op.create_index("ix_rotated_tokens_session_id", "rotated_tokens", ["session_id"])
    op.create_table(
        "sign_in_attempts",
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("browser", sa.Text, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.Column("code_verifier", sa.Text, nullable=False),
        sa.Column("return_to", sa.Text, nullable=False),
        sa.Column("code_challenge", sa.Text),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_sign_in_attempts"),
    )
    op.create_index("ix_sign_in_attempts_expires_at", "sign_in_attempts", ["expires_at"])
    op.create_table(
        "sign_in_codes",
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("code_challenge", sa.Text, nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_sign_in_codes"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sign_in_codes_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_sign_in_codes_user_id", "sign_in_codes", ["user_id"])
    op.create_index("ix_sign_in_codes_expires_at", "sign_in_codes", ["expires_at"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_used_at", TIMESTAMP(timezone=True)),
        sa.Column("revoked_at", TIMESTAMP(timezone=True)),
        *ddl.timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("token", name="uq_api_keys_token"),
        sa.CheckConstraint(IS_DIGEST, name=op.f("ck_api_keys_token")),
        sa.CheckConstraint("name <> '' AND length(name) <= 100", name=op.f("ck_api_keys_name")),
        sa.CheckConstraint("cardinality(scopes) >= 1", name=op.f("ck_api_keys_scopes")),
    )
    op.create_index("ix_api_keys_user_id_created_at", "api_keys", ["user_id", "created_at", "id"])


def downgrade() -> None:
    """Ends the keys, and fails if two people have the same subject at two providers: one of them has to go first."""
    for table in ("api_keys", "sign_in_codes", "sign_in_attempts", "rotated_tokens"):
        op.drop_table(table)
    op.create_unique_constraint("uq_users_google_id", "users", ["google_id"])
    op.drop_constraint(op.f("uq_users_identity_issuer_google_id"), "users")
