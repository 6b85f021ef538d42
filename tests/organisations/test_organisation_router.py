"""Organisations: created, read, changed by their admins, listed by operators."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from po_api.audit.events import AuditEvent
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.users.models import User
from support.organisations import (
    Member,
    Tenant,
    TestOrganisation,
    created,
    new_member,
    new_organisation,
    new_tenant,
    ok,
    refused,
)
from support.pages import all_items

MISSING = 8_000_000_000_000_000_000
PATH = "/organisations/current"


@pytest.fixture
async def operator(app: FastAPI, client: httpx.AsyncClient) -> Member:
    """An operator, who belongs to no organisation."""
    return await new_member(app, client, None, [], is_operator=True)


async def _patch(who: Member, **fields: Any) -> httpx.Response:
    shown = await ok(who.get(PATH))
    return await who.patch(PATH, etag=shown.headers["ETag"], json=fields)


async def test_who_founds_an_organisation_becomes_its_admin(stranger: Member) -> None:
    response = await created(stranger.post("/organisations", json={"name": "Acme"}))
    founded = response.json()
    assert response.headers["Location"] == f"/api/v1/organisations/{founded['id']}"
    assert (founded["currency"], founded["timezone"], founded["tax_rounding"]) == ("EUR", "UTC", "document")
    assert (founded["over_order_percent"], founded["allow_self_approval"]) == ("0", False)
    assert (founded["porf_prefix"], founded["po_prefix"], founded["version"]) == ("PORF", "PO", 1)
    me = (await ok(stranger.get("/users/me"))).json()
    assert me["organisation_id"] == founded["id"]
    assert "admin" in me["roles"]
    shown = await ok(stranger.get(response.headers["Location"].removeprefix("/api/v1")))
    assert shown.json() == founded
    await ok(_patch(stranger, name="Acme Ltd"))


async def test_a_member_founds_no_second_organisation(tenant: Tenant, stranger: Member) -> None:
    member = await tenant.member(Role.ADMIN)
    await refused(member.post("/organisations", json={"name": "Second"}), 409, "already_member")
    await created(stranger.post("/organisations", json={"name": "First"}))
    await refused(stranger.post("/organisations", json={"name": "Second"}), 409, "already_member")


async def test_founding_several_at_once_founds_one(stranger: Member) -> None:
    responses = await asyncio.gather(*(stranger.post("/organisations", json={"name": "Acme"}) for _ in range(4)))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]


async def test_founding_is_repeated_with_its_key_and_done_once(stranger: Member) -> None:
    options: dict[str, Any] = {"json": {"name": "Acme"}, "headers": {"Idempotency-Key": "found"}}
    first = await created(stranger.post("/organisations", **options))
    second = await created(stranger.post("/organisations", **options))
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_members_read_their_organisation_and_no_other(tenant: Tenant, app: FastAPI) -> None:
    member = await tenant.member()
    current = (await ok(member.get(PATH))).json()
    assert current["id"] == tenant.organisation_id
    assert current["users"] is None
    assert (await ok(member.get(f"/organisations/{tenant.organisation_id}"))).json() == current
    other = await new_tenant(app, tenant.client)
    for number in (other.organisation_id, MISSING):
        await refused(member.get(f"/organisations/{number}"), 404, "organisation_not_found")


async def test_a_user_without_an_organisation_cannot_read_one(stranger: Member, tenant: Tenant) -> None:
    await refused(stranger.get(PATH), 403, "no_organisation")
    await refused(stranger.patch(PATH, etag="*", json={"name": "X"}), 403, "no_organisation")
    await refused(stranger.get(f"/organisations/{tenant.organisation_id}"), 404, "organisation_not_found")


async def test_users_are_included_on_request(tenant: Tenant) -> None:
    admin, member = await tenant.member(Role.ADMIN, name="Zed"), await tenant.member(name="Ann")
    path = f"/organisations/{tenant.organisation_id}"
    users = (await ok(admin.get(path, params={"include": "users"}))).json()["users"]
    assert [user["id"] for user in users] == [member.user_id, admin.user_id]
    assert (users[0]["name"], users[0]["roles"], users[0]["is_active"]) == ("Ann", ["requester"], True)
    await refused(admin.get(path, params={"include": "secrets"}), 422, "validation_failed")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_admins_change_the_settings(tenant: Tenant, role: Role) -> None:
    await refused(_patch(await tenant.member(role), name="Other"), 403, "missing_role")


VALID: dict[str, Any] = {
    "name": "Ünïcode 株式会社",
    "currency": "JPY",
    "timezone": "Pacific/Auckland",
    "tax_rounding": "line",
    "over_order_percent": "12.5",
    "allow_self_approval": True,
    "porf_prefix": "REQ",
    "po_prefix": "B2",
    "workspace_folder_id": "1AbC_dEf-2",
    "tax_id": "GB123",
    "address": "1 High Street\nLondon",
}


async def test_every_setting_can_be_changed_and_is_read_back(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    changed = (await ok(_patch(admin, **VALID))).json()
    assert {name: changed[name] for name in VALID} == VALID
    assert changed["version"] == 2
    assert (await ok(admin.get(PATH))).json() == changed


async def test_founding_takes_every_setting(stranger: Member) -> None:
    founded = (await created(stranger.post("/organisations", json=VALID))).json()
    assert {name: founded[name] for name in VALID} == VALID


INVALID: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "x" * 256),
    ("name", "a\u0000b"),
    ("name", "two\nlines"),
    ("name", None),
    ("currency", "XXX"),
    ("currency", "eur"),
    ("currency", "XAU"),
    ("currency", ""),
    ("currency", None),
    ("timezone", "Mars/Olympus"),
    ("timezone", "../etc/passwd"),
    ("timezone", ""),
    ("timezone", None),
    ("tax_rounding", "never"),
    ("over_order_percent", "-1"),
    ("over_order_percent", "1000"),
    ("over_order_percent", 5),
    ("over_order_percent", "1.00001"),
    ("over_order_percent", "NaN"),
    ("allow_self_approval", "maybe"),
    ("allow_self_approval", None),
    ("porf_prefix", "lower"),
    ("porf_prefix", "TOOLONGPREFIX"),
    ("po_prefix", ""),
    ("po_prefix", "A-B"),
    ("workspace_folder_id", "a/b"),
    ("workspace_folder_id", ""),
    ("tax_id", "x" * 101),
    ("address", "x" * 1001),
    ("id", 1),
    ("version", 7),
    ("users", []),
]


@pytest.mark.parametrize(("field", "value"), INVALID, ids=lambda value: repr(value)[:20])
async def test_a_wrong_setting_is_refused_when_founding_and_when_changing(
    tenant: Tenant, stranger: Member, field: str, value: Any
) -> None:
    admin = await tenant.member(Role.ADMIN)
    problem = await refused(_patch(admin, **{field: value}), 422, "validation_failed")
    assert problem["errors"]
    body = {"name": "Acme", field: value}
    problem = await refused(stranger.post("/organisations", json=body), 422, "validation_failed")
    assert problem["errors"]
    assert (await ok(admin.get(PATH))).json()["version"] == 1


async def test_nullable_settings_take_null(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    await ok(_patch(admin, **VALID))
    nothing = dict.fromkeys(("workspace_folder_id", "tax_id", "address"))
    changed = (await ok(_patch(admin, **nothing))).json()
    assert {name: changed[name] for name in nothing} == nothing


async def test_a_change_requires_the_current_version(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    etag = (await ok(admin.get(PATH))).headers["ETag"]
    await refused(admin.patch(PATH, json={"name": "New"}), 428, "if_match_required")
    changed = await ok(admin.patch(PATH, etag=etag, json={"name": "New"}))
    await refused(admin.patch(PATH, etag=etag, json={"name": "Newer"}), 412, "stale_version")
    assert (await ok(admin.patch(PATH, etag=changed.headers["ETag"], json={"name": "New"}))).json()["version"] == 2


async def test_concurrent_changes_of_one_version_let_one_through(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    etag = (await ok(admin.get(PATH))).headers["ETag"]
    changes = (admin.patch(PATH, etag=etag, json={"name": f"Name {turn}"}) for turn in range(5))
    responses = await asyncio.gather(*changes)
    assert sorted(response.status_code for response in responses) == [200, 412, 412, 412, 412]


async def test_what_exists_keeps_the_rules_it_was_made_under(organisation: TestOrganisation) -> None:
    draft = (await organisation.draft()).json()
    await ok(_patch(organisation.admin, tax_rounding="line", porf_prefix="REQ"))
    kept = (await ok(organisation.requester.get(f"/porfs/{draft['id']}"))).json()
    assert (kept["tax_rounding"], kept["number"]) == ("document", draft["number"])
    new = (await organisation.draft()).json()
    assert new["tax_rounding"] == "line"
    assert new["number"].startswith("REQ-")


async def test_changes_are_on_record(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    await ok(_patch(admin, name="New", over_order_percent="5"))
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        statement = select(AuditEvent).where(AuditEvent.action == "organisation.update")
        (event,) = (await session.scalars(statement)).all()
    assert event.actor_id == admin.user_id
    assert event.after == {"name": "New", "over_order_percent": "5"}


# The base currency


async def _uses(admin: Member) -> list[str]:
    """What prevents a change of the base currency."""
    problem = await refused(_patch(admin, currency="JPY", name="Other"), 409, "currency_in_use")
    assert {(error["pointer"], error["code"]) for error in problem["errors"]} == {("/currency", "currency_in_use")}
    now = (await ok(admin.get(PATH))).json()
    assert (now["currency"], now["name"]) == ("GBP", "Company")
    return [error["detail"] for error in problem["errors"]]


async def test_the_base_currency_changes_as_long_as_nothing_is_in_it(organisation: TestOrganisation) -> None:
    assert (await ok(_patch(organisation.admin, currency="JPY"))).json()["currency"] == "JPY"
    draft = await organisation.draft()
    assert draft.json()["currency"] == "JPY"
    # The same currency is no change.
    await ok(_patch(organisation.admin, currency="JPY", name="Renamed"))
    await ok(organisation.requester.delete(f"/porfs/{draft.json()['id']}", etag=draft.headers["ETag"]), 204)
    await ok(_patch(organisation.admin, currency="GBP"))


@pytest.mark.parametrize("status", ["draft", "approved", "cancelled", "closed"])
async def test_the_base_currency_stays_once_there_is_a_document(organisation: TestOrganisation, status: str) -> None:
    await organisation.in_status(status)
    assert await _uses(organisation.admin) == ["purchase order requests: 1"]


async def test_a_document_in_another_currency_counts(organisation: TestOrganisation) -> None:
    await organisation.draft(currency="USD")
    assert await _uses(organisation.admin) == ["purchase order requests: 1"]


async def test_all_that_prevents_a_change_of_the_base_currency_is_told(organisation: TestOrganisation) -> None:
    await organisation.ordered()
    await organisation.draft()
    for limit in ("0", "100000"):
        await organisation.member(Role.APPROVER, approval_limit=limit)
    invitation = {"email": "new@company.example", "roles": ["approver"], "approval_limit": "5"}
    await created(organisation.admin.post("/invitations", json=invitation))
    assert await _uses(organisation.admin) == [
        "purchase order requests: 2",
        "purchase orders: 1",
        "approval limits of members: 2",
        "approval limits of open invitations: 1",
    ]


async def test_limits_can_be_taken_away_before_the_base_currency_is_changed(organisation: TestOrganisation) -> None:
    member = await organisation.member(Role.APPROVER, approval_limit="100000")
    invitation = {"email": "new@company.example", "roles": ["approver"], "approval_limit": "5"}
    invited = await created(organisation.admin.post("/invitations", json=invitation))
    path = f"/users/{member.user_id}"
    shown = await ok(organisation.admin.get(path))
    deactivated = await ok(organisation.admin.post(f"{path}/deactivate", etag=shown.headers["ETag"]))
    assert await _uses(organisation.admin) == [
        "approval limits of members: 1",
        "approval limits of open invitations: 1",
    ]
    await ok(organisation.admin.patch(path, etag=deactivated.headers["ETag"], json={"approval_limit": None}))
    revoke = organisation.admin.post(f"/invitations/{invited.json()['id']}/revoke", etag=invited.headers["ETag"])
    assert (await revoke).is_success
    assert (await ok(_patch(organisation.admin, currency="JPY"))).json()["currency"] == "JPY"


async def test_of_a_document_and_another_base_currency_at_once_one_comes_first(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for turn in range(6):
        organisation = await new_organisation(app, client)
        etag = (await ok(organisation.admin.get(PATH))).headers["ETag"]
        both = [organisation.draft(), organisation.admin.patch(PATH, etag=etag, json={"currency": "JPY"})]
        answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
        draft, changed = answers if turn % 2 else answers[::-1]
        assert (changed.status_code, draft.json()["currency"]) in {(200, "JPY"), (409, "GBP")}


# Prefixes


def pointers(problem: dict[str, Any]) -> list[str]:
    return sorted(error["pointer"] for error in problem["errors"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"porf_prefix": "PO"}, ["/porf_prefix"]),
        ({"po_prefix": "PORF"}, ["/po_prefix"]),
        ({"porf_prefix": "PO", "po_prefix": "PORF"}, ["/po_prefix", "/porf_prefix"]),
        ({"porf_prefix": "PO", "po_prefix": "B2"}, ["/porf_prefix"]),
        ({"porf_prefix": "X", "po_prefix": "X"}, ["/po_prefix", "/porf_prefix"]),
    ],
)
async def test_one_prefix_for_both_kinds_is_refused(
    tenant: Tenant, fields: dict[str, str], expected: list[str]
) -> None:
    admin = await tenant.member(Role.ADMIN)
    problem = await refused(_patch(admin, **fields, name="Other"), 422, "prefix_in_use")
    assert pointers(problem) == expected
    now = (await ok(admin.get(PATH))).json()
    assert (now["porf_prefix"], now["po_prefix"], now["name"]) == ("PORF", "PO", "Company")


async def test_earlier_prefixes_of_the_other_kind_are_refused(tenant: Tenant) -> None:
    admin = await tenant.member(Role.ADMIN)
    for prefix in ("A", "B", "PO"):
        await ok(_patch(admin, po_prefix=prefix))
    for prefix in ("A", "B", "PO"):
        assert pointers(await refused(_patch(admin, porf_prefix=prefix), 422, "prefix_in_use")) == ["/porf_prefix"]
    await ok(_patch(admin, porf_prefix="REQ"))
    await refused(_patch(admin, po_prefix="PORF"), 422, "prefix_in_use")
    # Numbers of one kind are in one series: its own earlier prefixes may come back.
    await ok(_patch(admin, porf_prefix="PORF", po_prefix="A"))


async def test_prefixes_of_other_organisations_do_not_matter(tenant: Tenant, app: FastAPI) -> None:
    other = await new_tenant(app, tenant.client)
    await ok(_patch(await other.member(Role.ADMIN), po_prefix="ELSE"))
    await ok(_patch(await tenant.member(Role.ADMIN), porf_prefix="ELSE"))


@pytest.mark.parametrize(
    "prefixes", [{"porf_prefix": "PO"}, {"po_prefix": "PORF"}, dict.fromkeys(["porf_prefix", "po_prefix"], "X")]
)
async def test_an_organisation_is_not_founded_with_one_prefix_for_both(
    stranger: Member, prefixes: dict[str, str]
) -> None:
    problem = await refused(stranger.post("/organisations", json={"name": "Acme", **prefixes}), 422, "prefix_in_use")
    assert pointers(problem) == ["/po_prefix", "/porf_prefix"]
    await created(stranger.post("/organisations", json={"name": "Acme", "porf_prefix": "PO", "po_prefix": "PORF"}))


async def test_an_organisation_that_has_one_prefix_for_both_can_be_corrected(
    tenant: Tenant, owner: asyncpg.Connection
) -> None:
    """Earlier versions allowed it."""
    admin = await tenant.member(Role.ADMIN)
    await owner.execute("UPDATE organisations SET porf_prefix = 'PO' WHERE id = $1", tenant.organisation_id)
    await ok(_patch(admin, name="Other"))
    await ok(_patch(admin, porf_prefix="REQ"))
    await refused(_patch(admin, porf_prefix="PO"), 422, "prefix_in_use")


async def test_only_operators_list_organisations(tenant: Tenant, stranger: Member) -> None:
    for who in (await tenant.member(Role.ADMIN), stranger):
        await refused(who.get("/organisations"), 403, "operators_only")


async def test_operators_see_every_organisation_and_change_none(tenant: Tenant, operator: Member) -> None:
    await tenant.member(name="Ann")
    path = f"/organisations/{tenant.organisation_id}"
    shown = (await ok(operator.get(path, params={"include": "users"}))).json()
    assert [user["name"] for user in shown["users"]] == ["Ann"]
    await refused(operator.get(f"/organisations/{MISSING}"), 404, "organisation_not_found")
    await refused(operator.patch(PATH, etag="*", json={"name": "Mine"}), 403, "no_organisation")


async def _listed(operator: Member, **params: Any) -> set[int]:
    """The ids of all pages."""
    found = [item["id"] for item in await all_items(operator, "/organisations", **{"limit": 100} | params)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("sort", ["name", "-created_at"])
async def test_operators_page_through_all_organisations(
    app: FastAPI, tenant: Tenant, operator: Member, sort: str
) -> None:
    mine = {tenant.organisation_id} | {(await new_tenant(app, tenant.client)).organisation_id for _ in range(3)}
    assert mine <= await _listed(operator, sort=sort)


async def test_active_since_finds_organisations_by_their_members_last_sign_in(
    app: FastAPI, client: httpx.AsyncClient, operator: Member
) -> None:
    active, quiet, empty = [await new_tenant(app, client) for _ in range(3)]
    await active.member()
    sleeper = await quiet.member()
    now = utc_now()
    async with quiet.database.sessions.begin() as session:
        long_ago = now - timedelta(days=40)
        await session.execute(update(User).where(User.id == sleeper.user_id).values(last_login=long_ago))
    companies = {active.organisation_id, quiet.organisation_id, empty.organisation_id}
    recently = await _listed(operator, active_since=(now - timedelta(days=30)).isoformat())
    assert recently & companies == {active.organisation_id}
    longer = await _listed(operator, active_since=(now - timedelta(days=50)).isoformat())
    assert longer & companies == {active.organisation_id, quiet.organisation_id}
    assert companies <= await _listed(operator)


@pytest.mark.parametrize("moment", ["yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"])
async def test_active_since_is_a_time_with_an_offset(operator: Member, moment: str) -> None:
    await refused(operator.get("/organisations", params={"active_since": moment}), 422, "validation_failed")
