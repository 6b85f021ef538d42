"""Exports have the rows of their list, whole, neutralised and bounded; no connection waits for the client."""

import asyncio
import csv
from collections.abc import Iterator
from datetime import date, datetime
from io import BytesIO, StringIO
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from python_calamine import CalamineWorkbook

from po_api.core.permissions import Role
from po_api.exports.service import BATCH_ROWS
from support.organisations import LINE, Member, TestOrganisation, act, created, ok, refused
from support.pages import all_items

EVIL = "=1+1;@SUM(A1)"


def _table(response: httpx.Response) -> list[dict[str, str]]:
    text = response.content.decode("utf-8-sig")
    assert response.content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(StringIO(text, newline="")))


async def _csv(member: Member, path: str, **params: Any) -> list[dict[str, str]]:
    return _table(await ok(member.get(f"{path}/export", params=params)))


async def _xlsx(member: Member, path: str, **params: Any) -> list[dict[str, Any]]:
    response = await ok(member.get(f"{path}/export", params={"format": "xlsx", **params}))
    assert "spreadsheetml" in response.headers["content-type"]
    names, *rows = CalamineWorkbook.from_filelike(BytesIO(response.content)).get_sheet_by_index(0).to_python()
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


async def test_requests_are_exported_as_they_are_listed(organisation: TestOrganisation) -> None:
    await organisation.draft(title=EVIL, cost_centre="-4711", needed_by="2031-05-01", currency="TND")
    approved = (await organisation.approved(lines=[LINE, LINE])).json()
    await created(organisation.requester.post("/porfs", json={"title": 'Say "hi"\u2028'.strip() + " ü漢"}))
    rows = await _csv(organisation.buyer, "/porfs")
    assert [row["number"][-6:] for row in rows] == ["000003", "000002", "000001"]
    exact = ("number", "title", "status", "net", "tax", "total", "currency", "requester_name", "supplier_name")
    assert {name: rows[1][name] for name in exact} == {name: approved[name] for name in exact}
    assert rows[1]["decided_at"] == approved["decided_at"]
    assert rows[2]["title"] == "'=1+1;'@SUM(A1)"
    assert (rows[2]["cost_centre"], rows[2]["needed_by"], rows[2]["net"]) == ("'-4711", "2031-05-01", "249.000")
    assert rows[0]["supplier_name"] == ""

    cells = await _xlsx(organisation.buyer, "/porfs")
    assert [list(row) for row in cells] == [list(row) for row in rows]
    assert cells[2]["title"] == EVIL
    assert (cells[2]["net"], cells[2]["needed_by"]) == (249, date(2031, 5, 1))
    assert cells[0]["supplier_name"] == ""
    decided = datetime.fromisoformat(approved["decided_at"]).replace(tzinfo=None, microsecond=0)
    assert cells[1]["decided_at"] == decided


@pytest.mark.heavy
async def test_orders_and_suppliers_are_exported(organisation: TestOrganisation) -> None:
    issued = (await organisation.issued()).json()
    order = (await organisation.ordered()).json()
    rows = await _csv(organisation.buyer, "/purchase-orders", sort="created_at")
    assert [(row["number"], row["status"], row["total"]) for row in rows] == [
        (issued["number"], "issued", issued["total"]),
        ("", "draft", order["total"]),
    ]
    assert (await _xlsx(organisation.buyer, "/purchase-orders", status="issued"))[0]["number"] == issued["number"]
    await created(organisation.buyer.post("/suppliers", json={"name": "+49 Ltd", "address": "A\n=B", "tax_id": "007"}))
    await organisation.set_supplier(active=False)
    suppliers = await _csv(organisation.requester, "/suppliers", sort="name")
    assert [(row["name"], row["is_active"]) for row in suppliers] == [
        ("'+49 Ltd", "true"),
        ("Müller & Söhne GmbH", "false"),
    ]
    assert (suppliers[0]["address"], suppliers[0]["tax_id"]) == ("A\n'=B", "007")
    (cells,) = await _xlsx(organisation.requester, "/suppliers", is_active="true")
    assert (cells["address"], cells["tax_id"]) == ("A\n=B", "007")


@pytest.mark.heavy
async def test_an_export_has_the_filters_the_order_and_the_visibility_of_the_list(
    organisation: TestOrganisation,
) -> None:
    other = await organisation.member(Role.REQUESTER)
    for price in ("3", "1", "2"):
        await organisation.draft(lines=[LINE | {"unit_price": price}])
    await act(other, await created(other.post("/porfs", json={"title": "Toner", "lines": [LINE]})), "submit")
    for member in (organisation.buyer, organisation.requester, organisation.approver, other):
        for params in (
            {},
            {"sort": "total"},
            {"sort": "-total,number", "status": ["draft", "pending"]},
            {"q": "toner"},
            {"q": "lamp", "total_lt": "30"},
            {"requester_id": other.user_id},
            {"waiting_for_me": "true"},
        ):
            listed = [item["number"] for item in await all_items(member, "/porfs", **params)]
            assert [row["number"] for row in await _csv(member, "/porfs", **params)] == listed
    get = organisation.buyer.get
    await refused(get("/porfs/export?sort=title"), 400, "invalid_sort")
    await refused(get("/porfs/export?format=pdf"), 422, "validation_failed")
    await refused(get("/porfs/export?limit=3"), 400, "unknown_parameter")


@pytest.fixture
async def full(organisation: TestOrganisation, owner: asyncpg.Connection) -> TestOrganisation:
    """An organisation with more requests than fit into two batches."""
    await owner.execute(
        "INSERT INTO porfs (organisation_id, number, title, requester_id, created_at)"
        " SELECT $1, 'PORF-2020-' || lpad(n::text, 6, '0'), 'Lamp ' || n, $2,"
        " '2020-01-01'::timestamptz + n % 7 * '1 s'::interval"
        " FROM generate_series(1, $3::integer) n",
        organisation.organisation_id,
        organisation.requester.user_id,
        2 * BATCH_ROWS + 5,
    )
    return organisation


@pytest.mark.heavy
@pytest.mark.parametrize("format_", ["csv", "xlsx"])
async def test_an_export_is_whole(full: TestOrganisation, format_: str) -> None:
    read = _csv if format_ == "csv" else _xlsx
    rows: list[dict[str, Any]] = await read(full.buyer, "/porfs")
    assert [row["number"] for row in rows] == [
        item["number"] for item in await all_items(full.buyer, "/porfs", limit=100)
    ]
    assert len(rows) == 2 * BATCH_ROWS + 5


@pytest.fixture
def small_maximum(app: FastAPI) -> Iterator[int]:
    before, app.state.export_max_rows = app.state.export_max_rows, 3
    yield 3
    app.state.export_max_rows = before


async def test_a_list_that_is_too_large_is_refused(organisation: TestOrganisation, small_maximum: int) -> None:
    for _ in range(small_maximum):
        await organisation.draft()
    assert len(await _csv(organisation.buyer, "/porfs")) == small_maximum
    await organisation.draft(title="Toner")
    for format_ in ("csv", "xlsx"):
        path = f"/porfs/export?format={format_}"
        problem = await refused(organisation.buyer.get(path), 422, "export_too_large")
        assert "more than 3 rows" in problem["detail"]
    assert len(await _csv(organisation.buyer, "/porfs", q="toner")) == 1


async def test_no_connection_is_held_for_a_slow_client(app: FastAPI, full: TestOrganisation) -> None:
    """The client takes the first part and then nothing."""
    pool = full.database.engine.sync_engine.pool
    busy = pool.checkedout()  # type: ignore[attr-defined]
    taken = asyncio.Event()
    blocked = asyncio.Event()
    parts: list[bytes] = []

    async def send(message: Any) -> None:
        if message.get("body"):
            parts.append(message["body"])
            taken.set()
            await blocked.wait()

    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        if (message := next(messages, None)) is None:
            await asyncio.Event().wait()
        return message

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/v1/porfs/export",
        "raw_path": b"/api/v1/porfs/export",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {full.buyer.token}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    request = asyncio.create_task(app(scope, receive, send))
    await asyncio.wait_for(taken.wait(), 30)
    assert pool.checkedout() == busy  # type: ignore[attr-defined]
    blocked.set()
    await asyncio.wait_for(request, 30)
    assert len(_table(httpx.Response(200, content=b"".join(parts)))) == 2 * BATCH_ROWS + 5


async def test_a_disconnected_client_leaves_nothing_behind(app: FastAPI, full: TestOrganisation) -> None:
    pool = full.database.engine.sync_engine.pool
    busy = pool.checkedout()  # type: ignore[attr-defined]
    for format_ in ("csv", "xlsx"):
        request = asyncio.create_task(full.buyer.get(f"/porfs/export?format={format_}"))
        for _ in range(50):
            await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert pool.checkedout() == busy  # type: ignore[attr-defined]
    assert len(await _csv(full.buyer, "/porfs")) == 2 * BATCH_ROWS + 5
