"""Every member of the time before is copied, and tenant tables refer to members instead of users.

`member_of` is for the check of credentials, which reads a member's rights before it enters the tenant.

Revises: 017
"""

from alembic import op

from po_api.operations import ddl

revision = "018"
down_revision = "017"
branch_labels = None
depends_on = None

expands = True
loses = None

REFERENCES = (
    ("porfs", "requester_id"),
    ("purchase_orders", "created_by_id"),
    ("approval_decisions", "approver_id"),
    ("porf_comments", "author_id"),
    ("audit_events", "actor_id"),
)

# The owner's rights: row-level security hides members until the tenant is entered.
MEMBER_OF = """
    CREATE FUNCTION member_of(of_organisation bigint, of_user bigint)
    RETURNS TABLE (roles text[], approval_limit numeric, is_active boolean)
    LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    BEGIN
        RETURN QUERY SELECT m.roles, m.approval_limit, m.is_active FROM public.members m
            WHERE m.organisation_id = of_organisation AND m.user_id = of_user;
    END
    $$
"""


def upgrade() -> None:
    with ddl.steps():
        # The trigger of revision 017 keeps what it has copied meanwhile up to date.
        ddl.copy_by_key(
            "INSERT INTO members (organisation_id, user_id, email, name, roles, approval_limit, is_active, version,"
            " joined_at, created_at, updated_at) SELECT organisation_id, id, email, name, roles, approval_limit,"
            " is_active, version, created_at, created_at, updated_at FROM users WHERE organisation_id IS NOT NULL",
            of="users",
        )
        for table, column in REFERENCES:
            ddl.move_tenant_reference(table, column, "members (organisation_id, user_id)")

    op.execute(MEMBER_OF)
    op.execute("REVOKE ALL ON FUNCTION member_of(bigint, bigint) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION member_of(bigint, bigint)")
    for table, column in REFERENCES:
        name = f"fk_{table}_organisation_id_{column}"
        op.drop_constraint(name, table)
        op.create_foreign_key(name, table, "users", ["organisation_id", column], ["organisation_id", "id"])
