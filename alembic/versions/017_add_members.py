"""Members: what a user is in an organisation, kept equal to the users' columns until a later revision.

The version before writes rights in `users` only. A trigger copies them, since that version may be running; it is
dropped together with those columns.

Revises: 016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from po_api.operations import ddl

revision = "017"
down_revision = "016"
branch_labels = None
depends_on = None

expands = True
loses = "former members"
lost_rows = ("members WHERE left_at IS NOT NULL",)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
COPIED = ("organisation_id", "email", "name", "roles", "approval_limit", "is_active", "version")

# The owner's rights: a sign-in changes users without having entered a tenant.
COPY = """
    CREATE FUNCTION copy_member() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    BEGIN
        INSERT INTO public.members (
            organisation_id, user_id, email, name, roles, approval_limit, is_active, version, joined_at)
        VALUES (
            NEW.organisation_id, NEW.id, NEW.email, NEW.name, NEW.roles, NEW.approval_limit, NEW.is_active,
            NEW.version, now())
        ON CONFLICT (organisation_id, user_id) DO UPDATE SET
            email = EXCLUDED.email, name = EXCLUDED.name, roles = EXCLUDED.roles,
            approval_limit = EXCLUDED.approval_limit, is_active = EXCLUDED.is_active, version = EXCLUDED.version,
            updated_at = now();
        RETURN NULL;
    END
    $$
"""


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("name", sa.Text, server_default="", nullable=False),
        sa.Column("roles", ARRAY(sa.Text), nullable=False),
        sa.Column("approval_limit", sa.Numeric),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("joined_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("left_at", TIMESTAMP(timezone=True)),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        sa.PrimaryKeyConstraint("organisation_id", "user_id", name="pk_members"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name="fk_members_organisation_id"),
        sa.CheckConstraint("approval_limit >= 0", name=op.f("ck_members_approval_limit")),
        sa.CheckConstraint("left_at IS NULL OR NOT is_active", name=op.f("ck_members_left_at")),
        sa.CheckConstraint(
            "cardinality(roles) >= 1 AND roles <@ ARRAY['requester', 'approver', 'buyer', 'admin', 'auditor']",
            name=op.f("ck_members_roles"),
        ),
    )
    # Without the user's id: a generic plan would prefer it to the primary key when it looks up a name, and read all of
    # the organisation's members each time.
    op.create_index("ix_members_organisation_id_name", "members", ["organisation_id", "name"])
    op.create_index("ix_members_organisation_id_created_at", "members", ["organisation_id", "created_at", "user_id"])
    # For the question whether anybody may approve a request, for each draft on a list.
    op.create_index(
        "ix_members_approvers",
        "members",
        ["organisation_id", "user_id"],
        postgresql_where="is_active AND roles && '{approver}'::text[]",
    )
    op.execute(f"CREATE POLICY tenant ON members USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE members ENABLE ROW LEVEL SECURITY")
    op.execute(COPY)
    op.execute("REVOKE ALL ON FUNCTION copy_member() FROM PUBLIC")
    op.execute(
        f"CREATE TRIGGER copy_member AFTER INSERT OR UPDATE OF {', '.join(COPIED)} ON users"
        " FOR EACH ROW WHEN (NEW.organisation_id IS NOT NULL) EXECUTE FUNCTION copy_member()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER copy_member ON users")
    op.execute("DROP FUNCTION copy_member()")
    op.drop_table("members")
