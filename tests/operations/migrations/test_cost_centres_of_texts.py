"""Revision 043 on stored requests: their texts become cost centres, which requests and lines of orders refer to."""

from collections.abc import AsyncIterator

import pytest

from support.clusters import Cluster
from support.migrations import HEAD, Fresh, marks_of, migrated_database

pytestmark = marks_of("043")

_ROWS = """
    INSERT INTO organisations (name) VALUES ('One'), ('Two'), ('Three');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
    SELECT id, 1, 'ada@example.com', '{requester}', now() FROM organisations;
    INSERT INTO porfs (organisation_id, number, title, requester_id, cost_centre)
    SELECT organisation, n::text, 'Lamps', 1, cost_centre FROM (VALUES
        (1, 1, 'kst 1'), (1, 2, 'KST 1'), (1, 3, 'KST 1'), (1, 4, NULL), (1, 5, $t$a'b "$do$" %s :x ü$t$),
        (2, 1, 'KST 1'), (3, 1, NULL)
    ) AS rows (organisation, n, cost_centre);
    INSERT INTO porfs (organisation_id, number, title, requester_id, cost_centre)
    SELECT 2, 'many ' || n, 'Lamps', 1, 'many' FROM generate_series(1, 2500) n;
    INSERT INTO suppliers (organisation_id, name, name_key) VALUES (1, 'S', 's');
    INSERT INTO purchase_orders (
        organisation_id, supplier_id, supplier_name, created_by_id, currency, tax_rounding, net, tax, total)
    VALUES (1, 1, 'S', 1, 'EUR', 'document', 2, 0, 2);
    INSERT INTO purchase_order_lines (
        organisation_id, purchase_order_id, position, description, quantity, unit, unit_price, discount_percent,
        tax_rate, net, cost_centre)
    VALUES (1, 1, 1, 'Lamp', 1, 'C62', 1, 0, 0, 1, 'kst 1'), (1, 1, 2, 'Lamp', 1, 'C62', 1, 0, 0, 1, NULL);
"""
_SHOWN = """
    SELECT organisation_id, cost_centre, (SELECT code FROM cost_centres c
        WHERE c.organisation_id = p.organisation_id AND c.id = p.cost_centre_id) AS code
    FROM porfs p ORDER BY organisation_id, id
"""
_QUOTED = """a'b "$do$" %s :x ü"""
# Texts that look alike are one; the most frequent names it.
_CODES = [(1, "KST 1"), (1, _QUOTED), (2, "KST 1"), (2, "many")]


@pytest.fixture
async def before(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, "042") as database:
        await database.connection.execute(_ROWS)
        yield database


async def _codes(database: Fresh) -> list[tuple[int, str]]:
    rows = await database.fetch("SELECT organisation_id, code, name, is_active FROM cost_centres")
    assert all(row["name"] == row["code"] and row["is_active"] for row in rows)
    return sorted((row["organisation_id"], row["code"]) for row in rows)


async def test_texts_become_cost_centres_and_stay(before: Fresh) -> None:
    for revision in ("043", "042", "043", HEAD):
        await before.to(revision)
        assert await _codes(before) == sorted(_CODES)
        texts = [(row["organisation_id"], row["cost_centre"]) for row in await before.fetch("SELECT * FROM porfs")]
        assert len(texts) == 2507
    shown = await before.fetch(_SHOWN)
    assert [row["code"] for row in shown if row["organisation_id"] == 1] == ["KST 1", "KST 1", "KST 1", None, _QUOTED]
    assert [row["cost_centre"] for row in shown][:3] == ["kst 1", "KST 1", "KST 1"]
    assert {row["code"] for row in shown if row["cost_centre"] == "many"} == {"many"}
    lines = await before.fetch(
        "SELECT cost_centre_id IS NOT NULL AS refers FROM purchase_order_lines ORDER BY position"
    )
    assert [row["refers"] for row in lines] == [True, False]


async def test_the_version_before_goes_on_with_texts(before: Fresh) -> None:
    await before.to("043")
    await before.fetch("UPDATE porfs SET cost_centre = 'changed' WHERE organisation_id = 1 AND number = '1'")
    (rules,) = await before.fetch("SELECT * FROM creation_rules(1, 1, NULL)")
    assert rules["currency"] == "EUR"
    (rules,) = await before.fetch("SELECT * FROM creation_rules(1, 1, NULL, NULL, 'kst 1', false)")
    assert rules["cost_centre"] == "KST 1"
