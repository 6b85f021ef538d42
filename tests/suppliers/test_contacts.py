"""Contacts of a supplier, the first of which has the supplier's e-mail address."""

import asyncio
from typing import Any

import httpx
import pytest

from support.organisations import TestOrganisation, created, ok, refused
from support.pages import all_items

EMAIL = "orders@supplier.example"


def _path(organisation: TestOrganisation) -> str:
    return f"/suppliers/{organisation.supplier_id}"


async def _add(organisation: TestOrganisation, email: str, **fields: Any) -> httpx.Response:
    path = f"{_path(organisation)}/contacts"
    return await created(organisation.buyer.post(path, etag="*", json={"email": email} | fields))


async def _email(organisation: TestOrganisation) -> str | None:
    email: str | None = (await ok(organisation.buyer.get(_path(organisation)))).json()["email"]
    return email


async def _listed(organisation: TestOrganisation) -> list[tuple[str, bool]]:
    items = await all_items(organisation.auditor, f"{_path(organisation)}/contacts", limit=1)
    return [(item["email"], item["is_active"]) for item in items]


async def _change(organisation: TestOrganisation, contact: httpx.Response, **fields: Any) -> httpx.Response:
    path = f"{_path(organisation)}/contacts/{contact.json()['id']}"
    return await ok(organisation.buyer.patch(path, etag="*", json=fields))


async def _switch(organisation: TestOrganisation, contact: httpx.Response, action: str) -> httpx.Response:
    path = f"{_path(organisation)}/contacts/{contact.json()['id']}/{action}"
    return await ok(organisation.buyer.post(path, etag="*"))


async def test_a_contact_is_added_read_changed_and_deactivated(organisation: TestOrganisation) -> None:
    buyer, path = organisation.buyer, _path(organisation)
    supplier = await ok(buyer.get(path))
    body = {"email": "Mia@Supplier.Example", "name": "Mia", "purpose": "orders"}
    added = await created(buyer.post(f"{path}/contacts", etag=supplier.headers["ETag"], json=body))
    contact = added.json()
    assert added.headers["Location"] == f"/api/v1{path}/contacts/{contact['id']}"
    assert (contact["email"], contact["name"], contact["purpose"]) == ("mia@supplier.example", "Mia", "orders")
    single = await ok(organisation.requester.get(f"{path}/contacts/{contact['id']}"))
    assert (single.json(), single.headers["ETag"]) == (contact, added.headers["ETag"])
    # Its version is that of the supplier.
    await refused(buyer.post(f"{path}/contacts", etag=supplier.headers["ETag"], json=body), 412, "stale_version")
    changed = await ok(buyer.patch(f"{path}/contacts/{contact['id']}", etag=added.headers["ETag"], json={"name": None}))
    assert changed.json()["name"] is None
    gone = await ok(buyer.post(f"{path}/contacts/{contact['id']}/deactivate", etag=changed.headers["ETag"]))
    assert gone.json()["is_active"] is False
    shown = (await ok(buyer.get(path))).json()
    assert (shown["version"], shown["email"]) == (4, None)
    events = (await ok(buyer.get(f"{path}/history"))).json()["items"]
    assert [event["action"] for event in events[1:]] == [
        "supplier.add_contact",
        "supplier.update_contact",
        "supplier.deactivate_contact",
    ]
    assert events[1]["after"]["email"] == "mia@supplier.example"
    assert events[2]["before"] == {"contact_id": contact["id"], "contact": {"name": "Mia"}}


async def test_the_address_of_a_supplier_is_that_of_its_first_contact_for_orders(
    organisation: TestOrganisation,
) -> None:
    await _add(organisation, "invoices@supplier.example", purpose="invoices")
    assert await _email(organisation) is None
    one, two = await _add(organisation, "one@supplier.example"), await _add(organisation, "two@supplier.example")
    assert await _email(organisation) == "one@supplier.example"
    await _change(organisation, one, email="first@supplier.example")
    assert await _email(organisation) == "first@supplier.example"
    await _change(organisation, one, purpose="invoices")
    assert await _email(organisation) == "two@supplier.example"
    await _switch(organisation, two, "deactivate")
    assert await _email(organisation) is None
    await _change(organisation, one, purpose="both")
    await _switch(organisation, two, "activate")
    assert await _email(organisation) == "first@supplier.example"


async def test_the_first_contact_follows_the_address_of_its_supplier(organisation: TestOrganisation) -> None:
    await organisation.change_supplier(email=EMAIL)
    assert await _listed(organisation) == [(EMAIL, True)]
    await _add(organisation, "second@supplier.example")
    await organisation.change_supplier(email="new@supplier.example")
    assert await _listed(organisation) == [("new@supplier.example", True), ("second@supplier.example", True)]
    emptied = await organisation.change_supplier(email=None)
    assert emptied.json()["email"] == "second@supplier.example"
    assert (await organisation.change_supplier(email=None)).json()["email"] is None
    assert [is_active for _, is_active in await _listed(organisation)] == [False, False]
    made = await created(organisation.buyer.post("/suppliers", json={"name": "With address", "email": EMAIL}))
    contacts = await all_items(organisation.buyer, f"/suppliers/{made.json()['id']}/contacts")
    assert [(item["email"], item["purpose"]) for item in contacts] == [(EMAIL, "both")]
    assert made.json()["version"] == 1


async def test_two_active_contacts_have_two_addresses(organisation: TestOrganisation) -> None:
    one, other = await _add(organisation, EMAIL), await _add(organisation, "other@supplier.example")
    path = f"{_path(organisation)}/contacts"
    again = organisation.buyer.post(path, etag="*", json={"email": EMAIL.upper()})
    await refused(again, 409, "contact_exists")
    await _switch(organisation, one, "deactivate")
    await _change(organisation, other, email=EMAIL)
    back = organisation.buyer.post(f"{path}/{one.json()['id']}/activate", etag="*")
    await refused(back, 409, "contact_exists")


async def test_a_contact_of_another_supplier_is_a_missing_one(organisation: TestOrganisation) -> None:
    contact = await _add(organisation, EMAIL)
    other = (await created(organisation.buyer.post("/suppliers", json={"name": "Other"}))).json()["id"]
    path = f"/suppliers/{other}/contacts/{contact.json()['id']}"
    await refused(organisation.buyer.get(path), 404, "contact_not_found")
    await refused(organisation.buyer.patch(path, etag="*", json={"name": "X"}), 404, "contact_not_found")


@pytest.mark.heavy
async def test_contacts_that_are_added_at_once_leave_one_first(organisation: TestOrganisation) -> None:
    for turn in range(5):
        emails = [f"{turn}-{number}@supplier.example" for number in range(3)]
        await asyncio.gather(*(_add(organisation, email) for email in emails))
        active = [email for email, is_active in await _listed(organisation) if is_active]
        items = await all_items(organisation.buyer, f"{_path(organisation)}/contacts")
        first = min((item for item in items if item["is_active"]), key=lambda item: item["id"])
        assert await _email(organisation) == first["email"]
        assert set(emails) <= set(active)
