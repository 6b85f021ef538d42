"""External ids of suppliers, requests and orders: unique in their system and kind, and a way to find the entity."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from support.organisations import Member, TestOrganisation, created, new_organisation, ok, refused
from support.pages import all_items

PATH = "/external-references"


def _body(entity: str, entity_id: int, external_id: str = "4711", system: str = "sap") -> dict[str, Any]:
    return {"entity": entity, "entity_id": entity_id, "system": system, "external_id": external_id}


async def _put(who: Member, *args: Any, **options: Any) -> httpx.Response:
    return await who.put(PATH, json=_body(*args, **options))


async def _ids(who: Member, path: str, **params: Any) -> list[int]:
    return [item["id"] for item in await all_items(who, path, **params)]


async def test_an_external_id_is_added_once_and_found(organisation: TestOrganisation) -> None:
    buyer = organisation.buyer
    porf, other = (await organisation.draft()).json()["id"], (await organisation.draft()).json()["id"]
    added = await created(_put(buyer, "porf", porf))
    repeated = await ok(_put(buyer, "porf", porf))
    assert repeated.json() == added.json()
    assert {name: added.json()[name] for name in _body("porf", porf)} == _body("porf", porf)
    problem = await refused(_put(buyer, "porf", other), 409, "external_id_taken")
    assert [error["pointer"] for error in problem["errors"]] == ["/external_id"]
    # In another system, and of another kind.
    await created(_put(buyer, "porf", other, system="oracle"))
    await created(_put(buyer, "supplier", organisation.supplier_id))
    assert await _ids(buyer, "/porfs", external_system="sap", external_id="4711") == [porf]
    assert await _ids(organisation.requester, "/porfs", external_id="4711") == [other, porf]
    assert await _ids(buyer, "/porfs", external_system="sap") == [porf]
    assert await _ids(buyer, "/porfs", external_system="sap", external_id="471") == []
    # Both are those of one reference.
    await created(_put(buyer, "porf", porf, external_id="1", system="oracle"))
    assert await _ids(buyer, "/porfs", external_system="oracle", external_id="4711") == [other]
    await ok(buyer.delete(f"{PATH}/{added.json()['id']}"), 204)
    assert await _ids(buyer, "/porfs", external_system="sap", external_id="4711") == []
    await created(_put(buyer, "porf", other))
    await refused(buyer.delete(f"{PATH}/{added.json()['id']}"), 404, "external_reference_not_found")
    events = (await ok(organisation.auditor.get("/audit-events?entity=external_reference"))).json()["items"]
    assert [event["action"].rpartition(".")[2] for event in reversed(events)] == [
        *("create", "create", "create", "create", "delete", "create"),
    ]


@pytest.mark.heavy
async def test_orders_and_suppliers_are_found_as_well(organisation: TestOrganisation) -> None:
    buyer = organisation.buyer
    order, unnamed = (await organisation.ordered()).json()["id"], (await organisation.ordered()).json()["id"]
    await created(_put(buyer, "purchase_order", order))
    await created(_put(buyer, "supplier", organisation.supplier_id))
    found = {"external_system": "sap", "external_id": "4711"}
    for who in (buyer, organisation.requester):
        assert await _ids(who, "/purchase-orders", **found) == [order]
    assert await _ids(buyer, "/purchase-orders", **found, supplier_id=organisation.supplier_id) == [order]
    assert await _ids(buyer, "/suppliers", **found) == [organisation.supplier_id]
    counts = (await ok(buyer.get("/purchase-orders/counts", params=found | {"group_by": "status"}))).json()
    assert counts["count"] == 1
    file = await ok(buyer.get("/suppliers/export", params=found | {"external_id": "1"}))
    assert len(file.text.splitlines()) == 1
    assert unnamed != order


async def test_references_are_listed_and_filtered(organisation: TestOrganisation) -> None:
    buyer, supplier = organisation.buyer, organisation.supplier_id
    porf = (await organisation.draft()).json()["id"]
    for body in (("supplier", supplier, "1"), ("porf", porf, "2"), ("porf", porf, "3")):
        await created(_put(buyer, *body))

    async def found(**params: Any) -> list[str]:
        return [item["external_id"] for item in await all_items(organisation.auditor, PATH, limit=1, **params)]

    assert await found() == ["1", "2", "3"]
    assert await found(entity="porf", entity_id=porf) == ["2", "3"]
    assert await found(entity="supplier") == ["1"]
    assert await found(external_system="sap", external_id="3") == ["3"]
    assert await found(external_system="oracle") == []


async def test_a_deleted_draft_takes_its_references_along(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    await created(_put(organisation.buyer, "porf", draft.json()["id"]))
    await ok(organisation.requester.delete(f"/porfs/{draft.json()['id']}", etag=draft.headers["ETag"]), 204)
    assert await _ids(organisation.buyer, PATH) == []


async def test_an_id_belongs_to_one_organisation(
    app: FastAPI, client: httpx.AsyncClient, organisation: TestOrganisation
) -> None:
    other = await new_organisation(app, client)
    await created(_put(organisation.buyer, "supplier", organisation.supplier_id))
    await created(_put(other.buyer, "supplier", other.supplier_id))
    for entity in ("supplier", "porf", "purchase_order"):
        problem = await refused(_put(other.buyer, entity, organisation.supplier_id, "x"), 422, "unknown_entity")
        assert [error["pointer"] for error in problem["errors"]] == ["/entity_id"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"entity": "user"}, "/entity"),
        ({"entity_id": "1"}, "/entity_id"),
        ({"system": "SAP R/3"}, "/system"),
        ({"system": ""}, "/system"),
        ({"external_id": ""}, "/external_id"),
        ({"external_id": "x" * 101}, "/external_id"),
    ],
    ids=str,
)
async def test_a_wrong_value_is_refused(organisation: TestOrganisation, changes: dict[str, Any], pointer: str) -> None:
    body = _body("supplier", organisation.supplier_id) | changes
    problem = await refused(organisation.buyer.put(PATH, json=body), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.heavy
async def test_of_two_integrators_with_one_id_one_wins(organisation: TestOrganisation) -> None:
    one, two = [(await organisation.draft()).json()["id"] for _ in range(2)]
    admin, buyer = organisation.admin, organisation.buyer
    for turn in range(20):
        answers = await asyncio.gather(_put(admin, "porf", one, f"{turn}"), _put(buyer, "porf", two, f"{turn}"))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        same = await asyncio.gather(*(_put(buyer, "porf", one, f"same {turn}") for _ in range(2)))
        assert sorted(answer.status_code for answer in same) == [200, 201]
        assert same[0].json() == same[1].json()
