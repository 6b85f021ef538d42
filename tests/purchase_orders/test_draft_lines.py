"""Lines of draft orders: prices, dates and quantities within what was approved."""

import asyncio
from io import BytesIO
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pypdf import PdfReader

from po_api.core.permissions import Role
from support.approval_policies import publish_policy, rule, user
from support.invariants import check
from support.locks import Row, in_this_order
from support.organisations import (
    LINE,
    Member,
    TestOrganisation,
    again,
    created,
    new_organisation,
    ok,
    perform,
    refused,
)


def line_path(order: httpx.Response, index: int = 0) -> str:
    return f"/purchase-orders/{order.json()['id']}/lines/{order.json()['lines'][index]['id']}"


async def change(buyer: Member, order: httpx.Response, *, index: int = 0, **fields: Any) -> httpx.Response:
    """The response to the change of a line of the newest version of an order."""
    return await buyer.patch(line_path(order, index), etag="*", json=fields)


def priced(price: str, quantity: str = "10", tax: str = "0") -> dict[str, str]:
    return LINE | {"unit_price": price, "quantity": quantity, "tax_rate": tax}


async def requested(organisation: TestOrganisation, order: httpx.Response, index: int = 0) -> tuple[str, str, str]:
    """The status of the request of an order's line, and what is ordered of its line and remains of it."""
    porf_id = order.json()["lines"][index]["porf_id"]
    porf = (await ok(organisation.buyer.get(f"/porfs/{porf_id}"))).json()
    line = next(line for line in porf["lines"] if line["id"] == order.json()["lines"][index]["porf_line_id"])
    return porf["status"], line["ordered_quantity"], line["remaining_quantity"]


async def test_a_cheaper_order_is_issued_and_a_dearer_one_is_not(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    order = await organisation.ordered()
    order = await ok(change(organisation.buyer, order, unit_price="24.91"))
    shown = order.json()
    assert (shown["net"], shown["tax"], shown["total"], shown["lines"][0]["net"]) == (
        *("249.10", "49.82", "298.92"),
        "249.10",
    )
    assert shown["allowed_actions"]["issue"] == {"allowed": False, "reason": "above_approved"}
    problem = await refused(perform(organisation.buyer, order, "issue"), 409, "above_approved")
    assert problem["detail"] == (
        "the net of 249.10 GBP exceeds the approved 249.00; cancel this draft, and reopen the request"
    )
    (listed,) = (await ok(organisation.buyer.get("/purchase-orders"))).json()["items"]
    assert "issue" not in listed["allowed_actions"]
    cheaper: dict[str, Any] = {"unit_price": "30.00", "discount_percent": "20.5", "description": "Desk lamp, black"}
    order = await ok(change(organisation.buyer, order, **cheaper, needed_by="2027-01-31", tax_rate="0"))
    assert (order.json()["net"], order.json()["total"], order.json()["delivery_date"]) == (
        *("238.50", "238.50"),
        "2027-01-31",
    )
    issued = await ok(perform(organisation.buyer, order, "issue"))
    path = f"/purchase-orders/{issued.json()['id']}"
    pdf = (await ok(organisation.buyer.get(f"{path}/document.pdf"))).content
    text = " ".join(PdfReader(BytesIO(pdf)).pages[0].extract_text().split())
    assert "Desk lamp, black" in text
    assert "238.50" in text
    history = (await ok(organisation.buyer.get(f"{path}/history"))).json()["items"]
    changes = [(item["before"], item["after"]) for item in history if item["action"] == "purchase_order.update_line"]
    assert (changes[0][0]["unit_price"], changes[0][1]["unit_price"]) == ("24.9000", "24.91")
    assert (changes[1][0]["total"], changes[1][1]["total"]) == ("298.92", "238.50")
    # Requesters may see lines of others in an order: the history does not tell them what was changed.
    seen = (await ok(organisation.requester.get(f"{path}/history"))).json()["items"]
    assert not {"unit_price", "line_id", "total"} & {
        name for item in seen if item["action"] == "purchase_order.update_line" for name in item["after"]
    }
    await refused(change(organisation.buyer, issued, unit_price="1"), 409, "invalid_transition")
    await check(urls[0], organisation.organisation_id)


async def test_the_organisation_says_how_much_dearer_an_order_may_be(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await new_organisation(app, client, order_price_percent="5")
    order = await organisation.ordered()
    # 5 % of 249.00 are 12.45; the lines count together.
    for price, allowed in [("26.15", False), ("26.145", True), ("26.1451", True), ("26.146", False)]:
        shown = await ok(change(organisation.buyer, order, unit_price=price))
        assert shown.json()["allowed_actions"]["issue"]["allowed"] is allowed, price
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"order_price_percent": "6"}))
    await ok(perform(organisation.buyer, shown, "issue"))


@pytest.mark.heavy
async def test_nothing_is_ordered_above_the_limit_of_an_approver(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]
) -> None:
    organisation = await new_organisation(app, client, order_price_percent="50")
    limited = await organisation.member(Role.APPROVER, approval_limit="1200.00")

    async def ordered(approver: Member) -> httpx.Response:
        porf = await organisation.pending(lines=[priced("100.00")])
        approved = await ok(approver.post(f"/porfs/{porf.json()['id']}/approve", etag="*"))
        return await created(organisation.convert(approved))

    order = await ordered(limited)
    number = order.json()["lines"][0]["porf_number"]
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"tax_rate": "20"}, True),
        ({"tax_rate": "20.01"}, False),
        ({"tax_rate": "0", "unit_price": "120.00"}, True),
        ({"unit_price": "120.01"}, False),
        # Half of it, with half of what is permitted.
        ({"quantity": "5", "unit_price": "120.01"}, False),
        ({"unit_price": "120.00"}, True),
        ({"tax_rate": "1"}, False),
    ]
    for changed, allowed in cases:
        order = await ok(change(organisation.buyer, order, **changed))
        assert order.json()["allowed_actions"]["issue"]["allowed"] is allowed, changed
    problem = await refused(perform(organisation.buyer, order, "issue"), 409, "above_approved")
    assert problem["detail"] == (
        f"with tax, the part of the request {number} is above what the limits of its approvers permit; cancel this"
        " draft, and reopen the request"
    )
    (listed,) = (await ok(organisation.buyer.get("/purchase-orders"))).json()["items"]
    assert "issue" not in listed["allowed_actions"]
    # Without a limit there is none; a limit counts as of the approval, and in steps that depend on it.
    await ok(organisation.admin.patch(f"/users/{limited.user_id}", etag="*", json={"approval_limit": "10.00"}))
    await ok(perform(organisation.buyer, await ok(change(organisation.buyer, order, tax_rate="0")), "issue"))
    order = await ordered(organisation.approver)
    await ok(perform(organisation.buyer, await ok(change(organisation.buyer, order, tax_rate="100")), "issue"))
    await publish_policy(organisation.admin, rule(1, user(limited)))
    order = await ordered(limited)
    await ok(perform(organisation.buyer, await ok(change(organisation.buyer, order, tax_rate="100")), "issue"))
    await check(urls[0], organisation.organisation_id)


async def test_limits_are_those_of_each_request_of_an_order(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await new_organisation(app, client)
    limited = await organisation.member(Role.APPROVER, approval_limit="100.00")
    porfs = []
    for approver, price in ((limited, "10.00"), (organisation.approver, "90.00")):
        porf = await organisation.pending(lines=[priced(price)])
        porfs.append(await ok(approver.post(f"/porfs/{porf.json()['id']}/approve", etag="*")))
    body = {"porf_ids": [porf.json()["id"] for porf in porfs], "supplier_id": organisation.supplier_id}
    order = await created(organisation.buyer.post("/purchase-orders", json=body))
    # Together they cost what was approved.
    await ok(change(organisation.buyer, order, unit_price="10.01"))
    order = await ok(change(organisation.buyer, order, index=1, unit_price="89.99"))
    problem = await refused(perform(organisation.buyer, order, "issue"), 409, "above_approved")
    assert porfs[0].json()["number"] in problem["detail"]
    await ok(change(organisation.buyer, order, unit_price="9.99"))
    order = await ok(change(organisation.buyer, order, index=1, unit_price="90.01"))
    await ok(perform(organisation.buyer, order, "issue"))


async def test_a_dearer_line_is_made_up_for_by_another_one(organisation: TestOrganisation) -> None:
    approved = await organisation.approved(lines=[priced("100.00"), priced("40.00", "5")])
    order = await created(organisation.convert(approved))
    order = await ok(change(organisation.buyer, order, unit_price="104.00"))
    assert not order.json()["allowed_actions"]["issue"]["allowed"]
    order = await ok(change(organisation.buyer, order, index=1, unit_price="32.00"))
    assert order.json()["net"] == "1200.00"
    await ok(perform(organisation.buyer, order, "issue"))


@pytest.mark.heavy
async def test_another_quantity_takes_from_the_request_or_gives_back(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]
) -> None:
    organisation = await new_organisation(app, client, over_order_percent="10")
    order = await organisation.ordered()
    assert await requested(organisation, order) == ("ordered", "10", "0")
    for quantity, expected in [
        ("4", ("partially_ordered", "4", "6")),
        ("11", ("ordered", "11", "0")),
        ("10.5", ("ordered", "10.5", "0")),
    ]:
        order = await ok(change(organisation.buyer, order, quantity=quantity))
        assert order.json()["lines"][0]["quantity"] == quantity
        assert await requested(organisation, order) == expected
        assert order.json()["allowed_actions"]["issue"]["allowed"]
        await check(urls[0], organisation.organisation_id)
    problem = await refused(change(organisation.buyer, order, quantity="11.0001"), 409, "quantity_exceeds_remaining")
    assert (problem["errors"][0]["pointer"], problem["detail"]) == ("/quantity", "line 1: 0.5 left")
    await refused(change(organisation.requester, order, quantity="1"), 403, "missing_role")
    before = (await again(organisation.buyer, order)).headers["ETag"]
    same = await ok(change(organisation.buyer, order, quantity="10.5"))
    assert same.headers["ETag"] == before
    stale = organisation.buyer.patch(line_path(order), etag='"1"', json={"quantity": "9"})
    await refused(stale, 412, "stale_version")
    # What is given back to a closed request stays closed.
    porf_id = order.json()["lines"][0]["porf_id"]
    order = await ok(change(organisation.buyer, order, quantity="6"))
    await ok(organisation.buyer.post(f"/porfs/{porf_id}/close", etag="*", json={}))
    await refused(change(organisation.buyer, order, quantity="7"), 409, "quantity_exceeds_remaining")
    order = await ok(change(organisation.buyer, order, quantity="5"))
    assert await requested(organisation, order) == ("closed", "5", "0")
    await ok(perform(organisation.buyer, order, "issue"))
    await check(urls[0], organisation.organisation_id)


@pytest.mark.heavy
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.exhaustive)])
async def test_a_change_and_the_issue_at_once_agree(
    organisation: TestOrganisation, urls: tuple[str, str], rounds: int
) -> None:
    for turn in range(rounds):
        order = await organisation.ordered()
        fields: dict[str, Any] = [{"unit_price": "30.00"}, {"quantity": "4"}, {"unit_price": "20.00"}][turn % 3]
        both = [change(organisation.buyer, order, **fields), perform(organisation.buyer, order, "issue")]
        answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
        changed, issued = answers if turn % 2 else answers[::-1]
        # The order was read before the change: the issue that comes second has an outdated ETag, or a reason.
        assert (changed.status_code, issued.status_code) in {(200, 409), (200, 412), (409, 200)}, turn
        final = (await again(organisation.buyer, order)).json()
        assert (final["status"] == "issued") is issued.is_success
        assert final["net"] == "249.00" or changed.is_success
    await check(urls[0], organisation.organisation_id)


@pytest.mark.heavy
async def test_an_issue_that_waits_for_a_change_compares_with_the_changed_quantity(
    organisation: TestOrganisation, urls: tuple[str, str], owner: asyncpg.Connection
) -> None:
    order = await organisation.ordered()
    order_id = order.json()["id"]
    # The same net for half of the quantity.
    changing = change(organisation.buyer, order, quantity="5", unit_price="49.80")
    issuing = organisation.buyer.post(f"/purchase-orders/{order_id}/issue", etag="*")
    row = Row("purchase_orders", organisation.organisation_id, order_id)
    changed, issued = await in_this_order(owner, urls[0], row, lambda: changing, lambda: issuing)
    assert (changed.status_code, issued.json()["code"]) == (200, "above_approved")
    assert issued.json()["detail"].startswith("the net of 249.00 GBP exceeds the approved 124.50;")
    await check(urls[0], organisation.organisation_id)


@pytest.mark.heavy
async def test_a_cancellation_that_waits_for_a_change_gives_back_the_changed_quantity(
    organisation: TestOrganisation, urls: tuple[str, str], owner: asyncpg.Connection
) -> None:
    approved = await organisation.approved()
    line_id, porf_id = approved.json()["lines"][0]["id"], approved.json()["id"]
    order = await created(organisation.convert(approved, lines=[{"line_id": line_id, "quantity": "3"}]))
    await created(organisation.buyer.post(f"/porfs/{porf_id}/purchase-orders", etag="*"))
    changing = change(organisation.buyer, order, quantity="1")
    cancelling = organisation.buyer.post(f"/purchase-orders/{order.json()['id']}/cancel", etag="*")
    row = Row("porfs", organisation.organisation_id, porf_id)
    answers = await in_this_order(owner, urls[0], row, lambda: changing, lambda: cancelling)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await requested(organisation, order) == ("partially_ordered", "7", "3")
    await check(urls[0], organisation.organisation_id)


@pytest.mark.heavy
async def test_orders_never_take_more_of_a_line_than_there_is(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    for _ in range(3):
        approved = await organisation.approved()
        line_id = approved.json()["lines"][0]["id"]
        orders = [
            await created(
                organisation.buyer.post(
                    f"/porfs/{approved.json()['id']}/purchase-orders",
                    etag="*",
                    json={"lines": [{"line_id": line_id, "quantity": "3"}]},
                )
            )
            for _ in range(2)
        ]
        answers = await asyncio.gather(*(change(organisation.buyer, order, quantity="6") for order in orders))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert (await requested(organisation, orders[0])) == ("partially_ordered", "9", "1")
    await check(urls[0], organisation.organisation_id)
