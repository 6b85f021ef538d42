"""Addresses of an organisation: structured or text, one default of each kind, deactivated and reactivated."""

import asyncio
from typing import Any

import httpx
import pytest

from support.organisations import Member, TestOrganisation, created, ok, refused
from support.pages import all_items

FIELDS: dict[str, Any] = {
    "kind": "delivery",
    "name": "Warehouse North",
    "lines": "Gate 7",
    "street": "Hafenstraße 12",
    "street2": "Building C",
    "city": "Hamburg",
    "postal_code": "20457",
    "region": "HH",
    "country": "DE",
    "contact": "Mia Müller",
    "phone": "+49 40 123456",
    "is_default": True,
}


async def _add(who: Member, name: str = "Warehouse", **fields: Any) -> httpx.Response:
    return await created(who.post("/addresses", json={"kind": "delivery", "name": name} | fields))


def _path(address: httpx.Response) -> str:
    return f"/addresses/{address.json()['id']}"


async def test_an_address_is_created_read_changed_and_recorded(organisation: TestOrganisation) -> None:
    buyer = organisation.buyer
    made = await created(buyer.post("/addresses", json=FIELDS))
    assert {name: made.json()[name] for name in FIELDS} == FIELDS
    assert made.headers["Location"] == f"/api/v1{_path(made)}"
    shown = await ok(organisation.requester.get(_path(made)))
    assert (shown.json(), shown.headers["ETag"]) == (made.json(), made.headers["ETag"])
    changes = {"city": None, "name": "Warehouse South", "is_default": False}
    changed = await ok(buyer.patch(_path(made), etag=made.headers["ETag"], json=changes))
    assert changed.json()["version"] == 2
    assert {name: changed.json()[name] for name in FIELDS} == FIELDS | changes
    await refused(buyer.patch(_path(made), etag=made.headers["ETag"], json=changes), 412, "stale_version")
    gone = await ok(buyer.post(f"{_path(made)}/deactivate", etag=changed.headers["ETag"]))
    assert gone.json()["is_active"] is False
    back = await ok(buyer.post(f"{_path(made)}/activate", etag=gone.headers["ETag"]))
    assert (back.json()["is_active"], back.json()["version"]) == (True, 4)
    events = (await ok(organisation.auditor.get(f"{_path(made)}/history"))).json()["items"]
    assert [event["action"] for event in events] == [
        "address.create",
        "address.update",
        "address.deactivate",
        "address.activate",
    ]


async def test_there_is_one_default_of_each_kind(organisation: TestOrganisation) -> None:
    buyer = organisation.buyer
    first = await _add(buyer, is_default=True)
    await _add(buyer, kind="billing", is_default=True)
    body = {"kind": "delivery", "name": "Second", "is_default": True}
    await refused(buyer.post("/addresses", json=body), 409, "default_address_taken")
    second = await _add(buyer, "Second")
    taking = buyer.patch(_path(second), etag=second.headers["ETag"], json={"is_default": True})
    await refused(taking, 409, "default_address_taken")
    gone = await ok(buyer.post(f"{_path(first)}/deactivate", etag=first.headers["ETag"]))
    assert gone.json()["is_default"] is False
    await ok(buyer.patch(_path(second), etag=second.headers["ETag"], json={"is_default": True}))
    back = await ok(buyer.post(f"{_path(first)}/activate", etag=gone.headers["ETag"]))
    assert back.json()["is_default"] is False


async def test_of_defaults_that_are_made_at_once_one_wins(organisation: TestOrganisation) -> None:
    for turn in range(5):
        addresses = [await _add(organisation.buyer, f"{turn}-{number}") for number in range(3)]
        answers = await asyncio.gather(
            *(
                organisation.buyer.patch(_path(address), etag=address.headers["ETag"], json={"is_default": True})
                for address in addresses
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
        (winner,) = [answer for answer in answers if answer.status_code == 200]
        await ok(organisation.buyer.post(f"{_path(winner)}/deactivate", etag=winner.headers["ETag"]))


async def test_addresses_are_listed_sorted_and_filtered(organisation: TestOrganisation) -> None:
    buyer = organisation.buyer
    one, two = await _add(buyer, "B", is_default=True), await _add(buyer, "A", kind="billing")
    gone = await _add(buyer, "C")
    await ok(buyer.post(f"{_path(gone)}/deactivate", etag=gone.headers["ETag"]))

    async def names(**params: Any) -> list[str]:
        return [item["name"] for item in await all_items(organisation.requester, "/addresses", limit=1, **params)]

    assert await names() == ["B", "A", "C"]
    assert await names(sort="name") == ["A", "B", "C"]
    assert await names(kind="delivery") == ["B", "C"]
    assert await names(kind="delivery", is_active="true") == ["B"]
    assert await names(is_default="true") == ["B"]
    assert await names(created_at_gte=two.json()["created_at"]) == ["A", "C"]
    assert await names(updated_at_lt=one.json()["updated_at"]) == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"kind": "home"}, "/kind"),
        ({"name": ""}, "/name"),
        ({"country": "XX"}, "/country"),
        ({"lines": "x" * 1001}, "/lines"),
        ({"is_default": "yes"}, "/is_default"),
    ],
    ids=str,
)
async def test_a_wrong_value_is_refused(organisation: TestOrganisation, fields: dict[str, Any], pointer: str) -> None:
    body = {"kind": "delivery", "name": "Warehouse"} | fields
    problem = await refused(organisation.buyer.post("/addresses", json=body), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
