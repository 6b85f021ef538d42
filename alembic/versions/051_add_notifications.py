"""Notifications of members, how they want to be told, and the mails about them.

Revises: 050
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from po_api.operations import ddl

revision = "051"
down_revision = "050"
branch_labels = None
depends_on = None

expands = True
loses = "notifications, how members want to be told, and which mails they got"
lost_rows = ("notifications", "notification_preferences", "notification_mails")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
TABLES = ("notifications", "notification_preferences", "notification_mails")
KIND = "kind ~ '^[a-z_]{1,40}$'"
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"

# The owner's rights: a worker has entered no tenant when it looks for work. Only ids of organisations are returned.
UNPLANNED = f"""
    CREATE FUNCTION organisations_with_notifications() RETURNS SETOF bigint LANGUAGE sql STABLE {AS_OWNER} AS $$
        SELECT DISTINCT organisation_id FROM public.notifications WHERE NOT is_planned
    $$
"""


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def _of_member(table: str, column: str = "user_id") -> sa.Constraint:
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        ["members.organisation_id", "members.user_id"],
        name=f"fk_{table}_organisation_id_{column}",
    )


def _checks(table: str, **conditions: str) -> list[sa.Constraint]:
    return [sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}")) for name, condition in conditions.items()]


def _add_notifications() -> None:
    ddl.create_tenant_table(
        "notifications",
        *ddl.tenant_columns(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in ("porf_id", "purchase_order_id", "actor_id")),
        sa.Column("data", JSONB, server_default="{}", nullable=False),
        sa.Column("dedupe_key", sa.Text, nullable=False),
        sa.Column("is_planned", sa.Boolean, server_default="false", nullable=False),
        _moment("created_at", nullable=False),
        *(_moment(name) for name in ("read_at", "resolved_at", "mailed_at")),
        *ddl.tenant_constraints("notifications"),
        _of_member("notifications"),
        _of_member("notifications", "actor_id"),
        ddl.tenant_reference("notifications", "porf_id", "porfs", ondelete="CASCADE"),
        ddl.tenant_reference("notifications", "purchase_order_id", "purchase_orders"),
        sa.UniqueConstraint("organisation_id", "user_id", "dedupe_key", name="uq_notifications_dedupe_key"),
        *_checks(
            "notifications",
            one_entity="num_nonnulls(porf_id, purchase_order_id) = 1",
            kind=KIND,
            actor="actor_id <> user_id",
            dedupe_key="length(dedupe_key) BETWEEN 1 AND 100",
            data="jsonb_typeof(data) = 'object'",
        ),
    )
    for name, columns, where in (
        ("organisation_id_porf_id", ["porf_id"], "porf_id IS NOT NULL"),
        ("organisation_id_purchase_order_id", ["purchase_order_id"], "purchase_order_id IS NOT NULL"),
        ("organisation_id_actor_id", ["actor_id"], "actor_id IS NOT NULL"),
        ("created_at", ["user_id", "created_at", "id"], None),
        ("unread", ["user_id", "created_at", "id"], "read_at IS NULL AND resolved_at IS NULL"),
        ("unplanned", ["id"], "NOT is_planned"),
    ):
        op.create_index(
            f"ix_notifications_{name}", "notifications", ["organisation_id", *columns], postgresql_where=where
        )


def _add_preferences() -> None:
    ddl.create_tenant_table(
        "notification_preferences",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("in_app", sa.Boolean, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "user_id", "kind", name="pk_notification_preferences"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisations.id"], name="fk_notification_preferences_organisation_id"
        ),
        _of_member("notification_preferences"),
        *_checks(
            "notification_preferences",
            kind=KIND,
            email="email IN ('now', 'digest', 'off')",
            in_app="in_app OR kind <> 'approval_needed'",
            version="version >= 1",
        ),
    )


def _add_mails() -> None:
    ddl.create_tenant_table(
        "notification_mails",
        *ddl.tenant_columns(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("notification_id", sa.BigInteger),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("item_count", sa.Integer),
        sa.Column("status", sa.Text, server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        _moment("next_attempt_at"),
        _moment("leased_until"),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        _moment("finished_at"),
        _moment("created_at", nullable=False),
        *ddl.tenant_constraints("notification_mails"),
        _of_member("notification_mails"),
        ddl.tenant_reference("notification_mails", "notification_id", "notifications", ondelete="CASCADE"),
        sa.UniqueConstraint("organisation_id", "user_id", "key", name="uq_notification_mails_key"),
        *_checks(
            "notification_mails",
            kind="kind IN ('single', 'digest')",
            notification_id="(kind = 'single') = (notification_id IS NOT NULL)",
            key="length(key) BETWEEN 1 AND 100",
            status="status IN ('queued', 'held', 'done', 'failed', 'cancelled')",
            item_count="item_count >= 0",
            next_attempt_at="(status = 'queued') = (next_attempt_at IS NOT NULL)",
            leased_until="status = 'queued' OR leased_until IS NULL",
            attempts="attempts >= 0",
        ),
    )
    for name, column, where in (
        ("organisation_id_notification_id", "notification_id", "notification_id IS NOT NULL"),
        ("next_attempt_at", "next_attempt_at", "next_attempt_at IS NOT NULL OR status = 'failed'"),
    ):
        columns = ["organisation_id", column, *(["id"] if column == "next_attempt_at" else [])]
        op.create_index(f"ix_notification_mails_{name}", "notification_mails", columns, postgresql_where=where)


def upgrade() -> None:
    _add_notifications()
    _add_preferences()
    _add_mails()
    for table in TABLES:
        op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(UNPLANNED)
    op.execute("REVOKE ALL ON FUNCTION organisations_with_notifications() FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION organisations_with_notifications()")
    for table in reversed(TABLES):
        op.drop_table(table)
