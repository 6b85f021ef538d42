"""Revision 026 on orders that exist: they get what their requests say, and documents that were issued stay the same."""

from collections.abc import AsyncIterator
from datetime import date

import pytest

from support.clusters import Cluster
from support.forked import po_api
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AFTER = "025", "026"
pytestmark = marks_of(AFTER)

# Request 1 has a cost centre and a date, request 2 another cost centre, request 3 neither. Each order has a line of
# each, the second of which has a date of its own.
_ORDERS = """
    INSERT INTO organisations (name) VALUES ('Company');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        VALUES (1, 1, 'ada@company.example', '{admin}', now());
    INSERT INTO suppliers (organisation_id, name, name_key) VALUES (1, 'Supplier', 'supplier');
    INSERT INTO porfs (organisation_id, number, title, requester_id, cost_centre, needed_by) VALUES
        (1, 'PORF-1', 'x', 1, 'b', '2031-05-06'), (1, 'PORF-2', 'x', 1, 'B', '2031-07-08'),
        (1, 'PORF-3', 'x', 1, NULL, NULL);
    INSERT INTO porf_lines (organisation_id, porf_id, position, description, quantity, unit_price, net)
        SELECT 1, id, 1, 'x', 9, 1, 9 FROM porfs ORDER BY id;
    INSERT INTO purchase_orders
        (organisation_id, status, number, issued_at, supplier_id, supplier_name, created_by_id, currency, tax_rounding,
         net, tax, total)
    SELECT 1, status, CASE WHEN status <> 'draft' THEN 'PO-' || status END, CASE WHEN status <> 'draft' THEN now() END,
        1, 'Supplier', 1, 'EUR', 'document', 3, 0, 3
    FROM unnest(ARRAY['draft', 'issued', 'closed', 'cancelled']) WITH ORDINALITY AS each_of (status, n) ORDER BY n;
    INSERT INTO purchase_order_lines
        (organisation_id, purchase_order_id, position, description, quantity, unit, unit_price, discount_percent,
         tax_rate, needed_by, net)
    SELECT 1, o.id, n, 'x', 1, 'C62', 1, 0, 0, CASE n WHEN 2 THEN '2031-06-07'::date END, 1
    FROM purchase_orders o, generate_series(1, 3) n ORDER BY o.id, n;
    INSERT INTO allocations (organisation_id, purchase_order_line_id, porf_line_id, quantity)
        SELECT 1, id, position, 1 FROM purchase_order_lines ORDER BY id;
"""
_LINES = """
    SELECT o.status, array_agg(l.cost_centre ORDER BY l.position) AS cost_centres,
        array_agg(l.needed_by ORDER BY l.position) AS dates
    FROM purchase_orders o JOIN purchase_order_lines l ON l.purchase_order_id = o.id
    GROUP BY o.id, o.status ORDER BY o.id
"""
_OF_HEADER, _OF_LINE = date(2031, 5, 6), date(2031, 6, 7)


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, BEFORE) as made:
        await made.connection.execute(_ORDERS)
        yield made


async def _lines(database: Fresh) -> list[tuple[str, list[str | None], list[date | None]]]:
    return [tuple(row) for row in await database.fetch(_LINES)]


async def test_lines_get_the_cost_centres_and_lines_of_drafts_the_dates(database: Fresh) -> None:
    await database.to(AFTER)
    cost_centres = ["b", "B", None]
    assert await _lines(database) == [
        ("draft", cost_centres, [_OF_HEADER, _OF_LINE, None]),
        ("issued", cost_centres, [None, _OF_LINE, None]),
        ("closed", cost_centres, [None, _OF_LINE, None]),
        ("cancelled", [None, None, None], [None, _OF_LINE, None]),
    ]
    orders = await database.fetch("SELECT cost_centres, delivery_date FROM purchase_orders ORDER BY id")
    assert [tuple(row) for row in orders] == [
        (["B", "b"], _OF_HEADER),
        (["B", "b"], _OF_LINE),
        (["B", "b"], _OF_LINE),
        ([], _OF_LINE),
    ]


async def test_it_goes_down_and_up_again_unless_a_request_has_changed_since(database: Fresh) -> None:
    await database.to(AFTER)
    before = await _lines(database)
    status, output, errors = await database.call(po_api, "migrate", "--no-backup", "--to", BEFORE)
    assert status == 0, output + errors
    await database.to(AFTER)
    assert await _lines(database) == before
    await database.fetch("UPDATE porfs SET cost_centre = 'changed' WHERE id = 1")
    status, output, errors = await database.call(po_api, "migrate", "--no-backup", "--to", BEFORE)
    assert status != 0
    assert "cost centres and delivery dates of orders" in output + errors


async def test_the_version_before_goes_on_writing(database: Fresh) -> None:
    await database.to(AFTER)
    await database.fetch(
        "INSERT INTO purchase_orders"
        " (organisation_id, supplier_id, supplier_name, created_by_id, currency, tax_rounding, net, tax, total)"
        " VALUES (1, 1, 'Supplier', 1, 'EUR', 'document', 0, 0, 0)"
    )
    found = await database.fetch("SELECT cost_centres, delivery_date FROM purchase_orders ORDER BY id DESC LIMIT 1")
    assert [tuple(row) for row in found] == [([], None)]
