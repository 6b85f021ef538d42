"""Suppliers: unique names in any spelling, searched by words, deactivated and reactivated."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from po_api.audit.events import AuditEvent
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from support.organisations import Member, Tenant, TestOrganisation, created, ok, refused
from support.pages import all_items

MISSING = 8_000_000_000_000_000_000


@pytest.fixture
async def buyer(tenant: Tenant) -> Member:
    return await tenant.member(Role.BUYER)


async def _create(who: Member, name: str, **fields: Any) -> httpx.Response:
    return await created(who.post("/suppliers", json={"name": name} | fields))


async def _patch(who: Member, supplier: httpx.Response, **fields: Any) -> httpx.Response:
    path = f"/suppliers/{supplier.json()['id']}"
    return await who.patch(path, etag=supplier.headers["ETag"], json=fields)


async def _switch(who: Member, supplier: httpx.Response, action: str, **options: Any) -> httpx.Response:
    path = f"/suppliers/{supplier.json()['id']}"
    shown = await ok(who.get(path))
    return await who.post(f"{path}/{action}", etag=shown.headers["ETag"], **options)


async def test_a_supplier_is_created_and_read_back(buyer: Member) -> None:
    fields = {"email": "Orders@Mueller.Example", "tax_id": "DE123", "address": "Hafenstraße 12\nHamburg 🚢"}
    response = await _create(buyer, "  Müller & Söhne GmbH ", **fields)
    supplier = response.json()
    assert response.headers["Location"] == f"/api/v1/suppliers/{supplier['id']}"
    assert supplier["name"] == "Müller & Söhne GmbH"
    assert supplier["email"] == "orders@mueller.example"
    assert (supplier["tax_id"], supplier["address"]) == (fields["tax_id"], fields["address"])
    assert (supplier["is_active"], supplier["version"]) == (True, 1)
    shown = await ok(buyer.get(f"/suppliers/{supplier['id']}"))
    assert shown.json() == supplier
    assert shown.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("role", [Role.REQUESTER, Role.APPROVER, Role.AUDITOR])
async def test_all_roles_read_and_only_buyers_and_admins_write(tenant: Tenant, buyer: Member, role: Role) -> None:
    supplier = await _create(buyer, "Acme")
    member = await tenant.member(role)
    await ok(member.get(f"/suppliers/{supplier.json()['id']}"))
    assert len((await ok(member.get("/suppliers"))).json()["items"]) == 1
    await refused(member.post("/suppliers", json={"name": "Mine"}), 403, "missing_role")
    await refused(_patch(member, supplier, name="Mine"), 403, "missing_role")
    for action in ("deactivate", "activate"):
        await refused(_switch(member, supplier, action), 403, "missing_role")


async def test_admins_write_too(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    supplier = await _create(admin, "Acme")
    await ok(_patch(admin, supplier, name="Acme Ltd"))
    await ok(_switch(admin, supplier, "deactivate"))


SPELLINGS = [
    ("composed and decomposed", "Café Zoë", "Cafe\u0301 Zoe\u0308"),
    ("case", "ACME Ltd", "acme LTD"),
    ("white space around", "Acme", "  Acme\u3000"),
    ("sharp s", "Strauß", "STRAUSS"),
    ("final sigma", "ΣΊΣΥΦΟΣ", "Σίσυφος"),
    ("ligature", "\ufb01ne food", "fine food"),
    ("angstrom", "\u212b & Co", "\u00e5 & co"),
    ("hangul", "한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    ("no-break space", "Acme Ltd", "Acme\u00a0Ltd"),
    ("two spaces", "Acme Ltd", "Acme  Ltd"),
    ("full width", "Acme Ltd", "\uff21cme\u3000Ltd"),
    ("half width", "カメラ", "\uff76\uff92\uff97"),
    ("zero-width space", "Acme Ltd", "\u200bAc\u200bme Ltd\ufeff"),
    ("soft hyphen", "Acme Ltd", "Ac\u00adme Ltd"),
    ("direction mark", "Acme Ltd", "Acme Ltd\u202e"),
    ("names whose characters become many", "\ufdfa" * 200, "\u200b" + "\ufdfa" * 200),
]


@pytest.mark.parametrize(("one", "other"), [item[1:] for item in SPELLINGS], ids=[item[0] for item in SPELLINGS])
async def test_two_spellings_of_one_name_collide(buyer: Member, one: str, other: str) -> None:
    """Case 19."""
    await _create(buyer, one)
    await refused(buyer.post("/suppliers", json={"name": other}), 409, "supplier_name_taken")
    third = await _create(buyer, "Another")
    await refused(_patch(buyer, third, name=other), 409, "supplier_name_taken")


@pytest.mark.parametrize(
    ("one", "other"), [("Cafe", "Café"), ("Acme", "Acme 2"), ("AcmeLtd", "Acme Ltd"), ("Istanbul", "İstanbul")]
)
async def test_different_names_do_not_collide(buyer: Member, one: str, other: str) -> None:
    await _create(buyer, one)
    await _create(buyer, other)


@pytest.mark.parametrize(
    "name", ["株式会社 山田", "شركة التوريد", "Дом 📦 & Со", "ACME\u00a0Ltd", "O'Neil; DROP TABLE--"]
)
async def test_names_of_all_scripts_survive(buyer: Member, name: str) -> None:
    supplier = await _create(buyer, name)
    assert (await ok(buyer.get(f"/suppliers/{supplier.json()['id']}"))).json()["name"] == name


async def test_a_deactivated_supplier_may_have_the_name_of_another_until_it_returns(buyer: Member) -> None:
    first = await _create(buyer, "Acme Ltd")
    gone = await ok(_switch(buyer, first, "deactivate"))
    await _create(buyer, "Acme\u00a0 Ltd")
    await refused(_switch(buyer, gone, "activate"), 409, "supplier_name_taken")


async def test_a_supplier_may_be_renamed_to_another_spelling_of_its_own_name(buyer: Member) -> None:
    supplier = await _create(buyer, "acme ltd")
    assert (await ok(_patch(buyer, supplier, name="ACME Ltd"))).json()["name"] == "ACME Ltd"


async def test_one_name_at_once_makes_one_supplier(buyer: Member) -> None:
    names = ("Race Ltd", "RACE Ltd", "race ltd", "Race LTD")
    responses = await asyncio.gather(*(buyer.post("/suppliers", json={"name": name}) for name in names))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]


async def test_deactivating_frees_the_name_and_keeps_the_supplier(buyer: Member) -> None:
    first = await _create(buyer, "Acme")
    gone = (await ok(_switch(buyer, first, "deactivate"))).json()
    assert (gone["is_active"], gone["version"]) == (False, 2)
    second = await _create(buyer, "ACME")
    assert second.json()["id"] != first.json()["id"]
    await refused(_switch(buyer, first, "activate"), 409, "supplier_name_taken")
    await ok(_switch(buyer, second, "deactivate"))
    assert (await ok(_switch(buyer, first, "activate"))).json()["is_active"] is True


async def test_an_inactive_supplier_may_be_given_a_name_that_is_in_use(buyer: Member) -> None:
    first = await _create(buyer, "Acme")
    second = await _create(buyer, "Other")
    gone = await ok(_switch(buyer, second, "deactivate"))
    await ok(_patch(buyer, gone, name="Acme"))
    assert first.json()["name"] == "Acme"


async def test_a_refused_name_leaves_the_supplier_as_it_was(buyer: Member) -> None:
    await _create(buyer, "Taken")
    supplier = await _create(buyer, "Acme")
    await refused(_patch(buyer, supplier, name="TAKEN", tax_id="X"), 409, "supplier_name_taken")
    assert (await ok(buyer.get(f"/suppliers/{supplier.json()['id']}"))).json() == supplier.json()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": " \u3000 "}, "/name"),
        ({"name": "x" * 256}, "/name"),
        ({"name": "a\u0007b"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\u0085b"}, "/name"),
        ({"name": None}, "/name"),
        ({"name": 7}, "/name"),
        ({"email": "nobody"}, "/email"),
        ({"tax_id": ""}, "/tax_id"),
        ({"tax_id": "x" * 101}, "/tax_id"),
        ({"address": "x" * 1001}, "/address"),
        ({"address": "a\u0000b"}, "/address"),
    ],
    ids=str,
)
async def test_a_wrong_value_is_refused(buyer: Member, changes: dict[str, Any], pointer: str) -> None:
    problem = await refused(buyer.post("/suppliers", json={"name": "Acme"} | changes), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    supplier = await _create(buyer, "Acme")
    problem = await refused(_patch(buyer, supplier, **changes), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("field", ["id", "organisation_id", "name_key", "is_active", "version", "created_at"])
async def test_other_columns_are_unknown_fields(buyer: Member, field: str) -> None:
    problem = await refused(buyer.post("/suppliers", json={"name": "A", field: 1}), 422, "validation_failed")
    assert [error["code"] for error in problem["errors"]] == ["unknown_field"]
    supplier = await _create(buyer, "Acme")
    await refused(_patch(buyer, supplier, **{field: 1}), 422, "validation_failed")


async def test_a_patch_changes_what_it_names_and_null_empties(buyer: Member) -> None:
    supplier = await _create(buyer, "Acme", email="a@example.com", tax_id="1", address="x")
    changed = await ok(_patch(buyer, supplier, tax_id="2"))
    assert (changed.json()["tax_id"], changed.json()["address"], changed.json()["version"]) == ("2", "x", 2)
    emptied = (await ok(_patch(buyer, changed, email=None, tax_id=None, address=None))).json()
    assert (emptied["email"], emptied["tax_id"], emptied["address"]) == (None, None, None)
    await refused(_patch(buyer, supplier, tax_id="3"), 412, "stale_version")


async def test_a_patch_that_changes_nothing_makes_no_version(buyer: Member) -> None:
    supplier = await _create(buyer, "Acme")
    assert (await ok(_patch(buyer, supplier, name="Acme"))).json()["version"] == 1
    assert (await ok(_patch(buyer, supplier))).json()["version"] == 1


async def test_a_change_without_a_version_is_refused(buyer: Member) -> None:
    path = f"/suppliers/{(await _create(buyer, 'Acme')).json()['id']}"
    await refused(buyer.patch(path, json={"name": "B"}), 428, "if_match_required")
    await refused(buyer.post(f"{path}/deactivate"), 428, "if_match_required")


async def test_a_dry_run_changes_nothing(buyer: Member) -> None:
    supplier = await _create(buyer, "Acme")
    shown = await ok(_switch(buyer, supplier, "deactivate", params={"dry_run": "true"}))
    assert shown.json()["is_active"] is False
    assert (await ok(buyer.get(f"/suppliers/{supplier.json()['id']}"))).json() == supplier.json()


async def test_a_missing_supplier_is_not_found(buyer: Member) -> None:
    path = f"/suppliers/{MISSING}"
    await refused(buyer.get(path), 404, "supplier_not_found")
    await refused(buyer.patch(path, etag="*", json={"name": "X"}), 404, "supplier_not_found")
    await refused(buyer.get("/suppliers/x"), 422, "validation_failed")


async def _found(who: Member, **params: Any) -> list[str]:
    return [
        item["name"] for item in (await ok(who.get("/suppliers", params={"sort": "name"} | params))).json()["items"]
    ]


async def test_search_finds_the_beginnings_of_words(buyer: Member) -> None:
    await _create(buyer, "Müller & Söhne GmbH", email="orders@mueller.example", tax_id="DE123456789")
    await _create(buyer, "Zürich Papier AG", tax_id="CHE-999")
    await _create(buyer, "山田商店")
    assert await _found(buyer, q="müll") == ["Müller & Söhne GmbH"]
    assert await _found(buyer, q="SÖHNE müller") == ["Müller & Söhne GmbH"]
    assert await _found(buyer, q="mu\u0308ller") == ["Müller & Söhne GmbH"]
    assert await _found(buyer, q="DE1234") == ["Müller & Söhne GmbH"]
    assert await _found(buyer, q="orders@mueller.example") == ["Müller & Söhne GmbH"]
    assert await _found(buyer, q="papier") == ["Zürich Papier AG"]
    assert await _found(buyer, q="山田") == ["山田商店"]
    assert await _found(buyer, q="apier") == []
    assert await _found(buyer, q="müller zürich") == []


@pytest.mark.parametrize(
    "question", ["&", "!", "'", "''", "\\", ":*", "a & !b", "(", "<->", "%", "_", "--", "'; DROP TABLE suppliers", "🚢"]
)
async def test_a_search_for_signs_is_harmless(buyer: Member, question: str) -> None:
    await _create(buyer, "Acme")
    assert await _found(buyer, q=question) == []


@pytest.mark.parametrize("question", ["", "x" * 201, "a\u0000b"])
async def test_a_search_for_nothing_or_too_much_is_refused(buyer: Member, question: str) -> None:
    await refused(buyer.get("/suppliers", params={"q": question}), 422, "validation_failed")


async def test_the_list_is_filtered_by_activity(buyer: Member) -> None:
    await _create(buyer, "Alive")
    gone = await _create(buyer, "Gone")
    await ok(_switch(buyer, gone, "deactivate"))
    assert await _found(buyer) == ["Alive", "Gone"]
    assert await _found(buyer, is_active="true") == ["Alive"]
    assert await _found(buyer, is_active="false") == ["Gone"]
    assert await _found(buyer, is_active="false", q="alive") == []


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at,name"])
async def test_pages_show_every_supplier_once(buyer: Member, sort: str) -> None:
    for name in ("B", "a", "Ä", "c", "Z"):
        await _create(buyer, name)
    seen = [item["id"] for item in await all_items(buyer, "/suppliers", limit="2", sort=sort)]
    assert len(seen) == len(set(seen)) == 5


async def test_a_request_takes_no_inactive_supplier_and_an_order_keeps_its_copy(organisation: TestOrganisation) -> None:
    issued = await organisation.issued()
    supplier = await ok(organisation.buyer.get(f"/suppliers/{organisation.supplier_id}"))
    renamed = await ok(_patch(organisation.buyer, supplier, name="Renamed"))
    await ok(_switch(organisation.buyer, renamed, "deactivate"))
    order = await ok(organisation.buyer.get(f"/purchase-orders/{issued.json()['id']}"))
    assert order.json()["supplier_name"] == supplier.json()["name"]
    body = {"title": "T", "supplier_id": organisation.supplier_id}
    await refused(organisation.requester.post("/porfs", json=body), 422, "unknown_supplier")


async def test_changes_are_on_record(tenant: Tenant, buyer: Member) -> None:
    supplier = await _create(buyer, "Acme")
    changed = await ok(_patch(buyer, supplier, tax_id="1"))
    await ok(_switch(buyer, changed, "deactivate"))
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        statement = select(AuditEvent).where(AuditEvent.entity == "supplier").order_by(AuditEvent.id)
        events = (await session.scalars(statement)).all()
    assert [event.action for event in events] == ["supplier.create", "supplier.update", "supplier.deactivate"]
    assert {event.actor_id for event in events} == {buyer.user_id}
    assert (events[1].before, events[1].after) == ({"tax_id": None}, {"tax_id": "1"})
