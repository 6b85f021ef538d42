"""Requests and orders are found by the texts of their lines and by the end of their numbers; indexes for filters.

Every word of a search is looked for on its own, in a request and in each of its lines: one index of the lines' words,
which a change of a request does not touch, instead of a copy of all lines in each request.

Revises: 028
"""

from alembic import op

from po_api.operations import ddl

revision = "029"
down_revision = "028"
branch_labels = None
depends_on = None

expands = True
loses = None

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"
# By table: the text of a row, the table of its lines and their reference to it.
DOCUMENTS = {
    "porfs": "number || ' ' || title || ' ' || coalesce(cost_centre, '') || ' ' || coalesce(justification, '')",
    "purchase_orders": "coalesce(number, '') || ' ' || supplier_name",
}
LINES = {"porfs": ("porf_lines", "porf_id"), "purchase_orders": ("purchase_order_lines", "purchase_order_id")}
LINE = "description || ' ' || coalesce(sku, '')"
ENDING = "reverse(lower(number))"
FILTERS = {
    "ix_porfs_organisation_id_needed_by": (
        "porfs (organisation_id, needed_by, created_at, id) WHERE needed_by IS NOT NULL"
    ),
    "ix_suppliers_organisation_id_updated_at": "suppliers (organisation_id, updated_at, id)",
    "ix_members_organisation_id_updated_at": "members (organisation_id, updated_at, user_id)",
}

# STRICT, so that PostgreSQL executes it once for a statement instead of once for each row.
TERMS = r"""
    CREATE FUNCTION search_terms(question text) RETURNS TABLE (query tsquery, ending text)
    LANGUAGE sql IMMUTABLE STRICT AS $$
        SELECT search_query(word),
            CASE WHEN length(word) > 1 AND right(word, 1) BETWEEN '0' AND '9'
                THEN regexp_replace(reverse(lower(word)), '([\\%_])', '\\\1', 'g') || '%' END
        FROM regexp_split_to_table(question, '\s+') AS word
        WHERE search_query(word) IS NOT NULL
    $$
"""


def expected_function(table: str) -> str:
    """In how many rows and lines PostgreSQL expects a word, from statistics.

    Volatile, since PostgreSQL allows EXPLAIN in no other function; the word is part of the text, since it would not
    look at a parameter.
    """
    lines, _ = LINES[table]
    return f"""
        CREATE FUNCTION search_{table}_expected(term tsquery) RETURNS double precision LANGUAGE plpgsql AS $$
        DECLARE
            in_rows json;
            in_lines json;
        BEGIN
            EXECUTE format($search$
                EXPLAIN (FORMAT JSON) SELECT FROM public.{table}
                WHERE to_tsvector('simple', {DOCUMENTS[table]}) @@ %L::tsquery
            $search$, term) INTO in_rows;
            EXECUTE format($search$
                EXPLAIN (FORMAT JSON) SELECT FROM public.{lines} WHERE to_tsvector('simple', {LINE}) @@ %L::tsquery
            $search$, term) INTO in_lines;
            RETURN (in_rows -> 0 -> 'Plan' ->> 'Plan Rows')::double precision
                + (in_lines -> 0 -> 'Plan' ->> 'Plan Rows')::double precision;
        END $$
    """


def search_function(table: str) -> str:
    """The rows that have every word: in the row itself, as the end of its number, or in one of its lines.

    The rarest word comes first; the others are looked for in what it finds.
    """
    lines, reference = LINES[table]
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}(question text) RETURNS SETOF bigint
        LANGUAGE plpgsql VOLATILE {AS_OWNER} AS $$
        DECLARE
            term record;
            found bigint[];
        BEGIN
            FOR term IN
                SELECT query, ending FROM public.search_terms(question)
                ORDER BY public.search_{table}_expected(query)
            LOOP
                EXECUTE $search$
                    SELECT array(
                        SELECT id FROM public.{table}
                        WHERE {TENANT} AND to_tsvector('simple', {DOCUMENTS[table]}) @@ $1
                            AND ($3 IS NULL OR id = ANY ($3))
                        UNION
                        SELECT id FROM public.{table}
                        WHERE {TENANT} AND {ENDING} LIKE $2 AND ($3 IS NULL OR id = ANY ($3))
                        UNION
                        SELECT {reference} FROM public.{lines}
                        WHERE {TENANT} AND to_tsvector('simple', {LINE}) @@ $1
                            AND ($3 IS NULL OR {reference} = ANY ($3)))
                $search$ INTO found USING term.query, term.ending, found;
            END LOOP;
            RETURN QUERY SELECT unnest(found);
        END $$
    """


def share_function(table: str) -> str:
    """The share of all rows, 0 to 1, in which PostgreSQL expects the question's words."""
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}_share(question text) RETURNS double precision
        LANGUAGE plpgsql {AS_OWNER} AS $$
        DECLARE
            all_rows CONSTANT real := (SELECT reltuples FROM pg_class WHERE oid = 'public.{table}'::regclass);
            term tsquery;
            share double precision;
        BEGIN
            IF all_rows <= 0 THEN
                RETURN 0;
            END IF;
            FOR term IN SELECT query FROM public.search_terms(question) LOOP
                share := coalesce(share, 1) * least(1, public.search_{table}_expected(term) / all_rows);
            END LOOP;
            RETURN coalesce(share, 0);
        END $$
    """


def earlier_search_function(table: str) -> str:
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}(question text) RETURNS SETOF bigint
        LANGUAGE plpgsql STABLE {AS_OWNER} AS $$
        BEGIN
            RETURN QUERY EXECUTE $search$
                SELECT id FROM public.{table} WHERE {TENANT} AND to_tsvector('simple', {DOCUMENTS[table]}) @@ $1
            $search$ USING public.search_query(question);
        END $$
    """


def earlier_share_function(table: str) -> str:
    document = DOCUMENTS[table]
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}_share(question text) RETURNS double precision
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


def upgrade() -> None:
    with ddl.steps():
        for table, (lines, _) in LINES.items():
            ddl.create_index(f"ix_{lines}_search", f"{lines} USING gin (to_tsvector('simple', {LINE}))")
            ddl.create_index(f"ix_{table}_number_search", f"{table} (organisation_id, ({ENDING}) text_pattern_ops)")
        for name, on in FILTERS.items():
            ddl.create_index(name, on)
    op.execute(TERMS)
    for table in LINES:
        op.execute(expected_function(table))
        op.execute(search_function(table))
        op.execute(share_function(table))


def downgrade() -> None:
    for table, (lines, _) in LINES.items():
        op.execute(earlier_search_function(table))
        op.execute(earlier_share_function(table))
        op.execute(f"DROP FUNCTION search_{table}_expected(tsquery)")
        op.drop_index(f"ix_{table}_number_search", table)
        op.drop_index(f"ix_{lines}_search", lines)
    op.execute("DROP FUNCTION search_terms(text)")
    for name, on in FILTERS.items():
        op.drop_index(name, on.partition(" ")[0])
