"""Invitations, which a person accepts or declines, found by the address.

Revises: 019
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from po_api.operations import ddl

revision = "020"
down_revision = "019"
branch_labels = None
depends_on = None

expands = True
loses = "invitations"
lost_rows = ("invitations", "invitation_addresses")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
IS_OPEN = "accepted_at IS NULL AND declined_at IS NULL AND revoked_at IS NULL"
MOST = 100

# The owner's rights: an invited person has entered no tenant. Only the digest of the address leads to an organisation.
OPEN_INVITATIONS = f"""
    CREATE FUNCTION open_invitations(of_address text, of_invitation bigint)
    RETURNS TABLE (
        id bigint, organisation_id bigint, organisation_name text, roles text[], approval_limit numeric,
        invited_by_name text, expires_at timestamptz, version bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    BEGIN
        RETURN QUERY
            SELECT i.id, i.organisation_id, o.name, i.roles, i.approval_limit, m.name, i.expires_at, i.version::bigint
            FROM public.invitation_addresses a
            JOIN public.invitations i ON i.organisation_id = a.organisation_id AND i.id = a.invitation_id
            JOIN public.organisations o ON o.id = a.organisation_id
            JOIN public.members m ON m.organisation_id = i.organisation_id AND m.user_id = i.invited_by_id
            WHERE a.digest = encode(sha256(convert_to(of_address, 'UTF8')), 'hex')
              AND i.email = of_address AND i.{IS_OPEN.replace(" AND ", " AND i.")} AND i.expires_at > now()
              AND (of_invitation IS NULL OR i.id = of_invitation)
            ORDER BY i.id DESC LIMIT {MOST};
    END
    $$
"""


def upgrade() -> None:
    op.create_table(
        "invitations",
        *ddl.tenant_columns(),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("roles", ARRAY(sa.Text), nullable=False),
        sa.Column("approval_limit", sa.Numeric),
        sa.Column("invited_by_id", sa.BigInteger, nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("accepted_at", TIMESTAMP(timezone=True)),
        sa.Column("declined_at", TIMESTAMP(timezone=True)),
        sa.Column("revoked_at", TIMESTAMP(timezone=True)),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("invitations"),
        sa.ForeignKeyConstraint(
            ["organisation_id", "invited_by_id"],
            ["members.organisation_id", "members.user_id"],
            name="fk_invitations_organisation_id_invited_by_id",
        ),
        sa.CheckConstraint("email <> '' AND length(email) <= 255", name=op.f("ck_invitations_email")),
        sa.CheckConstraint("approval_limit >= 0", name=op.f("ck_invitations_approval_limit")),
        sa.CheckConstraint(
            "cardinality(roles) >= 1 AND roles <@ ARRAY['requester', 'approver', 'buyer', 'admin', 'auditor']",
            name=op.f("ck_invitations_roles"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(accepted_at, declined_at, revoked_at) <= 1", name=op.f("ck_invitations_answer")
        ),
    )
    op.create_index(
        "ix_invitations_open", "invitations", ["organisation_id", "email"], unique=True, postgresql_where=IS_OPEN
    )
    op.create_index("ix_invitations_organisation_id_created_at", "invitations", ["organisation_id", "created_at", "id"])
    op.create_index("ix_invitations_organisation_id_invited_by_id", "invitations", ["organisation_id", "invited_by_id"])
    op.execute(f"CREATE POLICY tenant ON invitations USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE invitations ENABLE ROW LEVEL SECURITY")
    op.create_table(
        "invitation_addresses",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("invitation_id", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "invitation_id", name="pk_invitation_addresses"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisations.id"], name="fk_invitation_addresses_organisation_id"
        ),
    )
    op.create_index("ix_invitation_addresses_digest", "invitation_addresses", ["digest"])
    op.execute(OPEN_INVITATIONS)
    op.execute("REVOKE ALL ON FUNCTION open_invitations(text, bigint) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION open_invitations(text, bigint)")
    op.drop_table("invitation_addresses")
    op.drop_table("invitations")
