"""Revision 024 on stored names of suppliers: keys as they look, and none that two active suppliers would have."""

import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_api.core.text import name_key
from support.clusters import Cluster
from support.forked import alembic, po_api
from support.migrations import HEAD, Fresh, marks_of, migrated_database, printed_sql, run_sql

BEFORE, AFTER = "023", "024"
pytestmark = marks_of(AFTER)

INSERT = (
    "INSERT INTO suppliers (organisation_id, name, name_key, is_active)"
    " VALUES ((SELECT id FROM organisations WHERE name = $1), $2, $3, $4) RETURNING id"
)


@pytest.fixture
async def before(cluster: Cluster) -> AsyncIterator[Fresh]:
    """A database of the version that compared names by casefold(NFC(name)), with two organisations."""
    async with migrated_database(cluster, BEFORE) as database:
        await database.fetch("INSERT INTO organisations (name) VALUES ('A'), ('B')")
        yield database


def _old_key(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


async def _insert(database: Fresh, *names: str, organisation: str = "A", active: bool = True) -> list[int]:
    return [(await database.fetch(INSERT, organisation, name, _old_key(name), active))[0]["id"] for name in names]


async def _keys(database: Fresh) -> dict[int, str]:
    return {row["id"]: row["name_key"] for row in await database.fetch("SELECT id, name_key FROM suppliers")}


NAMES = [
    "Acme Ltd",
    "acme gmbh ",
    "Müller & Söhne GmbH",
    "Two  Spaces",
    "No\u00a0break",
    "\uff26ull\u3000width",
    "Zero\u200bwidth",
    "Soft\u00adhyphen",
    "株式会社 山田",
    "\ufdfa" * 255,
    "\u200b",
]


async def test_keys_are_rewritten_and_stay_on_the_way_down(before: Fresh) -> None:
    ids = await _insert(before, *NAMES)
    expected = {supplier: name_key(name) for supplier, name in zip(ids, NAMES, strict=True)}
    assert await _keys(before) != expected
    for revision in (AFTER, BEFORE, AFTER, HEAD):
        await before.to(revision)
        assert await _keys(before) == expected
    names = await before.fetch("SELECT name FROM suppliers ORDER BY id")
    assert [row["name"] for row in names] == NAMES


async def test_what_the_version_before_adds_is_rewritten_the_next_time(before: Fresh) -> None:
    await before.to(AFTER)
    await before.to(BEFORE)
    (added,) = await _insert(before, "Added\u00a0since")
    await before.to(AFTER)
    assert await _keys(before) == {added: "added since"}


async def test_many_names_are_changed_in_batches(before: Fresh) -> None:
    await before.fetch(
        "INSERT INTO suppliers (organisation_id, name, name_key)"
        " SELECT organisations.id, 'Acme  ' || n, 'acme  ' || n FROM organisations, generate_series(1, 2500) n"
    )
    await before.to(AFTER)
    rows = await before.fetch("SELECT count(*), count(DISTINCT name_key) AS keys FROM suppliers WHERE name_key !~ '  '")
    assert (rows[0]["count"], rows[0]["keys"]) == (5000, 2500)


@pytest.mark.parametrize("order", [1, -1])
async def test_names_that_would_be_equal_are_reported_and_not_merged(before: Fresh, order: int) -> None:
    names = ["Acme Ltd", "Acme\u00a0Ltd", "Acme  Ltd"][::order]
    ids = await _insert(before, *names)
    elsewhere = await _insert(before, "Acme  Ltd", organisation="B")
    gone = await _insert(before, "\uff21cme Ltd", active=False)
    status, _, errors = await before.call(po_api, "migrate", "--no-backup", "--to", AFTER)
    assert status == 0, errors
    holder = ids[0]
    # The one that has the key already keeps it; otherwise it is the first.
    if order == -1:
        holder = ids[names.index("Acme Ltd")]
    others = [supplier for supplier in ids if supplier != holder]
    for supplier in others:
        assert f"warning: the names of suppliers {holder} and {supplier} of organisation " in errors
    assert errors.count("are one and the same: they were not merged; see docs/operations.md") == len(others)
    found = await _keys(before)
    assert {found[supplier] for supplier in (holder, *elsewhere, *gone)} == {"acme ltd"}
    assert [found[supplier] for supplier in others] == [_old_key(names[ids.index(supplier)]) for supplier in others]
    # Again, nothing more is done, and nothing stands in the way.
    await before.to(BEFORE)
    await before.to(AFTER)
    assert await _keys(before) == found


async def test_alembic_reports_as_well(before: Fresh) -> None:
    first, second = await _insert(before, "Two  Spaces", "Two\u00a0Spaces")
    status, output, errors = await before.call(alembic, "upgrade", AFTER)
    assert status == 0, errors
    assert f"the names of suppliers {first} and {second} of organisation" in output + errors
    assert await _keys(before) == {first: "two spaces", second: "two\u00a0spaces"}


async def test_printed_sql_does_not_pass_over_what_it_cannot_compute(before: Fresh, tmp_path: Path) -> None:
    await _insert(before, "Two  Spaces")
    path = printed_sql(tmp_path, f"{BEFORE}:{AFTER}")
    with pytest.raises(AssertionError, match="run po-api migrate"):
        await run_sql(before, path)
    await before.fetch("UPDATE suppliers SET name = 'One', name_key = 'one'")
    await run_sql(before, path)
