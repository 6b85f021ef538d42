"""Conversion of approved requests to draft orders: allocations, remaining quantities, refusals, releases."""

from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.invariants import check
from support.organisations import LINE, TestOrganisation, act, again, created, new_organisation, ok, perform, refused

CHAIR = {"description": "Chair", "quantity": "4", "unit_price": "80", "tax_rate": "20"}


def take(porf: httpx.Response, quantity: str | None = None, *, line: int = 0) -> list[dict[str, Any]]:
    """A quantity of one of the request's lines; without a quantity, all that remains."""
    wanted = {"line_id": porf.json()["lines"][line]["id"]}
    return [wanted if quantity is None else {**wanted, "quantity": quantity}]


def quantities(porf: httpx.Response) -> list[tuple[str, str, str]]:
    """The ordered, closed and remaining quantities of each line."""
    names = ("ordered_quantity", "closed_quantity", "remaining_quantity")
    return [(line[names[0]], line[names[1]], line[names[2]]) for line in porf.json()["lines"]]


def status(porf: httpx.Response) -> str:
    found: str = porf.json()["status"]
    return found


async def part(organisation: TestOrganisation, porf: httpx.Response, quantity: str) -> httpx.Response:
    """An order of a part of the first line of the request."""
    now = await again(organisation.buyer, porf)
    return await created(organisation.convert(now, lines=take(now, quantity)))


async def over_ordering(app: FastAPI, client: httpx.AsyncClient, percent: str) -> TestOrganisation:
    """An organisation that lets orders exceed requests."""
    organisation = await new_organisation(app, client)
    current = await ok(organisation.admin.get("/organisations/current"))
    etag = current.headers["ETag"]
    await ok(organisation.admin.patch("/organisations/current", etag=etag, json={"over_order_percent": percent}))
    return organisation


async def several(organisation: TestOrganisation, *porfs: httpx.Response, **body: Any) -> httpx.Response:
    """The response to the conversion of several requests by the buyer."""
    ids = [porf.json()["id"] for porf in porfs]
    return await organisation.buyer.post("/purchase-orders", json={"porf_ids": ids, **body})


# What is taken


async def test_without_lines_all_that_is_left_is_ordered(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(lines=[LINE, CHAIR])
    order = await created(organisation.convert(porf))
    assert [(line["description"], line["quantity"]) for line in order.json()["lines"]] == [
        ("Desk lamp", "10"),
        ("Chair", "4"),
    ]
    assert (order.json()["net"], order.json()["tax"], order.json()["total"]) == ("569.00", "113.80", "682.80")
    assert (status(order), order.json()["number"]) == ("draft", None)
    assert order.headers["Location"] == f"/api/v1/purchase-orders/{order.json()['id']}"
    assert quantities(await again(organisation.buyer, porf)) == [("10", "0", "0"), ("4", "0", "0")]


async def test_a_conversion_needs_no_body(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    order = await created(organisation.buyer.post(path, etag=porf.headers["ETag"]))
    assert order.json()["lines"][0]["quantity"] == "10"


async def test_a_line_without_a_quantity_is_ordered_whole(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(lines=[LINE, CHAIR])
    order = await created(organisation.convert(porf, lines=take(porf, line=1)))
    assert [line["quantity"] for line in order.json()["lines"]] == ["4"]
    assert status(await again(organisation.buyer, porf)) == "partially_ordered"


async def test_a_part_leaves_the_rest_and_cancelling_its_order_gives_it_back(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    order = await part(organisation, porf, "4")
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("partially_ordered", [("4", "0", "6")])
    cancelled = await ok(perform(organisation.buyer, order, "cancel"))
    assert cancelled.json()["lines"][0]["released_quantity"] == "4"
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("approved", [("0", "0", "10")])


async def test_the_rest_can_be_ordered_until_nothing_is_left(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    await part(organisation, porf, "2.5")
    rest = await created(organisation.convert(await again(organisation.buyer, porf)))
    assert rest.json()["lines"][0]["quantity"] == "7.5"
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("ordered", [("10", "0", "0")])
    await refused(organisation.convert(now), 409, "nothing_left")


async def test_a_line_keeps_its_content_and_is_priced_for_its_quantity(organisation: TestOrganisation) -> None:
    line = {
        **LINE,
        "unit_price": "24.9",
        "sku": "L-1",
        "unit": "KGM",
        "discount_percent": "12.5",
        "needed_by": "2027-01-31",
    }
    porf = await organisation.approved(lines=[line])
    order = await created(organisation.convert(porf, lines=take(porf, "0.3333")))
    (found,) = order.json()["lines"]
    assert {name: found[name] for name in line if name != "quantity"} == {
        name: value for name, value in line.items() if name != "quantity"
    }
    # 0.3333 × 24.90 × 0.875 = 7.26177…
    assert (found["quantity"], found["net"], order.json()["total"]) == ("0.3333", "7.26", "8.71")
    assert (found["porf_id"], found["porf_number"]) == (porf.json()["id"], porf.json()["number"])
    assert found["porf_line_id"] == porf.json()["lines"][0]["id"]


async def test_the_order_of_the_named_lines_is_kept(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(lines=[LINE, CHAIR])
    order = await created(organisation.convert(porf, lines=take(porf, line=1) + take(porf, "1")))
    found = [(line["position"], line["description"]) for line in order.json()["lines"]]
    assert found == [(1, "Chair"), (2, "Desk lamp")]


async def test_each_of_many_lines_takes_from_its_own(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    lines = [{**LINE, "description": f"Lamp {number}", "quantity": f"{number}.5"} for number in range(1, 301)]
    porf = await organisation.approved(lines=lines)
    order = await created(organisation.convert(porf))
    shown = [(line["porf_line_id"], line["description"], line["quantity"]) for line in order.json()["lines"]]
    assert shown == [(line["id"], line["description"], line["quantity"]) for line in porf.json()["lines"]]
    ordered = await again(organisation.buyer, porf)
    assert quantities(ordered) == [(line["quantity"], "0", "0") for line in porf.json()["lines"]]
    await check(urls[0], organisation.organisation_id)
    await ok(perform(organisation.buyer, order, "cancel"))
    closed = await act(organisation.buyer, await again(organisation.buyer, porf), "close")
    assert quantities(closed) == [("0", line["quantity"], "0") for line in porf.json()["lines"]]
    await check(urls[0], organisation.organisation_id)


async def test_lines_of_several_requests_go_into_one_order(organisation: TestOrganisation) -> None:
    lamps, chairs = await organisation.approved(), await organisation.approved(lines=[CHAIR])
    order = await created(several(organisation, lamps, chairs, lines=take(chairs, "1") + take(lamps, "3")))
    found = [(line["porf_number"], line["quantity"]) for line in order.json()["lines"]]
    assert found == [(chairs.json()["number"], "1"), (lamps.json()["number"], "3")]
    assert quantities(await again(organisation.buyer, lamps)) == [("3", "0", "7")]
    assert quantities(await again(organisation.buyer, chairs)) == [("1", "0", "3")]
    await ok(perform(organisation.buyer, order, "cancel"))
    assert [status(await again(organisation.buyer, porf)) for porf in (lamps, chairs)] == ["approved", "approved"]


async def test_several_requests_are_ordered_whole(organisation: TestOrganisation) -> None:
    lamps, chairs = await organisation.approved(), await organisation.approved(lines=[CHAIR])
    order = await created(several(organisation, chairs, lamps, lamps))
    assert [line["quantity"] for line in order.json()["lines"]] == ["10", "4"]
    assert [status(await again(organisation.buyer, porf)) for porf in (lamps, chairs)] == ["ordered", "ordered"]


async def test_terms_and_delivery_address_are_the_orders(organisation: TestOrganisation) -> None:
    body = {"terms": "30 days\nnet", "delivery_address": "1 High Street\nLondon"}
    order = await created(organisation.convert(await organisation.approved(), **body))
    assert {name: order.json()[name] for name in body} == body


# What is refused


async def test_more_than_is_left_names_what_is_left_and_where(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(lines=[CHAIR, LINE])
    lines = take(porf, "4") + take(porf, "10.0001", line=1)
    problem = await refused(organisation.convert(porf, lines=lines), 409, "quantity_exceeds_remaining")
    assert problem["detail"] == "line 2: 10 left"
    assert [(item["pointer"], item["code"]) for item in problem["errors"]] == [
        ("/lines/1/quantity", "quantity_exceeds_remaining")
    ]
    assert quantities(await again(organisation.buyer, porf)) == [("0", "0", "4"), ("0", "0", "10")]


async def test_every_line_over_its_remaining_quantity_is_named(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(lines=[LINE, CHAIR])
    await part(organisation, porf, "7.5")
    now = await again(organisation.buyer, porf)
    lines = take(now, "3") + take(now, "5", line=1)
    problem = await refused(organisation.convert(now, lines=lines), 409, "quantity_exceeds_remaining")
    assert problem["detail"] == "line 1: 2.5 left; line 2: 4 left"
    assert [item["pointer"] for item in problem["errors"]] == ["/lines/0/quantity", "/lines/1/quantity"]


async def test_all_that_is_left_of_an_exhausted_line_is_nothing(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(lines=[LINE, CHAIR])
    await part(organisation, porf, "10")
    now = await again(organisation.buyer, porf)
    problem = await refused(organisation.convert(now, lines=take(now)), 409, "quantity_exceeds_remaining")
    assert problem["detail"] == "line 1: 0 left"


@pytest.mark.parametrize("quantity", ["0", "0.0000", "-1", "NaN", "1e400", "1.00001", "", "∞", 1, 1.5, True])
async def test_what_is_no_quantity_is_invalid(organisation: TestOrganisation, quantity: Any) -> None:
    porf = await organisation.approved()
    lines = [{"line_id": porf.json()["lines"][0]["id"], "quantity": quantity}]
    problem = await refused(organisation.convert(porf, lines=lines), 422, "validation_failed")
    assert [item["pointer"] for item in problem["errors"]] == ["/lines/0/quantity"]


async def test_a_line_of_another_request_is_unknown(organisation: TestOrganisation) -> None:
    porf, other = await organisation.approved(), await organisation.approved()
    problem = await refused(organisation.convert(porf, lines=take(porf, "1") + take(other, "1")), 422, "unknown_line")
    assert [item["pointer"] for item in problem["errors"]] == ["/lines/1/line_id"]
    assert quantities(await again(organisation.buyer, porf)) == [("0", "0", "10")]


async def test_a_line_named_twice_is_refused(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    await refused(organisation.convert(porf, lines=take(porf, "1") + take(porf, "2")), 422, "duplicate_line")


async def test_requests_in_two_currencies_do_not_mix(organisation: TestOrganisation) -> None:
    pounds, euros = await organisation.approved(), await organisation.approved(currency="EUR")
    await refused(several(organisation, pounds, euros), 409, "mixed_currencies")


# Taxed 0.03 together, and 0.02 line by line.
CENTS = [{**LINE, "quantity": "1", "unit_price": price, "tax_rate": "10"} for price in ("0.14", "0.11")]


@pytest.mark.parametrize("first", ["document", "line"])
async def test_requests_with_two_ways_of_tax_rounding_do_not_mix(
    app: FastAPI, client: httpx.AsyncClient, first: str
) -> None:
    organisation = await new_organisation(app, client, tax_rounding=first)
    one = await organisation.approved(lines=CENTS)
    current = await ok(organisation.admin.get("/organisations/current"))
    other = {"document": "line", "line": "document"}[first]
    body, etag = {"tax_rounding": other}, current.headers["ETag"]
    await ok(organisation.admin.patch("/organisations/current", etag=etag, json=body))
    two = await organisation.approved(lines=CENTS)
    for porfs in ((one, two), (two, one)):
        await refused(several(organisation, *porfs), 409, "mixed_tax_rounding")
    assert [status(await again(organisation.buyer, porf)) for porf in (one, two)] == ["approved", "approved"]
    # Each is ordered as it was approved, whatever the present setting is.
    tax = {"document": "0.03", "line": "0.02"}
    for porf, rounding in ((one, first), (two, other)):
        order = await created(several(organisation, porf))
        assert (order.json()["tax_rounding"], order.json()["tax"]) == (rounding, tax[rounding])
        assert order.json()["total"] == porf.json()["total"]


async def test_requests_to_two_suppliers_do_not_mix(organisation: TestOrganisation) -> None:
    second = await created(organisation.buyer.post("/suppliers", json={"name": "Second"}))
    one, two = await organisation.approved(), await organisation.approved(supplier_id=second.json()["id"])
    await refused(several(organisation, one, two), 409, "mixed_suppliers")
    assert status(await again(organisation.buyer, one)) == "approved"


async def test_another_supplier_than_the_requests_is_refused(organisation: TestOrganisation) -> None:
    second = await created(organisation.buyer.post("/suppliers", json={"name": "Second"}))
    porf = await organisation.approved()
    await refused(organisation.convert(porf, supplier_id=second.json()["id"]), 409, "mixed_suppliers")
    await created(organisation.convert(porf, supplier_id=organisation.supplier_id))


async def test_a_request_without_a_supplier_needs_one_named(organisation: TestOrganisation) -> None:
    porf = await organisation.approved(supplier_id=None)
    problem = await refused(organisation.convert(porf), 422, "supplier_required")
    assert [item["pointer"] for item in problem["errors"]] == ["/supplier_id"]
    order = await created(organisation.convert(porf, supplier_id=organisation.supplier_id))
    assert order.json()["supplier_id"] == organisation.supplier_id


async def test_a_request_without_a_supplier_joins_one_that_has_it(organisation: TestOrganisation) -> None:
    order = await created(
        several(organisation, await organisation.approved(supplier_id=None), await organisation.approved())
    )
    assert order.json()["supplier_id"] == organisation.supplier_id


async def test_the_requests_supplier_has_to_be_active(organisation: TestOrganisation) -> None:
    porf, other = await organisation.approved(), await organisation.approved(supplier_id=None)
    partly = await organisation.in_status("partially_ordered")
    await organisation.set_supplier(active=False)
    await refused(organisation.convert(porf), 409, "supplier_inactive")
    await refused(organisation.convert(partly), 409, "supplier_inactive")
    await refused(organisation.convert(porf, supplier_id=organisation.supplier_id), 409, "supplier_inactive")
    await refused(several(organisation, other, porf), 409, "supplier_inactive")
    await refused(organisation.convert(other, supplier_id=organisation.supplier_id), 422, "unknown_supplier")
    assert quantities(await again(organisation.buyer, porf)) == [("0", "0", "10")]


async def test_a_foreign_supplier_is_as_unknown_as_none(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    foreign = (await new_organisation(app, client)).supplier_id
    porf = await organisation.approved(supplier_id=None)
    problems = [
        await refused(organisation.convert(porf, supplier_id=supplier), 422, "unknown_supplier")
        for supplier in (foreign, 2**62)
    ]
    for problem in problems:
        del problem["request_id"], problem["instance"]
    assert problems[0] == problems[1]
    assert [item["pointer"] for item in problems[0]["errors"]] == ["/supplier_id"]


async def test_a_foreign_request_is_as_unknown_as_none(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    other = await new_organisation(app, client)
    foreign, own = await other.approved(), await organisation.approved()
    await refused(organisation.convert(foreign), 404, "porf_not_found")
    await refused(several(organisation, own, foreign), 404, "porf_not_found")
    await refused(organisation.convert(own, lines=take(foreign, "1")), 422, "unknown_line")


@pytest.mark.parametrize("state", ["draft", "pending", "rejected", "cancelled", "closed"])
async def test_only_what_is_approved_is_ordered(organisation: TestOrganisation, state: str) -> None:
    porf = await organisation.draft() if state == "draft" else await organisation.pending()
    if state == "rejected":
        porf = await act(organisation.approver, porf, "reject", comment="No")
    elif state == "cancelled":
        porf = await act(organisation.requester, porf, "cancel")
    elif state == "closed":
        porf = await act(organisation.buyer, await act(organisation.approver, porf, "approve"), "close")
    problem = await refused(organisation.convert(porf), 409, "invalid_transition")
    assert problem["detail"] == f"convert is not possible while the status is {state}"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE porfs SET title = 'Other lamps' WHERE organisation_id = $1 AND id = $2",
        "UPDATE porf_lines SET description = 'Other lamp' WHERE organisation_id = $1 AND porf_id = $2",
    ],
    ids=["header", "line"],
)
async def test_content_that_is_not_what_was_approved_is_not_ordered(
    organisation: TestOrganisation, owner: asyncpg.Connection, change: str
) -> None:
    """No operation changes the content after the approval: only the database's owner can."""
    porf = await organisation.approved()
    await owner.execute(change, organisation.organisation_id, porf.json()["id"])
    await refused(organisation.convert(porf), 409, "approval_mismatch")


async def test_only_buyers_and_admins_convert(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path, etag = f"/porfs/{porf.json()['id']}/purchase-orders", porf.headers["ETag"]
    for member in (organisation.requester, organisation.approver, organisation.auditor):
        await refused(member.post(path, etag=etag), 403, "missing_role")
        await refused(member.post("/purchase-orders", json={"porf_ids": [porf.json()["id"]]}), 403, "missing_role")
    await created(organisation.admin.post(path, etag=etag))


async def test_a_conversion_needs_the_version_that_was_seen(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    await refused(organisation.buyer.post(path), 428, "if_match_required")
    await refused(organisation.buyer.post(path, etag="3"), 400, "invalid_if_match")
    await part(organisation, porf, "1")
    await refused(organisation.convert(porf, lines=take(porf, "1")), 412, "stale_version")
    assert quantities(await again(organisation.buyer, porf)) == [("1", "0", "9")]
    await created(organisation.buyer.post(path, etag="*"))


async def test_an_order_of_several_requests_needs_at_least_one(organisation: TestOrganisation) -> None:
    problem = await refused(several(organisation), 422, "validation_failed")
    assert [item["pointer"] for item in problem["errors"]] == ["/porf_ids"]


# Tolerance


async def test_the_organisations_tolerance_lets_orders_exceed_the_request(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await over_ordering(app, client, "5")
    porf = await organisation.approved()
    problem = await refused(organisation.convert(porf, lines=take(porf, "10.5001")), 409, "quantity_exceeds_remaining")
    assert problem["detail"] == "line 1: 10.5 left"
    await part(organisation, porf, "10.5")
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("ordered", [("10.5", "0", "0")])
    await refused(organisation.convert(now, lines=take(now, "0.0001")), 409, "nothing_left")


async def test_without_a_quantity_the_tolerance_is_not_used(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await over_ordering(app, client, "50")
    porf = await organisation.approved()
    order = await created(organisation.convert(porf))
    assert order.json()["lines"][0]["quantity"] == "10"
    await refused(organisation.convert(await again(organisation.buyer, porf)), 409, "nothing_left")
    # The tolerance is for orders of what remains.
    await ok(perform(organisation.buyer, order, "cancel"))
    more = await part(organisation, porf, "15")
    assert more.json()["lines"][0]["quantity"] == "15"


async def test_a_tolerance_is_cut_to_four_decimals_never_rounded_up(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await over_ordering(app, client, "33.3333")
    porf = await organisation.approved(lines=[{**LINE, "quantity": "0.0005"}])
    problem = await refused(organisation.convert(porf, lines=take(porf, "0.0007")), 409, "quantity_exceeds_remaining")
    assert problem["detail"] == "line 1: 0.0006 left"
    await part(organisation, porf, "0.0006")


async def test_cancelling_an_order_beyond_the_request_gives_back_no_more_than_was_requested(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await over_ordering(app, client, "10")
    porf = await organisation.approved()
    order = await part(organisation, porf, "11")
    closed = await act(organisation.buyer, await again(organisation.buyer, porf), "close")
    assert quantities(closed) == [("11", "0", "0")]
    await ok(perform(organisation.buyer, order, "cancel"))
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("closed", [("0", "10", "0")])


# What comes back


async def test_cancelling_one_of_two_orders_gives_back_its_part_only(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved()
    first, second = await part(organisation, porf, "4"), await part(organisation, porf, "6")
    assert status(await again(organisation.buyer, porf)) == "ordered"
    await ok(perform(organisation.buyer, first, "cancel"))
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("partially_ordered", [("6", "0", "4")])
    await ok(perform(organisation.buyer, second, "cancel"))
    assert status(await again(organisation.buyer, porf)) == "approved"
    await check(urls[0], organisation.organisation_id)


async def test_what_is_left_of_a_closed_request_cannot_be_ordered(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    await part(organisation, porf, "4")
    closed = await act(organisation.buyer, await again(organisation.buyer, porf), "close")
    assert (status(closed), quantities(closed)) == ("closed", [("4", "6", "0")])
    await refused(organisation.convert(closed), 409, "invalid_transition")


async def test_what_comes_back_to_a_closed_request_stays_closed(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved()
    order = await part(organisation, porf, "4")
    await act(organisation.buyer, await again(organisation.buyer, porf), "close")
    await ok(perform(organisation.buyer, order, "cancel"))
    now = await again(organisation.buyer, porf)
    assert (status(now), quantities(now)) == ("closed", [("0", "10", "0")])
    await check(urls[0], organisation.organisation_id)


async def test_a_request_whose_orders_are_cancelled_can_be_cancelled_or_reopened_again(
    organisation: TestOrganisation,
) -> None:
    porf = await organisation.approved()
    order = await part(organisation, porf, "4")
    now = await again(organisation.buyer, porf)
    for action in ("cancel", "reopen"):
        path = f"/porfs/{porf.json()['id']}/{action}"
        await refused(organisation.buyer.post(path, etag=now.headers["ETag"]), 409, "invalid_transition")
    await ok(perform(organisation.buyer, order, "cancel"))
    reopened = await act(organisation.buyer, await again(organisation.buyer, porf), "reopen")
    assert (status(reopened), reopened.json()["approval_round"]) == ("draft", 2)


async def test_a_request_approved_anew_is_ordered_under_its_new_approval(organisation: TestOrganisation) -> None:
    porf = await act(organisation.buyer, await organisation.approved(), "reopen")
    path = f"/porfs/{porf.json()['id']}"
    porf = await ok(organisation.requester.patch(path, etag=porf.headers["ETag"], json={"title": "Better lamps"}))
    porf = await act(organisation.requester, porf, "submit")
    await refused(organisation.convert(porf), 409, "invalid_transition")
    await created(organisation.convert(await act(organisation.approver, porf, "approve")))


async def test_each_change_of_a_request_by_an_order_has_one_event(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    await ok(perform(organisation.buyer, await part(organisation, porf, "4"), "cancel"))
    history = await ok(organisation.buyer.get(f"/porfs/{porf.json()['id']}/history"))
    found = [(event["action"], (event["after"] or {}).get("status")) for event in history.json()["items"]]
    assert found[-2:] == [("porf.convert", "partially_ordered"), ("porf.release", "approved")]
    assert {event["actor_id"] for event in history.json()["items"][-2:]} == {organisation.buyer.user_id}


# Dry run and repetition


async def test_a_dry_run_shows_the_order_and_takes_nothing(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    shown = await created(organisation.buyer.post(path, etag=porf.headers["ETag"], params={"dry_run": "true"}))
    assert (shown.json()["total"], len(shown.json()["lines"])) == ("298.80", 1)
    assert "ETag" not in shown.headers and "Location" not in shown.headers
    now = await again(organisation.buyer, porf)
    assert (now.json()["version"], quantities(now)) == (porf.json()["version"], quantities(porf))
    await refused(organisation.buyer.get(f"/purchase-orders/{shown.json()['id']}"), 404, "purchase_order_not_found")
    assert (await ok(organisation.buyer.get("/purchase-orders"))).json()["items"] == []


async def test_a_dry_run_is_refused_like_the_real_one(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    body = {"lines": take(porf, "11")}
    dry = organisation.buyer.post(path, etag=porf.headers["ETag"], params={"dry_run": "true"}, json=body)
    await refused(dry, 409, "quantity_exceeds_remaining")


async def test_a_repeated_conversion_gets_the_first_answer_and_takes_nothing_twice(
    organisation: TestOrganisation,
) -> None:
    porf = await organisation.approved()
    path, body = f"/porfs/{porf.json()['id']}/purchase-orders", {"lines": take(porf, "2")}
    options: dict[str, Any] = {"etag": porf.headers["ETag"], "headers": {"Idempotency-Key": "once"}}
    first = await created(organisation.buyer.post(path, json=body, **options))
    second = await created(organisation.buyer.post(path, json=body, **options))
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.content == first.content
    for name in ("ETag", "Location", "Content-Type"):
        assert second.headers[name] == first.headers[name]
    assert quantities(await again(organisation.buyer, porf)) == [("2", "0", "8")]
    other = {"lines": take(porf, "3")}
    await refused(organisation.buyer.post(path, json=other, **options), 422, "idempotency_key_reused")


async def test_a_refused_conversion_is_judged_anew_when_it_is_repeated(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    order = await part(organisation, porf, "10")
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    options: dict[str, Any] = {"etag": "*", "headers": {"Idempotency-Key": "later"}}
    await refused(organisation.buyer.post(path, **options), 409, "nothing_left")
    await ok(perform(organisation.buyer, order, "cancel"))
    await created(organisation.buyer.post(path, **options))


async def test_a_dry_run_does_not_use_the_key_up(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    options: dict[str, Any] = {"etag": porf.headers["ETag"], "headers": {"Idempotency-Key": "dry first"}}
    await created(organisation.buyer.post(path, params={"dry_run": "true"}, **options))
    real = await created(organisation.buyer.post(path, **options))
    assert "Idempotent-Replayed" not in real.headers


async def test_a_buyer_converts_what_they_raised_themselves(organisation: TestOrganisation) -> None:
    both = await organisation.member(Role.BUYER, Role.REQUESTER)
    draft = await created(
        both.post("/porfs", json={"title": "Own", "supplier_id": organisation.supplier_id, "lines": [LINE]})
    )
    porf = await act(organisation.approver, await act(both, draft, "submit"), "approve")
    await created(both.post(f"/porfs/{porf.json()['id']}/purchase-orders", etag=porf.headers["ETag"]))


@pytest.mark.heavy
async def test_an_order_has_no_more_lines_than_a_request(organisation: TestOrganisation) -> None:
    porfs = [await organisation.approved(lines=[LINE] * 5001) for _ in range(2)]
    await refused(several(organisation, *porfs), 422, "too_many_lines")
