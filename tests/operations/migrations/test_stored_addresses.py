"""Revision 015 on stored addresses: one spelling, and none that two users would have."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_api.core.email import comparable_email
from po_api.operations.invariants import ADDRESS_CONFLICT, violations
from support.clusters import Cluster
from support.forked import alembic, po_api
from support.migrations import HEAD, Fresh, marks_of, migrated_database, printed_sql, run_sql

pytestmark = marks_of("015")


@pytest.fixture
async def before(cluster: Cluster) -> AsyncIterator[Fresh]:
    """A database of the version that casefolded addresses."""
    async with migrated_database(cluster, "014") as database:
        yield database


async def _insert(database: Fresh, *emails: str, subject: str | None = None) -> list[int]:
    """Users with these addresses; with a subject they have signed in."""
    query = (
        "INSERT INTO users (email, identity_issuer, google_id)"
        " VALUES ($1, CASE WHEN $2::text IS NOT NULL THEN 'https://idp.example' END, $2 || $1) RETURNING id"
    )
    return [(await database.fetch(query, email, subject))[0]["id"] for email in emails]


async def _emails(database: Fresh) -> dict[int, str]:
    return {row["id"]: row["email"] for row in await database.fetch("SELECT id, email FROM users")}


async def _closed(database: Fresh) -> set[int]:
    rows = await database.fetch("SELECT id FROM users WHERE identity_issuer = $1", ADDRESS_CONFLICT)
    return {row["id"] for row in rows}


SPELLINGS = {
    "ada@example.com": "ada@example.com",
    "Grace@Example.COM": "grace@example.com",
    "zoe\u0308@example.com": "zoë@example.com",
    "ada@xn--strae-oqa.example": "ada@straße.example",
    "ada@müller.example": "ada@müller.example",
    "ada@strasse.example": "ada@strasse.example",
    "groß@example.com": "groß@example.com",
    "text, not an address – ü": "text, not an address – ü",
    "x@xn--nonsense-.example": "x@xn--nonsense-.example",
}


async def test_addresses_get_their_spelling_and_keep_it_on_the_way_down(before: Fresh) -> None:
    ids = await _insert(before, *SPELLINGS)
    expected = dict(zip(ids, SPELLINGS.values(), strict=True))
    for revision in ("015", "014", "015", HEAD):
        await before.to(revision)
        assert await _emails(before) == expected
        assert await _closed(before) == set()
    valid = [email for email in expected.values() if "text" not in email and "nonsense" not in email]
    assert all(comparable_email(email) == email for email in valid)


async def test_many_addresses_are_changed_in_batches(before: Fresh) -> None:
    await before.fetch(
        "INSERT INTO users (email)"
        " SELECT CASE WHEN n % 2 = 0 THEN 'User' ELSE 'user' END || n || '@xn--strae-oqa.example'"
        " FROM generate_series(1, 2500) n"
    )
    await before.to("015")
    assert set((await _emails(before)).values()) == {f"user{n}@straße.example" for n in range(1, 2501)}


CONFLICT = ["ada@straße.example", "ada@xn--strae-oqa.example", "ADA@straße.example"]


@pytest.mark.parametrize("order", [CONFLICT, CONFLICT[::-1]])
async def test_addresses_that_would_be_equal_are_reported_and_not_merged(before: Fresh, order: list[str]) -> None:
    ids = dict(zip(order, await _insert(before, *order), strict=True))
    bystander = (await _insert(before, "ada@strasse.example"))[0]
    status, _, errors = await before.call(po_api, "migrate", "--no-backup")
    assert status == 0, errors
    holder = ids[CONFLICT[0]]
    for spelling in CONFLICT[1:]:
        assert (
            f"warning: the e-mail addresses of users {ids[spelling]} and {holder} are one and the same: they were not"
            " merged; see docs/operations.md\n"
        ) in errors
    assert await _emails(before) == {user: email for email, user in ids.items()} | {bystander: "ada@strasse.example"}
    # The one that an address leads to takes no first sign-in, the others are found by no address.
    assert await _closed(before) == {holder}
    assert [line for line in await violations(before.connection) if "address" in line] == [
        f"violated: a user's e-mail address is in its only spelling, and no other user's: users {sorted(ids.values())}"
    ]
    # Again, nothing more is done.
    await before.to("014")
    assert await _closed(before) == set()
    await before.to("015")
    assert await _closed(before) == {holder}
    assert set((await _emails(before)).values()) == {*order, "ada@strasse.example"}


async def test_of_two_that_have_another_spelling_one_gets_it_and_is_closed(before: Fresh) -> None:
    first, second = await _insert(before, "ADA@example.com", "Ada@example.com")
    await before.to("015")
    assert await _emails(before) == {first: "ada@example.com", second: "Ada@example.com"}
    assert await _closed(before) == {first}


async def test_who_has_signed_in_keeps_the_identity(before: Fresh) -> None:
    await _insert(before, "ada@straße.example", subject="ada")
    await _insert(before, "ada@xn--strae-oqa.example")
    identities = "SELECT id, identity_issuer, google_id FROM users ORDER BY id"
    expected = await before.fetch(identities)
    await before.to("015")
    assert await before.fetch(identities) == expected


async def test_alembic_reports_as_well(before: Fresh) -> None:
    first, second = await _insert(before, "ada@straße.example", "ada@xn--strae-oqa.example")
    status, output, errors = await before.call(alembic, "upgrade", "015")
    assert status == 0, errors
    assert f"the e-mail addresses of users {second} and {first} are one and the same" in output + errors


async def test_printed_sql_does_not_pass_over_what_it_cannot_compute(before: Fresh, tmp_path: Path) -> None:
    await _insert(before, "ada@xn--strae-oqa.example")
    path = printed_sql(tmp_path, "014:015")
    with pytest.raises(AssertionError, match="run po-api migrate"):
        await run_sql(before, path)
    await before.fetch("UPDATE users SET email = 'ada@example.com'")
    await run_sql(before, path)
