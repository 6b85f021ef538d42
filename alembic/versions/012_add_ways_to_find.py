"""What finds requests in a large organisation: how common words are, a plan for each search, an index of cost centres.

A list takes what a search finds in two ways (`core/search.py`): rare words by the index, common words by looking at the
list's own rows in their order. Which of them is the shorter way, PostgreSQL's statistics say. A search is planned with
the words that it is for: a plan for any words reads all of the organisation where a few rows would do.

Revises: 011
"""

from alembic import op

from po_api.operations import ddl

revision = "012"
down_revision = "011"
branch_labels = None
depends_on = None
loses = None

DOCUMENTS = {
    "porfs": "number || ' ' || title || ' ' || coalesce(cost_centre, '') || ' ' || coalesce(justification, '')",
    "purchase_orders": "coalesce(number, '') || ' ' || supplier_name",
    "suppliers": "name || ' ' || coalesce(email, '') || ' ' || coalesce(tax_id, '')",
}
TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"

QUERY = """
    CREATE FUNCTION search_query(question text) RETURNS tsquery LANGUAGE sql IMMUTABLE AS $$
        SELECT to_tsquery('simple', string_agg(quote_literal(lexeme) || ':*', ' & '))
        FROM unnest(to_tsvector('simple', question))
    $$
"""


def search_function(table: str, document: str) -> str:
    """Every word of the question has to begin a word of the document; no word at all finds nothing."""
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}(question text) RETURNS SETOF bigint
        LANGUAGE plpgsql STABLE {AS_OWNER} AS $$
        BEGIN
            RETURN QUERY EXECUTE $search$
                SELECT id FROM public.{table} WHERE {TENANT} AND to_tsvector('simple', {document}) @@ $1
            $search$ USING public.search_query(question);
        END $$
    """


def share_function(table: str, document: str) -> str:
    """The share of all rows, 0 to 1, in which PostgreSQL expects the question's words: from statistics, without looking
    at one of them; 0 before there are any. Volatile, since PostgreSQL allows EXPLAIN in no other function; the words
    are part of the text, since it would not look at a parameter."""
    return f"""
        CREATE FUNCTION search_{table}_share(question text) RETURNS double precision
        LANGUAGE plpgsql {AS_OWNER} AS $$
        DECLARE
            query CONSTANT tsquery := public.search_query(question);
            all_rows CONSTANT real := (SELECT reltuples FROM pg_class WHERE oid = 'public.{table}'::regclass);
            plan json;
        BEGIN
            IF query IS NULL OR all_rows <= 0 THEN
                RETURN 0;
            END IF;
            EXECUTE format($search$
                EXPLAIN (FORMAT JSON) SELECT FROM public.{table} WHERE to_tsvector('simple', {document}) @@ %L::tsquery
            $search$, query) INTO plan;
            RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision / all_rows;
        END $$
    """


def earlier_search_function(table: str, document: str) -> str:
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}(question text) RETURNS SETOF bigint
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
        ddl.create_index(
            "ix_porfs_organisation_id_cost_centre",
            "porfs (organisation_id, cost_centre, created_at, id) WHERE cost_centre IS NOT NULL",
        )
    op.execute(QUERY)
    for table, document in DOCUMENTS.items():
        op.execute(search_function(table, document))
        op.execute(share_function(table, document))
        op.execute(f"REVOKE ALL ON FUNCTION search_{table}_share(text) FROM PUBLIC")


def downgrade() -> None:
    for table, document in DOCUMENTS.items():
        op.execute(f"DROP FUNCTION search_{table}_share(text)")
        op.execute(earlier_search_function(table, document))
    op.execute("DROP FUNCTION search_query(text)")
    op.drop_index("ix_porfs_organisation_id_cost_centre", "porfs")
