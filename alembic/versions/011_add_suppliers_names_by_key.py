"""The suppliers' names by their keys.

A list of requests shows each one's supplier. The index for sorting suppliers by name holds all that this takes, but
finds an id only by going through all names of the organisation; where a query was planned for an organisation with few
suppliers, one with thousands of them paid for it on every page.

Revises: 010
"""

from alembic import op

from po_api.operations import ddl

revision = "011"
down_revision = "010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with ddl.steps():
        ddl.create_index("ix_suppliers_organisation_id_id", "suppliers (organisation_id, id) INCLUDE (name)")


def downgrade() -> None:
    op.drop_index("ix_suppliers_organisation_id_id", "suppliers")
