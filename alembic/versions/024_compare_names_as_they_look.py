"""Names of suppliers are compared as they look: width, white space and invisible characters make no difference.

Their keys were casefold(NFC(name)); now they are those of core/text.py. Active suppliers of an organisation whose keys
would become equal are reported, and all but the first keep their old keys: nothing is merged. docs/operations.md says
how to resolve it. On the way down the keys stay: to the version before they are keys like others.

That version goes on working; suppliers that it adds meanwhile have the old keys.

Revises: 023
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import context, op

from po_api.operations import ddl

revision = "024"
down_revision = "023"
branch_labels = None
depends_on = None

expands = True
loses = None

ROWS = 1000
MAX_BYTES = 1200
# All others have their new keys already: printable ASCII in lower case, with single spaces inside.
CANDIDATES = "(name_key ~ '[^ -@[-~]' OR name_key ~ '^ | $|  ' OR name_key = '')"
IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# `alembic upgrade --sql` cannot compute the keys.
OFFLINE = f"""
    DO $do$ BEGIN
        IF EXISTS (SELECT FROM suppliers WHERE {CANDIDATES}) THEN
            RAISE EXCEPTION 'suppliers have names with other characters than ASCII: run po-api migrate';
        END IF;
    END $do$
"""


def key_of(name: str) -> str:
    """The new key: NFKC_Casefold with white space folded, or its digest."""
    key, folded = name, fold(name)
    while folded != key:
        key, folded = folded, fold(folded)
    key = " ".join(key.split())
    return key if len(key.encode()) <= MAX_BYTES else hashlib.sha256(key.encode()).hexdigest()


def fold(text: str) -> str:
    return unicodedata.normalize("NFKC", IGNORABLE.sub("", unicodedata.normalize("NFD", text).casefold()))


def upgrade() -> None:
    with ddl.steps():
        if context.is_offline_mode():
            op.execute(OFFLINE)
        else:
            # Reading all suppliers may take long, and blocks nobody.
            op.execute("SET statement_timeout = 0")
            for organisation, wanted in batches():
                change(organisation, wanted)
            op.execute("RESET statement_timeout")


def batches() -> Iterator[tuple[int, list[sa.Row[tuple[int, str, str, bool]]]]]:
    """The suppliers of each organisation whose keys change, in the order of their ids."""
    organisations = op.get_bind().scalars(
        sa.text(f"SELECT DISTINCT organisation_id FROM suppliers WHERE {CANDIDATES} ORDER BY 1")
    )
    query = sa.text(
        "SELECT id, name, name_key, is_active FROM suppliers"
        f" WHERE organisation_id = :organisation AND id > :last AND {CANDIDATES} ORDER BY id LIMIT {ROWS}"
    )
    for organisation in organisations.all():
        last = 0
        while rows := op.get_bind().execute(query, {"organisation": organisation, "last": last}).all():
            last = rows[-1].id
            yield organisation, [row for row in rows if key_of(row.name) != row.name_key]


def change(organisation: int, suppliers: list[sa.Row[tuple[int, str, str, bool]]]) -> None:
    """Write the new keys of one batch; active suppliers whose key another one has are reported instead."""
    holders = find_holders(organisation, [key_of(row.name) for row in suppliers])
    changes = []
    for row in suppliers:
        key = key_of(row.name)
        if row.is_active and holders.setdefault(key, row.id) != row.id:
            report(organisation, row.id, holders[key])
        else:
            changes.append({"organisation": organisation, "supplier": row.id, "name": row.name, "key": key})
    if changes:
        # A name that was changed meanwhile is left alone.
        op.get_bind().execute(
            sa.text(
                "UPDATE suppliers SET name_key = :key"
                " WHERE organisation_id = :organisation AND id = :supplier AND name = :name"
            ),
            changes,
        )


def find_holders(organisation: int, keys: list[str]) -> dict[str, int]:
    """The active suppliers that have one of these keys."""
    found = op.get_bind().execute(
        sa.text(
            "SELECT name_key, id FROM suppliers"
            " WHERE organisation_id = :organisation AND is_active AND name_key = ANY (:keys)"
        ),
        {"organisation": organisation, "keys": keys},
    )
    return {row.name_key: row.id for row in found}


def report(organisation: int, supplier: int, holder: int) -> None:
    op.execute(
        f"DO $do$ BEGIN RAISE WARNING 'the names of suppliers {holder} and {supplier} of organisation {organisation}"
        " are one and the same: they were not merged; see docs/operations.md'; END $do$"
    )


def downgrade() -> None:
    """The keys stay: the version before can read and write them."""
