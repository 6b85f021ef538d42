"""Delivery addresses of requests; terms, parties and tax categories of orders.

Existing orders have no terms and no parties: the parties of drafts are looked up, those of frozen orders are not
guessed. Approvals from now on cover the delivery address, in the third version of their hash. The version before goes
on, but does not convert what this version approves.

Revises: 035
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "036"
down_revision = "035"
branch_labels = None
depends_on = None

OF_ORDER = (
    *("payment_terms", "incoterms", "incoterms_place", "buyer_reference", "parties"),
    *("payment_days", "delivery_address_id"),
)
expands = True
loses = (
    "delivery addresses of requests, terms and parties of orders, tax categories: requests that were approved by this"
    " version need another approval"
)
lost_rows = (
    "porfs WHERE delivery_address_id IS NOT NULL OR delivery_address IS NOT NULL",
    f"purchase_orders WHERE {' OR '.join(f'{name} IS NOT NULL' for name in OF_ORDER)}",
    "purchase_order_lines WHERE tax_category IS NOT NULL OR tax_exemption_reason IS NOT NULL",
    "approval_decisions WHERE hash_version > 2",
)

INCOTERMS = "'EXW', 'FCA', 'CPT', 'CIP', 'DAP', 'DPU', 'DDP', 'FAS', 'FOB', 'CFR', 'CIF'"
ONE_ADDRESS = "num_nonnulls(delivery_address_id, delivery_address) <= 1"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "porfs", sa.Column("delivery_address_id", sa.BigInteger), sa.Column("delivery_address", sa.Text)
        )
        ddl.add_columns(
            "purchase_orders",
            sa.Column("delivery_address_id", sa.BigInteger),
            sa.Column("payment_days", sa.Integer),
            *(sa.Column(name, sa.Text) for name in OF_ORDER[:5]),
        )
        ddl.add_columns(
            "purchase_order_lines", sa.Column("tax_category", sa.Text), sa.Column("tax_exemption_reason", sa.Text)
        )
        for table in ("porfs", "purchase_orders"):
            ddl.add_reference(table, "delivery_address_id", "addresses (organisation_id, id)")
            ddl.add_check(table, f"ck_{table}_delivery_address", ONE_ADDRESS)
            ddl.create_index(
                f"ix_{table}_organisation_id_delivery_address_id",
                f"{table} (organisation_id, delivery_address_id) WHERE delivery_address_id IS NOT NULL",
            )
        ddl.add_check("purchase_orders", "ck_purchase_orders_payment_days", "payment_days BETWEEN 0 AND 365")
        ddl.add_check("purchase_orders", "ck_purchase_orders_incoterms", f"incoterms IN ({INCOTERMS})")
        ddl.add_check(
            "purchase_order_lines",
            "ck_purchase_order_lines_tax_category",
            "tax_category IS NULL OR (tax_category = 'S' AND tax_rate > 0)"
            " OR (tax_category IN ('Z', 'E', 'AE', 'O', 'K', 'G') AND tax_rate = 0)",
        )
        ddl.add_check(
            "purchase_order_lines",
            "ck_purchase_order_lines_tax_exemption_reason",
            "tax_exemption_reason IS NULL OR (tax_category IS NOT NULL AND tax_category IN ('E', 'AE', 'O', 'K', 'G'))",
        )


def downgrade() -> None:
    op.drop_column("purchase_order_lines", "tax_exemption_reason")
    op.drop_column("purchase_order_lines", "tax_category")
    for name in OF_ORDER:
        op.drop_column("purchase_orders", name)
    op.drop_column("porfs", "delivery_address")
    op.drop_column("porfs", "delivery_address_id")
