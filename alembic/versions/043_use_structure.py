"""Requests, orders and members refer to cost centres, categories, teams and managers.

Each distinct text in `porfs.cost_centre` becomes a cost centre, with the text as its code and its name; texts that look
alike (core/text.name_key) become one, named by the most frequent. Requests and lines of orders then refer to the one of
their text, which stays: it is what was approved and printed.

The version before goes on. Requests that it writes meanwhile have a text alone; the cost centre is looked up when they
are submitted. Approvals from now on cover categories and cost centres of lines, in the fourth version of their hash:
the version before does not convert what this version approves.

Revises: 042
"""

import hashlib
import json
import re
import unicodedata

import sqlalchemy as sa
from alembic import context, op

from po_api.operations import ddl

revision = "043"
down_revision = "042"
branch_labels = None
depends_on = None

OF_LINE = ("category_id", "cost_centre_id")
OF_MEMBER = ("team_id", "manager_id", "default_cost_centre_id")

expands = True
loses = (
    "categories and cost centres of lines, teams, managers and default cost centres of members: requests that were"
    " approved by this version need another approval"
)

NOT_ITS_CODE = (
    "cost_centre_id IS NOT NULL AND NOT EXISTS (SELECT FROM cost_centres c"
    " WHERE c.organisation_id = {0}.organisation_id AND c.id = {0}.cost_centre_id AND c.code = {0}.cost_centre)"
)
lost_rows = (
    *(f"{table} WHERE {NOT_ITS_CODE.format(table)}" for table in ("porfs", "purchase_order_lines")),
    *(f"porf_lines WHERE {name} IS NOT NULL" for name in OF_LINE),
    "purchase_order_lines WHERE category_id IS NOT NULL",
    *(f"members WHERE {name} IS NOT NULL" for name in OF_MEMBER),
    "approval_decisions WHERE hash_version > 3",
)

ROWS = 1000
MAX_BYTES = 1200
IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
WITH_TEXTS = ("porfs", "purchase_order_lines")

# `alembic upgrade --sql` cannot compute the keys.
OFFLINE = """
    DO $do$ BEGIN
        IF EXISTS (SELECT FROM porfs WHERE cost_centre IS NOT NULL) THEN
            RAISE EXCEPTION 'requests have cost centres: run po-api migrate';
        END IF;
    END $do$
"""

# The member is locked, which a change of the base currency waits for; then the rules are read, as committed by then.
# The cost centre is the active one with the id or, without one, with the key of its code or, if wanted, the member's.
CREATION_RULES = """
    CREATE FUNCTION creation_rules(
        of_organisation bigint, of_member bigint, of_supplier bigint,
        of_cost_centre bigint, of_code_key text, takes_default boolean)
    RETURNS TABLE (
        id bigint, timezone text, porf_prefix text, po_prefix text, currency text, tax_rounding text,
        over_order_percent numeric, supplier_is_active boolean, cost_centre_id bigint, cost_centre text)
    LANGUAGE plpgsql ROWS 1 AS $$
    DECLARE
        is_active boolean;
        chosen bigint;
        chosen_id bigint;
        chosen_code text;
    BEGIN
        SELECT m.default_cost_centre_id INTO chosen FROM members m
        WHERE m.organisation_id = of_organisation AND m.user_id = of_member FOR KEY SHARE;
        IF of_supplier IS NOT NULL THEN
            SELECT s.is_active INTO is_active FROM suppliers s
            WHERE s.organisation_id = of_organisation AND s.id = of_supplier;
        END IF;
        IF NOT takes_default THEN
            chosen := of_cost_centre;
        END IF;
        IF chosen IS NOT NULL THEN
            SELECT c.id, c.code INTO chosen_id, chosen_code FROM cost_centres c
            WHERE c.organisation_id = of_organisation AND c.id = chosen AND c.is_active;
        ELSIF of_code_key IS NOT NULL THEN
            SELECT c.id, c.code INTO chosen_id, chosen_code FROM cost_centres c
            WHERE c.organisation_id = of_organisation AND c.code_key = of_code_key AND c.is_active;
        END IF;
        RETURN QUERY
            SELECT o.id, o.timezone, o.porf_prefix, o.po_prefix, o.currency, o.tax_rounding, o.over_order_percent,
                coalesce(is_active, false), chosen_id, chosen_code
            FROM organisations o WHERE o.id = of_organisation;
    END
    $$
"""


# Of each table, in batches that commit one by one; locked rows in a second round, which waits for them.
FILL = "\n".join(
    f"""
            LOOP
                UPDATE {table} SET cost_centre_id = this_id
                WHERE organisation_id = item.organisation AND id = ANY (ARRAY(
                    SELECT id FROM {table}
                    WHERE organisation_id = item.organisation AND cost_centre = item.text AND cost_centre_id IS NULL
                    ORDER BY id LIMIT {ROWS} FOR NO KEY UPDATE{skip}));
                GET DIAGNOSTICS done_rows = ROW_COUNT;
                COMMIT;
                EXIT WHEN done_rows = 0;
            END LOOP;"""
    for table in WITH_TEXTS
    for skip in (" SKIP LOCKED", "")
)
REFER = f"""
    DO $do$
    DECLARE
        item record;
        this_id bigint;
        done_rows bigint;
    BEGIN
        FOR item IN SELECT * FROM json_to_recordset('ITEMS') AS texts (organisation bigint, text text, key text) LOOP
            SELECT id INTO this_id FROM cost_centres
            WHERE organisation_id = item.organisation AND code_key = item.key ORDER BY is_active DESC, id LIMIT 1;
            IF this_id IS NULL THEN
                INSERT INTO cost_centres (organisation_id, code, name, code_key)
                VALUES (item.organisation, item.text, item.text, item.key) RETURNING id INTO this_id;
            END IF;
            {FILL}
        END LOOP;
    END
    $do$
"""


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("cost_centre_id", sa.BigInteger))
        for table in ("porf_lines", "purchase_order_lines"):
            ddl.add_columns(table, *(sa.Column(name, sa.BigInteger) for name in OF_LINE))
        ddl.add_columns("members", *(sa.Column(name, sa.BigInteger) for name in OF_MEMBER))
        refer_to_cost_centres()
        for table in ("porf_lines", "purchase_order_lines"):
            ddl.add_reference(table, "category_id", "categories (organisation_id, id)")
            ddl.add_reference(table, "cost_centre_id", "cost_centres (organisation_id, id)")
        ddl.add_reference("porfs", "cost_centre_id", "cost_centres (organisation_id, id)")
        ddl.add_reference("members", "team_id", "teams (organisation_id, id)")
        ddl.add_reference("members", "manager_id", "members (organisation_id, user_id)")
        ddl.add_reference("members", "default_cost_centre_id", "cost_centres (organisation_id, id)")
        ddl.add_check("members", "ck_members_manager", "manager_id <> user_id")
        add_index("porfs", "cost_centre_id", "created_at, id")
        for name in OF_LINE:
            add_index("porf_lines", name, "porf_id")
            add_index("purchase_order_lines", name, "purchase_order_id")
        for name in OF_MEMBER:
            add_index("members", name)
    op.execute(CREATION_RULES)


def add_index(table: str, column: str, more: str = "") -> None:
    columns = ", ".join(part for part in ("organisation_id", column, more) if part)
    ddl.create_index(f"ix_{table}_organisation_id_{column}", f"{table} ({columns}) WHERE {column} IS NOT NULL")


def refer_to_cost_centres() -> None:
    """Make cost centres of the texts, and let what has the texts refer to them; repeatable."""
    if context.is_offline_mode():
        op.execute(OFFLINE)
        return
    # Counting the texts of an organisation may take long, and blocks nobody.
    op.execute("SET statement_timeout = 0")
    batch: list[dict[str, object]] = []
    for organisation in op.get_bind().scalars(sa.text("SELECT id FROM organisations ORDER BY id")).all():
        batch += texts_of(organisation)
        if len(batch) >= ROWS:
            refer(batch)
            batch = []
    refer(batch)
    op.execute("RESET statement_timeout")


def texts_of(organisation: int) -> list[dict[str, object]]:
    """The texts of an organisation with their keys, the most frequent first."""
    found = op.get_bind().scalars(
        sa.text(
            "SELECT cost_centre FROM porfs WHERE organisation_id = :organisation AND cost_centre <> ''"
            ' GROUP BY 1 ORDER BY count(*) DESC, cost_centre COLLATE "C"'
        ),
        {"organisation": organisation},
    )
    return [{"organisation": organisation, "text": text, "key": key_of(text)} for text in found]


def refer(texts: list[dict[str, object]]) -> None:
    """Fill the columns of the rows with these texts; texts without a cost centre get one."""
    if texts:
        # JSON in ASCII, without characters that have a meaning in a literal or in the driver.
        items = re.sub(r"['$%]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(texts))
        op.get_bind().exec_driver_sql(REFER.replace("ITEMS", items))


def key_of(text: str) -> str:
    """NFKC_Casefold with white space folded, or its digest."""
    key, folded = text, fold(text)
    while folded != key:
        key, folded = folded, fold(folded)
    key = " ".join(key.split())
    return key if len(key.encode()) <= MAX_BYTES else hashlib.sha256(key.encode()).hexdigest()


def fold(text: str) -> str:
    return unicodedata.normalize("NFKC", IGNORABLE.sub("", unicodedata.normalize("NFD", text).casefold()))


def downgrade() -> None:
    op.execute("DROP FUNCTION creation_rules(bigint, bigint, bigint, bigint, text, boolean)")
    for name in OF_MEMBER:
        op.drop_column("members", name)
    for table in ("purchase_order_lines", "porf_lines"):
        for name in OF_LINE:
            op.drop_column(table, name)
    op.drop_column("porfs", "cost_centre_id")
