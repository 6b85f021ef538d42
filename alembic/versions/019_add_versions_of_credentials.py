"""Credentials end with a membership; stored responses and API keys belong to an organisation.

The version before goes on: the new columns have defaults that are right for its rows, too.

Revises: 018
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "019"
down_revision = "018"
branch_labels = None
depends_on = None

expands = True
loses = "which credentials ended with a membership, and the organisations of stored responses"
lost_rows = (
    # The former organisation of a user without another one is the only one before revision 021.
    "users WHERE credentials_version > 0 OR former_organisation_id <> organisation_id",
    "sessions WHERE credentials_version > 0",
    "sign_in_codes WHERE credentials_version > 0",
    "api_keys WHERE credentials_version > 0"
    " OR organisation_id <> (SELECT u.organisation_id FROM users u WHERE u.id = user_id)",
    "idempotency_records WHERE organisation_id <> 0"
    " AND organisation_id IS DISTINCT FROM (SELECT u.organisation_id FROM users u WHERE u.id = user_id)",
)

CURRENT_TENANT = "nullif(current_setting('app.organisation_id', true), '')::bigint"
WITH_CREDENTIALS = ("users", "sessions", "api_keys", "sign_in_codes")
ENDED = (
    "UPDATE sessions s SET revoked_at = now() FROM users u"
    " WHERE u.id = s.user_id AND s.revoked_at IS NULL AND s.credentials_version < u.credentials_version",
    "UPDATE api_keys k SET revoked_at = now() FROM users u WHERE u.id = k.user_id AND k.revoked_at IS NULL"
    " AND (k.credentials_version < u.credentials_version OR k.organisation_id <> u.organisation_id)",
    "DELETE FROM sign_in_codes c USING users u"
    " WHERE u.id = c.user_id AND c.credentials_version < u.credentials_version",
    "DELETE FROM idempotency_records r USING users u WHERE u.id = r.user_id AND r.organisation_id <> 0"
    " AND r.organisation_id IS DISTINCT FROM u.organisation_id",
)


def upgrade() -> None:
    with ddl.steps():
        for table in WITH_CREDENTIALS:
            ddl.add_columns(table, sa.Column("credentials_version", sa.Integer, server_default="0", nullable=False))
        ddl.add_columns("users", sa.Column("former_organisation_id", sa.BigInteger))

        ddl.add_columns("api_keys", sa.Column("organisation_id", sa.BigInteger, server_default=sa.text(CURRENT_TENANT)))
        ddl.backfill(
            "api_keys",
            "organisation_id = (SELECT u.organisation_id FROM users u WHERE u.id = user_id)",
            where="organisation_id IS NULL"
            " AND EXISTS (SELECT FROM users u WHERE u.id = user_id AND u.organisation_id IS NOT NULL)",
        )
        ddl.create_index("ix_api_keys_organisation_id_created_at", "api_keys (organisation_id, created_at, id)")

        organisation = sa.text(f"coalesce({CURRENT_TENANT}, 0)")
        ddl.add_columns(
            "idempotency_records",
            sa.Column("organisation_id", sa.BigInteger, server_default=organisation, nullable=False),
        )
        # Founding an organisation is about the user: the repetition comes from a member.
        ddl.backfill(
            "idempotency_records",
            "organisation_id = (SELECT u.organisation_id FROM users u WHERE u.id = user_id)",
            where="organisation_id = 0 AND route <> 'POST /organisations'"
            " AND EXISTS (SELECT FROM users u WHERE u.id = user_id AND u.organisation_id IS NOT NULL)",
        )
        ddl.replace_primary_key("idempotency_records", "organisation_id, user_id, route, key")

    # Users are never deleted, and the key no longer begins with the user, as the reference would need.
    op.drop_constraint(op.f("fk_idempotency_records_user_id"), "idempotency_records")


def downgrade() -> None:
    # Otherwise the version before would accept what has ended, and give responses of one organisation to another.
    for statement in ENDED:
        op.execute(statement)
    op.execute("ALTER TABLE idempotency_records DROP CONSTRAINT pk_idempotency_records")
    op.drop_column("idempotency_records", "organisation_id")
    op.execute(
        "ALTER TABLE idempotency_records ADD CONSTRAINT pk_idempotency_records PRIMARY KEY (user_id, route, key)"
    )
    op.create_foreign_key(
        "fk_idempotency_records_user_id", "idempotency_records", "users", ["user_id"], ["id"], ondelete="CASCADE"
    )
    op.drop_index("ix_api_keys_organisation_id_created_at", "api_keys")
    op.drop_column("api_keys", "organisation_id")
    op.drop_column("users", "former_organisation_id")
    for table in reversed(WITH_CREDENTIALS):
        op.drop_column(table, "credentials_version")
