"""Organisations and suppliers as legal parties; contacts, addresses, external references.

Approvals and draft orders from now on cover the whole identity of the supplier: legal name, VAT id, company id and
electronic address besides name and tax id. Digests that are there stay valid, and cover name and tax id.

The version before goes on: it converts what was approved before, but not what this version approves. E-mail addresses
of suppliers that it writes meanwhile get no contact; the next change of the address by this version adds one.

Revises: 034
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, TIMESTAMP

from po_api.operations import ddl

revision = "035"
down_revision = "034"
branch_labels = None
depends_on = None

PARTY = (
    *("legal_name", "vat_id", "company_scheme", "company_id"),
    *("street", "street2", "city", "postal_code", "region", "country"),
    *("contact_name", "contact_email", "contact_phone"),
    *("endpoint_scheme", "endpoint_id", "language", "payment_terms"),
)
OF_ORGANISATION = (
    *("buyer_reference", "default_terms", "incoterms", "incoterms_place"),
    *("accent_colour", "logo_digest"),
)


def filled(*names: str) -> str:
    return " OR ".join(f"{name} IS NOT NULL" for name in names)


expands = True
loses = (
    "the data of organisations and suppliers as legal parties, also in approvals; logos, suppliers' contacts,"
    " addresses, external references"
)
lost_rows = (
    f"organisations WHERE {filled(*PARTY, 'payment_days', *OF_ORGANISATION)}"
    " OR paper <> 'a4' OR footer_lines <> '{}'",
    f"suppliers WHERE {filled(*PARTY, 'payment_days', 'currency')}",
    "organisation_logos",
    "supplier_contacts WHERE NOT is_active OR name IS NOT NULL OR purpose <> 'both' OR NOT EXISTS ("
    "SELECT FROM suppliers s WHERE s.organisation_id = supplier_contacts.organisation_id"
    " AND s.id = supplier_contacts.supplier_id AND s.email = supplier_contacts.email)",
    "addresses",
    "external_references",
    "approval_decisions WHERE length(supplier_hash) = 512",
    "purchase_orders WHERE supplier_hash IS NOT NULL",
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
LANGUAGES = "'en', 'de', 'fr', 'es'"
INCOTERMS = "'EXW', 'FCA', 'CPT', 'CIP', 'DAP', 'DPU', 'DDP', 'FAS', 'FOB', 'CFR', 'CIF'"


def upgrade() -> None:
    with ddl.steps():
        for table in ("organisations", "suppliers"):
            ddl.add_columns(table, *(sa.Column(name, sa.Text) for name in PARTY), sa.Column("payment_days", sa.Integer))
            ddl.add_check(table, f"ck_{table}_country", "country ~ '^[A-Z]{2}$'")
            ddl.add_check(table, f"ck_{table}_endpoint", "(endpoint_scheme IS NULL) = (endpoint_id IS NULL)")
            ddl.add_check(table, f"ck_{table}_company", "company_scheme IS NULL OR company_id IS NOT NULL")
            ddl.add_check(table, f"ck_{table}_language", f"language IN ({LANGUAGES})")
            ddl.add_check(table, f"ck_{table}_payment_days", "payment_days BETWEEN 0 AND 365")
        ddl.add_columns(
            "organisations",
            *(sa.Column(name, sa.Text) for name in OF_ORGANISATION),
            sa.Column("paper", sa.Text, server_default="a4", nullable=False),
            sa.Column("footer_lines", ARRAY(sa.Text), server_default="{}", nullable=False),
        )
        ddl.add_check("organisations", "ck_organisations_incoterms", f"incoterms IN ({INCOTERMS})")
        ddl.add_check("organisations", "ck_organisations_paper", "paper IN ('a4', 'letter')")
        ddl.add_check("organisations", "ck_organisations_accent_colour", "accent_colour ~ '^#[0-9a-f]{6}$'")
        ddl.add_check("organisations", "ck_organisations_footer_lines", "cardinality(footer_lines) <= 4")
        ddl.add_columns("suppliers", sa.Column("currency", sa.Text))
        ddl.add_check("suppliers", "ck_suppliers_currency", "currency ~ '^[A-Z]{3}$'")
        ddl.add_check(
            "approval_decisions",
            "ck_approval_decisions_supplier_hash",
            "supplier_hash ~ '^(([0-9a-f]{64}){2}|([0-9a-f]{64}){8})$'",
        )
        ddl.add_columns("purchase_orders", sa.Column("supplier_hash", sa.Text))
        ddl.add_check("purchase_orders", "ck_purchase_orders_supplier_hash", "supplier_hash ~ '^([0-9a-f]{64}){8}$'")
    add_logos()
    add_contacts()
    add_addresses()
    add_external_references()


def add_logos() -> None:
    ddl.create_tenant_table(
        "organisation_logos",
        *ddl.tenant_columns(),
        sa.Column("content", BYTEA, nullable=False),
        *ddl.tenant_constraints("organisation_logos"),
        sa.UniqueConstraint("organisation_id", name="uq_organisation_logos_organisation_id"),
        sa.CheckConstraint("octet_length(content) BETWEEN 1 AND 524288", name=op.f("ck_organisation_logos_content")),
    )
    isolate("organisation_logos")


def add_contacts() -> None:
    """The e-mail address of each supplier becomes its first contact."""
    ddl.create_tenant_table(
        "supplier_contacts",
        *ddl.tenant_columns(),
        sa.Column("supplier_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, server_default="both", nullable=False),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("supplier_contacts"),
        ddl.tenant_reference("supplier_contacts", "supplier_id", "suppliers"),
        sa.CheckConstraint("email <> '' AND length(email) <= 255", name=op.f("ck_supplier_contacts_email")),
        sa.CheckConstraint("purpose IN ('orders', 'invoices', 'both')", name=op.f("ck_supplier_contacts_purpose")),
    )
    key = ["organisation_id", "supplier_id"]
    op.create_index("ix_supplier_contacts_supplier_id", "supplier_contacts", [*key, "created_at", "id"])
    op.create_index(
        "uq_supplier_contacts_email", "supplier_contacts", [*key, "email"], unique=True, postgresql_where="is_active"
    )
    # Into a new table: nobody waits for its rows, and organisations have at most some thousands of suppliers.
    op.execute(
        "INSERT INTO supplier_contacts (organisation_id, supplier_id, email)"
        " SELECT organisation_id, id, email FROM suppliers WHERE email <> '' AND length(email) <= 255"
        " ORDER BY organisation_id, id"
    )
    isolate("supplier_contacts")


def add_addresses() -> None:
    ddl.create_tenant_table(
        "addresses",
        *ddl.tenant_columns(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.Text)
            for name in ("lines", "street", "street2", "city", "postal_code", "region", "country", "contact", "phone")
        ),
        sa.Column("is_default", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        *ddl.timestamps(),
        *ddl.tenant_constraints("addresses"),
        sa.CheckConstraint("kind IN ('delivery', 'billing')", name=op.f("ck_addresses_kind")),
        sa.CheckConstraint("name <> '' AND length(name) <= 255", name=op.f("ck_addresses_name")),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_addresses_country")),
    )
    op.create_index(
        "uq_addresses_default",
        "addresses",
        ["organisation_id", "kind"],
        unique=True,
        postgresql_where="is_default AND is_active",
    )
    for column in ("created_at", "updated_at", "name"):
        op.create_index(f"ix_addresses_organisation_id_{column}", "addresses", ["organisation_id", column, "id"])
    isolate("addresses")


def add_external_references() -> None:
    table = "external_references"
    ddl.create_tenant_table(
        table,
        *ddl.tenant_columns(),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("supplier_id", sa.BigInteger),
        sa.Column("porf_id", sa.BigInteger),
        sa.Column("purchase_order_id", sa.BigInteger),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("external_id", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints(table),
        sa.UniqueConstraint("organisation_id", "system", "entity", "external_id", name="uq_external_references_id"),
        ddl.tenant_reference(table, "supplier_id", "suppliers"),
        ddl.tenant_reference(table, "porf_id", "porfs", ondelete="CASCADE"),
        ddl.tenant_reference(table, "purchase_order_id", "purchase_orders"),
        sa.CheckConstraint(
            "num_nonnulls(supplier_id, porf_id, purchase_order_id) = 1", name=op.f("ck_external_references_one_entity")
        ),
        sa.CheckConstraint(
            "CASE entity WHEN 'supplier' THEN supplier_id IS NOT NULL WHEN 'porf' THEN porf_id IS NOT NULL"
            " WHEN 'purchase_order' THEN purchase_order_id IS NOT NULL ELSE false END",
            name=op.f("ck_external_references_entity"),
        ),
        sa.CheckConstraint("length(system) BETWEEN 1 AND 50", name=op.f("ck_external_references_system")),
        sa.CheckConstraint("length(external_id) BETWEEN 1 AND 100", name=op.f("ck_external_references_external_id")),
    )
    op.create_index(f"ix_{table}_organisation_id_created_at", table, ["organisation_id", "created_at", "id"])
    for column in ("supplier_id", "porf_id", "purchase_order_id"):
        op.create_index(f"ix_{table}_organisation_id_{column}", table, ["organisation_id", column])
    isolate(table)


def isolate(table: str) -> None:
    op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    for table in ("external_references", "addresses", "supplier_contacts", "organisation_logos"):
        op.drop_table(table)
    op.drop_column("purchase_orders", "supplier_hash")
    # A digest of name and tax id alone: the version before compares no other one.
    op.execute(
        "UPDATE approval_decisions SET supplier_hash = left(supplier_hash, 128) WHERE length(supplier_hash) > 128"
    )
    op.drop_constraint("ck_approval_decisions_supplier_hash", "approval_decisions")
    op.create_check_constraint(
        op.f("ck_approval_decisions_supplier_hash"), "approval_decisions", "supplier_hash ~ '^[0-9a-f]{128}$'"
    )
    op.drop_column("suppliers", "currency")
    for name in ("paper", "footer_lines", *OF_ORGANISATION):
        op.drop_column("organisations", name)
    for table in ("suppliers", "organisations"):
        for name in (*PARTY, "payment_days"):
            op.drop_column(table, name)
