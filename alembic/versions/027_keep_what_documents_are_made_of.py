"""Orders keep what their documents are rendered from, and have a document of each kind: issued, cancelled, superseded.

The application renders documents after the issue: an order that was issued has its document, or a sheet. Orders from
before have their documents and no sheet.

The version before goes on: it stores the documents of the orders that it issues. It finds no document of an order that
the new version has issued until that is rendered.

Revises: 026
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "027"
down_revision = "026"
branch_labels = None
depends_on = None

expands = True
loses = "documents of cancelled orders, and of issued orders those that were never read"
lost_rows = (
    "purchase_order_files WHERE kind <> 'issued'",
    "purchase_order_sheets WHERE NOT EXISTS (SELECT FROM purchase_order_files f"
    " WHERE f.organisation_id = purchase_order_sheets.organisation_id"
    " AND f.purchase_order_id = purchase_order_sheets.purchase_order_id"
    " AND f.revision = purchase_order_sheets.revision AND f.kind = 'issued')",
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
KEY = "organisation_id, purchase_order_id, revision"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("purchase_order_files", sa.Column("kind", sa.Text, server_default="issued", nullable=False))
        ddl.add_check(
            "purchase_order_files",
            "ck_purchase_order_files_kind",
            "kind IN ('issued', 'cancelled', 'superseded')",
        )
        ddl.add_unique("uq_purchase_order_files_kind", "purchase_order_files", f"{KEY}, kind")
        op.execute("ALTER TABLE purchase_order_files DROP CONSTRAINT IF EXISTS uq_purchase_order_files_revision")

    op.create_table(
        "purchase_order_sheets",
        *ddl.tenant_columns(),
        sa.Column("purchase_order_id", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("template", sa.Integer, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("sheet", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("purchase_order_sheets"),
        ddl.tenant_reference("purchase_order_sheets", "purchase_order_id", "purchase_orders"),
        sa.UniqueConstraint(*KEY.split(", "), name="uq_purchase_order_sheets_revision"),
        sa.CheckConstraint("template >= 1", name=op.f("ck_purchase_order_sheets_template")),
    )
    op.execute(f"CREATE POLICY tenant ON purchase_order_sheets USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE purchase_order_sheets ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("purchase_order_sheets")
    op.execute("DELETE FROM purchase_order_files WHERE kind <> 'issued'")
    op.execute(f"ALTER TABLE purchase_order_files ADD CONSTRAINT uq_purchase_order_files_revision UNIQUE ({KEY})")
    op.drop_constraint("uq_purchase_order_files_kind", "purchase_order_files")
    op.drop_column("purchase_order_files", "kind")
