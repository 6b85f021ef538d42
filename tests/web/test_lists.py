"""All lists have the same family of filters, and counts with these filters."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.one_server import IS_DISTRIBUTED
from support.operations import operations
from support.organisations import (
    LINE,
    Member,
    TestOrganisation,
    act,
    created,
    new_organisation,
    ok,
    perform,
    refused,
)
from support.pages import all_items
from support.statements import sent_to

LISTS = {
    "/porfs": "listPorfs",
    "/purchase-orders": "listPurchaseOrders",
    "/suppliers": "listSuppliers",
    "/users": "listUsers",
    "/invitations": "listInvitations",
}
# What every list has; then for each field of an item, what its filters are called. Without: those that show no such
# field, or whose values would tell what the reader may not see.
EVERYWHERE = {"created_at_gte", "created_at_lt", "updated_at_gte", "updated_at_lt"}
FAMILY = {
    "status": {"status"},
    "number": {"number"},
    "supplier_id": {"supplier_id"},
    "requester_id": {"requester_id"},
    "created_by_id": {"created_by_id"},
    "invited_by_id": {"invited_by_id"},
    "currency": {"currency"},
    "cost_centre": {"cost_centre"},
    "roles": {"role"},
    "is_active": {"is_active"},
    "email": {"email"},
    "total": {"total_gte", "total_lt"},
    "needed_by": {"needed_by_gte", "needed_by_lt"},
    "submitted_at": {"submitted_at_gte", "submitted_at_lt"},
    "decided_at": {"decided_at_gte", "decided_at_lt"},
    "issued_at": {"issued_at_gte", "issued_at_lt"},
    "joined_at": {"joined_at_gte", "joined_at_lt"},
    "expires_at": {"expires_at_gte", "expires_at_lt"},
}
EXCEPTIONS = {("/suppliers", "email")}  # by `q`


def _fields(app: FastAPI, operation: dict[str, Any]) -> set[str]:
    schemas = app.openapi()["components"]["schemas"]
    page = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    item = schemas[page]["properties"]["items"]["items"]["$ref"].rpartition("/")[2]
    return set(schemas[item]["properties"])


def _lists(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    by_name = {operation["operationId"]: operation for _, _, operation in operations(app)}
    yield from ((path, by_name[name]) for path, name in LISTS.items())


def _by_path(app: FastAPI) -> dict[str, dict[str, Any]]:
    found = operations(app)
    return {path.removeprefix("/api/v1"): operation for method, path, operation in found if method == "GET"}


def test_every_list_has_the_filters_of_its_fields(app: FastAPI) -> None:
    for path, operation in _lists(app):
        parameters = {parameter["name"] for parameter in operation["parameters"]}
        expected = set(EVERYWHERE)
        for field in _fields(app, operation) & FAMILY.keys():
            if (path, field) not in EXCEPTIONS:
                expected |= FAMILY[field]
        assert expected - parameters == set(), path


def test_counts_have_the_filters_of_their_list(app: FastAPI) -> None:
    by_path = {
        path.removeprefix("/api/v1"): operation for method, path, operation in operations(app) if method == "GET"
    }
    for path, operation in _lists(app):
        filters = {parameter["name"] for parameter in operation["parameters"]} - {"limit", "cursor", "sort"}
        assert {parameter["name"] for parameter in by_path[f"{path}/counts"]["parameters"]} == {*filters, "group_by"}


def test_exports_have_the_filters_and_sorts_of_their_list(app: FastAPI) -> None:
    by_path = {
        path.removeprefix("/api/v1"): operation for method, path, operation in operations(app) if method == "GET"
    }
    for path, operation in _lists(app):
        if path in {"/porfs", "/purchase-orders", "/suppliers"}:
            expected = {parameter["name"] for parameter in operation["parameters"]} - {"limit", "cursor"}
            assert {each["name"] for each in by_path[f"{path}/export"]["parameters"]} == {*expected, "format"}


async def _ids(member: Member, path: str, **params: Any) -> list[int]:
    return [item["id"] for item in await all_items(member, path, **params)]


@pytest.fixture(scope="module")
async def three_of_each(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    """At least three entries in each list."""
    organisation = await new_organisation(app, client)
    for name in ("One", "Two", "Three"):
        await created(organisation.buyer.post("/suppliers", json={"name": name}))
        await organisation.issued(title=name)
        await created(organisation.admin.post("/invitations", json={"email": f"{name}@invited.example"}))
    return organisation


@pytest.mark.heavy
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("field", ["created_at", "updated_at"])
async def test_times_are_bounded_below_inclusively_and_above_exclusively(
    three_of_each: TestOrganisation, path: str, field: str
) -> None:
    admin = three_of_each.admin
    items = await all_items(admin, path, limit=2)
    assert len(items) >= 3
    times = sorted(item[field] for item in items)
    bound = times[1]
    for params, expected in (
        ({f"{field}_gte": bound}, {item["id"] for item in items if item[field] >= bound}),
        ({f"{field}_lt": bound}, {item["id"] for item in items if item[field] < bound}),
        ({f"{field}_gte": bound, f"{field}_lt": times[2]}, {i["id"] for i in items if bound <= i[field] < times[2]}),
    ):
        found = await _ids(admin, path, limit=1, **params)
        assert len(found) == len(set(found))
        assert set(found) == expected, params


@pytest.mark.heavy
@pytest.mark.parametrize("path", ["/porfs", "/purchase-orders"])
async def test_amounts_are_bounded(organisation: TestOrganisation, path: str) -> None:
    for price in ("10", "20", "30"):
        line = LINE | {"quantity": "1", "unit_price": price, "tax_rate": "0"}
        await created(organisation.convert(await organisation.approved(lines=[line])))

    async def totals(**params: str) -> list[str]:
        return sorted(item["total"] for item in await all_items(organisation.buyer, path, **params))

    assert await totals(total_gte="20") == ["20.00", "30.00"]
    assert await totals(total_gte="20.0001") == ["30.00"]
    assert await totals(total_lt="20.00") == ["10.00"]
    assert await totals(total_gte="10", total_lt="30", currency="GBP") == ["10.00", "20.00"]
    for wrong in ("-1", "1e3", "NaN", "1,5", ""):
        problem = await refused(organisation.buyer.get(path, params={"total_gte": wrong}), 422, "validation_failed")
        assert [error["pointer"] for error in problem["errors"]] == ["/total_gte"]


@pytest.mark.heavy
async def test_orders_are_filtered_by_what_a_line_is_for(organisation: TestOrganisation) -> None:
    other = await organisation.member(Role.REQUESTER)
    body = {"title": "T", "supplier_id": organisation.supplier_id, "lines": [LINE | {"needed_by": "2031-05-01"}]}
    pending = await act(other, await created(other.post("/porfs", json=body)), "submit")
    theirs = await act(organisation.approver, pending, "approve")
    own = await organisation.approved(lines=[LINE | {"needed_by": "2031-02-01"}])
    porf_ids = [theirs.json()["id"], own.json()["id"]]
    both = (await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": porf_ids}))).json()["id"]
    approved = await organisation.approved(lines=[LINE | {"needed_by": "2031-03-01"}])
    single = (await created(organisation.convert(approved))).json()["id"]

    async def found(member: Member, **params: Any) -> set[int]:
        return set(await _ids(member, "/purchase-orders", **params))

    buyer = organisation.buyer
    assert await found(buyer, requester_id=other.user_id) == {both}
    assert await found(buyer, requester_id=[other.user_id, organisation.requester.user_id]) == {both, single}
    assert await found(buyer, needed_by_gte="2031-03-01") == {both, single}
    assert await found(buyer, needed_by_lt="2031-03-01") == {both}
    # One line fulfils both bounds.
    assert await found(buyer, needed_by_gte="2031-02-02", needed_by_lt="2031-05-01") == {single}
    assert await found(buyer, needed_by_gte="2031-05-01", porf_id=own.json()["id"]) == {both}
    assert await found(buyer, created_by_id=buyer.user_id) == {both, single}
    assert await found(buyer, created_by_id=other.user_id) == set()
    # Requesters do not find orders by lines of others.
    assert await found(organisation.requester, requester_id=other.user_id) == set()
    assert await found(organisation.requester, porf_id=theirs.json()["id"]) == set()
    assert await found(organisation.requester, needed_by_gte="2031-04-01") == set()
    assert await found(other, needed_by_gte="2031-04-01") == {both}


async def test_invitations_are_filtered(organisation: TestOrganisation) -> None:
    for name, roles in (("a", ["requester"]), ("b", ["buyer", "requester"]), ("c", ["auditor"])):
        body = {"email": f"{name}@invited.example", "roles": roles}
        await created(organisation.admin.post("/invitations", json=body))

    async def emails(**params: Any) -> str:
        return "".join(
            sorted(item["email"][0] for item in await all_items(organisation.admin, "/invitations", **params))
        )

    assert await emails(role="requester") == "ab"
    assert await emails(role=["buyer", "auditor"]) == "bc"
    assert await emails(status=["open", "revoked"], email="B@invited.example") == "b"
    assert await emails(status="accepted") == ""
    assert await emails(invited_by_id=organisation.admin.user_id) == "abc"
    assert await emails(invited_by_id=organisation.buyer.user_id) == ""
    assert await emails(expires_at_lt="2026-01-01T00:00:00Z") == ""


# Counts


async def _counts(member: Member, path: str, group_by: str, **params: Any) -> dict[str | None, int]:
    found = (await ok(member.get(f"{path}/counts", params={"group_by": group_by, **params}))).json()
    assert found["group_by"] == group_by
    assert found["count"] == sum(group["count"] for group in found["items"])
    assert not found["has_more"]
    assert [group["count"] for group in found["items"]] == sorted(
        (group["count"] for group in found["items"]), reverse=True
    )
    return {group["value"]: group["count"] for group in found["items"]}


async def test_requests_are_counted_by_status_within_what_is_visible(organisation: TestOrganisation) -> None:
    for status in ("draft", "draft", "pending", "approved"):
        await organisation.in_status(status)
    own = await created(organisation.buyer.post("/porfs", json={"title": "Toner", "cost_centre": "4711"}))
    buyer, requester, approver = organisation.buyer, organisation.requester, organisation.approver
    assert await _counts(buyer, "/porfs", "status") == {"draft": 3, "pending": 1, "approved": 1}
    assert await _counts(requester, "/porfs", "status") == {"draft": 2, "pending": 1, "approved": 1}
    assert await _counts(approver, "/porfs", "status") == {"pending": 1, "approved": 1}
    # With the filters of the list.
    assert await _counts(approver, "/porfs", "status", waiting_for_me="true") == {"pending": 1}
    assert await _counts(buyer, "/porfs", "status", q="toner") == {"draft": 1}
    assert await _counts(buyer, "/porfs", "status", q="lamp", status=["draft", "pending"]) == {"draft": 2, "pending": 1}
    assert await _counts(buyer, "/porfs", "status", created_at_lt=own.json()["created_at"], total_gte="1") == {
        "draft": 2,
        "pending": 1,
        "approved": 1,
    }
    assert await _counts(buyer, "/porfs", "cost_centre") == {None: 4, "4711": 1}
    assert await _counts(buyer, "/porfs", "supplier_id") == {str(organisation.supplier_id): 4, None: 1}
    assert await _counts(buyer, "/porfs", "requester_id") == {str(requester.user_id): 4, str(buyer.user_id): 1}
    assert await _counts(buyer, "/porfs", "status", q="nothing") == {}


async def test_other_lists_are_counted(organisation: TestOrganisation) -> None:
    buyer, admin = organisation.buyer, organisation.admin
    await organisation.issued()
    order = await organisation.ordered()
    await perform(buyer, order, "cancel", json={"comment": "Wrong"})
    await created(buyer.post("/suppliers", json={"name": "Second"}))
    await organisation.set_supplier(active=False)
    await created(admin.post("/invitations", json={"email": "x@invited.example"}))
    assert await _counts(buyer, "/purchase-orders", "status") == {"issued": 1, "cancelled": 1}
    assert await _counts(buyer, "/purchase-orders", "created_by_id", status="issued") == {str(buyer.user_id): 1}
    assert await _counts(buyer, "/suppliers", "is_active") == {"true": 1, "false": 1}
    assert await _counts(buyer, "/suppliers", "is_active", q="second") == {"true": 1}
    assert await _counts(buyer, "/users", "is_active", role="buyer") == {"true": 1}
    assert await _counts(buyer, "/users", "is_active", q="rosa") == {"true": 1}
    assert await _counts(admin, "/invitations", "status") == {"open": 1}
    await refused(organisation.requester.get("/invitations/counts?group_by=status"), 403, "missing_role")


async def test_counts_name_what_is_wrong(organisation: TestOrganisation) -> None:
    get = organisation.buyer.get
    await refused(get("/porfs/counts"), 422, "validation_failed")
    await refused(get("/porfs/counts?group_by=title"), 422, "validation_failed")
    await refused(get("/porfs/counts?group_by=status&limit=5"), 400, "unknown_parameter")


@pytest.mark.heavy
async def test_many_values_are_bounded_and_the_total_is_exact(organisation: TestOrganisation) -> None:
    for number in range(102):
        body = {"title": "T", "cost_centre": f"C{number:03}"}
        await created(organisation.requester.post("/porfs", json=body))
    await created(organisation.requester.post("/porfs", json={"title": "T", "cost_centre": "C007"}))
    found = (await ok(organisation.buyer.get("/porfs/counts?group_by=cost_centre"))).json()
    assert (found["count"], found["has_more"], len(found["items"])) == (103, True, 100)
    assert found["items"][0] == {"value": "C007", "count": 2}


@pytest.mark.parametrize("group_by", ["status", "supplier_id", "requester_id"])
@pytest.mark.parametrize("search", [{}, {"q": "lamp"}])
async def test_counting_takes_one_query(organisation: TestOrganisation, group_by: str, search: dict[str, str]) -> None:
    await ok(organisation.buyer.get("/users/me"))
    async with sent_to(organisation.database) as sent:
        await ok(organisation.buyer.get("/porfs/counts", params={"group_by": group_by, **search}))
    # The check of the credentials, and this one; where the database is distributed, the search is one by itself.
    assert sum(each.is_statement for each in sent) == 2 + (IS_DISTRIBUTED and "q" in search)
