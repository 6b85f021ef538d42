"""E-mail addresses of users in one spelling: local parts in lower case, domains as U-labels.

Earlier versions casefolded whole addresses, so that straße.example and strasse.example were one domain. What was folded
cannot be restored; these addresses stay as they are. Addresses that would become equal are reported and left alone. Of
these, the one that has the spelling already is closed for a first sign-in by its address, since that could be meant for
any of them: `identity_issuer` then is CONFLICT. docs/operations.md says how to resolve it.

The version before finds the same addresses, but those with characters that casefolding replaces. It goes on working.

Revises: 014
"""

import unicodedata
from collections.abc import Iterator

import idna
import sqlalchemy as sa
from alembic import context, op

from po_api.operations import ddl

revision = "015"
down_revision = "014"
branch_labels = None
depends_on = None

expands = True
loses = None

CONFLICT = "urn:po-api:address-conflict"
MAX_LENGTH = 255
ROWS = 1000
# All others are in this spelling already: printable ASCII in lower case, without a label in Punycode.
CANDIDATES = "(email ~ '[^!-@[-~]' OR email LIKE '%xn--%')"

# `alembic upgrade --sql` cannot compute the addresses.
OFFLINE = f"""
    DO $do$ BEGIN
        IF EXISTS (SELECT FROM users WHERE {CANDIDATES}) THEN
            RAISE EXCEPTION 'users have addresses with other characters than lower-case ASCII: run po-api migrate';
        END IF;
    END $do$
"""


def spelling(email: str) -> str | None:
    """The address in its one spelling; None if it is no address."""
    local, _, domain = unicodedata.normalize("NFC", email).strip().rpartition("@")
    try:
        name = idna.decode(idna.encode(domain, uts46=True, std3_rules=True))
    except UnicodeError:
        return None
    address = unicodedata.normalize("NFC", local.lower()) + "@" + name
    return address if local and len(address) <= MAX_LENGTH else None


def upgrade() -> None:
    with ddl.steps():
        if context.is_offline_mode():
            op.execute(OFFLINE)
        else:
            # Reading all users may take long, and blocks nobody.
            op.execute("SET statement_timeout = 0")
            for wanted in batches():
                change(wanted)
            op.execute("RESET statement_timeout")


def batches() -> Iterator[dict[int, tuple[str, str]]]:
    """The users whose new address differs, by id: the old and the new one."""
    query = sa.text(f"SELECT id, email FROM users WHERE id > :last AND {CANDIDATES} ORDER BY id LIMIT {ROWS}")
    last = 0
    while rows := op.get_bind().execute(query, {"last": last}).all():
        last = rows[-1].id
        spelled = {row.id: (row.email, spelling(row.email)) for row in rows}
        yield {user: (old, new) for user, (old, new) in spelled.items() if new is not None and new != old}


def change(wanted: dict[int, tuple[str, str]]) -> None:
    """Write the new addresses of one batch; those that other users have are reported instead."""
    holders = find_holders([new for _, new in wanted.values()])
    changes, conflicts = [], []
    for user, (old, new) in wanted.items():
        if new in holders:
            conflicts.append((user, holders[new]))
        else:
            holders[new] = user
            changes.append({"user": user, "old": old, "new": new})
    if changes:
        # An address that was changed meanwhile is left alone.
        op.get_bind().execute(sa.text("UPDATE users SET email = :new WHERE id = :user AND email = :old"), changes)
    for user, holder in conflicts:
        report(user, holder)


def find_holders(emails: list[str]) -> dict[str, int]:
    found = op.get_bind().execute(
        sa.text("SELECT email, id FROM users WHERE email = ANY (:emails)"), {"emails": emails}
    )
    return {row.email: row.id for row in found}


def report(user: int, holder: int) -> None:
    """Close the holder of the address for a first sign-in, and warn."""
    op.get_bind().execute(
        sa.text(
            f"UPDATE users SET identity_issuer = '{CONFLICT}', google_id = id::text"
            " WHERE id = :holder AND google_id IS NULL"
        ),
        {"holder": holder},
    )
    op.execute(
        f"DO $do$ BEGIN RAISE WARNING 'the e-mail addresses of users {user} and {holder} are one and the same:"
        " they were not merged; see docs/operations.md'; END $do$"
    )


def downgrade() -> None:
    op.execute(f"UPDATE users SET identity_issuer = NULL, google_id = NULL WHERE identity_issuer = '{CONFLICT}'")
