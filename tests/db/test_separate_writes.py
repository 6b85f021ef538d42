"""An application whose database is distributed sends other statements, with the same effect on one server."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from po_api.settings import Settings
from support import invariants
from support.applications import application_on, client_of
from support.distribution import obstacles
from support.organisations import LINE, TestOrganisation, act, new_organisation, ok
from support.statements import sent_to


@pytest.fixture(scope="module")
async def distributed(urls: tuple[str, str], settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that takes its database for a distributed one."""
    async with application_on(urls, settings) as app:
        app.state.database.engine.update_execution_options(is_distributed=True)
        yield app


@pytest.fixture
async def organisation(distributed: FastAPI) -> AsyncIterator[TestOrganisation]:
    async with client_of(distributed) as client:
        yield await new_organisation(distributed, client)


async def _main_job(organisation: TestOrganisation) -> tuple[httpx.Response, httpx.Response]:
    """A cancelled order, and the closed request that it was made of."""
    lines = [LINE, LINE | {"description": "Laptop stand", "quantity": "3"}]
    draft = await organisation.draft(lines=lines, supplier_id=organisation.supplier_id, cost_centre="4711")
    rejected = await act(
        organisation.approver, await act(organisation.requester, draft, "submit"), "reject", comment="no"
    )
    porf = await act(organisation.requester, rejected, "revise")
    approved = await act(organisation.approver, await act(organisation.requester, porf, "submit"), "approve")
    order = (await organisation.convert(approved)).raise_for_status()
    path = f"/purchase-orders/{order.json()['id']}"
    issued = await ok(organisation.buyer.post(f"{path}/issue", etag=order.headers["ETag"]))
    document = await ok(organisation.buyer.get(f"{path}/document.pdf"))
    assert document.content.startswith(b"%PDF")
    cancel = organisation.buyer.post(f"{path}/cancel", etag=issued.headers["ETag"], json={"comment": "x"})
    cancelled = await ok(cancel)
    porf = await ok(organisation.buyer.get(f"/porfs/{draft.json()['id']}"))
    return cancelled, await act(organisation.buyer, porf, "close")


@pytest.mark.heavy
async def test_the_main_job_has_the_same_result(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    async with sent_to(organisation.database) as sent:
        order, porf = await _main_job(organisation)
    assert (order.json()["status"], porf.json()["status"]) == ("cancelled", "closed")
    assert [line["closed_quantity"] for line in porf.json()["lines"]] == [
        line["quantity"] for line in porf.json()["lines"]
    ]
    await invariants.check(urls[0], organisation.organisation_id)
    for sql in {item.sql for item in sent}:
        assert obstacles(sql, is_distributed=True) == [], sql
        # The check of the credentials sets another mode only where Citus is not installed.
        assert "SET LOCAL plan_cache_mode" not in sql
        assert not (sql.startswith("WITH") and ("INSERT" in sql or "UPDATE" in sql)), sql


async def test_rows_that_are_written_are_written_by_values(organisation: TestOrganisation) -> None:
    """Citus keeps the plans of such statements, and sends each to one server."""
    async with sent_to(organisation.database) as sent:
        await organisation.draft(lines=[LINE] * 40)
    inserts = [item.sql for item in sent if item.sql.startswith("INSERT")]
    tables = sorted(sql.split()[2] for sql in inserts)
    assert tables == ["audit_events", "event_outbox", "number_series", "porf_lines", "porfs"]
    assert all(" VALUES " in sql for sql in inserts), inserts


async def test_many_lines_are_updated_by_one_statement(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    approved = await organisation.approved(lines=[LINE] * 30)
    async with sent_to(organisation.database) as sent:
        (await organisation.convert(approved)).raise_for_status()
    assert [item.sql.startswith("UPDATE porf_lines") for item in sent].count(True) == 1
    await invariants.check(urls[0], organisation.organisation_id)


async def test_a_search_is_executed_before_the_list(organisation: TestOrganisation) -> None:
    found = await organisation.draft(lines=[LINE | {"description": "Zinnober"}])
    async with sent_to(organisation.database) as sent:
        for query in ("zinnober", "nothing-has-this"):
            ids = [item["id"] for item in (await ok(organisation.requester.get(f"/porfs?q={query}"))).json()["items"]]
            assert ids == ([found.json()["id"]] if query == "zinnober" else [])
        counted = await ok(organisation.requester.get("/porfs/counts?group_by=status&q=zinnober"))
    assert counted.json()["count"] == 1
    assert [item for sql in sent for item in obstacles(sql.sql, is_distributed=True)] == []
