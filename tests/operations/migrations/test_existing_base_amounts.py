"""Revision 045 on documents that are there: those in the base currency get the rate 1, all others no amounts."""

from po_api.operations import migrations
from support.clusters import Cluster
from support.migrations import marks_of, migrated_database

BEFORE, AFTER = "044", "045"
pytestmark = marks_of(AFTER)

_DOCUMENTS = """
    INSERT INTO organisations (name, currency, timezone) VALUES ('Company', 'EUR', 'Pacific/Auckland');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        VALUES (1, 1, 'ada@company.example', '{admin}', now());
    INSERT INTO suppliers (organisation_id, name, name_key) VALUES (1, 'Supplier', 'supplier');
    INSERT INTO porfs (organisation_id, number, title, requester_id, currency, net, total, maximum_total, status,
        submitted_at, decided_at)
        SELECT 1, number, 'x', 1, currency, 10, 10, maximum, status, submitted, submitted FROM (VALUES
            ('A', 'EUR', 11, 'approved', TIMESTAMPTZ '2026-03-04 11:30+00'),
            ('B', 'EUR', NULL, 'pending', '2026-03-04 10:30+00'),
            ('C', 'EUR', NULL, 'draft', '2026-03-04 10:30+00'),
            ('D', 'EUR', NULL, 'cancelled', NULL),
            ('E', 'USD', 11, 'approved', '2026-03-04 11:30+00')
        ) given (number, currency, maximum, status, submitted);
    INSERT INTO purchase_orders
        (organisation_id, number, status, supplier_id, supplier_name, created_by_id, currency, tax_rounding,
         net, tax, total, issued_at)
        SELECT 1, number, status, 1, 'Supplier', 1, currency, 'document', 10, 2, 12, issued FROM (VALUES
            ('A', 'issued', 'EUR', TIMESTAMPTZ '2026-03-04 11:30+00'),
            (NULL, 'draft', 'EUR', NULL),
            ('C', 'closed', 'USD', '2026-03-04 11:30+00')
        ) given (number, status, currency, issued);
"""
_SHOWN = (
    "SELECT coalesce(number, '-'), base_currency, base_rate::int, base_rate_date::text, base_net::int, base_total::int,"
    " base_rate_id{more} FROM {table} ORDER BY id"
)


async def test_documents_in_the_base_currency_get_the_rate_one(cluster: Cluster) -> None:
    async with migrated_database(cluster, BEFORE) as database:
        await database.connection.execute(_DOCUMENTS)
        await database.to(AFTER)
        porfs = await database.fetch(_SHOWN.format(table="porfs", more=", base_ceiling::int"))
        nothing = (None,) * 7
        assert [tuple(row) for row in porfs] == [
            ("A", "EUR", 1, "2026-03-05", 10, 10, None, 11),
            ("B", "EUR", 1, "2026-03-04", 10, 10, None, None),
            *((number, *nothing) for number in "CDE"),
        ]
        orders = await database.fetch(_SHOWN.format(table="purchase_orders", more=""))
        assert [tuple(row) for row in orders] == [
            ("A", "EUR", 1, "2026-03-05", 10, 12, None),
            *((number, *nothing[:6]) for number in "-C"),
        ]
        # They are filled in again, so that nothing is lost.
        await migrations.upgrade(owner_url=database.owner, app_url=database.app, to=BEFORE)
        await database.to(AFTER)
        assert await database.fetch(_SHOWN.format(table="purchase_orders", more="")) == orders
