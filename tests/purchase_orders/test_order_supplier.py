"""The supplier of an order: followed while the order is a draft, frozen when it is issued; warnings about it."""

from io import BytesIO
from typing import Any

import httpx
import pytest
from pypdf import PdfReader

from support.organisations import TestOrganisation, again, created, ok, perform, refused

CONTACT = ("supplier_email", "supplier_address", "supplier_is_frozen")
TAX_ID = {
    "code": "supplier_without_tax_id",
    "pointer": "/supplier_tax_id",
    "detail": "the supplier has neither a VAT id nor a tax id",
}
VAT_ID = {
    "code": "supplier_without_vat_id",
    "pointer": "/parties/supplier/vat_id",
    "detail": "the supplier has a tax id, but no VAT id",
}
CURRENCY = {
    "code": "supplier_currency",
    "pointer": "/currency",
    "detail": "the supplier invoices in another currency",
}
ADDRESS = {"code": "supplier_without_address", "pointer": "/supplier_address", "detail": "the supplier has no address"}
COMPLETE = {"vat_id": "DE136695976", "address": "Hafenstraße 12\n20457 Hamburg"}


def contact(order: httpx.Response) -> list[Any]:
    return [order.json()[name] for name in CONTACT]


async def text_of(organisation: TestOrganisation, order: httpx.Response) -> str:
    document = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(document.content)).pages).split())


async def test_a_draft_follows_the_contact_data_of_its_supplier_until_it_is_issued(
    organisation: TestOrganisation,
) -> None:
    await organisation.change_supplier(email="old@supplier.example", address="Wrong Street 1")
    order = await organisation.ordered()
    assert contact(order) == ["old@supplier.example", "Wrong Street 1", False]
    await organisation.change_supplier(email=None, address="Right Street 2")
    draft = await again(organisation.buyer, order)
    assert contact(draft) == [None, "Right Street 2", False]
    # The order itself has not changed, but what is shown of it.
    assert draft.json()["version"] == order.json()["version"]
    assert draft.headers["ETag"] != order.headers["ETag"]
    tried = await ok(perform(organisation.buyer, order, "issue", params={"dry_run": "true"}))
    assert contact(tried) == [None, "Right Street 2", True]
    issued = await ok(perform(organisation.buyer, order, "issue"))
    assert contact(issued) == [None, "Right Street 2", True]
    await organisation.change_supplier(email="new@supplier.example", address="Another Street 3")
    assert contact(await again(organisation.buyer, issued)) == [None, "Right Street 2", True]
    text = await text_of(organisation, issued)
    assert "Right Street 2" in text
    assert "Wrong" not in text


async def test_a_draft_keeps_following_after_a_change_of_its_own(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    path, etag = f"/purchase-orders/{order.json()['id']}", order.headers["ETag"]
    await organisation.change_supplier(address="First")
    changed = await ok(organisation.buyer.patch(path, etag=etag, json={"terms": "Net"}))
    assert contact(changed) == [None, "First", False]
    await organisation.change_supplier(address="Second")
    assert contact(await again(organisation.buyer, order)) == [None, "Second", False]


async def test_a_cancelled_draft_is_frozen_as_it_was_then(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await organisation.change_supplier(address="At that time")
    cancelled = await ok(perform(organisation.buyer, order, "cancel"))
    assert contact(cancelled) == [None, "At that time", True]
    await organisation.change_supplier(address="Afterwards")
    assert contact(await again(organisation.buyer, order)) == [None, "At that time", True]


async def test_a_draft_does_not_follow_a_renamed_supplier_and_is_not_issued(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await organisation.change_supplier(name="Renamed Ltd", tax_id="GB 1")
    draft = (await again(organisation.buyer, order)).json()
    assert (draft["supplier_name"], draft["supplier_tax_id"]) == ("Müller & Söhne GmbH", None)
    assert draft["allowed_actions"]["issue"] == {"allowed": False, "reason": "supplier_changed"}
    for options in ({}, {"params": {"dry_run": "true"}}):
        problem = await refused(perform(organisation.buyer, order, "issue", **options), 409, "supplier_changed")
        assert [error["pointer"] for error in problem["errors"]] == ["/name", "/tax_id"]
    await organisation.change_supplier(tax_id=None)
    problem = await refused(perform(organisation.buyer, order, "issue"), 409, "supplier_changed")
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]
    # Its former name again: the order is made out to whom it was created for.
    await organisation.change_supplier(name="Müller & Söhne GmbH")
    await ok(perform(organisation.buyer, order, "issue"))


async def test_a_draft_to_a_renamed_supplier_is_cancelled_and_an_issued_order_stays(
    organisation: TestOrganisation,
) -> None:
    draft, issued = await organisation.ordered(), await organisation.issued()
    await organisation.change_supplier(name="Renamed Ltd")
    await ok(perform(organisation.buyer, draft, "cancel"))
    closed = await ok(perform(organisation.buyer, issued, "close"))
    assert closed.json()["supplier_name"] == "Müller & Söhne GmbH"


@pytest.mark.parametrize(
    ("supplier", "expected"),
    [
        ({}, [TAX_ID, ADDRESS]),
        ({"tax_id": "DE123456789"}, [VAT_ID, ADDRESS]),
        ({"vat_id": "DE136695976"}, [ADDRESS]),
        ({"city": "Hamburg"}, [TAX_ID]),
        (COMPLETE | {"currency": "USD"}, [CURRENCY]),
        (COMPLETE | {"currency": "GBP"}, []),
        ({"address": "Hamburg"}, [TAX_ID]),
        (COMPLETE, []),
    ],
)
async def test_an_order_warns_of_what_its_supplier_lacks(
    organisation: TestOrganisation, supplier: dict[str, str], expected: list[dict[str, str]]
) -> None:
    if supplier:
        await organisation.change_supplier(**supplier)
    porf = await organisation.approved()
    path, dry = f"/porfs/{porf.json()['id']}/purchase-orders", {"dry_run": "true"}
    tried = await created(organisation.buyer.post(path, etag=porf.headers["ETag"], params=dry))
    assert tried.json()["warnings"] == expected
    order = await created(organisation.convert(porf))
    assert order.json()["warnings"] == expected
    tried = await ok(perform(organisation.buyer, order, "issue", params=dry))
    assert tried.json()["warnings"] == expected
    issued = await ok(perform(organisation.buyer, order, "issue"))
    assert (issued.json()["status"], issued.json()["warnings"]) == ("issued", expected)
    assert (await again(organisation.auditor, issued)).json()["warnings"] == expected
    closed = await ok(perform(organisation.buyer, issued, "close"))
    assert closed.json()["warnings"] == []


async def test_the_warning_of_a_draft_goes_when_the_address_is_added(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    await organisation.change_supplier(address="Hamburg")
    assert (await again(organisation.buyer, order)).json()["warnings"] == [TAX_ID]
    issued = await ok(perform(organisation.buyer, order, "issue"))
    await organisation.change_supplier(address=None)
    # The document has the address.
    assert (await again(organisation.buyer, issued)).json()["warnings"] == [TAX_ID]


async def test_an_order_of_several_requests_warns_as_well(organisation: TestOrganisation) -> None:
    ids = [(await organisation.approved()).json()["id"] for _ in range(2)]
    tried = organisation.buyer.post("/purchase-orders", json={"porf_ids": ids}, params={"dry_run": "true"})
    assert (await created(tried)).json()["warnings"] == [TAX_ID, ADDRESS]
