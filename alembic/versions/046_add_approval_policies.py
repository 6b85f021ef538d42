"""Approval policies and their rules.

Revises: 045
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from po_api.operations import ddl

revision = "046"
down_revision = "045"
branch_labels = None
depends_on = None

expands = True
loses = "approval policies and their rules"
lost_rows = ("approval_policies", "approval_rules")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"

POLICY_CHECKS = {
    "document_type": "document_type IN ('porf')",
    "version_no": "version_no >= 1",
    "status": "status IN ('draft', 'published', 'retired')",
    "no_rule": "no_rule IN ('any_approver', 'auto_approve', 'refuse')",
    "carry": "carry IN ('never', 'consecutive')",
    "reapproval": "reapproval_percent >= 0 AND reapproval_amount >= 0",
    "published": "(status = 'draft') = (published_at IS NULL) AND (published_at IS NULL) = (published_by_id IS NULL)",
}
RULE_CHECKS = {
    "stage": "stage BETWEEN 1 AND 99",
    "position": "position >= 1",
    "name": "name <> '' AND length(name) <= 255",
    "conditions": "jsonb_typeof(conditions) = 'object'",
    "approvers": "jsonb_typeof(approvers) = 'array'",
    "required_count": "required_count >= 1",
    "on_empty": "on_empty IN ('requester_manager', 'group', 'block', 'skip')"
    " AND (on_empty = 'group') = (on_empty_group_id IS NOT NULL)",
    "remind_after_hours": "remind_after_hours BETWEEN 1 AND 8784",
    "escalate_after_hours": "escalate_after_hours BETWEEN 1 AND 8784",
    "escalate_to": "escalate_to IN ('manager', 'group') AND (escalate_to IS NULL) = (escalate_after_hours IS NULL)"
    " AND (escalate_to IS NOT DISTINCT FROM 'group') = (escalation_group_id IS NOT NULL)",
}


def upgrade() -> None:
    add_policies("approval_policies")
    add_rules("approval_rules")


def add_policies(table: str) -> None:
    ddl.create_tenant_table(
        table,
        *ddl.tenant_columns(),
        sa.Column("document_type", sa.Text, server_default="porf", nullable=False),
        sa.Column("version_no", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, server_default="draft", nullable=False),
        sa.Column("no_rule", sa.Text, server_default="any_approver", nullable=False),
        sa.Column("carry", sa.Text, server_default="consecutive", nullable=False),
        sa.Column("reapproval_percent", sa.Numeric(7, 4), server_default="0", nullable=False),
        sa.Column("reapproval_amount", sa.Numeric),
        sa.Column("published_at", TIMESTAMP(timezone=True)),
        sa.Column("published_by_id", sa.BigInteger),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints(table),
        sa.UniqueConstraint("organisation_id", "document_type", "version_no", name=f"uq_{table}_version_no"),
        sa.ForeignKeyConstraint(
            ["organisation_id", "published_by_id"],
            ["members.organisation_id", "members.user_id"],
            name=f"fk_{table}_organisation_id_published_by_id",
        ),
        *(sa.CheckConstraint(check, name=op.f(f"ck_{table}_{name}")) for name, check in POLICY_CHECKS.items()),
    )
    for status in ("draft", "published"):
        op.create_index(
            f"uq_{table}_{status}",
            table,
            ["organisation_id", "document_type"],
            unique=True,
            postgresql_where=f"status = '{status}'",
        )
    op.create_index(f"ix_{table}_organisation_id_created_at", table, ["organisation_id", "created_at", "id"])
    add_index(table, "published_by_id")
    isolate(table)


def add_rules(table: str) -> None:
    ddl.create_tenant_table(
        table,
        *ddl.tenant_columns(),
        sa.Column("policy_id", sa.BigInteger, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("conditions", JSONB, server_default="{}", nullable=False),
        sa.Column("approvers", JSONB, server_default="[]", nullable=False),
        sa.Column("required_count", sa.Integer),
        sa.Column("enforce_limit", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("on_empty", sa.Text, server_default="block", nullable=False),
        sa.Column("on_empty_group_id", sa.BigInteger),
        sa.Column("remind_after_hours", sa.Integer),
        sa.Column("escalate_after_hours", sa.Integer),
        sa.Column("escalate_to", sa.Text),
        sa.Column("escalation_group_id", sa.BigInteger),
        sa.Column("comment_required", sa.Boolean, server_default=sa.false(), nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints(table),
        ddl.tenant_reference(table, "policy_id", "approval_policies", ondelete="CASCADE"),
        ddl.tenant_reference(table, "on_empty_group_id", "approval_groups"),
        ddl.tenant_reference(table, "escalation_group_id", "approval_groups"),
        *(sa.CheckConstraint(check, name=op.f(f"ck_{table}_{name}")) for name, check in RULE_CHECKS.items()),
    )
    op.create_index(
        f"ix_{table}_organisation_id_policy_id", table, ["organisation_id", "policy_id", "stage", "position", "id"]
    )
    add_index(table, "on_empty_group_id")
    add_index(table, "escalation_group_id")
    isolate(table)


def add_index(table: str, column: str) -> None:
    op.create_index(
        f"ix_{table}_organisation_id_{column}",
        table,
        ["organisation_id", column],
        postgresql_where=f"{column} IS NOT NULL",
    )


def isolate(table: str) -> None:
    op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("approval_rules")
    op.drop_table("approval_policies")
