"""The check of invariants, which other tests end with, finds each kind of damage."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.db.database import libpq_url
from support.invariants import check, check_connection
from support.organisations import LINE, TestOrganisation, created, new_organisation, ok, perform


@pytest.fixture
async def owner(urls: tuple[str, str]) -> AsyncIterator[Any]:
    """A transaction of the tables' owner that is rolled back."""
    connection = await asyncpg.connect(libpq_url(urls[0]))
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture(scope="module")
async def ordered(app: FastAPI, client: httpx.AsyncClient) -> int:
    """The id of an organisation with an order, for all tests that change nothing but for a transaction."""
    organisation = await new_organisation(app, client)
    top = await created(organisation.admin.post("/cost-centres", json={"code": "1", "name": "Top"}))
    below = {"code": "2", "name": "Below", "parent_id": top.json()["id"]}
    own = (await created(organisation.admin.post("/cost-centres", json=below))).json()["id"]
    group = {"name": "Board", "member_ids": [organisation.approver.user_id]}
    await created(organisation.admin.post("/approval-groups", json=group))
    approved = await organisation.approved(lines=[LINE | {"cost_centre_id": own}])
    order = await ok(perform(organisation.buyer, await created(organisation.convert(approved)), "issue"))
    await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    return organisation.organisation_id


async def test_nothing_is_found_after_ordinary_work(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    await organisation.issued()
    await perform(organisation.buyer, await organisation.issued(), "cancel")
    await organisation.draft()
    await check(urls[0], organisation.organisation_id)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE porf_lines SET ordered_quantity = 9", "ordered quantity is the sum of its allocations"),
        ("UPDATE porfs SET status = 'partially_ordered'", "status follows from its quantities"),
        ("UPDATE allocations SET released_quantity = 1", "ordered quantity is the sum of its allocations"),
        (
            "UPDATE purchase_orders SET issued_at = (issued_at AT TIME ZONE 'UTC' - interval '2 years')"
            " AT TIME ZONE 'UTC'",
            "the year of its issue",
        ),
        ("UPDATE purchase_order_files SET content = content || 'x'::bytea", "a stored document is unchanged"),
        ("UPDATE purchase_order_files SET kind = 'cancelled'", "of a kind that its order has"),
        (
            "WITH d AS (DELETE FROM purchase_order_sheets), f AS (DELETE FROM document_filings)"
            " DELETE FROM purchase_order_files",
            "has its document or the sheet",
        ),
        ("UPDATE porfs SET version = version + 1", "has one event"),
        (
            "WITH d AS (DELETE FROM event_outbox) DELETE FROM audit_events WHERE action = 'porf.submit'",
            "has one event",
        ),
        ("UPDATE audit_events SET before = '{}' WHERE action = 'porf.approve'", "have no gap"),
        ("UPDATE purchase_orders SET status = 'closed'", "the last event has"),
        (
            "UPDATE porfs SET net = net + 1, total = total + 1, base_net = base_net + 1, base_total = base_total + 1",
            "totals are those of the lines",
        ),
        ("UPDATE porfs SET title = 'Another'", "is the approved content"),
        ("UPDATE purchase_orders SET number = replace(number, '000001', '000002')", "the numbers of"),
        ("UPDATE purchase_orders SET cost_centres = '{4711}'", "cost centres and the earliest date of its lines"),
        ("UPDATE purchase_order_lines SET cost_centre = '4711'", "cost centres and the earliest date of its lines"),
        ("UPDATE purchase_orders SET delivery_date = '2031-05-06'", "cost centres and the earliest date of its lines"),
        ("UPDATE number_series SET next_value = 9", "the counter of"),
        # Of the two cost centres, the one below the other; the member is the only one with a manager.
        (
            "UPDATE cost_centres SET parent_id = (SELECT max(c.id) FROM cost_centres c"
            " WHERE c.organisation_id = cost_centres.organisation_id) WHERE parent_id IS NULL",
            "hierarchies have no cycle: cost_centres",
        ),
        ("UPDATE cost_centres SET is_active = false WHERE parent_id IS NULL", "parents of active cost centres"),
        ("UPDATE purchase_order_lines SET cost_centre_id = NULL", "the category and the cost centre"),
        (
            "WITH d AS (DELETE FROM approval_decisions) UPDATE approval_steps SET status = 'skipped',"
            " skip_reason = 'on_empty'",
            "is approved by somebody",
        ),
        ("UPDATE members SET left_at = now(), is_active = false", "members of approval groups have not left"),
    ],
)
async def test_damage_is_found(ordered: int, owner: Any, damage: str, found: str) -> None:
    head, where, condition = damage.partition(" WHERE ")
    restriction = f" WHERE organisation_id = {ordered}" + (f" AND {condition}" if where else "")
    await owner.execute(head + restriction)
    with pytest.raises(AssertionError, match=found):
        await check_connection(owner, ordered)
