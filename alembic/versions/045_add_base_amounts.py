"""The amounts of requests and orders in the base currency, at the rate of their submission or issue.

Documents in the base currency get the rate 1; those in other currencies, and drafts, have no such amounts.

The version before goes on. It writes none of these amounts, which are not needed for documents in the base currency,
and compares limits as before. It keeps those of a request that it recalls; if that is edited and submitted again by it,
and its amounts differ, the submission fails until the new version does it.

Revises: 044
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "045"
down_revision = "044"
branch_labels = None
depends_on = None

expands = True
loses = "the amounts of requests and orders in the base currency"
# Those of documents in the base currency are filled in again.
AMOUNTS = "base_currency, base_rate, base_rate_date, base_net, base_total"
lost_rows = (
    f"porfs WHERE base_rate_id IS NOT NULL AND num_nonnulls({AMOUNTS}, base_ceiling) > 0",
    f"purchase_orders WHERE base_rate_id IS NOT NULL AND num_nonnulls({AMOUNTS}) > 0",
)

ROUNDED = " AND ".join(f"base_{name} = round({name} * base_rate, scale(base_{name}))" for name in ("net", "total"))
CHECKS = {
    "base_amounts": f"num_nonnulls({AMOUNTS}) IN (0, 5)",
    "base_total": f"status IN ('draft', 'cancelled') OR base_rate IS NULL OR ({ROUNDED})",
    "base_rate": "status IN ('draft', 'cancelled') OR base_currency <> currency OR base_rate = 1",
}
# The time of the document, and which documents have been submitted or issued.
DOCUMENTS = {
    "porfs": ("submitted_at", "submitted_at IS NOT NULL AND status <> 'draft'"),
    "purchase_orders": ("issued_at", "issued_at IS NOT NULL"),
}
NAMES = ("base_total", "base_net", "base_rate_id", "base_rate_date", "base_rate", "base_currency")


def upgrade() -> None:
    with ddl.steps():
        for table, (moment, condition) in DOCUMENTS.items():
            ddl.add_columns(
                table,
                sa.Column("base_currency", sa.Text),
                sa.Column("base_rate", sa.Numeric(20, 10)),
                sa.Column("base_rate_date", sa.Date),
                sa.Column("base_rate_id", sa.BigInteger),
                sa.Column("base_net", sa.Numeric),
                sa.Column("base_total", sa.Numeric),
            )
            if table == "porfs":
                ddl.add_columns(table, sa.Column("base_ceiling", sa.Numeric))
            of_organisation = f"FROM organisations o WHERE o.id = {table}.organisation_id"
            ceilings = ", base_ceiling = maximum_total" if table == "porfs" else ""
            ddl.backfill_by_key(
                table,
                f"base_currency = currency, base_rate = 1, base_net = net, base_total = total{ceilings},"
                f" base_rate_date = (SELECT ({moment} AT TIME ZONE o.timezone)::date {of_organisation})",
                where=f"base_rate IS NULL AND {condition} AND currency = (SELECT o.currency {of_organisation})",
            )
            for name, check in CHECKS.items():
                ddl.add_check(table, f"ck_{table}_{name}", check)
            ddl.add_reference(table, "base_rate_id", "exchange_rates (organisation_id, id)")
            ddl.create_index(
                f"ix_{table}_organisation_id_base_rate_id",
                f"{table} (organisation_id, base_rate_id) WHERE base_rate_id IS NOT NULL",
            )


def downgrade() -> None:
    for table in DOCUMENTS:
        if table == "porfs":
            op.drop_column(table, "base_ceiling")
        for name in NAMES:
            op.drop_column(table, name)
