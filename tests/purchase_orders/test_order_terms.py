"""Terms, parties and delivery addresses of orders: where they come from, when they are frozen, what is printed."""

import asyncio
from io import BytesIO
from typing import Any

import httpx
import pytest
from pypdf import PdfReader

from support.organisations import LINE, TestOrganisation, again, created, ok, perform, refused

OF_ORGANISATION: dict[str, Any] = {
    "default_terms": "Our terms of 2026 apply.",
    "payment_days": 14,
    "incoterms": "DAP",
    "incoterms_place": "Hamburg",
    "buyer_reference": "COST-4711",
}
TERMS = ("terms", "payment_days", "payment_terms", "incoterms", "incoterms_place", "buyer_reference")
ADDRESS = {
    "kind": "delivery",
    "name": "Warehouse North",
    "street": "Hafenstraße 12",
    "city": "Hamburg",
    "country": "DE",
}


async def _set(organisation: TestOrganisation, **settings: Any) -> None:
    await ok(organisation.admin.patch("/organisations/current", etag="*", json=settings))


async def _address(organisation: TestOrganisation, **fields: Any) -> int:
    made = await created(organisation.buyer.post("/addresses", json=ADDRESS | fields))
    address_id: int = made.json()["id"]
    return address_id


def _terms(order: httpx.Response) -> list[Any]:
    return [order.json()[name] for name in TERMS]


def _delivery(order: httpx.Response) -> tuple[Any, Any]:
    return order.json()["delivery_address_id"], order.json()["delivery_address"]


async def _text(organisation: TestOrganisation, order: httpx.Response) -> str:
    document = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(document.content)).pages).split())


async def _patch(organisation: TestOrganisation, order: httpx.Response, **fields: Any) -> httpx.Response:
    return await organisation.buyer.patch(f"/purchase-orders/{order.json()['id']}", etag="*", json=fields)


async def test_an_order_without_any_has_none(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    assert _terms(order) == [None] * 6
    assert _delivery(order) == (None, None)
    assert (order.json()["parties"]["delivery"], order.json()["parties"]["billing"]) == (None, None)


async def test_terms_are_those_of_the_order_else_of_the_supplier_else_of_the_organisation(
    organisation: TestOrganisation,
) -> None:
    await _set(organisation, **OF_ORGANISATION)
    order = await organisation.ordered()
    assert _terms(order) == ["Our terms of 2026 apply.", 14, None, "DAP", "Hamburg", "COST-4711"]
    await organisation.change_supplier(payment_terms="2 % within 10 days")
    assert _terms(await organisation.ordered())[1:3] == [None, "2 % within 10 days"]
    own = {"terms": "Ours.", "payment_days": 0, "incoterms": "EXW", "buyer_reference": "X"}
    order = await created(organisation.convert(await organisation.approved(), **own))
    assert _terms(order) == ["Ours.", 0, None, "EXW", None, "X"]
    # Existing orders keep theirs, and a draft may do without.
    await _set(organisation, incoterms="FOB")
    assert _terms(await again(organisation.buyer, order))[3] == "EXW"
    emptied = await ok(_patch(organisation, order, **dict.fromkeys(TERMS)))
    assert _terms(emptied) == [None] * 6


async def test_terms_are_printed(organisation: TestOrganisation) -> None:
    await _set(organisation, **OF_ORGANISATION)
    text = await _text(organisation, await organisation.issued())
    for part in (
        "Our terms of 2026 apply.",
        "Payment 14 days net",
        "Incoterms DAP Hamburg",
        "Buyer reference COST-4711",
    ):
        assert part in text


async def test_a_draft_shows_the_parties_as_they_are_and_the_issue_freezes_them(organisation: TestOrganisation) -> None:
    await _set(organisation, legal_name="Company Limited", vat_id="GB980780684", street="1 High Street", city="London")
    address_id = await _address(organisation)
    await _address(organisation, kind="billing", name="Accounts", is_default=True)
    porf = await organisation.approved(delivery_address_id=address_id)
    order = await created(organisation.convert(porf))
    await organisation.change_supplier(street="Quai 1", city="Paris", postal_code="75013", country="FR")
    draft = (await again(organisation.buyer, order)).json()["parties"]
    assert (draft["buyer"]["legal_name"], draft["buyer"]["vat_id"]) == ("Company Limited", "GB980780684")
    assert (draft["supplier"]["name"], draft["supplier"]["city"]) == ("Müller & Söhne GmbH", "Paris")
    assert (draft["delivery"]["name"], draft["billing"]["name"]) == ("Warehouse North", "Accounts")
    tried = await ok(perform(organisation.buyer, order, "issue", params={"dry_run": "true"}))
    issued = await ok(perform(organisation.buyer, order, "issue"))
    assert tried.json()["parties"] == issued.json()["parties"] == draft
    # All of them change; the order and its document do not.
    await _set(organisation, street="2 Low Street")
    await organisation.change_supplier(street="Quai 2")
    await ok(organisation.buyer.patch(f"/addresses/{address_id}", etag="*", json={"street": "Elsewhere"}))
    shown = await again(organisation.requester, issued)
    assert shown.json()["parties"] == draft
    text = await _text(organisation, issued)
    for part in (
        "VAT ID GB980780684",
        "1 High Street London",
        "Quai 1 75013 Paris France",
        "Hafenstraße 12 Hamburg Germany",
    ):
        assert part in text
    assert "Warehouse North" in text


async def test_the_address_in_one_text_is_printed_without_a_structured_one(organisation: TestOrganisation) -> None:
    await organisation.change_supplier(address="Alte Straße 1\nKiel", tax_id="12/345")
    text = await _text(organisation, await organisation.issued(delivery_address="Gate 7\nHamburg"))
    for part in ("Alte Straße 1 Kiel", "Tax ID 12/345", "Gate 7 Hamburg"):
        assert part in text
    await organisation.change_supplier(street="Neue Straße 2")
    text = await _text(organisation, await organisation.issued())
    assert "Neue Straße 2" in text
    assert "Alte Straße" not in text


# Delivery addresses


async def test_the_delivery_address_is_that_of_the_order_else_of_its_requests_else_the_default(
    organisation: TestOrganisation,
) -> None:
    default, other = await _address(organisation, is_default=True), await _address(organisation)
    assert _delivery(await organisation.ordered()) == (default, None)
    assert _delivery(await organisation.ordered(delivery_address_id=other)) == (other, None)
    assert _delivery(await organisation.ordered(delivery_address="Gate 7")) == (None, "Gate 7")
    porf = await organisation.approved(delivery_address="Gate 7")
    order = await created(organisation.convert(porf, delivery_address_id=other))
    assert _delivery(order) == (other, None)
    await refused(_patch(organisation, order, delivery_address="Gate 8"), 422, "two_addresses")
    moved = await ok(_patch(organisation, order, delivery_address="Gate 8", delivery_address_id=None))
    assert _delivery(moved) == (None, "Gate 8")


async def test_requests_with_different_addresses_need_one_in_the_body(organisation: TestOrganisation) -> None:
    address_id = await _address(organisation)
    fields: list[dict[str, Any]] = [{"delivery_address_id": address_id}, {"delivery_address": "Gate 7"}, {}]
    porfs = [(await organisation.approved(**each)).json()["id"] for each in fields]
    body = {"porf_ids": porfs}
    await refused(organisation.buyer.post("/purchase-orders", json=body), 409, "mixed_delivery_addresses")
    some = {"porf_ids": [porfs[0], porfs[2]]}
    tried = await created(organisation.buyer.post("/purchase-orders?dry_run=true", json=some))
    assert _delivery(tried) == (address_id, None)
    order = await created(organisation.buyer.post("/purchase-orders", json=body | {"delivery_address": "Gate 9"}))
    assert _delivery(order) == (None, "Gate 9")


@pytest.mark.parametrize("case", ["missing", "billing", "deactivated"])
async def test_nothing_is_delivered_to_an_address_of_another_kind(organisation: TestOrganisation, case: str) -> None:
    address_id = await _address(organisation, kind="billing" if case == "billing" else "delivery")
    if case == "missing":
        address_id += 1_000_000
    elif case == "deactivated":
        await ok(organisation.buyer.post(f"/addresses/{address_id}/deactivate", etag="*"))
    wrong = {"delivery_address_id": address_id}
    draft, porf = await organisation.draft(), await organisation.approved()
    order = await organisation.ordered()
    for trying in (
        organisation.requester.post("/porfs", json={"title": "T", **wrong}),
        organisation.requester.patch(f"/porfs/{draft.json()['id']}", etag="*", json=wrong),
        organisation.convert(porf, **wrong),
        _patch(organisation, order, **wrong),
    ):
        problem = await refused(trying, 422, "unknown_address")
        assert [error["pointer"] for error in problem["errors"]] == ["/delivery_address_id"]


async def test_a_request_has_one_delivery_address_which_is_copied(organisation: TestOrganisation) -> None:
    address_id = await _address(organisation)
    both = {"title": "T", "delivery_address_id": address_id, "delivery_address": "Gate 7"}
    problem = await refused(organisation.requester.post("/porfs", json=both), 422, "two_addresses")
    assert [error["pointer"] for error in problem["errors"]] == ["/delivery_address"]
    draft = await organisation.draft(delivery_address_id=address_id)
    path = f"/porfs/{draft.json()['id']}"
    await refused(organisation.requester.patch(path, etag="*", json={"delivery_address": "X"}), 422, "two_addresses")
    copied = await created(organisation.requester.post(f"{path}/copy"))
    assert copied.json()["delivery_address_id"] == address_id
    await ok(organisation.buyer.post(f"/addresses/{address_id}/deactivate", etag="*"))
    copied = await created(organisation.requester.post(f"{path}/copy"))
    assert copied.json()["delivery_address_id"] is None
    text = {"delivery_address": "Gate 7", "delivery_address_id": None}
    changed = await ok(organisation.requester.patch(path, etag="*", json=text))
    assert {name: changed.json()[name] for name in text} == text


# Tax categories


async def _state(organisation: TestOrganisation, order: httpx.Response, line: int, **fields: Any) -> httpx.Response:
    path = f"/purchase-orders/{order.json()['id']}/lines/{order.json()['lines'][line]['id']}"
    return await organisation.buyer.patch(path, etag="*", json=fields)


async def test_a_buyer_states_the_tax_category_of_a_line(organisation: TestOrganisation) -> None:
    order = await organisation.ordered(lines=[])
    zero = await created(organisation.convert(await organisation.approved(lines=[LINE, LINE | {"tax_rate": "0"}])))
    assert [line["tax_category"] for line in zero.json()["lines"]] == [None, None]
    stated = await ok(_state(organisation, zero, 1, tax_category="K", tax_exemption_reason="Intra-community supply"))
    assert stated.json()["lines"][1]["tax_category"] == "K"
    assert stated.json()["lines"][1]["tax_exemption_reason"] == "Intra-community supply"
    assert stated.json()["version"] == zero.json()["version"] + 1
    stated = await ok(_state(organisation, zero, 0, tax_category="S"))
    same = await ok(_state(organisation, zero, 0, tax_category="S"))
    assert same.json()["version"] == stated.json()["version"]
    event = (await ok(organisation.buyer.get(f"/purchase-orders/{zero.json()['id']}/history"))).json()["items"][-1]
    line_id = zero.json()["lines"][0]["id"]
    assert (event["action"], event["after"]) == (
        "purchase_order.update_line",
        {"line_id": line_id, "tax_category": "S"},
    )
    issued = await ok(perform(organisation.buyer, stated, "issue"))
    assert [line["tax_category"] for line in issued.json()["lines"]] == ["S", "K"]
    await refused(_state(organisation, zero, 0, tax_category=None), 409, "invalid_transition")
    foreign = f"/purchase-orders/{order.json()['id']}/lines/{line_id}"
    await refused(organisation.buyer.patch(foreign, etag="*", json={"tax_category": "S"}), 404, "order_line_not_found")


@pytest.mark.parametrize(
    ("rate", "fields", "pointers"),
    [
        ("20", {"tax_category": "Z"}, ["/tax_category"]),
        ("0", {"tax_category": "S"}, ["/tax_category"]),
        ("0", {"tax_category": "Z", "tax_exemption_reason": "x"}, ["/tax_exemption_reason"]),
        ("0", {"tax_exemption_reason": "x"}, ["/tax_exemption_reason"]),
        ("0", {"tax_category": "S", "tax_exemption_reason": "x"}, ["/tax_category", "/tax_exemption_reason"]),
    ],
)
async def test_a_category_that_does_not_fit_the_rate_is_refused(
    organisation: TestOrganisation, rate: str, fields: dict[str, Any], pointers: list[str]
) -> None:
    porf = await organisation.approved(lines=[LINE | {"tax_rate": rate}])
    order = await created(organisation.convert(porf))
    problem = await refused(_state(organisation, order, 0, **fields), 422, "tax_category_mismatch")
    assert [error["pointer"] for error in problem["errors"]] == pointers


async def test_an_issue_and_a_change_of_an_address_at_once_leave_one_of_both(organisation: TestOrganisation) -> None:
    for turn in range(5):
        address_id = await _address(organisation, city="Before")
        order = await organisation.ordered(delivery_address_id=address_id)
        moving = organisation.buyer.patch(f"/addresses/{address_id}", etag="*", json={"city": f"After {turn}"})
        issued, _ = await asyncio.gather(ok(perform(organisation.buyer, order, "issue")), ok(moving))
        city = issued.json()["parties"]["delivery"]["city"]
        assert city in {"Before", f"After {turn}"}
        assert (await again(organisation.buyer, issued)).json()["parties"]["delivery"]["city"] == city
