"""Cost centres and delivery dates of orders, from the requests that they were created from.

Existing orders get what the requests say; the documents of issued orders stay as they are. Lines inherit the request's
date in drafts only, because it is printed. Lines of cancelled orders get none: their requests may have changed since.

Revises: 025
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.operations import ddl

revision = "026"
down_revision = "025"
branch_labels = None
depends_on = None

expands = True
loses = "cost centres and delivery dates of orders that are not those of their requests"


def of_request(column: str) -> str:
    """A column of the request that a row of `purchase_order_lines` is allocated from."""
    return (
        f"(SELECT p.{column} FROM allocations a"
        " JOIN porf_lines l ON l.organisation_id = a.organisation_id AND l.id = a.porf_line_id"
        " JOIN porfs p ON p.organisation_id = l.organisation_id AND p.id = l.porf_id"
        " WHERE a.organisation_id = purchase_order_lines.organisation_id"
        " AND a.purchase_order_line_id = purchase_order_lines.id)"
    )


def of_lines(expression: str) -> str:
    """An aggregate of the lines of a row of `purchase_orders`."""
    return (
        f"(SELECT {expression} FROM purchase_order_lines l WHERE l.organisation_id = purchase_orders.organisation_id"
        " AND l.purchase_order_id = purchase_orders.id)"
    )


def is_of_order(statuses: str) -> str:
    """Whether the order of a row of `purchase_order_lines` has one of these statuses."""
    return (
        "EXISTS (SELECT FROM purchase_orders o WHERE o.organisation_id = purchase_order_lines.organisation_id"
        f" AND o.id = purchase_order_lines.purchase_order_id AND o.status IN ({statuses}))"
    )


COST_CENTRE, NEEDED_BY = of_request("cost_centre"), of_request("needed_by")
IS_OF_DRAFT = is_of_order("'draft'")
IS_IN_FORCE = is_of_order("'draft', 'issued', 'closed'")
COST_CENTRES = of_lines(
    'coalesce(array_agg(DISTINCT l.cost_centre COLLATE "C" ORDER BY l.cost_centre COLLATE "C")'
    " FILTER (WHERE l.cost_centre IS NOT NULL), '{}')"
)
DELIVERY_DATE = of_lines("min(l.needed_by)")
lost_rows = (
    f"purchase_order_lines WHERE cost_centre IS NOT NULL AND cost_centre IS DISTINCT FROM {COST_CENTRE}",
    f"purchase_orders WHERE delivery_date IS NOT NULL AND delivery_date IS DISTINCT FROM {DELIVERY_DATE}",
    f"purchase_orders WHERE cost_centres <> '{{}}' AND cost_centres <> {COST_CENTRES}",
)


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("purchase_order_lines", sa.Column("cost_centre", sa.Text))
        ddl.add_columns("purchase_orders", sa.Column("delivery_date", sa.Date))
        ddl.add_columns(
            "purchase_orders", sa.Column("cost_centres", ARRAY(sa.Text), server_default="{}", nullable=False)
        )
        ddl.backfill_by_key(
            "purchase_order_lines",
            f"cost_centre = {COST_CENTRE}",
            where=f"cost_centre IS NULL AND {IS_IN_FORCE} AND {COST_CENTRE} IS NOT NULL",
        )
        ddl.backfill_by_key(
            "purchase_order_lines",
            f"needed_by = {NEEDED_BY}",
            where=f"needed_by IS NULL AND {IS_OF_DRAFT} AND {NEEDED_BY} IS NOT NULL",
        )
        ddl.backfill_by_key(
            "purchase_orders",
            f"cost_centres = {COST_CENTRES}, delivery_date = {DELIVERY_DATE}",
            where="cost_centres = '{}' AND delivery_date IS NULL"
            f" AND (cost_centres, delivery_date) IS DISTINCT FROM ({COST_CENTRES}, {DELIVERY_DATE})",
        )
        ddl.create_index(
            "ix_purchase_order_lines_organisation_id_cost_centre",
            "purchase_order_lines (organisation_id, cost_centre, purchase_order_id) WHERE cost_centre IS NOT NULL",
        )


def downgrade() -> None:
    op.drop_index("ix_purchase_order_lines_organisation_id_cost_centre", "purchase_order_lines")
    op.drop_column("purchase_orders", "cost_centres")
    op.drop_column("purchase_orders", "delivery_date")
    op.drop_column("purchase_order_lines", "cost_centre")
