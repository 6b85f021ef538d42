"""Tenant policies, and the search that works under them.

Row-level security is enabled, not forced: the tables' owner migrates and backs up all of them, the application's role
sees one organisation at a time. Text search uses operators that are not leakproof, so under row-level security they
could use no index; the search functions therefore run as the owner and carry the organisation inside.

Revises: 006
"""

from alembic import op

from po_api.operations import ddl

revision = "007"
down_revision = "006"
branch_labels = None
depends_on = None

TABLES = (
    "suppliers",
    "porfs",
    "porf_lines",
    "number_series",
    "purchase_orders",
    "purchase_order_lines",
    "allocations",
    "purchase_order_files",
    "approval_decisions",
    "porf_comments",
    "audit_events",
)
TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"

SEARCHES = {
    "porfs": "number || ' ' || title || ' ' || coalesce(cost_centre, '') || ' ' || coalesce(justification, '')",
    "purchase_orders": "coalesce(number, '') || ' ' || supplier_name",
    "suppliers": "name || ' ' || coalesce(email, '') || ' ' || coalesce(tax_id, '')",
}


def search_function(table: str, document: str) -> str:
    """Every word of the question has to begin a word of the document; no word at all finds nothing."""
    return f"""
        CREATE FUNCTION search_{table}(question text) RETURNS SETOF bigint
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
            SELECT id FROM public.{table}
            WHERE {TENANT}
              AND to_tsvector('simple', {document}) @@ (
                  SELECT to_tsquery('simple', string_agg(quote_literal(lexeme) || ':*', ' & '))
                  FROM unnest(to_tsvector('simple', question)))
        $$
    """


def upgrade() -> None:
    with ddl.steps():
        for table, document in SEARCHES.items():
            ddl.create_index(f"ix_{table}_search", f"{table} USING gin (to_tsvector('simple', {document}))")
        for table in TABLES:
            # Together: without a policy, row-level security shows the application nothing. Table by table: each is
            # locked for a moment, and never while waiting for another.
            ddl.as_one(
                f"DROP POLICY IF EXISTS tenant ON {table}",
                f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})",
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            )

    for table, document in SEARCHES.items():
        op.execute(search_function(table, document))
        op.execute(f"REVOKE ALL ON FUNCTION search_{table}(text) FROM PUBLIC")


def downgrade() -> None:
    for table in SEARCHES:
        op.execute(f"DROP INDEX ix_{table}_search")
        op.execute(f"DROP FUNCTION search_{table}(text)")
    for table in reversed(TABLES):
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
