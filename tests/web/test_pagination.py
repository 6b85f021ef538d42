"""Keyset pages: every row exactly once and in order, also with concurrent changes."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from po_api.core.permissions import Role
from support.organisations import Member, Tenant, created, new_tenant, ok, refused
from support.pages import pages

ROWS = 23
START = datetime(2026, 1, 1, tzinfo=UTC)
SORTS = [
    sign + name + second
    for sign in ("", "-")
    for name in ("created_at", "updated_at", "number", "total")
    for second in ("", ",number" if name != "number" else ",-total")
]


@pytest.fixture(scope="module")
async def reader(app: FastAPI, client: httpx.AsyncClient) -> AsyncIterator[Member]:
    """A requester with many requests, of which many were created at the same time and cost the same."""
    tenant = await new_tenant(app, client)
    member = await tenant.member(Role.REQUESTER)
    for row in range(ROWS):
        line = {"description": "x", "quantity": "1", "unit_price": str(row % 3)}
        porf = await created(member.post("/porfs", json={"title": f"P{row}", "lines": [line]}))
        await _date(tenant, porf.json()["id"], START + timedelta(days=row // 5))
    yield member


async def _date(tenant: Tenant, porf_id: int, moment: datetime) -> None:
    async with tenant.database.engine.begin() as connection:
        await connection.execute(text(f"SET LOCAL app.organisation_id = {tenant.organisation_id}"))
        await connection.execute(
            text("UPDATE porfs SET created_at = :at, updated_at = :at WHERE id = :id"), {"at": moment, "id": porf_id}
        )


async def _pages(member: Member, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    async for answer in pages(member, "/porfs", **params):
        page = answer.json()
        items += page["items"]
        assert len(page["items"]) == params["limit"] or not page["has_more"]
    return items


def _value(name: str, item: dict[str, Any]) -> Any:
    return float(item[name]) if name == "total" else item[name]


def _sorted(items: list[dict[str, Any]], sort: str) -> list[int]:
    names = sort.split(",")
    keys = [*names, f"{'-' if names[-1].startswith('-') else ''}id"]
    for key in reversed(keys):
        name = key.removeprefix("-")
        items = sorted(items, key=lambda item: _value(name, item), reverse=key.startswith("-"))
    return [item["id"] for item in items]


# Each order page by page; one of them with pages of all sizes, which make no difference to the others.
_PAGES = [(4, sort) for sort in SORTS] + [(limit, SORTS[0]) for limit in (1, 9, ROWS + 1)]
_FURTHER = [(limit, sort) for sort in SORTS[1:] for limit in (9, ROWS + 1)]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("limit", "sort"), [*_PAGES, *(pytest.param(*pages, marks=pytest.mark.exhaustive) for pages in _FURTHER)]
)
async def test_every_row_comes_exactly_once_and_in_order(reader: Member, limit: int, sort: str) -> None:
    items = await _pages(reader, limit=limit, sort=sort)
    assert len({item["id"] for item in items}) == ROWS
    assert [item["id"] for item in items] == _sorted(items, sort)


async def test_newest_come_first_by_default(reader: Member) -> None:
    items = await _pages(reader, limit=7)
    assert [item["id"] for item in items] == _sorted(items, "-created_at")


async def test_rows_added_meanwhile_neither_repeat_nor_hide_others(tenant: Tenant) -> None:
    member = await tenant.member(Role.REQUESTER)
    there = [(await created(member.post("/porfs", json={"title": "x"}))).json()["id"] for _ in range(6)]
    first = (await ok(member.get("/porfs", params={"limit": 3}))).json()
    await created(member.post("/porfs", json={"title": "new"}))
    rest = await ok(member.get("/porfs", params={"limit": 3, "cursor": first["next_cursor"]}))
    assert [item["id"] for item in (*first["items"], *rest.json()["items"])] == there[::-1]


async def test_the_link_leads_through_the_list(reader: Member) -> None:
    found, path = [], "/porfs?limit=9&status=draft&status=pending&sort=number"
    for _ in range(3):
        response = await ok(reader.get(path))
        found += [item["number"] for item in response.json()["items"]]
        target = response.links.get("next", {}).get("url", "")
        path = target.removeprefix("/api/v1")
    assert path == ""
    assert len(found) == ROWS
    assert found == sorted(found)


async def test_a_full_last_page_has_no_next(reader: Member) -> None:
    response = await ok(reader.get("/porfs", params={"limit": ROWS}))
    assert (response.json()["next_cursor"], response.json()["has_more"]) == (None, False)
    assert "Link" not in response.headers


async def test_a_cursor_is_bound_to_its_sort_filters_and_path(reader: Member) -> None:
    first = await ok(reader.get("/porfs", params={"limit": 2, "status": "draft", "sort": "number"}))
    cursor = first.json()["next_cursor"]
    bound: dict[str, Any] = {"status": "draft", "sort": "number", "cursor": cursor}
    await ok(reader.get("/porfs", params=bound | {"limit": 99}))
    for other in ({"sort": "-number"}, {"sort": "number,total"}, {"sort": None}, {"status": None}, {"q": "x"}):
        params = {name: value for name, value in (bound | other).items() if value is not None}
        await refused(reader.get("/porfs", params=params), 400, "invalid_cursor")
    await refused(reader.get("/suppliers", params={"cursor": cursor}), 400, "invalid_cursor")


def _forged(cursor: str, change: Any) -> str:
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return base64.urlsafe_b64encode(json.dumps(change(parts)).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts[:1],
        lambda parts: parts[:2],
        lambda parts: [*parts, "1"],
        lambda parts: [parts[0], *reversed(parts[1:])],
        lambda parts: [parts[0], parts[1], "9" * 30],
        lambda parts: [parts[0], parts[1], 7.5],
        lambda parts: [parts[0], "2026-01-01T00:00:00", parts[2]],
        lambda parts: [parts[0], "2026-13-01T00:00:00+00:00", parts[2]],
        lambda parts: [parts[0], None, parts[2]],
        lambda parts: [parts[0], [], {}],
        lambda parts: {"a": 1},
        lambda parts: 7,
        lambda parts: None,
        lambda parts: "text",
        lambda parts: [],
    ],
    ids=range(15),
)
async def test_a_forged_cursor_is_refused(reader: Member, change: Any) -> None:
    cursor = (await ok(reader.get("/porfs", params={"limit": 2}))).json()["next_cursor"]
    await refused(reader.get("/porfs", params={"cursor": _forged(cursor, change)}), 400, "invalid_cursor")


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
async def test_any_other_text_is_no_cursor(reader: Member, cursor: str) -> None:
    await refused(reader.get("/porfs", params={"cursor": cursor}), 400, "invalid_cursor")


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("total", "NaN"),
        ("total", "sNaN"),
        ("total", "Infinity"),
        ("total", "1e999999"),
        ("total", "1" * 200),
        ("number", "\x00"),
        ("number", "\ud800"),
        ("created_at", "0001-01-01T00:00:00+23:59"),
        ("created_at", "9999-12-31T23:59:59-23:59"),
    ],
)
async def test_a_cursor_with_an_impossible_value_is_no_error_of_ours(reader: Member, sort: str, value: str) -> None:
    cursor = (await ok(reader.get("/porfs", params={"limit": 2, "sort": sort}))).json()["next_cursor"]
    forged = _forged(cursor, lambda parts: [parts[0], value, parts[2]])
    response = await reader.get("/porfs", params={"cursor": forged, "sort": sort})
    assert response.status_code in {200, 400}, response.text


async def test_a_sort_that_is_not_offered_is_refused(reader: Member) -> None:
    for wrong in ("title", "created_at,created_at", "-", ",", "created_at,", "--created_at", "created_at;drop"):
        await refused(reader.get("/porfs", params={"sort": wrong}), 400, "invalid_sort")
