"""Orders are sent to their suppliers: deliveries, and the organisations that may send mail.

Revises: 038
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

from po_api.operations import ddl

revision = "039"
down_revision = "038"
branch_labels = None
depends_on = None

expands = True
loses = "the deliveries of orders with their recipients and texts, and which organisations may send mail"
lost_rows = (
    "deliveries",
    "mail_quotas",
    "organisations WHERE mail_per_day IS NOT NULL OR allow_other_recipients OR mail_templates <> '{}'",
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"

CHECKS = {
    "channel": "channel IN ('email', 'manual')",
    "status": "status IN ('queued', 'held', 'sent', 'bounced', 'failed', 'cancelled')",
    "manual": "channel <> 'manual' OR status = 'sent'",
    "email": "channel <> 'email' OR (cardinality(to_addresses) >= 1 AND reply_to IS NOT NULL AND subject IS NOT NULL"
    " AND body IS NOT NULL AND locale IS NOT NULL AND message_id IS NOT NULL)",
    "addresses": "cardinality(to_addresses) + cardinality(cc_addresses) <= 10",
    "file_digest": "file_digest ~ '^[0-9a-f]{64}$'",
    "attachment": "channel <> 'email' OR status NOT IN ('sent', 'bounced') OR file_digest IS NOT NULL",
    "sent_at": "status NOT IN ('sent', 'bounced') OR finished_at IS NOT NULL",
    "bounced_at": "(status = 'bounced') = (bounced_at IS NOT NULL)",
    "revision": "revision >= 1",
    "next_attempt_at": "(status = 'queued') = (next_attempt_at IS NOT NULL)",
    "leased_until": "status = 'queued' OR leased_until IS NULL",
    "attempts": "attempts >= 0",
}


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def _add_deliveries() -> None:
    ddl.create_tenant_table(
        "deliveries",
        *ddl.tenant_columns(),
        sa.Column("purchase_order_id", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("to_addresses", ARRAY(sa.Text), server_default="{}", nullable=False),
        sa.Column("cc_addresses", ARRAY(sa.Text), server_default="{}", nullable=False),
        *(sa.Column(name, sa.Text) for name in ("reply_to", "subject", "body", "locale", "file_digest", "message_id")),
        sa.Column("requested_by_id", sa.BigInteger, nullable=False),
        _moment("queued_at", nullable=False),
        _moment("bounced_at"),
        sa.Column("status", sa.Text, server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        _moment("next_attempt_at"),
        _moment("leased_until"),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        _moment("finished_at"),
        _moment("created_at", nullable=False),
        *ddl.tenant_constraints("deliveries"),
        ddl.tenant_reference("deliveries", "purchase_order_id", "purchase_orders"),
        sa.ForeignKeyConstraint(
            ["organisation_id", "requested_by_id"],
            ["members.organisation_id", "members.user_id"],
            name="fk_deliveries_organisation_id_requested_by_id",
        ),
        sa.UniqueConstraint("organisation_id", "message_id", name="uq_deliveries_message_id"),
        *(sa.CheckConstraint(condition, name=op.f(f"ck_deliveries_{name}")) for name, condition in CHECKS.items()),
    )
    for name, columns, where in (
        ("next_attempt_at", ["next_attempt_at", "id"], "next_attempt_at IS NOT NULL OR status = 'failed'"),
        ("purchase_order_id", ["purchase_order_id", "id"], None),
        ("created_at", ["created_at", "id"], None),
        ("organisation_id_requested_by_id", ["requested_by_id"], None),
    ):
        op.create_index(f"ix_deliveries_{name}", "deliveries", ["organisation_id", *columns], postgresql_where=where)


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "organisations",
            sa.Column("mail_per_day", sa.Integer),
            sa.Column("allow_other_recipients", sa.Boolean, server_default="false", nullable=False),
            sa.Column("mail_templates", JSONB, server_default="{}", nullable=False),
        )
        ddl.add_check("organisations", "ck_organisations_mail_per_day", "mail_per_day >= 1")
        ddl.add_check("organisations", "ck_organisations_mail_templates", "jsonb_typeof(mail_templates) = 'object'")
    _add_deliveries()
    ddl.create_tenant_table(
        "mail_quotas",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "day", name="pk_mail_quotas"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name="fk_mail_quotas_organisation_id"),
        sa.CheckConstraint("used >= 1", name=op.f("ck_mail_quotas_used")),
    )
    for table in ("deliveries", "mail_quotas"):
        op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("mail_quotas")
    op.drop_table("deliveries")
    for name in ("mail_templates", "allow_other_recipients", "mail_per_day"):
        op.drop_column("organisations", name)
