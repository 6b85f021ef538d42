"""Exchange rates of organisations and their rules; how far a draft order may exceed what was approved.

Revises: 038
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "044"
down_revision = "043"
branch_labels = None
depends_on = None

expands = True
loses = (
    "exchange rates, how old a rate may be and how far from the one before, how far orders may exceed what was approved"
)
lost_rows = (
    "exchange_rates",
    "organisations WHERE max_rate_age_days <> 7 OR max_rate_jump_percent <> 20 OR order_price_percent <> 0",
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
RULES = {
    "max_rate_age_days": "max_rate_age_days BETWEEN 0 AND 366",
    "max_rate_jump_percent": "max_rate_jump_percent >= 0",
    "order_price_percent": "order_price_percent >= 0",
}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "organisations",
            sa.Column("max_rate_age_days", sa.Integer, server_default="7", nullable=False),
            sa.Column("max_rate_jump_percent", sa.Numeric(7, 4), server_default="20", nullable=False),
            sa.Column("order_price_percent", sa.Numeric(7, 4), server_default="0", nullable=False),
        )
        for name, condition in RULES.items():
            ddl.add_check("organisations", f"ck_organisations_{name}", condition)
    ddl.create_tenant_table(
        "exchange_rates",
        *ddl.tenant_columns(),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("rate_date", sa.Date, nullable=False),
        sa.Column("rate", sa.Numeric(20, 10), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_by_id", sa.BigInteger, nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("exchange_rates"),
        sa.ForeignKeyConstraint(
            ["organisation_id", "created_by_id"],
            ["members.organisation_id", "members.user_id"],
            name="fk_exchange_rates_organisation_id_created_by_id",
        ),
        sa.UniqueConstraint("organisation_id", "currency", "rate_date", name="uq_exchange_rates_currency"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_exchange_rates_currency")),
        sa.CheckConstraint("rate > 0 AND rate < 'Infinity'", name=op.f("ck_exchange_rates_rate")),
        sa.CheckConstraint("source IN ('manual', 'import', 'ecb')", name=op.f("ck_exchange_rates_source")),
    )
    for column in ("rate_date", "created_at", "updated_at"):
        op.create_index(
            f"ix_exchange_rates_organisation_id_{column}", "exchange_rates", ["organisation_id", column, "id"]
        )
    op.create_index(
        "ix_exchange_rates_organisation_id_created_by_id", "exchange_rates", ["organisation_id", "created_by_id"]
    )
    op.execute(f"CREATE POLICY tenant ON exchange_rates USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE exchange_rates ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("exchange_rates")
    op.drop_column("organisations", "order_price_percent")
    op.drop_column("organisations", "max_rate_jump_percent")
    op.drop_column("organisations", "max_rate_age_days")
