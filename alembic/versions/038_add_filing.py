"""Documents of orders are filed in the folders of their organisations.

Documents that are stored already are queued by the periodic task `filings.find_missing`, once filing is configured.

Revises: 037
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "038"
down_revision = "037"
branch_labels = None
depends_on = None

expands = True
loses = "which documents are filed, where, and which could not be; which folders are verified"
lost_rows = ("document_filings", "filing_folders", "organisations WHERE verified_folder_id IS NOT NULL")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("organisations", sa.Column("verified_folder_id", sa.Text))
        ddl.create_index(
            "uq_organisations_verified_folder_id",
            "organisations (verified_folder_id) WHERE verified_folder_id IS NOT NULL",
            unique=True,
        )
    ddl.create_tenant_table(
        "document_filings",
        *ddl.tenant_columns(),
        sa.Column("file_id", sa.BigInteger, nullable=False),
        sa.Column("drive_id", sa.Text),
        sa.Column("url", sa.Text),
        sa.Column("status", sa.Text, server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("next_attempt_at", TIMESTAMP(timezone=True)),
        sa.Column("leased_until", TIMESTAMP(timezone=True)),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("finished_at", TIMESTAMP(timezone=True)),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("document_filings"),
        ddl.tenant_reference("document_filings", "file_id", "purchase_order_files"),
        sa.UniqueConstraint("organisation_id", "file_id", name="uq_document_filings_file_id"),
        sa.CheckConstraint("status IN ('queued', 'held', 'done', 'failed')", name=op.f("ck_document_filings_status")),
        sa.CheckConstraint(
            "(status = 'queued') = (next_attempt_at IS NOT NULL)", name=op.f("ck_document_filings_next_attempt_at")
        ),
        sa.CheckConstraint("status = 'queued' OR leased_until IS NULL", name=op.f("ck_document_filings_leased_until")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_document_filings_attempts")),
    )
    op.create_index(
        "ix_document_filings_next_attempt_at",
        "document_filings",
        ["organisation_id", "next_attempt_at", "id"],
        postgresql_where="next_attempt_at IS NOT NULL OR status = 'failed'",
    )
    op.create_index("ix_document_filings_created_at", "document_filings", ["organisation_id", "created_at", "id"])
    ddl.create_tenant_table(
        "filing_folders",
        *ddl.tenant_columns(),
        sa.Column("parent_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("drive_id", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("filing_folders"),
        sa.UniqueConstraint("organisation_id", "parent_id", "name", name="uq_filing_folders_name"),
    )
    for table in ("document_filings", "filing_folders"):
        op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.drop_table("filing_folders")
    op.drop_table("document_filings")
    op.drop_index("uq_organisations_verified_folder_id", "organisations")
    op.drop_column("organisations", "verified_folder_id")
