"""Revision 027 on stored documents: they keep their bytes and become those of the issue; a downgrade loses what it
cannot keep, and nothing else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from po_api.operations import migrations
from support.clusters import Cluster
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AFTER = "026", "027"
pytestmark = marks_of(AFTER)

_ORDERS = """
    INSERT INTO organisations (name) VALUES ('Company');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        VALUES (1, 1, 'ada@company.example', '{admin}', now());
    INSERT INTO suppliers (organisation_id, name, name_key) VALUES (1, 'Supplier', 'supplier');
    INSERT INTO purchase_orders
        (organisation_id, number, status, supplier_id, supplier_name, created_by_id, currency, tax_rounding,
         net, tax, total, issued_at)
        SELECT 1, 'PO-2026-00000' || n, 'issued', 1, 'Supplier', 1, 'EUR', 'document', 0, 0, 0, now()
        FROM generate_series(1, 2) n;
    INSERT INTO purchase_order_files (organisation_id, purchase_order_id, revision, content, digest, created_at)
        SELECT 1, id, 1, '%PDF ' || id::text, encode(sha256(('%PDF ' || id)::bytea), 'hex'), now() FROM purchase_orders;
"""
_SHEET = (
    "INSERT INTO purchase_order_sheets"
    " (organisation_id, purchase_order_id, revision, template, timezone, sheet, created_at)"
    " VALUES (1, {order}, 1, 1, 'UTC', '{{}}', now())"
)
_FILE = (
    "INSERT INTO purchase_order_files (organisation_id, purchase_order_id, revision, kind, content, digest, created_at)"
    " VALUES (1, 1, 1, '{kind}', '%PDF', repeat('0', 64), now())"
)


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, BEFORE) as made:
        await made.connection.execute(_ORDERS.replace("'%PDF ' || id::text", "('%PDF ' || id)::bytea"))
        yield made


async def _content(database: Fresh) -> list[tuple[int, bytes]]:
    rows = await database.fetch("SELECT purchase_order_id, content FROM purchase_order_files ORDER BY 1")
    return [(row["purchase_order_id"], row["content"]) for row in rows]


async def _down(database: Fresh, *, may_lose_data: bool = False) -> None:
    await migrations.upgrade(owner_url=database.owner, app_url=database.app, to=BEFORE, may_lose_data=may_lose_data)


async def test_stored_documents_become_those_of_the_issue_and_come_back(database: Fresh) -> None:
    before = await _content(database)
    await database.to(AFTER)
    assert {row["kind"] for row in await database.fetch("SELECT kind FROM purchase_order_files")} == {"issued"}
    assert await _content(database) == before
    await database.fetch(_SHEET.format(order=1))
    await _down(database)
    assert await _content(database) == before


async def test_an_order_has_one_document_of_each_kind(database: Fresh) -> None:
    await database.to(AFTER)
    await database.fetch(_FILE.format(kind="cancelled"))
    for kind in ("issued", "cancelled"):
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.fetch(_FILE.format(kind=kind))
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch(_FILE.format(kind="other"))


@pytest.mark.parametrize("lost", ["a document of a cancelled order", "a sheet without its document"])
async def test_a_downgrade_is_refused_where_documents_would_be_lost(database: Fresh, lost: str) -> None:
    before = await _content(database)
    await database.to(AFTER)
    if lost == "a sheet without its document":
        await database.fetch("DELETE FROM purchase_order_files WHERE purchase_order_id = 2")
        await database.fetch(_SHEET.format(order=2))
        before = before[:1]
    else:
        await database.fetch(_FILE.format(kind="cancelled"))
    with pytest.raises(migrations.MigrationError, match="027"):
        await _down(database)
    await _down(database, may_lose_data=True)
    assert await _content(database) == before
