"""Webhooks: endpoints of organisations, messages about events, and their deliveries.

Revises: 036
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from po_api.operations import ddl

revision = "037"
down_revision = "036"
branch_labels = None
depends_on = None

expands = True
loses = "webhook endpoints, their secrets and their deliveries"
lost_rows = ("webhook_endpoints", "webhook_messages", "webhook_deliveries")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
TABLES = ("webhook_endpoints", "webhook_messages", "webhook_deliveries")
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"

# The owner's rights: a worker has entered no tenant when it looks for work. Only ids of organisations are returned.
BEHIND = f"""
    CREATE FUNCTION organisations_behind_feed() RETURNS SETOF bigint LANGUAGE sql STABLE {AS_OWNER} AS $$
        SELECT DISTINCT e.organisation_id FROM public.webhook_endpoints e
        JOIN public.event_feeds f ON f.organisation_id = e.organisation_id AND f.ended_at IS NULL
        WHERE e.is_active AND (e.feed IS DISTINCT FROM f.feed OR e.number < f.last_number)
    $$
"""


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def _add_endpoints() -> None:
    ddl.create_tenant_table(
        "webhook_endpoints",
        *ddl.tenant_columns(),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("event_types", ARRAY(sa.Text)),
        sa.Column("is_active", sa.Boolean, server_default="true", nullable=False),
        sa.Column("disabled_reason", sa.Text),
        _moment("disabled_at"),
        _moment("failing_since"),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text),
        _moment("previous_secret_until"),
        sa.Column("feed", sa.Text),
        sa.Column("number", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("webhook_endpoints"),
        sa.CheckConstraint(
            "disabled_reason IN ('by_admin', 'gone', 'failing', 'secret_undecryptable')",
            name=op.f("ck_webhook_endpoints_disabled_reason"),
        ),
        sa.CheckConstraint("is_active = (disabled_reason IS NULL)", name=op.f("ck_webhook_endpoints_is_active")),
        sa.CheckConstraint("is_active = (disabled_at IS NULL)", name=op.f("ck_webhook_endpoints_disabled_at")),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_until IS NULL)",
            name=op.f("ck_webhook_endpoints_previous_secret"),
        ),
        sa.CheckConstraint("number >= 0", name=op.f("ck_webhook_endpoints_number")),
    )
    op.create_index(
        "ix_webhook_endpoints_organisation_id_created_at", "webhook_endpoints", ["organisation_id", "created_at", "id"]
    )


def _add_messages() -> None:
    ddl.create_tenant_table(
        "webhook_messages",
        *ddl.tenant_columns(),
        sa.Column("event_id", sa.BigInteger),
        sa.Column("webhook_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _moment("created_at", nullable=False),
        *ddl.tenant_constraints("webhook_messages"),
        ddl.tenant_reference("webhook_messages", "event_id", "audit_events"),
        sa.UniqueConstraint("organisation_id", "event_id", name="uq_webhook_messages_organisation_id_event_id"),
    )


def _add_deliveries() -> None:
    ddl.create_tenant_table(
        "webhook_deliveries",
        *ddl.tenant_columns(),
        sa.Column("endpoint_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.Column("url", sa.Text),
        _moment("attempted_at"),
        sa.Column("duration_ms", sa.Integer),
        sa.Column("response_status", sa.Integer),
        sa.Column("response_body", sa.Text),
        _moment("created_at", nullable=False),
        sa.Column("status", sa.Text, server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        _moment("next_attempt_at"),
        _moment("leased_until"),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        _moment("finished_at"),
        *ddl.tenant_constraints("webhook_deliveries"),
        ddl.tenant_reference("webhook_deliveries", "endpoint_id", "webhook_endpoints"),
        ddl.tenant_reference("webhook_deliveries", "message_id", "webhook_messages"),
        sa.UniqueConstraint(
            "organisation_id",
            "endpoint_id",
            "message_id",
            name="uq_webhook_deliveries_organisation_id_endpoint_id_message_id",
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'held', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_status")
        ),
        sa.CheckConstraint(
            "(status = 'queued') = (next_attempt_at IS NOT NULL)", name=op.f("ck_webhook_deliveries_next_attempt_at")
        ),
        sa.CheckConstraint(
            "status = 'queued' OR leased_until IS NULL", name=op.f("ck_webhook_deliveries_leased_until")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_webhook_deliveries_attempts")),
    )
    is_queued = "next_attempt_at IS NOT NULL"
    for name, columns, where in (
        ("next_attempt_at", ["next_attempt_at", "id"], is_queued),
        ("due", ["endpoint_id", "next_attempt_at", "id"], is_queued),
        ("organisation_id_message_id", ["message_id"], None),
        ("created_at", ["endpoint_id", "created_at", "id"], None),
        ("finished_at", ["finished_at"], None),
    ):
        op.create_index(
            f"ix_webhook_deliveries_{name}",
            "webhook_deliveries",
            ["organisation_id", *columns],
            postgresql_where=where,
        )


def upgrade() -> None:
    _add_endpoints()
    _add_messages()
    _add_deliveries()
    for table in TABLES:
        op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(BEHIND)
    op.execute("REVOKE ALL ON FUNCTION organisations_behind_feed() FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION organisations_behind_feed()")
    for table in reversed(TABLES):
        op.drop_table(table)
