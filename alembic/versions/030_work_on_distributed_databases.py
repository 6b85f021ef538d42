"""Functions that also work where the tables of organisations are distributed over several servers (Citus).

Revises: 029
"""

from alembic import op

revision = "030"
down_revision = "029"
branch_labels = None
depends_on = None

expands = True
loses = None

TENANT = "nullif(current_setting('app.organisation_id', true), '')::bigint"
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"
IS_OPEN = "i.accepted_at IS NULL AND i.declined_at IS NULL AND i.revoked_at IS NULL"
MOST = 100

# The text of the statement is all that Citus sends to the other servers, so it must have no other part. It has no
# `search_path` of its own, with which the setting would end with the function.
ENTER_TENANT = """
    CREATE FUNCTION enter_tenant(of_organisation text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('SET LOCAL app.organisation_id = %L', coalesce(of_organisation, ''));
        RETURN of_organisation;
    END
    $$
"""

# The member is locked, which a change of the base currency waits for; then the rules are read, as committed by then.
# Locking the organisation would lock all organisations where the table is on every server.
CREATION_RULES = """
    CREATE FUNCTION creation_rules(of_organisation bigint, of_member bigint, of_supplier bigint)
    RETURNS TABLE (
        id bigint, timezone text, porf_prefix text, po_prefix text, currency text, tax_rounding text,
        over_order_percent numeric, supplier_is_active boolean)
    LANGUAGE plpgsql ROWS 1 AS $$
    DECLARE
        is_active boolean;
    BEGIN
        PERFORM FROM members m WHERE m.organisation_id = of_organisation AND m.user_id = of_member FOR KEY SHARE;
        IF of_supplier IS NOT NULL THEN
            SELECT s.is_active INTO is_active FROM suppliers s
            WHERE s.organisation_id = of_organisation AND s.id = of_supplier;
        END IF;
        RETURN QUERY
            SELECT o.id, o.timezone, o.porf_prefix, o.po_prefix, o.currency, o.tax_rounding, o.over_order_percent,
                coalesce(is_active, false)
            FROM organisations o WHERE o.id = of_organisation;
    END
    $$
"""

# One organisation at a time: none of the statements joins a global table with those of organisations.
OPEN_INVITATIONS = f"""
    CREATE OR REPLACE FUNCTION open_invitations(of_address text, of_invitation bigint)
    RETURNS TABLE (
        id bigint, organisation_id bigint, organisation_name text, roles text[], approval_limit numeric,
        invited_by_name text, expires_at timestamptz, version bigint)
    LANGUAGE plpgsql STABLE {AS_OWNER} AS $$
    DECLARE
        place record;
        shown integer := 0;
    BEGIN
        FOR place IN
            SELECT a.organisation_id, a.invitation_id, o.name
            FROM public.invitation_addresses a JOIN public.organisations o ON o.id = a.organisation_id
            WHERE a.digest = encode(sha256(convert_to(of_address, 'UTF8')), 'hex')
              AND (of_invitation IS NULL OR a.invitation_id = of_invitation)
            ORDER BY a.invitation_id DESC
        LOOP
            RETURN QUERY
                SELECT i.id, i.organisation_id, place.name, i.roles, i.approval_limit,
                    (SELECT m.name FROM public.members m
                     WHERE m.organisation_id = place.organisation_id AND m.user_id = i.invited_by_id),
                    i.expires_at, i.version::bigint
                FROM public.invitations i
                WHERE i.organisation_id = place.organisation_id AND i.id = place.invitation_id
                  AND i.email = of_address AND {IS_OPEN} AND i.expires_at > now();
            shown := shown + FOUND::integer;
            EXIT WHEN shown = {MOST};
        END LOOP;
    END
    $$
"""
EARLIER_OPEN_INVITATIONS = f"""
    CREATE OR REPLACE FUNCTION open_invitations(of_address text, of_invitation bigint)
    RETURNS TABLE (
        id bigint, organisation_id bigint, organisation_name text, roles text[], approval_limit numeric,
        invited_by_name text, expires_at timestamptz, version bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    BEGIN
        RETURN QUERY
            SELECT i.id, i.organisation_id, o.name, i.roles, i.approval_limit, m.name, i.expires_at, i.version::bigint
            FROM public.invitation_addresses a
            JOIN public.invitations i ON i.organisation_id = a.organisation_id AND i.id = a.invitation_id
            JOIN public.organisations o ON o.id = a.organisation_id
            JOIN public.members m ON m.organisation_id = i.organisation_id AND m.user_id = i.invited_by_id
            WHERE a.digest = encode(sha256(convert_to(of_address, 'UTF8')), 'hex')
              AND i.email = of_address AND {IS_OPEN} AND i.expires_at > now()
              AND (of_invitation IS NULL OR i.id = of_invitation)
            ORDER BY i.id DESC LIMIT {MOST};
    END
    $$
"""

# By table: the text of a row, the table of its lines and their reference to it.
DOCUMENTS = {
    "porfs": "number || ' ' || title || ' ' || coalesce(cost_centre, '') || ' ' || coalesce(justification, '')",
    "purchase_orders": "coalesce(number, '') || ' ' || supplier_name",
}
SUPPLIER = "name || ' ' || coalesce(email, '') || ' ' || coalesce(tax_id, '')"
LINES = {"porfs": ("porf_lines", "porf_id"), "purchase_orders": ("purchase_order_lines", "purchase_order_id")}
LINE = "description || ' ' || coalesce(sku, '')"
ENDING = "reverse(lower(number))"


def search_function(table: str, tenant: str, constant: str = "", value: str = "") -> str:
    """That of revision 029 with another comparison with the tenant."""
    lines, reference = LINES[table]
    return f"""
        CREATE OR REPLACE FUNCTION search_{table}(question text) RETURNS SETOF bigint
        LANGUAGE plpgsql VOLATILE {AS_OWNER} AS $$
        DECLARE{constant}
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
                        WHERE {tenant} AND to_tsvector('simple', {DOCUMENTS[table]}) @@ $1
                            AND ($3 IS NULL OR id = ANY ($3))
                        UNION
                        SELECT id FROM public.{table}
                        WHERE {tenant} AND {ENDING} LIKE $2 AND ($3 IS NULL OR id = ANY ($3))
                        UNION
                        SELECT {reference} FROM public.{lines}
                        WHERE {tenant} AND to_tsvector('simple', {LINE}) @@ $1
                            AND ($3 IS NULL OR {reference} = ANY ($3)))
                $search$ INTO found USING term.query, term.ending, found{value};
            END LOOP;
            RETURN QUERY SELECT unnest(found);
        END $$
    """


def supplier_search_function(tenant: str, value: str = "") -> str:
    return f"""
        CREATE OR REPLACE FUNCTION search_suppliers(question text) RETURNS SETOF bigint
        LANGUAGE plpgsql STABLE {AS_OWNER} AS $$
        BEGIN
            RETURN QUERY EXECUTE $search$
                SELECT id FROM public.suppliers WHERE {tenant} AND to_tsvector('simple', {SUPPLIER}) @@ $1
            $search$ USING public.search_query(question){value};
        END $$
    """


def upgrade() -> None:
    op.execute(ENTER_TENANT)
    op.execute(CREATION_RULES)
    op.execute(OPEN_INVITATIONS)
    # Tables are compared with a value: so their rows are looked for on one server.
    for table in LINES:
        constant = f"\n            tenant CONSTANT bigint := {TENANT};"
        op.execute(search_function(table, "organisation_id = $4", constant, ", tenant"))
    op.execute(supplier_search_function("organisation_id = $2", f", {TENANT}"))


def downgrade() -> None:
    op.execute(supplier_search_function(f"organisation_id = {TENANT}"))
    for table in LINES:
        op.execute(search_function(table, f"organisation_id = {TENANT}"))
    op.execute(EARLIER_OPEN_INVITATIONS)
    op.execute("DROP FUNCTION creation_rules(bigint, bigint, bigint)")
    op.execute("DROP FUNCTION enter_tenant(text)")
