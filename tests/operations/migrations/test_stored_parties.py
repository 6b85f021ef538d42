"""Revisions 035 and 036 on rows that exist: addresses become contacts, approvals and drafts stay as they were."""

from collections.abc import AsyncIterator

import pytest

from support.clusters import Cluster
from support.forked import po_api
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AFTER = "029", "036"
pytestmark = marks_of(AFTER)

_SUPPLIERS = """
    INSERT INTO organisations (name) VALUES ('Company'), ('Other');
    INSERT INTO suppliers (organisation_id, name, name_key, email, is_active) VALUES
        (1, 'One', 'one', 'one@supplier.example', true), (1, 'None', 'none', NULL, true),
        (1, 'Gone', 'gone', 'gone@supplier.example', false), (2, 'Two', 'two', 'one@supplier.example', true);
"""
_CONTACTS = "SELECT s.name, c.email, c.name, c.purpose, c.is_active FROM supplier_contacts c"
_CONTACTS += " JOIN suppliers s ON s.organisation_id = c.organisation_id AND s.id = c.supplier_id ORDER BY c.id"
_FIRST = [
    ("One", "one@supplier.example", None, "both", True),
    ("Gone", "gone@supplier.example", None, "both", True),
    ("Two", "one@supplier.example", None, "both", True),
]


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, BEFORE) as made:
        await made.connection.execute(_SUPPLIERS)
        yield made


async def test_the_address_of_a_supplier_becomes_its_first_contact(database: Fresh) -> None:
    await database.to(AFTER)
    assert [tuple(row) for row in await database.fetch(_CONTACTS)] == _FIRST
    # Down and up again: nothing but those is lost.
    status, _, errors = await database.call(po_api, "migrate", "--to", BEFORE, "--no-backup")
    assert status == 0, errors
    await database.to(AFTER)
    assert [tuple(row) for row in await database.fetch(_CONTACTS)] == _FIRST


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE supplier_contacts SET name = 'Mia' WHERE id = 1",
        "INSERT INTO addresses (organisation_id, kind, name) VALUES (1, 'delivery', 'Warehouse')",
        "UPDATE suppliers SET vat_id = 'DE136695976' WHERE id = 1",
        "UPDATE organisations SET footer_lines = '{Company}' WHERE id = 1",
        "INSERT INTO external_references (organisation_id, entity, supplier_id, system, external_id, created_at)"
        " VALUES (1, 'supplier', 1, 'sap', '1', now())",
    ],
)
async def test_a_downgrade_does_not_lose_what_was_entered_since(database: Fresh, change: str) -> None:
    await database.to(AFTER)
    await database.connection.execute(change)
    status, _, errors = await database.call(po_api, "migrate", "--to", BEFORE, "--no-backup")
    assert status != 0
    assert "--allow-data-loss" in errors
