"""An order of several requesters: each sees the lines of their own requests, and totals of those, everywhere."""

import base64
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.money import PricedLine, TaxRounding, totals
from po_api.core.permissions import Role
from support.organisations import (
    LINE,
    Member,
    TestOrganisation,
    act,
    again,
    created,
    new_organisation,
    ok,
    perform,
    refused,
)
from support.pages import as_listed

CHAIR = {"description": "Chair of the other", "quantity": "4", "unit_price": "80", "tax_rate": "7"}
AMOUNTS = ("net", "tax", "total")


async def requested(organisation: TestOrganisation, requester: Member, **fields: Any) -> httpx.Response:
    """An approved request of this requester."""
    body = {"title": "Things", "supplier_id": organisation.supplier_id, "lines": [CHAIR]} | fields
    pending = await act(requester, await created(requester.post("/porfs", json=body)), "submit")
    return await act(organisation.approver, pending, "approve")


async def combined(organisation: TestOrganisation, *porfs: httpx.Response) -> httpx.Response:
    ids = [porf.json()["id"] for porf in porfs]
    return await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": ids}))


async def listed(member: Member, **params: Any) -> list[dict[str, Any]]:
    page = await ok(member.get("/purchase-orders", params=params))
    items: list[dict[str, Any]] = page.json()["items"]
    return items


@pytest.fixture
async def other(organisation: TestOrganisation) -> Member:
    return await organisation.member(Role.REQUESTER)


@pytest.fixture
async def order(organisation: TestOrganisation, other: Member) -> httpx.Response:
    """A draft of the requester's ten lamps and the other's four chairs."""
    lamps = await organisation.approved(title="Lamps", cost_centre="4711", needed_by="2031-05-06")
    chairs = await requested(organisation, other, title="Secret chairs", cost_centre="4712", needed_by="2030-01-01")
    return await combined(organisation, chairs, lamps)


async def test_a_requester_sees_their_own_lines_and_totals_of_those(
    organisation: TestOrganisation, order: httpx.Response, other: Member
) -> None:
    whole = order.json()
    assert [whole[name] for name in (*AMOUNTS, "line_count", "is_partial")] == ["569.00", "72.20", "641.20", 2, False]
    seen = (await again(organisation.requester, order)).json()
    assert seen["is_partial"] is True
    assert [line["description"] for line in seen["lines"]] == ["Desk lamp"]
    assert [seen[name] for name in (*AMOUNTS, "line_count")] == ["249.00", "49.80", "298.80", 1]
    assert seen["taxes"] == [{"rate": "20", "net": "249.00", "tax": "49.80"}]
    assert (seen["cost_centres"], seen["delivery_date"]) == (["4711"], "2031-05-06")
    theirs = (await again(other, order)).json()
    assert [line["description"] for line in theirs["lines"]] == ["Chair of the other"]
    assert [theirs[name] for name in (*AMOUNTS, "line_count")] == ["320.00", "22.40", "342.40", 1]
    assert (theirs["cost_centres"], theirs["delivery_date"]) == (["4712"], "2030-01-01")
    for member in (organisation.approver, organisation.buyer, organisation.admin, organisation.auditor):
        assert (await again(member, order)).json()["lines"] == whole["lines"]


@pytest.mark.heavy
async def test_nothing_about_the_other_lines_is_in_any_answer(
    organisation: TestOrganisation, order: httpx.Response
) -> None:
    issued = await ok(perform(organisation.buyer, order, "issue"))
    requester, path = organisation.requester, f"/purchase-orders/{order.json()['id']}"
    for place in (
        path,
        f"{path}/history",
        "/purchase-orders",
        "/purchase-orders?sort=total",
        "/purchase-orders?q=Müller",
        "/purchase-orders/export",
        "/purchase-orders/export?sort=-total&q=lamp",
        "/purchase-orders/counts?group_by=status",
    ):
        response = await ok(requester.get(place))
        for hidden in ("Chair", "chairs", "4712", "2030-01-01", "641.20", "569.00", "72.20", "320.00", "342.40"):
            assert hidden not in response.text, place
    cancelled = await ok(perform(organisation.buyer, issued, "cancel", json={"comment": "x"}))
    assert [line["released_quantity"] for line in (await again(requester, cancelled)).json()["lines"]] == ["10"]


async def test_the_summary_in_a_list_is_the_part_that_the_requester_sees(
    organisation: TestOrganisation, order: httpx.Response
) -> None:
    (item,) = await listed(organisation.requester)
    seen = (await again(organisation.requester, order)).json()
    whole = as_listed(seen)
    assert item == {name: whole[name] for name in item}
    (item,) = await listed(organisation.buyer)
    assert (item["total"], item["is_partial"]) == ("641.20", False)


async def test_the_document_is_for_those_who_see_all_of_the_order(
    organisation: TestOrganisation, order: httpx.Response, other: Member
) -> None:
    path = f"/purchase-orders/{order.json()['id']}/document.pdf"
    await refused(organisation.requester.get(path), 403, "partly_visible")
    await ok(perform(organisation.buyer, order, "issue"))
    for member in (organisation.requester, other):
        await refused(member.get(path), 403, "partly_visible")
    for member in (organisation.approver, organisation.buyer, organisation.admin, organisation.auditor):
        await ok(member.get(path))
    stranger = await organisation.member(Role.REQUESTER)
    await refused(stranger.get(path), 404, "purchase_order_not_found")


async def test_a_requester_of_all_of_its_requests_sees_the_whole_order(organisation: TestOrganisation) -> None:
    order = await combined(organisation, await organisation.approved(), await organisation.approved(lines=[CHAIR]))
    seen = (await again(organisation.requester, order)).json()
    names = (*AMOUNTS, "taxes", "lines", "line_count", "is_partial", "cost_centres", "delivery_date")
    assert {name: seen[name] for name in names} == {name: order.json()[name] for name in names}
    await ok(perform(organisation.buyer, order, "issue"))
    await ok(organisation.requester.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))


async def test_who_is_the_requester_of_a_request_now_decides(
    organisation: TestOrganisation, order: httpx.Response, other: Member
) -> None:
    chairs = next(line["porf_id"] for line in order.json()["lines"] if line["description"] == CHAIR["description"])
    porf = await ok(organisation.admin.get(f"/porfs/{chairs}"))
    body = {"requester_id": organisation.requester.user_id}
    await ok(organisation.admin.post(f"/porfs/{chairs}/reassign", etag=porf.headers["ETag"], json=body))
    assert (await again(organisation.requester, order)).json()["is_partial"] is False
    await refused(other.get(f"/purchase-orders/{order.json()['id']}"), 404, "purchase_order_not_found")


@pytest.mark.heavy
async def test_lines_that_a_requester_does_not_see_find_no_order(
    organisation: TestOrganisation, order: httpx.Response
) -> None:
    by_text = {line["description"]: line for line in order.json()["lines"]}
    own, hidden = by_text[LINE["description"]], by_text[CHAIR["description"]]
    for name in ("porf_id", "cost_centre"):
        assert len(await listed(organisation.requester, **{name: own[name]})) == 1
        assert await listed(organisation.requester, **{name: hidden[name]}) == []
        assert len(await listed(organisation.buyer, **{name: hidden[name]})) == 1


@pytest.mark.heavy
async def test_lists_are_sorted_and_paged_by_the_total_that_is_shown(
    organisation: TestOrganisation, other: Member, order: httpx.Response
) -> None:
    """By their full totals, the combined order would be the last one."""
    for quantity in ("10", "5", "20"):
        porf = await organisation.approved(lines=[{**LINE, "quantity": quantity}])
        await created(organisation.convert(porf))
    everything = await listed(organisation.requester, sort="total")
    assert [item["total"] for item in everything] == ["149.40", "298.80", "298.80", "597.60"]
    paged, params = [], {"sort": "total", "limit": "1"}
    for _ in everything:
        page = (await ok(organisation.requester.get("/purchase-orders", params=params))).json()
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is not None:
            assert b"641.20" not in base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            params["cursor"] = cursor
    assert paged == everything
    dearest, *_ = await listed(organisation.buyer, sort="-total")
    assert dearest["total"] == "641.20"


async def test_a_requester_with_another_role_sees_what_that_role_sees(
    organisation: TestOrganisation, order: httpx.Response
) -> None:
    admin = await organisation.member(Role.REQUESTER, Role.BUYER)
    assert (await again(admin, order)).json()["is_partial"] is False


def _some_lines() -> list[list[dict[str, str]]]:
    """Lines whose taxes are often between two minor units."""
    random = Random(7)
    some = [
        [
            {
                "quantity": random.choice(("1", "3", "0.3333")),
                "unit_price": f"{random.randrange(10_000)}.{random.randrange(10_000):04}",
                "tax_rate": random.choice(("0", "7", "19", "19.9999", "2.5")),
            }
            for _ in range(random.randint(1, 6))
        ]
        for _ in range(8)
    ]
    # 0.14 and 0.11 at 10 %: 0.03 together, 0.02 line by line.
    return [*some, [{"quantity": "1", "unit_price": price, "tax_rate": "10"} for price in ("0.14", "0.11")]]


@pytest.mark.heavy
@pytest.mark.parametrize("rounding", list(TaxRounding))
@pytest.mark.parametrize("currency", ["EUR", "JPY", "TND"])
async def test_the_totals_of_a_part_are_rounded_as_those_of_a_document(
    app: FastAPI, client: httpx.AsyncClient, rounding: TaxRounding, currency: str
) -> None:
    """The database computes them for lists; `core.money` is the rule."""
    organisation = await new_organisation(app, client, tax_rounding=rounding)
    other = await organisation.member(Role.REQUESTER)
    hidden = await requested(organisation, other, currency=currency, lines=[{**CHAIR, "quantity": "1000"}])
    for lines in _some_lines():
        own = await requested(
            organisation,
            organisation.requester,
            currency=currency,
            lines=[{"description": "x", **line} for line in lines],
        )
        ids = [porf.json()["id"] for porf in (own, hidden)]
        one = {"line_id": hidden.json()["lines"][0]["id"], "quantity": "1"}
        wanted = [one, *({"line_id": line["id"]} for line in own.json()["lines"])]
        order = await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": ids, "lines": wanted}))
        priced = [
            PricedLine(Decimal(line["quantity"]), Decimal(line["unit_price"]), Decimal(0), Decimal(line["tax_rate"]))
            for line in lines
        ]
        expected = totals(priced, currency=currency, tax_rounding=rounding)
        seen = (await again(organisation.requester, order)).json()
        assert [seen[name] for name in AMOUNTS] == [f"{getattr(expected, name):f}" for name in AMOUNTS], lines
        assert [tax["tax"] for tax in seen["taxes"]] == [f"{tax.tax:f}" for tax in expected.taxes], lines


# Filters of the requester's list, and whether they find the order by its own line.
FOUND_BY_OWN_LINES: list[tuple[dict[str, Any], bool]] = [
    ({"q": "lamp"}, True),
    ({"q": "chair"}, False),
    ({"q": "lamp chair"}, False),
    ({"q": "müller lamp"}, True),
    ({"q": "müller chair"}, False),
    ({"total_gte": "298.80", "total_lt": "298.81"}, True),
    ({"total_gte": "641.20"}, False),
    ({"needed_by_lt": "2031-01-01"}, False),
    ({"needed_by_gte": "2031-05-06"}, True),
    ({"cost_centre": "4711"}, True),
    ({"cost_centre": "4712"}, False),
    ({"cost_centre": ["4711", "4712"]}, True),
]


@pytest.mark.heavy
@pytest.mark.parametrize("sort", ["-created_at", "total"])
async def test_nothing_is_found_by_the_lines_of_others(
    organisation: TestOrganisation, order: httpx.Response, sort: str
) -> None:
    requester = organisation.requester
    for filters, is_found in FOUND_BY_OWN_LINES:
        found = [item["id"] for item in await listed(requester, sort=sort, **filters)]
        assert found == [order.json()["id"]] * is_found, filters
        export = await ok(requester.get("/purchase-orders/export", params={"sort": sort, **filters}))
        assert export.text.count("\r\n") == 1 + is_found, filters
        counts = await ok(requester.get("/purchase-orders/counts", params={"group_by": "status", **filters}))
        assert ("draft" in counts.text) == is_found, filters
        of_all = await listed(organisation.buyer, sort=sort, **filters)
        assert len(of_all) == (filters.get("total_lt") is None), filters
