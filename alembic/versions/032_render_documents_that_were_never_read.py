"""Documents that were never read are rendered, too.

Every document that an order has is stored, or is a row of `document_renderings`.

Revises: 031
"""

from po_api.operations import ddl

revision = "032"
down_revision = "031"
branch_labels = None
depends_on = None

expands = True
loses = None

# By kind: the orders that have such a document.
DOCUMENTS = {"issued": "number IS NOT NULL", "cancelled": "number IS NOT NULL AND status = 'cancelled'"}


def missing(kind: str, condition: str) -> str:
    """Queue the documents of a kind that are not stored."""
    return f"""
        INSERT INTO document_renderings
            (organisation_id, purchase_order_id, revision, kind, next_attempt_at, created_at)
        SELECT organisation_id, id, revision, '{kind}', now(), now() FROM purchase_orders
        WHERE {condition} AND NOT EXISTS (
            SELECT FROM purchase_order_files f
            WHERE f.organisation_id = purchase_orders.organisation_id AND f.purchase_order_id = purchase_orders.id
              AND f.revision = purchase_orders.revision AND f.kind = '{kind}')
    """


def upgrade() -> None:
    with ddl.steps():
        for kind, condition in DOCUMENTS.items():
            ddl.copy_by_key(missing(kind, condition), of="purchase_orders")


def downgrade() -> None:
    """The rows are dropped with their table."""
