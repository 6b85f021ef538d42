"""Suppliers read their orders at addresses of their own.

Revises: 039
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "040"
down_revision = "039"
branch_labels = None
depends_on = None

expands = True
loses = "the addresses at which suppliers read orders, and which of them were read"
lost_rows = ("delivery_links",)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"


def upgrade() -> None:
    ddl.create_tenant_table(
        "delivery_links",
        *ddl.tenant_columns(),
        sa.Column("delivery_id", sa.BigInteger, nullable=False),
        sa.Column("token_digest", sa.Text, nullable=False),
        sa.Column("expires_at", TIMESTAMP(timezone=True)),
        sa.Column("viewed_at", TIMESTAMP(timezone=True)),
        sa.Column("viewed_by_name", sa.Text),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("delivery_links"),
        ddl.tenant_reference("delivery_links", "delivery_id", "deliveries"),
        sa.UniqueConstraint("organisation_id", "token_digest", name="uq_delivery_links_token_digest"),
        sa.CheckConstraint("token_digest ~ '^[0-9a-f]{64}$'", name=op.f("ck_delivery_links_token_digest")),
        sa.CheckConstraint(
            "(viewed_at IS NULL) = (viewed_by_name IS NULL)", name=op.f("ck_delivery_links_viewed_by_name")
        ),
    )
    op.create_index(
        "ix_delivery_links_organisation_id_delivery_id", "delivery_links", ["organisation_id", "delivery_id"]
    )
    op.execute(f"CREATE POLICY tenant ON delivery_links USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE delivery_links ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("delivery_links")
