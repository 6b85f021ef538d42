"""The documents of orders are rendered by a worker, soon after the issue."""

from typing import Any

import asyncpg
import httpx
import pytest

from po_api.purchase_orders.renderings import queue_failed, queue_missing
from support.invariants import check
from support.organisations import TestOrganisation, again, ok, perform
from support.workers import work_until_idle

pytestmark = pytest.mark.heavy

DOCUMENTS = frozenset({"documents"})


async def renderings(owner: asyncpg.Connection, order: httpx.Response) -> list[dict[str, Any]]:
    rows = await owner.fetch(
        "SELECT kind, status, attempts, error_code FROM document_renderings WHERE purchase_order_id = $1 ORDER BY kind",
        order.json()["id"],
    )
    return [dict(row) for row in rows]


async def stored(owner: asyncpg.Connection, order: httpx.Response) -> list[str]:
    query = "SELECT kind FROM purchase_order_files WHERE purchase_order_id = $1 ORDER BY kind"
    return [row["kind"] for row in await owner.fetch(query, order.json()["id"])]


async def test_a_worker_renders_what_was_issued_and_cancelled(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    order = await organisation.issued()
    assert [row["status"] for row in await renderings(owner, order)] == ["queued"]
    assert await work_until_idle(organisation, names=DOCUMENTS) == 1
    assert await stored(owner, order) == ["issued"]
    await ok(perform(organisation.buyer, order, "cancel"))
    assert await work_until_idle(organisation, names=DOCUMENTS) == 1
    assert await stored(owner, order) == ["cancelled", "issued"]
    assert [(row["status"], row["attempts"]) for row in await renderings(owner, order)] == [("done", 1)] * 2
    assert await work_until_idle(organisation, names=DOCUMENTS) == 0
    await check(urls[0], organisation.organisation_id)


async def test_the_first_reader_may_be_faster(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    order = await organisation.issued()
    read = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    assert [(row["status"], row["attempts"]) for row in await renderings(owner, order)] == [("done", 0)]
    assert await work_until_idle(organisation, names=DOCUMENTS) == 0
    again = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    assert again.content == read.content


async def test_a_cancelled_draft_has_no_document(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    order = await ok(perform(organisation.buyer, await organisation.ordered(), "cancel"))
    assert await renderings(owner, order) == []


async def test_a_dry_run_queues_nothing(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    order = await organisation.ordered()
    await ok(perform(organisation.buyer, order, "issue", params={"dry_run": "true"}))
    assert await renderings(owner, order) == []


async def test_a_fault_of_a_template_is_shown_and_tried_again(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    order = await organisation.issued()
    shown = (await again(organisation.buyer, order)).json()
    assert [shown[f"document_{name}"] for name in ("status", "attempts", "error")] == ["due", 0, None]
    template = "UPDATE purchase_order_sheets SET template = $2 WHERE purchase_order_id = $1"
    await owner.execute(template, order.json()["id"], 999)
    assert await work_until_idle(organisation, names=DOCUMENTS) == 1
    shown = (await again(organisation.buyer, order)).json()
    expected = ["due", 1, "document_not_rendered"]
    assert [shown[f"document_{name}"] for name in ("status", "attempts", "error")] == expected
    await check(urls[0], organisation.organisation_id)

    await owner.execute(template, order.json()["id"], 1)
    due_now = "UPDATE document_renderings SET next_attempt_at = now() WHERE purchase_order_id = $1"
    await owner.execute(due_now, order.json()["id"])
    assert await work_until_idle(organisation, names=DOCUMENTS) == 1
    shown = (await again(organisation.buyer, order)).json()
    assert [shown[f"document_{name}"] for name in ("status", "attempts", "error")] == ["stored", 2, None]


async def _exhaust(owner: asyncpg.Connection, order: httpx.Response) -> None:
    await owner.execute(
        "UPDATE document_renderings SET status = 'failed', attempts = 30, next_attempt_at = NULL,"
        " error_code = 'document_not_rendered' WHERE purchase_order_id = $1",
        order.json()["id"],
    )


async def test_what_has_failed_is_rendered_by_its_next_reader(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    order = await organisation.issued()
    await _exhaust(owner, order)
    assert (await again(organisation.buyer, order)).json()["document_status"] == "failed"
    assert await work_until_idle(organisation, names=DOCUMENTS) == 0
    await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    assert (await again(organisation.buyer, order)).json()["document_status"] == "stored"


async def test_what_has_failed_is_rendered_when_an_operator_asks_for_it(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    order = await organisation.issued()
    await _exhaust(owner, order)
    async with organisation.database.sessions.begin() as session:
        assert await queue_failed(session) >= 1
    assert await work_until_idle(organisation, names=DOCUMENTS) == 1
    assert await stored(owner, order) == ["issued"]


async def test_documents_that_an_earlier_version_has_left_are_found(
    own_organisation: TestOrganisation, own_owner: asyncpg.Connection, own_urls: tuple[str, str]
) -> None:
    issued, read, cancelled, draft = [
        await own_organisation.issued(),
        await own_organisation.issued(),
        await ok(perform(own_organisation.buyer, await own_organisation.issued(), "cancel")),
        await own_organisation.ordered(),
    ]
    await ok(own_organisation.buyer.get(f"/purchase-orders/{read.json()['id']}/document.pdf"))
    await own_owner.execute(
        "DELETE FROM document_renderings WHERE organisation_id = $1", own_organisation.organisation_id
    )
    await queue_missing(own_organisation.database)
    await queue_missing(own_organisation.database)
    found = [[row["kind"] for row in await renderings(own_owner, order)] for order in (issued, read, cancelled, draft)]
    assert found == [["issued"], [], ["cancelled", "issued"], []]
    assert await work_until_idle(own_organisation, names=DOCUMENTS) == 3
    await check(own_urls[0], own_organisation.organisation_id)


async def test_what_nobody_does_is_a_warning_and_the_process_is_ready(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    one, other = await organisation.issued(), await organisation.issued()
    await owner.execute(
        "UPDATE document_renderings SET next_attempt_at = now() - interval '400 s' WHERE purchase_order_id = $1",
        one.json()["id"],
    )
    await _exhaust(owner, other)
    await owner.execute(
        "UPDATE audit_events SET created_at = now() - interval '400 s'"
        " WHERE organisation_id = $1 AND id IN (SELECT event_id FROM event_outbox WHERE organisation_id = $1)",
        organisation.organisation_id,
    )
    name = f"test.readiness.{organisation.organisation_id}"
    await owner.execute(
        "INSERT INTO worker_tasks (name, next_run_at, error, failures)"
        " VALUES ($1, now() - interval '500 s', 'OSError', 3)",
        name,
    )
    answer = await ok(organisation.client.get("/health/ready"))
    await owner.execute("DELETE FROM worker_tasks WHERE name = $1", name)
    assert (answer.json()["status"], answer.json()["reasons"]) == ("ready", [])
    warnings = [(item["code"], item["detail"].partition(": ")[0]) for item in answer.json()["warnings"]]
    assert {("work_overdue", "documents"), ("work_failed", "documents")} <= {*warnings}
    assert {("work_overdue", name), ("work_failed", name), ("work_overdue", "events.relay")} <= {*warnings}
