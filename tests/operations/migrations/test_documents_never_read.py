"""Revision 032 on issued orders: every document that is not stored is due."""

from po_api.operations import migrations
from support.clusters import Cluster
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AFTER = "031", "032"
pytestmark = marks_of(AFTER)

# By number: status, and the kinds of the documents that are stored.
ORDERS = {
    "PO-1": ("issued", []),
    "PO-2": ("issued", ["issued"]),
    "PO-3": ("cancelled", ["issued"]),
    "PO-4": ("cancelled", ["issued", "cancelled"]),
    "PO-5": ("closed", []),
    None: ("draft", []),
}
DUE = [("PO-1", "issued"), ("PO-3", "cancelled"), ("PO-5", "issued")]

_PARTIES = """
    INSERT INTO organisations (name) VALUES ('Company');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        VALUES (1, 1, 'ada@company.example', '{admin}', now());
    INSERT INTO suppliers (organisation_id, name, name_key) VALUES (1, 'Supplier', 'supplier');
"""
_ORDER = """
    INSERT INTO purchase_orders
        (organisation_id, number, status, supplier_id, supplier_name, created_by_id, currency, tax_rounding,
         net, tax, total, issued_at)
        VALUES (1, $1, $2, 1, 'Supplier', 1, 'EUR', 'document', 0, 0, 0, CASE WHEN $1::text IS NOT NULL THEN now() END)
        RETURNING id
"""
_FILE = (
    "INSERT INTO purchase_order_files (organisation_id, purchase_order_id, revision, kind, content, digest, created_at)"
    " VALUES (1, $1, 1, $2, '%PDF', repeat('0', 64), now())"
)
_RENDERINGS = """
    SELECT o.number, r.kind, r.status, r.next_attempt_at IS NOT NULL AS is_due
    FROM document_renderings r JOIN purchase_orders o ON o.id = r.purchase_order_id ORDER BY 1, 2
"""


async def _due(database: Fresh) -> list[tuple[str, str]]:
    rows = await database.fetch(_RENDERINGS)
    assert all(row["status"] == "queued" and row["is_due"] for row in rows)
    return [(row["number"], row["kind"]) for row in rows]


async def test_documents_that_were_never_read_are_due_once(cluster: Cluster) -> None:
    async with migrated_database(cluster, BEFORE) as database:
        await database.connection.execute(_PARTIES)
        for number, (status, kinds) in ORDERS.items():
            (order,) = await database.fetch(_ORDER, number, status)
            for kind in kinds:
                await database.fetch(_FILE, order["id"], kind)
        await database.to(AFTER)
        assert await _due(database) == DUE
        await migrations.upgrade(owner_url=database.owner, app_url=database.app, to=BEFORE)
        assert await _due(database) == DUE
        await database.to(AFTER)
        assert await _due(database) == DUE
