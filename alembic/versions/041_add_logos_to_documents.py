"""Documents of orders print the logo, in the language of the supplier; electronic orders are stored beside them.

Orders that are issued from now on keep logo and language. A logo that the version before stores meanwhile is printed
once it is uploaded again. Where the version before files an electronic order, its name ends in -ELECTRONIC.pdf.

Revises: 038
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA

from po_api.operations import ddl

revision = "041"
down_revision = "040"
branch_labels = None
depends_on = None

expands = True
loses = (
    "logos and languages of documents that were not rendered yet, or are cancelled afterwards; stored electronic orders"
)
ELECTRONIC = "purchase_order_files WHERE kind = 'electronic'"
lost_rows = (
    "document_logos",
    "purchase_order_sheets WHERE language IS NOT NULL OR logo_digest IS NOT NULL",
    ELECTRONIC,
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
LANGUAGES = "'en', 'de', 'fr', 'es'"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("purchase_order_sheets", sa.Column("language", sa.Text), sa.Column("logo_digest", sa.Text))
        ddl.add_check("purchase_order_sheets", "ck_purchase_order_sheets_language", f"language IN ({LANGUAGES})")
        kinds = "'issued', 'cancelled', 'superseded', 'electronic'"
        ddl.add_check("purchase_order_files", "ck_purchase_order_files_kind", f"kind IN ({kinds})")
    ddl.create_tenant_table(
        "document_logos",
        *ddl.tenant_columns(),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("content", BYTEA, nullable=False),
        *ddl.tenant_constraints("document_logos"),
        sa.UniqueConstraint("organisation_id", "digest", name="uq_document_logos_organisation_id_digest"),
        sa.CheckConstraint("octet_length(content) BETWEEN 1 AND 524288", name=op.f("ck_document_logos_content")),
        sa.CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name=op.f("ck_document_logos_digest")),
    )
    # Into a new table: nobody waits for its rows, and an organisation has one logo.
    op.execute(
        "INSERT INTO document_logos (organisation_id, digest, content)"
        " SELECT organisation_id, encode(sha256(content), 'hex'), content FROM organisation_logos"
        " ORDER BY organisation_id"
    )
    op.execute(f"CREATE POLICY tenant ON document_logos USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE document_logos ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute(
        "DELETE FROM document_filings f USING purchase_order_files o WHERE o.organisation_id = f.organisation_id"
        " AND o.id = f.file_id AND o.kind = 'electronic'"
    )
    op.execute(f"DELETE FROM {ELECTRONIC}")
    op.drop_constraint("ck_purchase_order_files_kind", "purchase_order_files")
    op.create_check_constraint(
        op.f("ck_purchase_order_files_kind"), "purchase_order_files", "kind IN ('issued', 'cancelled', 'superseded')"
    )
    op.drop_table("document_logos")
    op.drop_column("purchase_order_sheets", "logo_digest")
    op.drop_column("purchase_order_sheets", "language")
