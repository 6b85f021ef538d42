"""Users: invited, found, changed, deactivated; an organisation always keeps an administrator."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from po_api.audit.events import AuditEvent
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.users.service import UserService
from support.organisations import (
    Member,
    Tenant,
    TestOrganisation,
    act,
    new_member,
    new_organisation,
    ok,
    refused,
)
from support.pages import all_items
from support.repetition import in_turns

MISSING = 8_000_000_000_000_000_000


@pytest.fixture
async def admin(tenant: Tenant) -> Member:
    """The tenant's only administrator."""
    return await tenant.member(Role.ADMIN, name="Ada Admin")


async def _patch(who: Member, user_id: int, **fields: Any) -> httpx.Response:
    shown = await ok(who.get(f"/users/{user_id}"))
    return await who.patch(f"/users/{user_id}", etag=shown.headers["ETag"], json=fields)


async def _switch(who: Member, user_id: int, action: str, **options: Any) -> httpx.Response:
    shown = await ok(who.get(f"/users/{user_id}"))
    return await who.post(f"/users/{user_id}/{action}", etag=shown.headers["ETag"], **options)


async def test_me_is_the_signed_in_user(tenant: Tenant) -> None:
    member = await tenant.member(Role.APPROVER, approval_limit="500", name="Amir")
    response = await ok(member.get("/users/me"))
    me = response.json()
    assert (me["id"], me["email"], me["name"]) == (member.user_id, member.email, "Amir")
    assert (me["roles"], me["approval_limit"], me["is_operator"]) == (["approver"], "500", False)
    assert me["organisation_id"] == tenant.organisation_id
    assert response.headers["ETag"].startswith('"1-')


async def test_me_works_without_an_organisation_and_members_do_not(stranger: Member) -> None:
    assert (await ok(stranger.get("/users/me"))).json()["organisation_id"] is None
    for path in ("/users", f"/users/{stranger.user_id}"):
        await refused(stranger.get(path), 403, "no_organisation")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_admins_change_others(tenant: Tenant, admin: Member, role: Role) -> None:
    member = await tenant.member(role)
    await refused(_patch(member, admin.user_id, name="Other"), 403, "missing_role")
    await refused(_patch(member, member.user_id, roles=["admin"]), 403, "missing_role")
    await refused(_patch(member, member.user_id, name="Me", approval_limit=None), 403, "missing_role")
    await refused(_switch(member, admin.user_id, "deactivate"), 403, "missing_role")
    await refused(_switch(member, admin.user_id, "activate"), 403, "missing_role")


async def test_every_member_may_change_their_own_name(tenant: Tenant) -> None:
    member = await tenant.member()
    response = await ok(_patch(member, member.user_id, name="  Zoe\u0308 New "))
    assert response.json()["name"] == "Zo\u00eb New"
    assert response.json()["version"] == 2


@pytest.mark.parametrize(
    "field",
    ["id", "organisation_id", "email", "is_active", "is_operator", "version", "google_id", "last_login", "created_at"],
)
async def test_columns_that_cannot_be_written_are_unknown_fields(admin: Member, field: str) -> None:
    problem = await refused(_patch(admin, admin.user_id, **{field: 1}), 422, "validation_failed")
    assert [error["code"] for error in problem["errors"]] == ["unknown_field"]


async def test_a_patch_changes_what_it_names_and_null_removes_a_limit(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.APPROVER, approval_limit="100")
    changed = (await ok(_patch(admin, member.user_id, roles=["buyer"]))).json()
    assert (changed["roles"], changed["approval_limit"], changed["version"]) == (["buyer"], "100", 2)
    changed = (await ok(_patch(admin, member.user_id, approval_limit=None))).json()
    assert (changed["roles"], changed["approval_limit"], changed["version"]) == (["buyer"], None, 3)
    changed = (await ok(_patch(admin, member.user_id, approval_limit="0"))).json()
    assert changed["approval_limit"] == "0"
    for field in ("name", "roles"):
        await refused(_patch(admin, member.user_id, **{field: None}), 422, "validation_failed")


async def test_a_patch_that_changes_nothing_makes_no_version(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.BUYER)
    assert (await ok(_patch(admin, member.user_id, roles=["buyer"]))).json()["version"] == 1
    assert (await ok(_patch(admin, member.user_id))).json()["version"] == 1


async def test_a_change_requires_the_current_version(tenant: Tenant, admin: Member) -> None:
    path = f"/users/{(await tenant.member()).user_id}"
    etag = (await ok(admin.get(path))).headers["ETag"]
    await refused(admin.patch(path, json={"name": "New"}), 428, "if_match_required")
    await ok(admin.patch(path, etag=etag, json={"name": "New"}))
    await refused(admin.patch(path, etag=etag, json={"name": "Newer"}), 412, "stale_version")
    await refused(admin.post(f"{path}/deactivate", etag=etag), 412, "stale_version")
    await refused(admin.post(f"{path}/deactivate"), 428, "if_match_required")


async def test_the_last_admin_stays(admin: Member, tenant: Tenant) -> None:
    await refused(_patch(admin, admin.user_id, roles=["buyer"]), 409, "last_admin")
    await tenant.member(Role.BUYER)
    await refused(_switch(admin, admin.user_id, "deactivate"), 409, "last_admin")
    assert (await ok(admin.get("/users/me"))).json()["roles"] == ["admin"]


async def test_an_inactive_admin_does_not_count_as_one(admin: Member, tenant: Tenant) -> None:
    other = await tenant.member(Role.ADMIN)
    await ok(_switch(admin, other.user_id, "deactivate"))
    await refused(_switch(admin, admin.user_id, "deactivate"), 409, "last_admin")
    await ok(_switch(admin, other.user_id, "activate"))
    await ok(_switch(admin, admin.user_id, "deactivate"))


@in_turns
async def test_two_admins_who_demote_each_other_leave_one(tenant: Tenant, admin: Member, turn: int) -> None:
    other = await tenant.member(Role.ADMIN)
    roles = {"json": {"roles": ["buyer"]}}
    responses = await asyncio.gather(
        admin.patch(f"/users/{other.user_id}", etag='"1"', **roles),
        other.patch(f"/users/{admin.user_id}", etag='"1"', **roles),
    )
    assert sorted(response.status_code for response in responses) in ([200, 403], [200, 409])
    left = await ok(admin.get("/users", params={"role": "admin", "is_active": "true"}))
    assert len(left.json()["items"]) == 1


@pytest.mark.heavy
async def test_many_admins_who_deactivate_each_other_leave_one(tenant: Tenant, admin: Member) -> None:
    admins = [admin, *[await tenant.member(Role.ADMIN) for _ in range(3)]]
    auditor = await tenant.member(Role.AUDITOR)
    await asyncio.gather(
        *(
            who.post(f"/users/{whom.user_id}/deactivate", etag="*")
            for who, whom in zip(admins, [*admins[1:], admins[0]], strict=True)
        )
    )
    left = await ok(auditor.get("/users", params={"role": "admin", "is_active": "true"}))
    assert left.json()["items"]


async def test_a_deactivated_member_can_be_reactivated(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member()
    gone = (await ok(_switch(admin, member.user_id, "deactivate"))).json()
    assert (gone["is_active"], gone["version"]) == (False, 2)
    await refused(member.get("/users/me"), 401, "unauthenticated")
    again = (await ok(_switch(admin, member.user_id, "activate"))).json()
    assert (again["is_active"], again["version"]) == (True, 3)


async def test_deactivating_twice_changes_nothing_more(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member()
    first = await ok(_switch(admin, member.user_id, "deactivate"))
    second = await ok(_switch(admin, member.user_id, "deactivate"))
    assert second.json()["version"] == first.json()["version"]


async def test_a_dry_run_of_a_deactivation_shows_and_changes_nothing(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member()
    shown = await ok(_switch(admin, member.user_id, "deactivate", params={"dry_run": "true"}))
    assert shown.json()["is_active"] is False
    assert (await ok(member.get("/users/me"))).json()["version"] == 1


async def test_deactivating_the_last_approver_warns_of_pending_requests(organisation: TestOrganisation) -> None:
    """Case 23."""
    pending, other = await organisation.pending(), await organisation.pending(title="Other")
    await organisation.draft(title="Not submitted")
    response = await ok(_switch(organisation.admin, organisation.approver.user_id, "deactivate"))
    (warning,) = response.json()["warnings"]
    assert warning["code"] == "no_approver_left"
    expected = [{"id": item.json()["id"], "number": item.json()["number"]} for item in (pending, other)]
    assert warning["porfs"] == expected
    shown = await ok(organisation.admin.get(f"/users/{organisation.approver.user_id}"))
    assert shown.json()["warnings"] == []


async def test_a_lower_limit_or_another_role_warns_too(app: FastAPI, client: httpx.AsyncClient) -> None:
    for fields in ({"approval_limit": "10"}, {"roles": ["buyer"]}):
        organisation = await new_organisation(app, client)
        pending = await organisation.pending()
        response = await ok(_patch(organisation.admin, organisation.approver.user_id, **fields))
        (warning,) = response.json()["warnings"]
        assert [item["id"] for item in warning["porfs"]] == [pending.json()["id"]]


async def test_no_warning_while_a_member_may_approve(organisation: TestOrganisation) -> None:
    await organisation.pending()
    await organisation.member(Role.APPROVER, approval_limit="1000000")
    response = await ok(_switch(organisation.admin, organisation.approver.user_id, "deactivate"))
    assert response.json()["warnings"] == []


async def test_requests_of_a_deactivated_requester_can_be_completed(organisation: TestOrganisation) -> None:
    """Case 22."""
    pending = await organisation.pending()
    await ok(_switch(organisation.admin, organisation.requester.user_id, "deactivate"))
    approved = await act(organisation.approver, pending, "approve")
    successor = await organisation.member()
    taken = await act(organisation.admin, approved, "reassign", requester_id=successor.user_id)
    assert taken.json()["requester_id"] == successor.user_id
    await ok(successor.get(f"/porfs/{taken.json()['id']}"))


async def test_the_list_is_filtered_and_searched(tenant: Tenant, admin: Member) -> None:
    ada = await tenant.member(Role.BUYER, Role.APPROVER, name="Ada 100% Lovelace")
    bob = await tenant.member(Role.REQUESTER, name="Bob_Builder")
    await ok(_switch(admin, bob.user_id, "deactivate"))

    async def found(**params: Any) -> set[int]:
        return {item["id"] for item in (await ok(admin.get("/users", params=params))).json()["items"]}

    assert await found() == {admin.user_id, ada.user_id, bob.user_id}
    assert await found(role="buyer") == {ada.user_id}
    assert await found(role=["buyer", "requester"]) == {ada.user_id, bob.user_id}
    assert await found(is_active="false") == {bob.user_id}
    assert await found(is_active="true", role="requester") == set()
    assert await found(email=ada.email.upper()) == {ada.user_id}
    assert await found(q="lovelace") == {ada.user_id}
    assert await found(q="100%") == {ada.user_id}
    assert await found(q="b_b") == {bob.user_id}
    assert await found(q="%") == {ada.user_id}
    assert await found(q=bob.email) == {bob.user_id}
    await refused(admin.get("/users", params={"role": "king"}), 422, "validation_failed")
    await refused(admin.get("/users", params={"rôle": "x"}), 400, "unknown_parameter")


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at", "name,-created_at"])
async def test_pages_show_every_member_once(tenant: Tenant, admin: Member, sort: str) -> None:
    for _ in range(6):
        await tenant.member(name="Same Name")
    seen = [item["id"] for item in await all_items(admin, "/users", limit="3", sort=sort)]
    assert len(seen) == len(set(seen)) == 7


async def test_a_cursor_belongs_to_its_sort_and_filters(tenant: Tenant, admin: Member) -> None:
    await tenant.member()
    cursor = (await ok(admin.get("/users", params={"limit": 1}))).json()["next_cursor"]
    for params in ({"sort": "-created_at"}, {"is_active": "true"}, {"q": "user"}):
        await refused(admin.get("/users", params={"cursor": cursor} | params), 400, "invalid_cursor")
    await refused(admin.get("/suppliers", params={"cursor": cursor}), 400, "invalid_cursor")
    await refused(admin.get("/users", params={"sort": "email"}), 400, "invalid_sort")


async def test_a_missing_member_is_not_found(admin: Member) -> None:
    for path in (f"/users/{MISSING}", f"/users/{2**63 - 1}"):
        await refused(admin.get(path), 404, "user_not_found")
    await refused(admin.get("/users/0"), 422, "validation_failed")
    await refused(admin.get(f"/users/{2**63}"), 422, "validation_failed")


async def test_changes_are_on_record_with_what_they_changed(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.APPROVER, approval_limit="10")
    await ok(_patch(admin, member.user_id, approval_limit="25.5", name="New"))
    await ok(_switch(admin, member.user_id, "deactivate"))
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        statement = (
            select(AuditEvent)
            .where(AuditEvent.entity == "user", AuditEvent.entity_id == member.user_id)
            .order_by(AuditEvent.id)
        )
        events = (await session.scalars(statement)).all()
    assert [event.action for event in events] == ["user.create", "user.update", "user.deactivate"]
    assert events[1].actor_id == admin.user_id
    assert events[1].after == {"approval_limit": "25.5", "name": "New"}
    assert events[1].before is not None
    assert events[1].before["approval_limit"] == "10"
    assert (events[2].before, events[2].after) == ({"is_active": True}, {"is_active": False})


async def test_an_operator_has_no_right_inside_an_organisation(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    operator = await new_member(app, client, None, [Role.ADMIN], is_operator=True)
    await refused(operator.get(f"/users/{admin.user_id}"), 403, "no_organisation")
    insider = await new_member(app, client, tenant.organisation_id, [Role.REQUESTER], is_operator=True)
    await refused(_patch(insider, admin.user_id, name="X"), 403, "missing_role")


async def test_users_are_found_by_address_in_any_spelling(tenant: Tenant, admin: Member) -> None:
    async with tenant.database.sessions() as session:
        assert (await UserService(session).by_email(f" {admin.email.upper()} ")).id == admin.user_id


async def test_sessions_end_for_good_when_their_user_is_deactivated(organisation: TestOrganisation) -> None:
    path = f"/users/{organisation.requester.user_id}"
    before = await ok(organisation.admin.get(path))
    inactive = await ok(organisation.admin.post(f"{path}/deactivate", etag=before.headers["ETag"]))
    await refused(organisation.requester.get("/users/me"), 401, "unauthenticated")
    await ok(organisation.admin.post(f"{path}/activate", etag=inactive.headers["ETag"]))
    await refused(organisation.requester.get("/users/me"), 401, "unauthenticated")


@pytest.mark.heavy
async def test_a_decision_and_a_deactivation_at_once_never_block_each_other(organisation: TestOrganisation) -> None:
    for _ in range(5):
        approver = await organisation.member(Role.APPROVER)
        porf = await organisation.pending()
        before = await ok(organisation.admin.get(f"/users/{approver.user_id}"))
        path = f"/porfs/{porf.json()['id']}/approve"
        decision, deactivation = await asyncio.gather(
            approver.post(path, etag=porf.headers["ETag"]),
            organisation.admin.post(f"/users/{approver.user_id}/deactivate", etag=before.headers["ETag"]),
        )
        assert deactivation.status_code == 200, deactivation.text
        assert decision.status_code in {200, 401, 403}, decision.text
