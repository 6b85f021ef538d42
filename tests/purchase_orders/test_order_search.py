"""Orders are found by number, supplier and lines; nobody finds an order by a line that they do not see."""

import pytest

from po_api.core.permissions import Role
from support.organisations import LINE, Member, TestOrganisation, act, created, ok, perform
from support.pages import all_items

LAPTOP = {"description": "Laptop with sleeve", "sku": "LT-0815", "quantity": "1", "unit_price": "900"}


async def _found(member: Member, question: str, **params: str) -> list[str | None]:
    return [item["number"] for item in await all_items(member, "/purchase-orders", q=question, **params)]


async def test_an_order_is_found_by_number_supplier_and_lines(organisation: TestOrganisation) -> None:
    await organisation.issued()
    order = await created(organisation.convert(await organisation.approved(lines=[LAPTOP, LINE])))
    number = (await ok(perform(organisation.buyer, order, "issue"))).json()["number"]
    year = number[3:7]
    for question in (
        number,
        "000002",
        f"{year}-000002",
        "0002",
        "laptop",
        "lt-08",
        "müller laptop 000002",
        "sleeve lamp",
    ):
        for sort in ("-created_at", "total,-created_at"):
            assert await _found(organisation.buyer, question, sort=sort) == [number], question
    for question in ("toner", "laptop 000001", "2"):
        assert await _found(organisation.buyer, question) == []
    assert len(await _found(organisation.buyer, "lamp müller")) == 2


async def test_a_draft_is_found_by_its_lines(organisation: TestOrganisation) -> None:
    await created(organisation.convert(await organisation.approved(lines=[LAPTOP])))
    assert await _found(organisation.buyer, "laptop müller") == [None]


@pytest.mark.parametrize("sort", ["-created_at", "total,-created_at"])
async def test_nobody_finds_an_order_by_a_line_of_another_requester(organisation: TestOrganisation, sort: str) -> None:
    other = await organisation.member(Role.REQUESTER)
    body = {"title": "Hardware", "supplier_id": organisation.supplier_id, "lines": [LAPTOP]}
    pending = await act(other, await created(other.post("/porfs", json=body)), "submit")
    theirs = await act(organisation.approver, pending, "approve")
    own = await organisation.approved(lines=[LINE])
    await created(
        organisation.buyer.post("/purchase-orders", json={"porf_ids": [theirs.json()["id"], own.json()["id"]]})
    )
    for member, question, count in (
        (organisation.buyer, "laptop lamp", 1),
        (other, "laptop", 1),
        (other, "laptop müller", 1),
        (other, "lamp", 0),
        (other, "laptop lamp", 0),
        (organisation.requester, "lamp", 1),
        (organisation.requester, "laptop", 0),
        (organisation.requester, "müller", 1),
    ):
        assert len(await _found(member, question, sort=sort)) == count, question
