"""Rights are in members only; a deactivated member has an account that is in no organisation.

Processes of the version before read rights in members already, but write them in the columns that are dropped here.

Revises: 020
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.operations import ddl

revision = "021"
down_revision = "020"
branch_labels = None
depends_on = None

expands = False
loses = "memberships in former organisations, and which accounts operators deactivated"
# Documents of members who are in another organisation now cannot refer to users: 018 cannot be downgraded then.
lost_rows = (
    "members m WHERE m.left_at IS NOT NULL OR EXISTS (SELECT FROM users u WHERE u.id = m.user_id"
    " AND u.organisation_id IS NOT NULL AND u.organisation_id <> m.organisation_id)",
    # In the version before, the same as a member that an admin deactivated.
    "users u WHERE NOT u.is_active AND EXISTS (SELECT FROM members m WHERE m.user_id = u.id)",
)
moved_rows = {
    "users WHERE approval_limit IS NOT NULL": "members WHERE approval_limit IS NOT NULL",
    "users WHERE roles <> '{requester}'": "members WHERE roles <> '{requester}'",
}

CHECKS = {
    "ck_users_approval_limit": "approval_limit >= 0",
    "ck_users_roles": (
        "cardinality(roles) >= 1 AND roles <@ ARRAY['requester', 'approver', 'buyer', 'admin', 'auditor']"
    ),
}
INDEXES = {
    "ix_users_organisation_id_name": ["organisation_id", "name", "id"],
    "ix_users_organisation_id_created_at": ["organisation_id", "created_at", "id"],
}
COPIED = ("organisation_id", "email", "name", "roles", "approval_limit", "is_active", "version")
# The function of revision 017.
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
IS_DEACTIVATED = "NOT is_active AND organisation_id IS NOT NULL"
DETACHED = (
    "organisation_id = NULL, former_organisation_id = organisation_id, is_active = true,"
    " credentials_version = credentials_version + 1"
)
# A member who was deactivated, and has joined no other organisation, is an inactive user of it again.
ATTACH = """
    UPDATE users SET organisation_id = former_organisation_id, former_organisation_id = NULL, is_active = false
    WHERE organisation_id IS NULL AND former_organisation_id IS NOT NULL
"""
COPY_BACK = """
    UPDATE users u SET roles = m.roles, approval_limit = m.approval_limit, name = m.name,
        version = greatest(u.version, m.version)
    FROM members m WHERE m.organisation_id = u.organisation_id AND m.user_id = u.id
"""
# An account that an operator has deactivated: its member is inactive, too, as the version before has it.
COPY_ACTIVITY = """
    UPDATE members m SET is_active = false FROM users u
    WHERE u.id = m.user_id AND u.organisation_id = m.organisation_id AND NOT u.is_active AND m.is_active
"""


def upgrade() -> None:
    with ddl.steps():
        ddl.create_index("ix_users_organisation_id", "users (organisation_id)")
        # The trigger does not copy users without an organisation: their members stay inactive.
        ddl.backfill_by_key(
            "users",
            DETACHED,
            where=IS_DEACTIVATED,
            key=("id",),
        )

    # The trigger's lock keeps others from writing users until the end: nobody is deactivated after this.
    op.execute("DROP TRIGGER copy_member ON users")
    op.execute("DROP FUNCTION copy_member()")
    op.execute(f"UPDATE users SET {DETACHED} WHERE {IS_DEACTIVATED}")
    op.drop_constraint("uq_users_organisation_id_id", "users")
    for name in INDEXES:
        op.drop_index(name, "users")
    for name in CHECKS:
        op.drop_constraint(op.f(name), "users")
    for column in ("roles", "approval_limit"):
        op.drop_column("users", column)


def downgrade() -> None:
    op.add_column("users", sa.Column("roles", ARRAY(sa.Text), server_default="{requester}", nullable=False))
    op.add_column("users", sa.Column("approval_limit", sa.Numeric))
    op.execute(ATTACH)
    op.execute(COPY_BACK)
    op.execute(COPY_ACTIVITY)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(name), "users", condition)
    for name, columns in INDEXES.items():
        op.create_index(name, "users", columns)
    op.create_unique_constraint("uq_users_organisation_id_id", "users", ["organisation_id", "id"])
    op.drop_index("ix_users_organisation_id", "users")
    op.execute(COPY)
    op.execute("REVOKE ALL ON FUNCTION copy_member() FROM PUBLIC")
    op.execute(
        f"CREATE TRIGGER copy_member AFTER INSERT OR UPDATE OF {', '.join(COPIED)} ON users"
        " FOR EACH ROW WHEN (NEW.organisation_id IS NOT NULL) EXECUTE FUNCTION copy_member()"
    )
