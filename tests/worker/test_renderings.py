"""The documents of orders are rendered by a worker, soon after the issue."""

from typing import Any

import asyncpg
import httpx
import pytest

from support.invariants import check
from support.organisations import TestOrganisation, ok, perform
from support.workers import work_until_idle

pytestmark = pytest.mark.heavy


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
    assert await work_until_idle(organisation) == 1
    assert await stored(owner, order) == ["issued"]
    await ok(perform(organisation.buyer, order, "cancel"))
    assert await work_until_idle(organisation) == 1
    assert await stored(owner, order) == ["cancelled", "issued"]
    assert [(row["status"], row["attempts"]) for row in await renderings(owner, order)] == [("done", 1)] * 2
    assert await work_until_idle(organisation) == 0
    await check(urls[0], organisation.organisation_id)


async def test_the_first_reader_may_be_faster(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    order = await organisation.issued()
    read = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    assert [(row["status"], row["attempts"]) for row in await renderings(owner, order)] == [("done", 0)]
    assert await work_until_idle(organisation) == 0
    again = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    assert again.content == read.content


async def test_a_cancelled_draft_has_no_document(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    order = await ok(perform(organisation.buyer, await organisation.ordered(), "cancel"))
    assert await renderings(owner, order) == []


async def test_a_dry_run_queues_nothing(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    order = await organisation.ordered()
    await ok(perform(organisation.buyer, order, "issue", params={"dry_run": "true"}))
    assert await renderings(owner, order) == []
