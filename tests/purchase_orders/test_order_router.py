"""/purchase-orders: read and listed, changed while a draft, issued, cancelled, closed, downloaded."""

import hashlib
from datetime import datetime
from io import BytesIO
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pypdf import PdfReader

from po_api.core.permissions import Role
from support.organisations import LINE, Cast, Member, act, again, created, new_cast, ok, perform, refused

CHAIR = {"description": "Chair", "quantity": "4", "unit_price": "80", "tax_rate": "20"}


def path_of(order: httpx.Response, rest: str = "") -> str:
    return f"/purchase-orders/{order.json()['id']}{rest}"


def allowed(order: httpx.Response) -> dict[str, str | None]:
    """For each action, why not; None where it is allowed."""
    return {name: found["reason"] for name, found in order.json()["allowed_actions"].items()}


async def listed(member: Member, **params: Any) -> list[int]:
    page = await ok(member.get("/purchase-orders", params=params))
    return [item["id"] for item in page.json()["items"]]


async def change(cast: Cast, order: httpx.Response, **fields: Any) -> httpx.Response:
    return await cast.buyer.patch(path_of(order), etag=order.headers["ETag"], json=fields)


# Reading


async def test_a_draft_has_no_number_and_its_totals_by_rate(cast: Cast) -> None:
    order = await cast.ordered()
    found = order.json()
    assert (found["status"], found["number"], found["issued_at"], found["version"]) == ("draft", None, None, 1)
    assert found["taxes"] == [{"rate": "20", "net": "249.00", "tax": "49.80"}]
    assert (found["currency"], found["line_count"], found["revision"]) == ("GBP", 1, 1)
    assert (found["created_by_id"], found["supplier_name"]) == (cast.buyer.user_id, "Müller & Söhne GmbH")
    shown = await again(cast.buyer, order)
    assert (shown.json(), shown.headers["ETag"]) == (found, order.headers["ETag"])


async def test_an_unchanged_order_is_not_sent_again(cast: Cast) -> None:
    order = await cast.ordered()
    headers = {"If-None-Match": order.headers["ETag"]}
    same = await ok(cast.buyer.get(path_of(order), headers=headers), 304)
    assert same.content == b""
    changed = await ok(change(cast, order, terms="Net"))
    shown = await ok(cast.buyer.get(path_of(order), headers=headers))
    assert shown.headers["ETag"] == changed.headers["ETag"] != order.headers["ETag"]


async def test_an_order_is_visible_to_its_requester_and_to_those_who_see_all(cast: Cast) -> None:
    order = await cast.ordered()
    for member in (cast.requester, cast.approver, cast.buyer, cast.admin, cast.auditor):
        assert (await again(member, order)).json()["id"] == order.json()["id"]
        assert await listed(member) == [order.json()["id"]]


async def test_an_order_of_others_does_not_exist_for_a_requester(cast: Cast) -> None:
    order = await cast.issued()
    other = await cast.company.member(Role.REQUESTER)
    assert await listed(other) == []
    assert await listed(other, q="Müller") == []
    for method, rest in (("GET", ""), ("GET", "/document.pdf"), ("POST", "/cancel"), ("POST", "/issue")):
        pending = other.request(method, path_of(order, rest), etag=order.headers["ETag"])
        await refused(pending, 404, "purchase_order_not_found")


async def test_an_order_of_another_organisation_does_not_exist(
    cast: Cast, app: FastAPI, client: httpx.AsyncClient
) -> None:
    order = await cast.issued()
    other = await new_cast(app, client)
    assert await listed(other.admin) == []
    porf_id = order.json()["lines"][0]["porf_id"]
    assert await listed(other.admin, porf_id=porf_id) == []
    assert await listed(other.admin, supplier_id=cast.supplier_id) == []
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


async def test_allowed_actions_are_what_the_caller_may_do_now(cast: Cast) -> None:
    draft = await cast.ordered()
    assert allowed(draft) == {"edit": None, "issue": None, "cancel": None, "close": "invalid_transition"}
    assert set(allowed(await again(cast.requester, draft)).values()) == {"missing_role"}
    issued = await ok(perform(cast.buyer, draft, "issue"))
    now = "invalid_transition"
    assert allowed(issued) == {"edit": now, "issue": now, "cancel": None, "close": None}
    closed = await ok(perform(cast.buyer, issued, "close"))
    assert set(allowed(closed).values()) == {now}


@pytest.mark.parametrize("action", ["issue", "cancel", "close"])
async def test_only_buyers_and_admins_act(cast: Cast, action: str) -> None:
    order = await (cast.issued() if action == "close" else cast.ordered())
    for member in (cast.requester, cast.approver, cast.auditor):
        await refused(perform(member, order, action), 403, "missing_role")
        await refused(member.patch(path_of(order), etag=order.headers["ETag"], json={}), 403, "missing_role")
    await ok(perform(cast.admin, order, action))


async def test_a_requester_of_a_part_may_not_cancel_the_whole(cast: Cast) -> None:
    """Some of the order's requests are not theirs to see: that is no reason to deny that there is an order."""
    other = await cast.company.member(Role.REQUESTER)
    body = {"title": "Chairs", "supplier_id": cast.supplier_id, "lines": [CHAIR]}
    chairs = await act(other, await created(other.post("/porfs", json=body)), "submit")
    ids = [porf.json()["id"] for porf in (await cast.approved(), await act(cast.approver, chairs, "approve"))]
    order = await created(cast.buyer.post("/purchase-orders", json={"porf_ids": ids}))
    await refused(perform(cast.requester, order, "cancel"), 403, "missing_role")


# Lists


async def test_orders_are_filtered_by_status_and_several_values_mean_any(cast: Cast) -> None:
    draft, issued = await cast.ordered(), await cast.issued()
    cancelled = await ok(perform(cast.buyer, await cast.ordered(), "cancel"))
    ids = [order.json()["id"] for order in (draft, issued, cancelled)]
    assert await listed(cast.buyer, status="draft") == [ids[0]]
    assert await listed(cast.buyer, status=["draft", "cancelled"]) == [ids[2], ids[0]]
    assert await listed(cast.buyer) == ids[::-1]


async def test_orders_are_filtered_by_what_they_are_about(cast: Cast) -> None:
    second = await created(cast.buyer.post("/suppliers", json={"name": "Bürobedarf Özil"}))
    one = await cast.issued()
    two = await cast.issued(supplier_id=second.json()["id"], currency="JPY")
    first, other = one.json()["id"], two.json()["id"]
    assert await listed(cast.buyer, supplier_id=second.json()["id"]) == [other]
    assert await listed(cast.buyer, currency="GBP") == [first]
    assert await listed(cast.buyer, number=two.json()["number"]) == [other]
    assert await listed(cast.buyer, porf_id=one.json()["lines"][0]["porf_id"]) == [first]
    assert await listed(cast.buyer, currency="GBP", supplier_id=second.json()["id"]) == []
    assert await listed(cast.buyer, q="özil") == [other]
    assert await listed(cast.buyer, q=one.json()["number"]) == [first]
    assert await listed(cast.buyer, q="nobody") == []


async def test_a_time_before_excludes_its_bound(cast: Cast) -> None:
    draft, issued = await cast.ordered(), await cast.issued()
    moment = issued.json()["issued_at"]
    assert await listed(cast.buyer, issued_at_gte=moment) == [issued.json()["id"]]
    assert await listed(cast.buyer, issued_at_lt=moment) == []
    assert await listed(cast.buyer, created_at_lt=issued.json()["created_at"]) == [draft.json()["id"]]


async def test_orders_are_sorted_and_paged_without_loss(cast: Cast) -> None:
    ids = {}
    for quantity in ("3", "1", "2"):
        order = await cast.ordered(lines=None, title=quantity)
        ids[quantity] = order.json()["id"]
    cheap = await cast.approved()
    line = {"line_id": cheap.json()["lines"][0]["id"], "quantity": "1"}
    small = await created(cast.convert(cheap, lines=[line]))
    assert (await listed(cast.buyer, sort="total"))[0] == small.json()["id"]
    assert (await listed(cast.buyer, sort="-total"))[-1] == small.json()["id"]
    seen, params = [], {"limit": "1", "sort": "total"}
    for _ in range(4):
        page = (await ok(cast.buyer.get("/purchase-orders", params=params))).json()
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
async def test_a_list_refuses_what_it_does_not_know(cast: Cast, params: dict[str, str], status: int, code: str) -> None:
    await refused(cast.buyer.get("/purchase-orders", params=params), status, code)


async def test_a_summary_is_the_whole_without_its_lines(cast: Cast) -> None:
    order = (await cast.issued()).json()
    (item,) = (await ok(cast.buyer.get("/purchase-orders"))).json()["items"]
    assert item == {name: order[name] for name in item}
    assert order.keys() - item.keys() >= {"lines", "taxes", "terms"}


# Changing a draft


async def test_terms_and_address_of_a_draft_are_changed_and_taken_away(cast: Cast) -> None:
    order = await cast.ordered()
    changed = await ok(change(cast, order, terms="30 days", delivery_address="Gate 3"))
    assert (changed.json()["terms"], changed.json()["delivery_address"]) == ("30 days", "Gate 3")
    assert changed.json()["version"] == 2
    cleared = await ok(change(cast, changed, terms=None))
    assert (cleared.json()["terms"], cleared.json()["delivery_address"]) == (None, "Gate 3")


async def test_a_change_of_nothing_is_no_change(cast: Cast) -> None:
    order = await ok(change(cast, await cast.ordered(), terms="30 days"))
    same = await ok(change(cast, order, terms="30 days"))
    assert same.headers["ETag"] == order.headers["ETag"]


@pytest.mark.parametrize("field", ["status", "number", "supplier_id", "total", "supplier_name", "lines", "issued_at"])
async def test_nothing_else_of_an_order_can_be_changed(cast: Cast, field: str) -> None:
    order = await cast.ordered()
    problem = await refused(change(cast, order, **{field: "issued"}), 422, "validation_failed")
    assert [item["code"] for item in problem["errors"]] == ["unknown_field"]
    assert (await again(cast.buyer, order)).json() == order.json()


async def test_an_issued_order_is_frozen(cast: Cast) -> None:
    order = await cast.issued(title="Frozen")
    await refused(change(cast, order, terms="Other"), 409, "invalid_transition")
    assert (await again(cast.buyer, order)).json()["terms"] is None


async def test_changes_need_the_version_that_was_seen(cast: Cast) -> None:
    order = await cast.ordered()
    await ok(change(cast, order, terms="30 days"))
    await refused(change(cast, order, terms="60 days"), 412, "stale_version")
    await refused(cast.buyer.patch(path_of(order), json={"terms": "x"}), 428, "if_match_required")
    for action in ("issue", "cancel", "close"):
        await refused(cast.buyer.post(path_of(order, f"/{action}")), 428, "if_match_required")
    for action in ("issue", "cancel"):
        await refused(perform(cast.buyer, order, action), 412, "stale_version")
    assert (await again(cast.buyer, order)).json()["status"] == "draft"


# Issue, cancel, close


async def test_issuing_gives_number_time_and_a_new_version(cast: Cast) -> None:
    order = await cast.ordered()
    issued = await ok(perform(cast.buyer, order, "issue"))
    found = issued.json()
    assert (found["status"], found["version"]) == ("issued", 2)
    year = datetime.fromisoformat(found["issued_at"]).year
    assert found["number"] == f"PO-{year}-000001"
    assert {name: found[name] for name in ("lines", "total", "revision")} == {
        name: order.json()[name] for name in ("lines", "total", "revision")
    }


async def test_an_order_is_issued_once(cast: Cast) -> None:
    order = await cast.ordered()
    issued = await ok(perform(cast.buyer, order, "issue"))
    for shown in (order, issued):
        await refused(perform(cast.buyer, shown, "issue"), 409, "invalid_transition")


async def test_a_repeated_issue_gets_the_first_answer_and_no_second_number(cast: Cast) -> None:
    order = await cast.ordered()
    first = await ok(perform(cast.buyer, order, "issue", headers={"Idempotency-Key": "issue"}))
    second = await ok(perform(cast.buyer, order, "issue", headers={"Idempotency-Key": "issue"}))
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (second.content, second.headers["ETag"]) == (first.content, first.headers["ETag"])
    assert (await cast.issued()).json()["number"].endswith("-000002")


async def test_the_same_key_on_another_order_is_another_request(cast: Cast) -> None:
    key = {"Idempotency-Key": "one key"}
    await ok(perform(cast.buyer, await cast.ordered(), "issue", headers=key))
    await refused(perform(cast.buyer, await cast.ordered(), "issue", headers=key), 422, "idempotency_key_reused")


async def test_dry_runs_change_nothing_and_use_no_number(cast: Cast) -> None:
    order = await cast.ordered()
    dry = {"dry_run": "true"}
    shown = await ok(perform(cast.buyer, order, "issue", params=dry))
    assert (shown.json()["status"], shown.json()["number"][-6:]) == ("issued", "000001")
    cancelled = await ok(perform(cast.buyer, order, "cancel", params=dry))
    assert (cancelled.json()["status"], cancelled.json()["lines"][0]["released_quantity"]) == ("cancelled", "10")
    assert "ETag" not in shown.headers and "ETag" not in cancelled.headers
    now = await again(cast.buyer, order)
    assert (now.json(), now.headers["ETag"]) == (order.json(), order.headers["ETag"])
    await refused(cast.buyer.get(path_of(order, "/document.pdf")), 409, "not_issued")
    porf = await ok(cast.buyer.get(f"/porfs/{order.json()['lines'][0]['porf_id']}"))
    assert porf.json()["status"] == "ordered"
    assert (await cast.issued()).json()["number"].endswith("-000001")
    issued = await ok(perform(cast.buyer, order, "issue"))
    assert (await ok(perform(cast.buyer, issued, "close", params=dry))).json()["status"] == "closed"
    assert (await again(cast.buyer, order)).json()["status"] == "issued"


async def test_a_cancelled_order_keeps_its_number_and_none_is_given_twice(cast: Cast) -> None:
    order = await cast.issued()
    cancelled = await ok(perform(cast.buyer, order, "cancel", json={"comment": "Out of stock"}))
    assert (cancelled.json()["status"], cancelled.json()["number"]) == ("cancelled", order.json()["number"])
    assert cancelled.json()["issued_at"] == order.json()["issued_at"]
    assert (await cast.issued()).json()["number"].endswith("-000002")


async def test_a_draft_that_is_cancelled_never_gets_a_number(cast: Cast) -> None:
    cancelled = await ok(perform(cast.buyer, await cast.ordered(), "cancel"))
    assert (cancelled.json()["number"], cancelled.json()["issued_at"]) == (None, None)
    await refused(perform(cast.buyer, cancelled, "issue"), 409, "invalid_transition")


async def test_a_cancelled_order_stays_cancelled_and_gives_back_once(cast: Cast) -> None:
    order = await ok(perform(cast.buyer, await cast.ordered(), "cancel"))
    for action in ("cancel", "issue", "close"):
        await refused(perform(cast.buyer, order, action), 409, "invalid_transition")
    porf = await ok(cast.buyer.get(f"/porfs/{order.json()['lines'][0]['porf_id']}"))
    assert [line["remaining_quantity"] for line in porf.json()["lines"]] == ["10"]


async def test_closing_an_order_is_final_and_gives_nothing_back(cast: Cast) -> None:
    closed = await ok(perform(cast.buyer, await cast.issued(), "close"))
    assert (closed.json()["status"], closed.json()["lines"][0]["released_quantity"]) == ("closed", "0")
    await refused(perform(cast.buyer, closed, "cancel"), 409, "invalid_transition")
    porf = await ok(cast.buyer.get(f"/porfs/{closed.json()['lines'][0]['porf_id']}"))
    assert porf.json()["status"] == "ordered"


async def test_a_draft_is_not_closed(cast: Cast) -> None:
    await refused(perform(cast.buyer, await cast.ordered(), "close"), 409, "invalid_transition")


async def test_an_order_is_issued_although_its_supplier_or_request_has_changed_since(cast: Cast) -> None:
    order = await cast.ordered()
    path = f"/suppliers/{cast.supplier_id}"
    supplier = await ok(cast.buyer.get(path))
    body = {"name": "Renamed Ltd", "email": "new@renamed.example", "address": "Elsewhere"}
    renamed = await ok(cast.buyer.patch(path, etag=supplier.headers["ETag"], json=body))
    await ok(cast.buyer.post(f"{path}/deactivate", etag=renamed.headers["ETag"]))
    porf = await ok(cast.buyer.get(f"/porfs/{order.json()['lines'][0]['porf_id']}"))
    await act(cast.buyer, porf, "close")
    issued = await ok(perform(cast.buyer, order, "issue"))
    names = ("supplier_name", "supplier_email", "supplier_address")
    assert [issued.json()[name] for name in names] == ["Müller & Söhne GmbH", None, None]


# The document


async def test_there_is_no_document_before_the_order_is_issued(cast: Cast) -> None:
    order = await cast.ordered()
    await refused(cast.buyer.get(path_of(order, "/document.pdf")), 409, "not_issued")
    cancelled = await ok(perform(cast.buyer, order, "cancel"))
    await refused(cast.buyer.get(path_of(cancelled, "/document.pdf")), 409, "not_issued")


async def test_the_document_is_the_same_whatever_happens_afterwards(cast: Cast) -> None:
    order = await cast.issued()
    first = await ok(cast.requester.get(path_of(order, "/document.pdf")))
    assert first.content.startswith(b"%PDF")
    assert first.headers["Content-Type"] == "application/pdf"
    assert first.headers["Content-Disposition"] == f'attachment; filename="{order.json()["number"]}.pdf"'
    supplier = await ok(cast.buyer.get(f"/suppliers/{cast.supplier_id}"))
    etag = supplier.headers["ETag"]
    await ok(cast.buyer.patch(f"/suppliers/{cast.supplier_id}", etag=etag, json={"name": "Renamed Ltd"}))
    await ok(perform(cast.buyer, order, "cancel"))
    second = await ok(cast.auditor.get(path_of(order, "/document.pdf")))
    assert hashlib.sha256(second.content).digest() == hashlib.sha256(first.content).digest()
    unchanged = cast.buyer.get(path_of(order, "/document.pdf"), headers={"If-None-Match": first.headers["ETag"]})
    await ok(unchanged, 304)


async def test_the_document_says_what_is_ordered_of_whom_and_for_which_requests(cast: Cast) -> None:
    lamps, chairs = await cast.approved(lines=[LINE]), await cast.approved(lines=[CHAIR])
    ids = [porf.json()["id"] for porf in (lamps, chairs)]
    body = {"porf_ids": ids, "terms": "30 days net", "delivery_address": "Gate 3"}
    order = await created(cast.buyer.post("/purchase-orders", json=body))
    issued = await ok(perform(cast.buyer, order, "issue"))
    document = await ok(cast.buyer.get(path_of(order, "/document.pdf")))
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


async def test_every_change_of_an_order_has_one_event(cast: Cast, urls: tuple[str, str]) -> None:
    order = await ok(change(cast, await cast.ordered(), terms="Net"))
    issued = await ok(perform(cast.buyer, order, "issue", headers={"X-Request-ID": "issue-1"}))
    await ok(perform(cast.admin, issued, "close", json={"comment": "Delivered"}))
    async with cast.company.database.sessions() as session:
        events = await _events(session, cast.company.organisation_id, order.json()["id"])
    assert [(event.action, event.actor_id) for event in events] == [
        ("purchase_order.create", cast.buyer.user_id),
        ("purchase_order.update", cast.buyer.user_id),
        ("purchase_order.issue", cast.buyer.user_id),
        ("purchase_order.close", cast.admin.user_id),
    ]
    assert events[2].after == {"status": "issued", "number": issued.json()["number"]}
    assert events[2].request_id == "issue-1"
    assert events[3].after == {"status": "closed", "comment": "Delivered"}


async def _events(session: Any, organisation_id: int, order_id: int) -> list[Any]:
    from sqlalchemy import select

    from po_api.audit.events import AuditEvent
    from po_api.db.database import enter_tenant

    await enter_tenant(session, organisation_id)
    mine = (AuditEvent.entity == "purchase_order", AuditEvent.entity_id == order_id)
    return list((await session.scalars(select(AuditEvent).where(*mine).order_by(AuditEvent.id))).all())
