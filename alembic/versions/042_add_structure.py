"""Cost centres, categories, teams and approval groups of organisations.

Revises: 038
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "042"
down_revision = "041"
branch_labels = None
depends_on = None

expands = True
loses = "cost centres, categories, teams, approval groups; cost centres of requests remain as texts"
lost_rows = (
    # The next revision makes the others of the texts of requests.
    "cost_centres WHERE name <> code OR num_nonnulls(parent_id, owner_id) > 0 OR NOT is_active OR NOT EXISTS (SELECT"
    " FROM porfs p WHERE p.organisation_id = cost_centres.organisation_id AND p.cost_centre = cost_centres.code)",
    *("categories", "teams", "approval_groups", "approval_group_members"),
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"


def upgrade() -> None:
    add_entries("cost_centres", "code", "parent_id", "owner_id")
    add_entries("categories", "code", "parent_id")
    add_entries("teams", "name", "parent_id", "lead_id")
    add_entries("approval_groups", "name")
    add_group_members()


def add_entries(table: str, unique: str, *references: str) -> None:
    """A table of entries that members choose: `unique` is unique among the active ones, compared by its key."""
    coded = unique == "code"
    ddl.create_tenant_table(
        table,
        *ddl.tenant_columns(),
        *((sa.Column("code", sa.Text, nullable=False),) if coded else ()),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column(f"{unique}_key", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in references),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints(table),
        *(reference(table, name) for name in references),
        sa.CheckConstraint("name <> '' AND length(name) <= 255", name=op.f(f"ck_{table}_name")),
        *((sa.CheckConstraint("code <> '' AND length(code) <= 100", name=op.f(f"ck_{table}_code")),) if coded else ()),
        *(
            (sa.CheckConstraint("parent_id <> id", name=op.f(f"ck_{table}_parent")),)
            if "parent_id" in references
            else ()
        ),
    )
    op.create_index(
        f"uq_{table}_{unique}_key",
        table,
        ["organisation_id", f"{unique}_key"],
        unique=True,
        postgresql_where="is_active",
    )
    for column in ("created_at", "updated_at", "name", *(("code",) if coded else ())):
        op.create_index(f"ix_{table}_organisation_id_{column}", table, ["organisation_id", column, "id"])
    for column in references:
        op.create_index(
            f"ix_{table}_organisation_id_{column}",
            table,
            ["organisation_id", column],
            postgresql_where=f"{column} IS NOT NULL",
        )
    isolate(table)


def reference(table: str, column: str) -> sa.ForeignKeyConstraint:
    """To the parent in the same table, or to a member."""
    referred = f"{table}.id" if column == "parent_id" else "members.user_id"
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        [f"{referred.partition('.')[0]}.organisation_id", referred],
        name=f"fk_{table}_organisation_id_{column}",
    )


def add_group_members() -> None:
    table = "approval_group_members"
    ddl.create_tenant_table(
        table,
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("organisation_id", "group_id", "user_id")),
        sa.PrimaryKeyConstraint("organisation_id", "group_id", "user_id", name=f"pk_{table}"),
        ddl.tenant_reference(table, "group_id", "approval_groups"),
        reference(table, "user_id"),
    )
    op.create_index(f"ix_{table}_organisation_id_user_id", table, ["organisation_id", "user_id"])
    isolate(table)


def isolate(table: str) -> None:
    op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    for table in ("approval_group_members", "approval_groups", "teams", "categories", "cost_centres"):
        op.drop_table(table)
