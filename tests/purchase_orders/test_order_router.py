"""/purchase-orders: read and listed, changed while a draft, issued, cancelled, closed, downloaded."""

from datetime import datetime
from io import BytesIO
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pypdf import PdfReader

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

CHAIR = {"description": "Chair", "quantity": "4", "unit_price": "80", "tax_rate": "20"}


def path_of(order: httpx.Response, rest: str = "") -> str:
    return f"/purchase-orders/{order.json()['id']}{rest}"


def allowed(order: httpx.Response) -> dict[str, str | None]:
    """For each action the reason why it is not allowed, or None."""
    return {name: found["reason"] for name, found in order.json()["allowed_actions"].items()}


async def listed(member: Member, **params: Any) -> list[int]:
    page = await ok(member.get("/purchase-orders", params=params))
    return [item["id"] for item in page.json()["items"]]


async def change(organisation: TestOrganisation, order: httpx.Response, **fields: Any) -> httpx.Response:
    return await organisation.buyer.patch(path_of(order), etag=order.headers["ETag"], json=fields)


# Reading


async def test_a_draft_has_no_number_and_its_totals_by_rate(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    found = order.json()
    assert (found["status"], found["number"], found["issued_at"], found["version"]) == ("draft", None, None, 1)
    assert found["taxes"] == [{"rate": "20", "net": "249.00", "tax": "49.80"}]
    assert (found["currency"], found["line_count"], found["revision"]) == ("GBP", 1, 1)
    assert (found["created_by_id"], found["supplier_name"]) == (organisation.buyer.user_id, "Müller & Söhne GmbH")
    shown = await again(organisation.buyer, order)
    assert (shown.json(), shown.headers["ETag"]) == (found, order.headers["ETag"])


async def test_an_unchanged_order_is_not_sent_again(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    headers = {"If-None-Match": order.headers["ETag"]}
    same = await ok(organisation.buyer.get(path_of(order), headers=headers), 304)
    assert same.content == b""
    changed = await ok(change(organisation, order, terms="Net"))
    shown = await ok(organisation.buyer.get(path_of(order), headers=headers))
    assert shown.headers["ETag"] == changed.headers["ETag"] != order.headers["ETag"]


async def test_an_order_is_visible_to_its_requester_and_to_those_who_see_all(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    for member in (
        organisation.requester,
        organisation.approver,
        organisation.buyer,
        organisation.admin,
        organisation.auditor,
    ):
        assert (await again(member, order)).json()["id"] == order.json()["id"]
        assert await listed(member) == [order.json()["id"]]


async def test_orders_of_other_requesters_are_not_visible_to_a_requester(organisation: TestOrganisation) -> None:
    order = await organisation.issued()
    other = await organisation.member(Role.REQUESTER)
    assert await listed(other) == []
    assert await listed(other, q="Müller") == []
    for method, rest in (("GET", ""), ("GET", "/document.pdf"), ("POST", "/cancel"), ("POST", "/issue")):
        pending = other.request(method, path_of(order, rest), etag=order.headers["ETag"])
        await refused(pending, 404, "purchase_order_not_found")


async def test_an_order_of_another_organisation_does_not_exist(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    order = await organisation.issued()
    other = await new_organisation(app, client)
    assert await listed(other.admin) == []
    porf_id = order.json()["lines"][0]["porf_id"]
    assert await listed(other.admin, porf_id=porf_id) == []
    assert await listed(other.admin, supplier_id=organisation.supplier_id) == []
    assert await listed(other.admin, q=order.json()["number"]) == []
    etag = order.headers["ETag"]
    for method, rest in (("GET", ""), ("GET", "/document.pdf"), ("POST", "/cancel"), ("POST", "/close")):
        found = await refused(
            other.admin.request(method, path_of(order, rest), etag=etag), 404, "purchase_order_not_found"
        )
        none = await refused(
            other.admin.request(method, f"/purchase-orders/{2**62}{rest}", etag=etag), 404, "purchase_order_not_found"
        )
        assert found["detail"] == none["detail"]


async def test_allowed_actions_are_what_the_caller_may_do_now(organisation: TestOrganisation) -> None:
    draft = await organisation.ordered()
    now = "invalid_transition"
    assert allowed(draft) == {"edit": None, "issue": None, "cancel": None, "close": now, "deliver": now}
    assert set(allowed(await again(organisation.requester, draft)).values()) == {"missing_role"}
    issued = await ok(perform(organisation.buyer, draft, "issue"))
    assert allowed(issued) == {"edit": now, "issue": now, "cancel": None, "close": None, "deliver": None}
    closed = await ok(perform(organisation.buyer, issued, "close"))
    assert set(allowed(closed).values()) == {now}


@pytest.mark.parametrize("action", ["issue", "cancel", "close"])
async def test_only_buyers_and_admins_act(organisation: TestOrganisation, action: str) -> None:
    order = await (organisation.issued() if action == "close" else organisation.ordered())
    for member in (organisation.requester, organisation.approver, organisation.auditor):
        await refused(perform(member, order, action), 403, "missing_role")
        await refused(member.patch(path_of(order), etag=order.headers["ETag"], json={}), 403, "missing_role")
    await ok(perform(organisation.admin, order, action))


async def test_a_requester_of_a_part_may_not_cancel_the_whole(organisation: TestOrganisation) -> None:
    """Some of the order's requests are not visible to the member, but the order is."""
    other = await organisation.member(Role.REQUESTER)
    body = {"title": "Chairs", "supplier_id": organisation.supplier_id, "lines": [CHAIR]}
    chairs = await act(other, await created(other.post("/porfs", json=body)), "submit")
    ids = [
        porf.json()["id"]
        for porf in (await organisation.approved(), await act(organisation.approver, chairs, "approve"))
    ]
    order = await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": ids}))
    await refused(perform(organisation.requester, order, "cancel"), 403, "missing_role")


# Lists


async def test_orders_are_filtered_by_status_and_several_values_mean_any(organisation: TestOrganisation) -> None:
    draft, issued = await organisation.ordered(), await organisation.issued()
    cancelled = await ok(perform(organisation.buyer, await organisation.ordered(), "cancel"))
    ids = [order.json()["id"] for order in (draft, issued, cancelled)]
    assert await listed(organisation.buyer, status="draft") == [ids[0]]
    assert await listed(organisation.buyer, status=["draft", "cancelled"]) == [ids[2], ids[0]]
    assert await listed(organisation.buyer) == ids[::-1]


async def test_orders_are_filtered_by_what_they_are_about(organisation: TestOrganisation) -> None:
    second = await created(organisation.buyer.post("/suppliers", json={"name": "Bürobedarf Özil"}))
    one = await organisation.issued()
    two = await organisation.issued(supplier_id=second.json()["id"], currency="JPY")
    first, other = one.json()["id"], two.json()["id"]
    assert await listed(organisation.buyer, supplier_id=second.json()["id"]) == [other]
    assert await listed(organisation.buyer, currency="GBP") == [first]
    assert await listed(organisation.buyer, number=two.json()["number"]) == [other]
    assert await listed(organisation.buyer, porf_id=one.json()["lines"][0]["porf_id"]) == [first]
    assert await listed(organisation.buyer, currency="GBP", supplier_id=second.json()["id"]) == []
    assert await listed(organisation.buyer, q="özil") == [other]
    assert await listed(organisation.buyer, q=one.json()["number"]) == [first]
    assert await listed(organisation.buyer, q="nobody") == []


async def test_a_time_before_excludes_its_bound(organisation: TestOrganisation) -> None:
    draft, issued = await organisation.ordered(), await organisation.issued()
    moment = issued.json()["issued_at"]
    assert await listed(organisation.buyer, issued_at_gte=moment) == [issued.json()["id"]]
    assert await listed(organisation.buyer, issued_at_lt=moment) == []
    assert await listed(organisation.buyer, created_at_lt=issued.json()["created_at"]) == [draft.json()["id"]]


@pytest.mark.heavy
async def test_orders_are_sorted_and_paged_without_loss(organisation: TestOrganisation) -> None:
    ids = {}
    for quantity in ("3", "1", "2"):
        order = await organisation.ordered(lines=None, title=quantity)
        ids[quantity] = order.json()["id"]
    cheap = await organisation.approved()
    line = {"line_id": cheap.json()["lines"][0]["id"], "quantity": "1"}
    small = await created(organisation.convert(cheap, lines=[line]))
    assert (await listed(organisation.buyer, sort="total"))[0] == small.json()["id"]
    assert (await listed(organisation.buyer, sort="-total"))[-1] == small.json()["id"]
    seen, params = [], {"limit": "1", "sort": "total"}
    for _ in range(4):
        page = (await ok(organisation.buyer.get("/purchase-orders", params=params))).json()
        seen += [item["id"] for item in page["items"]]
        params["cursor"] = page["next_cursor"]
    assert seen == [small.json()["id"], *sorted(ids.values())]
    assert page["has_more"] is False


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"sort": "supplier_name"}, 400, "invalid_sort"),
        ({"cursor": "x"}, 400, "invalid_cursor"),
        ({"colour": "red"}, 400, "unknown_parameter"),
        ({"status": "lost"}, 422, "validation_failed"),
        ({"currency": "XXY"}, 422, "validation_failed"),
        ({"issued_at_gte": "2026-01-01T00:00:00"}, 422, "validation_failed"),
        ({"porf_id": "0"}, 422, "validation_failed"),
        ({"limit": "101"}, 422, "validation_failed"),
    ],
)
async def test_a_list_refuses_what_it_does_not_know(
    organisation: TestOrganisation, params: dict[str, str], status: int, code: str
) -> None:
    await refused(organisation.buyer.get("/purchase-orders", params=params), status, code)


async def test_a_summary_is_the_whole_without_its_lines(organisation: TestOrganisation) -> None:
    order = as_listed((await organisation.issued()).json())
    (item,) = (await ok(organisation.buyer.get("/purchase-orders"))).json()["items"]
    assert item == {name: order[name] for name in item}
    assert order.keys() - item.keys() >= {"lines", "taxes", "terms"}


# Changing a draft


async def test_terms_and_address_of_a_draft_are_changed_and_taken_away(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    changed = await ok(change(organisation, order, terms="30 days", delivery_address="Gate 3"))
    assert (changed.json()["terms"], changed.json()["delivery_address"]) == ("30 days", "Gate 3")
    assert changed.json()["version"] == 2
    cleared = await ok(change(organisation, changed, terms=None))
    assert (cleared.json()["terms"], cleared.json()["delivery_address"]) == (None, "Gate 3")


async def test_a_change_of_nothing_is_no_change(organisation: TestOrganisation) -> None:
    order = await ok(change(organisation, await organisation.ordered(), terms="30 days"))
    same = await ok(change(organisation, order, terms="30 days"))
    assert same.headers["ETag"] == order.headers["ETag"]


@pytest.mark.parametrize("field", ["status", "number", "supplier_id", "total", "supplier_name", "lines", "issued_at"])
async def test_nothing_else_of_an_order_can_be_changed(organisation: TestOrganisation, field: str) -> None:
    order = await organisation.ordered()
    problem = await refused(change(organisation, order, **{field: "issued"}), 422, "validation_failed")
    assert [item["code"] for item in problem["errors"]] == ["unknown_field"]
    assert (await again(organisation.buyer, order)).json() == order.json()


async def test_an_issued_order_is_frozen(organisation: TestOrganisation) -> None:
    order = await organisation.issued(title="Frozen")
    await refused(change(organisation, order, terms="Other"), 409, "invalid_transition")
    assert (await again(organisation.buyer, order)).json()["terms"] is None


async def test_changes_need_the_version_that_was_seen(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await ok(change(organisation, order, terms="30 days"))
    await refused(change(organisation, order, terms="60 days"), 412, "stale_version")
    await refused(organisation.buyer.patch(path_of(order), json={"terms": "x"}), 428, "if_match_required")
    for action in ("issue", "cancel", "close"):
        await refused(organisation.buyer.post(path_of(order, f"/{action}")), 428, "if_match_required")
    for action in ("issue", "cancel"):
        await refused(perform(organisation.buyer, order, action), 412, "stale_version")
    assert (await again(organisation.buyer, order)).json()["status"] == "draft"


# Issue, cancel, close


async def test_issuing_gives_number_time_and_a_new_version(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    issued = await ok(perform(organisation.buyer, order, "issue"))
    found = issued.json()
    assert (found["status"], found["version"]) == ("issued", 2)
    year = datetime.fromisoformat(found["issued_at"]).year
    assert found["number"] == f"PO-{year}-000001"
    assert {name: found[name] for name in ("total", "revision")} == {
        name: order.json()[name] for name in ("total", "revision")
    }
    # The issue fixes the rate.
    assert found["lines"] == [line | {"base_net": line["net"]} for line in order.json()["lines"]]


async def test_an_order_is_issued_once(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    issued = await ok(perform(organisation.buyer, order, "issue"))
    for shown in (order, issued):
        await refused(perform(organisation.buyer, shown, "issue"), 409, "invalid_transition")


async def test_a_repeated_issue_gets_the_first_answer_and_no_second_number(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    first = await ok(perform(organisation.buyer, order, "issue", headers={"Idempotency-Key": "issue"}))
    second = await ok(perform(organisation.buyer, order, "issue", headers={"Idempotency-Key": "issue"}))
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (second.content, second.headers["ETag"]) == (first.content, first.headers["ETag"])
    assert (await organisation.issued()).json()["number"].endswith("-000002")


async def test_the_same_key_on_another_order_is_another_request(organisation: TestOrganisation) -> None:
    key = {"Idempotency-Key": "one key"}
    await ok(perform(organisation.buyer, await organisation.ordered(), "issue", headers=key))
    await refused(
        perform(organisation.buyer, await organisation.ordered(), "issue", headers=key), 422, "idempotency_key_reused"
    )


async def test_dry_runs_change_nothing_and_use_no_number(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    dry = {"dry_run": "true"}
    shown = await ok(perform(organisation.buyer, order, "issue", params=dry))
    assert (shown.json()["status"], shown.json()["number"][-6:]) == ("issued", "000001")
    cancelled = await ok(perform(organisation.buyer, order, "cancel", params=dry))
    assert (cancelled.json()["status"], cancelled.json()["lines"][0]["released_quantity"]) == ("cancelled", "10")
    assert "ETag" not in shown.headers and "ETag" not in cancelled.headers
    now = await again(organisation.buyer, order)
    assert (now.json(), now.headers["ETag"]) == (order.json(), order.headers["ETag"])
    await refused(organisation.buyer.get(path_of(order, "/document.pdf")), 409, "not_issued")
    porf = await ok(organisation.buyer.get(f"/porfs/{order.json()['lines'][0]['porf_id']}"))
    assert porf.json()["status"] == "ordered"
    assert (await organisation.issued()).json()["number"].endswith("-000001")
    issued = await ok(perform(organisation.buyer, order, "issue"))
    assert (await ok(perform(organisation.buyer, issued, "close", params=dry))).json()["status"] == "closed"
    assert (await again(organisation.buyer, order)).json()["status"] == "issued"


async def test_a_cancelled_order_keeps_its_number_and_none_is_given_twice(organisation: TestOrganisation) -> None:
    order = await organisation.issued()
    cancelled = await ok(perform(organisation.buyer, order, "cancel", json={"comment": "Out of stock"}))
    assert (cancelled.json()["status"], cancelled.json()["number"]) == ("cancelled", order.json()["number"])
    assert cancelled.json()["issued_at"] == order.json()["issued_at"]
    assert (await organisation.issued()).json()["number"].endswith("-000002")


async def test_a_draft_that_is_cancelled_never_gets_a_number(organisation: TestOrganisation) -> None:
    cancelled = await ok(perform(organisation.buyer, await organisation.ordered(), "cancel"))
    assert (cancelled.json()["number"], cancelled.json()["issued_at"]) == (None, None)
    await refused(perform(organisation.buyer, cancelled, "issue"), 409, "invalid_transition")


async def test_a_cancelled_order_stays_cancelled_and_gives_back_once(organisation: TestOrganisation) -> None:
    order = await ok(perform(organisation.buyer, await organisation.ordered(), "cancel"))
    for action in ("cancel", "issue", "close"):
        await refused(perform(organisation.buyer, order, action), 409, "invalid_transition")
    porf = await ok(organisation.buyer.get(f"/porfs/{order.json()['lines'][0]['porf_id']}"))
    assert [line["remaining_quantity"] for line in porf.json()["lines"]] == ["10"]


async def test_closing_an_order_is_final_and_gives_nothing_back(organisation: TestOrganisation) -> None:
    closed = await ok(perform(organisation.buyer, await organisation.issued(), "close"))
    assert (closed.json()["status"], closed.json()["lines"][0]["released_quantity"]) == ("closed", "0")
    await refused(perform(organisation.buyer, closed, "cancel"), 409, "invalid_transition")
    porf = await ok(organisation.buyer.get(f"/porfs/{closed.json()['lines'][0]['porf_id']}"))
    assert porf.json()["status"] == "ordered"


async def test_a_draft_is_not_closed(organisation: TestOrganisation) -> None:
    await refused(perform(organisation.buyer, await organisation.ordered(), "close"), 409, "invalid_transition")


async def test_an_order_is_issued_although_its_supplier_or_request_has_changed_since(
    organisation: TestOrganisation,
) -> None:
    order = await organisation.ordered()
    await organisation.change_supplier(email="new@supplier.example", address="Elsewhere")
    porf = await ok(organisation.buyer.get(f"/porfs/{order.json()['lines'][0]['porf_id']}"))
    await act(organisation.buyer, porf, "close")
    issued = await ok(perform(organisation.buyer, order, "issue"))
    names = ("supplier_name", "supplier_email", "supplier_address")
    assert [issued.json()[name] for name in names] == ["Müller & Söhne GmbH", "new@supplier.example", "Elsewhere"]


async def test_an_order_to_an_inactive_supplier_is_not_issued(organisation: TestOrganisation) -> None:
    order, issued = await organisation.ordered(), await organisation.issued()
    await organisation.set_supplier(active=False)
    shown = await again(organisation.buyer, order)
    assert allowed(shown) == {
        "edit": None,
        "issue": "supplier_inactive",
        "cancel": None,
        "close": "invalid_transition",
        "deliver": "invalid_transition",
    }
    listed = (await ok(organisation.buyer.get("/purchase-orders"))).json()["items"]
    assert [item["allowed_actions"] for item in listed] == [["cancel", "close", "deliver"], ["edit", "cancel"]]
    for options in ({}, {"params": {"dry_run": "true"}}):
        await refused(perform(organisation.buyer, order, "issue", **options), 409, "supplier_inactive")
    await ok(change(organisation, order, terms="Net"))
    await ok(perform(organisation.buyer, issued, "close"))
    await organisation.set_supplier(active=True)
    number = (await ok(perform(organisation.buyer, await again(organisation.buyer, order), "issue"))).json()["number"]
    assert number.endswith("-000002")


async def test_an_order_to_an_inactive_supplier_can_be_cancelled(organisation: TestOrganisation) -> None:
    draft, issued = await organisation.ordered(), await organisation.issued()
    await organisation.set_supplier(active=False)
    for order in (draft, issued):
        assert (await ok(perform(organisation.buyer, order, "cancel"))).json()["status"] == "cancelled"


async def test_cancelling_an_issued_order_requires_a_comment(organisation: TestOrganisation) -> None:
    order = await organisation.issued()
    for body in (None, {}, {"comment": None}):
        for params in ({}, {"dry_run": "true"}):
            pending = perform(organisation.buyer, order, "cancel", json=body, params=params)
            problem = await refused(pending, 422, "comment_required")
            assert [(error["location"], error["pointer"]) for error in problem["errors"]] == [("body", "/comment")]
    assert (await again(organisation.buyer, order)).json() == order.json()
    # Who may not cancel, or saw another version, learns that first.
    await refused(perform(organisation.requester, order, "cancel", json={}), 403, "missing_role")
    path = path_of(order, "/cancel")
    await refused(organisation.buyer.post(path, etag='"1"', json={}), 412, "stale_version")
    await ok(perform(organisation.buyer, order, "cancel", json={"comment": "Out of stock"}))
    await refused(perform(organisation.buyer, order, "cancel", json={}), 409, "invalid_transition")


async def test_a_draft_order_is_cancelled_with_or_without_a_comment(organisation: TestOrganisation) -> None:
    for body in (None, {}, {"comment": "A mistake"}):
        order = await organisation.ordered()
        cancelled = await ok(perform(organisation.buyer, order, "cancel", json=body))
        assert cancelled.json()["status"] == "cancelled"


# The document


async def test_there_is_no_document_before_the_order_is_issued(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await refused(organisation.buyer.get(path_of(order, "/document.pdf")), 409, "not_issued")
    cancelled = await ok(perform(organisation.buyer, order, "cancel"))
    await refused(organisation.buyer.get(path_of(cancelled, "/document.pdf")), 409, "not_issued")


async def test_the_document_has_lines_supplier_and_requests(organisation: TestOrganisation) -> None:
    lamps, chairs = await organisation.approved(lines=[LINE]), await organisation.approved(lines=[CHAIR])
    ids = [porf.json()["id"] for porf in (lamps, chairs)]
    body = {"porf_ids": ids, "terms": "30 days net", "delivery_address": "Gate 3"}
    order = await created(organisation.buyer.post("/purchase-orders", json=body))
    issued = await ok(perform(organisation.buyer, order, "issue"))
    document = await ok(organisation.buyer.get(path_of(order, "/document.pdf")))
    text = "\n".join(page.extract_text() for page in PdfReader(BytesIO(document.content)).pages)
    for expected in (
        issued.json()["number"],
        lamps.json()["number"],
        chairs.json()["number"],
        "Müller & Söhne GmbH",
        "Desk lamp",
        "Chair",
        "682.80",
        "30 days net",
        "Gate 3",
    ):
        assert expected in text


async def test_every_change_of_an_order_has_one_event(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    order = await ok(change(organisation, await organisation.ordered(), terms="Net"))
    issued = await ok(perform(organisation.buyer, order, "issue", headers={"X-Request-ID": "issue-1"}))
    await ok(perform(organisation.admin, issued, "close", json={"comment": "Delivered"}))
    async with organisation.database.sessions() as session:
        events = await _events(session, organisation.organisation_id, order.json()["id"])
    assert [(event.action, event.actor_id) for event in events] == [
        ("purchase_order.create", organisation.buyer.user_id),
        ("purchase_order.update", organisation.buyer.user_id),
        ("purchase_order.issue", organisation.buyer.user_id),
        ("purchase_order.close", organisation.admin.user_id),
    ]
    base = ("base_currency", "base_rate", "base_rate_date", "base_total")
    assert events[2].after == {name: issued.json()[name] for name in ("status", "number", *base)}
    assert events[2].request_id == "issue-1"
    assert events[3].after == {"status": "closed", "comment": "Delivered"}


async def _events(session: Any, organisation_id: int, order_id: int) -> list[Any]:
    from sqlalchemy import select

    from po_api.audit.events import AuditEvent
    from po_api.db.database import enter_tenant

    await enter_tenant(session, organisation_id)
    mine = (AuditEvent.entity == "purchase_order", AuditEvent.entity_id == order_id)
    return list((await session.scalars(select(AuditEvent).where(*mine).order_by(AuditEvent.id))).all())
