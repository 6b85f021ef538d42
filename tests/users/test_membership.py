"""Joining, leaving and being deactivated: what becomes of the account, its sessions and its keys."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role, Scope
from po_api.members.domain import address_digest
from support.organisations import (
    Member,
    Tenant,
    TestOrganisation,
    act,
    created,
    new_member,
    new_tenant,
    ok,
    refused,
    with_new_session,
)
from support.repetition import in_turns


@pytest.fixture
async def admin(tenant: Tenant) -> Member:
    return await tenant.member(Role.ADMIN, name="Ada Admin")


@pytest.fixture
async def person(app: FastAPI, client: httpx.AsyncClient) -> Member:
    """A user without an organisation."""
    return await new_member(app, client, None, [])


async def _invite(admin: Member, person: Member, **rights: Any) -> int:
    invited = await created(admin.post("/invitations", json={"email": person.email, **rights}))
    invitation_id: int = invited.json()["id"]
    return invitation_id


async def _accept(person: Member, invitation_id: int, **body: Any) -> httpx.Response:
    return await person.post(f"/users/me/invitations/{invitation_id}/accept", etag='"1"', json=body)


async def _me(person: Member) -> dict[str, Any]:
    me: dict[str, Any] = (await ok(person.get("/users/me"))).json()
    return me


async def _switch(admin: Member, user_id: int, action: str) -> httpx.Response:
    return await admin.post(f"/users/{user_id}/{action}", etag="*")


async def _key(owner: Member, *scopes: Scope) -> Member:
    key = (await created(owner.post("/api-keys", json={"name": "Script", "scopes": list(scopes)}))).json()["key"]
    return Member(owner.client, owner.user_id, owner.email, key)


# Answering invitations


async def test_an_invited_person_sees_who_invites_them_and_decides(
    tenant: Tenant, admin: Member, person: Member
) -> None:
    invitation_id = await _invite(admin, person, roles=["approver"], approval_limit="500.00")
    (offered,) = (await ok(person.get("/users/me/invitations"))).json()["items"]
    assert offered["organisation"] == {"id": tenant.organisation_id, "name": "Company"}
    assert (offered["id"], offered["invited_by"]) == (invitation_id, "Ada Admin")
    assert (offered["roles"], offered["approval_limit"]) == (["approver"], "500.00")
    joined = (await ok(_accept(person, invitation_id))).json()
    assert joined == await _me(person)
    assert (joined["organisation_id"], joined["roles"], joined["approval_limit"]) == (
        tenant.organisation_id,
        ["approver"],
        "500.00",
    )
    assert (await ok(admin.get(f"/invitations/{invitation_id}"))).json()["status"] == "accepted"
    assert (await ok(person.get("/users/me/invitations"))).json()["items"] == []
    await ok(person.get("/porfs"))


async def test_an_admin_cannot_take_a_person_in_against_their_will(admin: Member, person: Member) -> None:
    """Case I3."""
    await refused(admin.request("POST", "/users", json={"email": person.email, "name": "N"}), 405, "method_not_allowed")
    invitation_id = await _invite(admin, person)
    assert (await _me(person))["organisation_id"] is None
    await refused(_switch(admin, person.user_id, "deactivate"), 404, "user_not_found")
    await ok(person.post(f"/users/me/invitations/{invitation_id}/decline", etag='"1"'), 204)
    assert (await _me(person))["organisation_id"] is None
    assert (await ok(admin.get(f"/invitations/{invitation_id}"))).json()["status"] == "declined"
    await refused(_accept(person, invitation_id), 404, "invitation_not_found")


async def test_an_invitation_is_only_for_its_address(admin: Member, person: Member, stranger: Member) -> None:
    invitation_id = await _invite(admin, person)
    await refused(_accept(stranger, invitation_id), 404, "invitation_not_found")
    declining = stranger.post(f"/users/me/invitations/{invitation_id}/decline", etag='"1"')
    await refused(declining, 404, "invitation_not_found")
    assert (await ok(stranger.get("/users/me/invitations"))).json()["items"] == []


async def test_answers_require_the_version_that_was_read_and_can_be_tried(admin: Member, person: Member) -> None:
    invitation_id = await _invite(admin, person)
    path = f"/users/me/invitations/{invitation_id}"
    for answer in ("accept", "decline"):
        await refused(person.post(f"{path}/{answer}"), 428, "if_match_required")
        await refused(person.post(f"{path}/{answer}", etag='"9"'), 412, "stale_version")
    tried = await ok(person.post(f"{path}/accept", etag='"1"', params={"dry_run": "true"}))
    assert tried.json()["roles"] == ["requester"]
    assert (await _me(person))["organisation_id"] is None


async def test_a_repeated_acceptance_gets_the_stored_response(admin: Member, person: Member) -> None:
    path = f"/users/me/invitations/{await _invite(admin, person)}/accept"
    key = {"Idempotency-Key": "accept-once"}
    first, second = [await ok(person.post(path, etag='"1"', headers=key)) for _ in range(2)]
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_a_member_of_another_organisation_has_to_say_that_they_leave(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    elsewhere = await new_tenant(app, client)
    boss, member = await elsewhere.member(Role.ADMIN), await elsewhere.member(Role.BUYER)
    key = await _key(member, Scope.PORFS_READ)
    invitation_id = await _invite(admin, member, roles=["approver"])
    problem = await refused(_accept(member, invitation_id), 409, "already_member")
    assert "leave" in problem["detail"]
    joined = (await ok(_accept(member, invitation_id, leave=True))).json()
    assert (joined["organisation_id"], joined["roles"]) == (tenant.organisation_id, ["approver"])
    former = (await ok(boss.get(f"/users/{member.user_id}"))).json()
    assert (former["is_active"], former["roles"]) == (False, ["buyer"])
    assert former["left_at"] is not None
    await refused(key.get("/porfs"), 401, "unauthenticated")


async def test_the_last_admin_cannot_leave_for_another_organisation(
    app: FastAPI, client: httpx.AsyncClient, admin: Member
) -> None:
    other = await (await new_tenant(app, client)).member(Role.ADMIN)
    invitation_id = await _invite(other, admin)
    await refused(_accept(admin, invitation_id, leave=True), 409, "last_admin")
    assert (await ok(admin.get("/users/me/invitations"))).json()["items"] != []


# Leaving


async def test_a_member_leaves_and_their_documents_stay(organisation: TestOrganisation) -> None:
    porf = await organisation.pending()
    requester = organisation.requester
    key = await _key(requester, Scope.PORFS_READ)
    etag = (await ok(requester.get("/users/me"))).headers["ETag"]
    left = (await ok(requester.post("/users/me/leave", etag=etag))).json()
    assert (left["organisation_id"], left["roles"]) == (None, [])
    await refused(requester.get("/porfs"), 403, "no_organisation")
    await refused(key.get("/porfs"), 401, "unauthenticated")
    shown = (await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}"))).json()
    assert shown["requester_name"] == "Rosa Requester"
    approved = await act(organisation.approver, porf, "approve")
    assert approved.json()["status"] == "approved"


async def test_leaving_can_be_tried_and_needs_the_version(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member()
    await refused(member.post("/users/me/leave"), 428, "if_match_required")
    await refused(member.post("/users/me/leave", etag='"9"'), 412, "stale_version")
    tried = await ok(member.post("/users/me/leave", etag='"1"', params={"dry_run": "true"}))
    assert tried.json()["organisation_id"] is None
    assert (await _me(member))["organisation_id"] == tenant.organisation_id


async def test_the_last_admin_cannot_leave(tenant: Tenant, admin: Member) -> None:
    await tenant.member(Role.BUYER)
    await refused(admin.post("/users/me/leave", etag="*"), 409, "last_admin")


async def test_coming_back_gives_the_rights_of_the_new_invitation(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.ADMIN, approval_limit="1000")
    before = (await ok(admin.get(f"/users/{member.user_id}"))).json()
    await ok(member.post("/users/me/leave", etag="*"))
    await refused(_switch(admin, member.user_id, "activate"), 409, "invitation_required")
    back = (await ok(_accept(member, await _invite(admin, member, roles=["buyer"], approval_limit="5")))).json()
    assert (back["id"], back["roles"], back["approval_limit"]) == (member.user_id, ["buyer"], "5")
    shown = (await ok(admin.get(f"/users/{member.user_id}"))).json()
    assert (shown["is_active"], shown["left_at"]) == (True, None)
    assert shown["version"] > before["version"]


# Deactivating


async def test_a_deactivated_member_keeps_the_account_and_is_in_no_organisation(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    member = await tenant.member(Role.BUYER)
    key = await _key(member, Scope.PORFS_READ)
    await ok(_switch(admin, member.user_id, "deactivate"))
    await refused(member.get("/users/me"), 401, "unauthenticated")
    await refused(key.get("/porfs"), 401, "unauthenticated")
    member = await with_new_session(tenant.app, member)
    assert (await _me(member))["organisation_id"] is None
    founded = await created(member.post("/organisations", json={"name": "Founded"}))
    assert (await _me(member))["organisation_id"] == founded.json()["id"]


async def test_a_member_who_is_elsewhere_is_neither_touched_nor_taken_back(tenant: Tenant, admin: Member) -> None:
    """An admin's switch is about their own organisation only, and tells nothing about others."""
    member = await tenant.member(Role.BUYER)
    await ok(_switch(admin, member.user_id, "deactivate"))
    member = await with_new_session(tenant.app, member)
    await created(member.post("/organisations", json={"name": "Founded"}))
    await refused(_switch(admin, member.user_id, "activate"), 409, "invitation_required")
    await ok(_switch(admin, member.user_id, "deactivate"))
    assert (await _me(member))["organisation_id"] is not None


@pytest.mark.parametrize("role", [Role.REQUESTER, Role.ADMIN])
async def test_no_credentials_of_before_a_deactivation_come_back(tenant: Tenant, admin: Member, role: Role) -> None:
    """Case I4: with the deactivation everything ends for good, also what was begun before it."""
    member = await tenant.member(role)
    key = await _key(member, Scope.PORFS_READ)
    await ok(_switch(admin, member.user_id, "deactivate"))
    await ok(_switch(admin, member.user_id, "activate"))
    await refused(member.get("/users/me"), 401, "unauthenticated")
    await refused(key.get("/porfs"), 401, "unauthenticated")
    assert (await _me(await with_new_session(tenant.app, member)))["organisation_id"] == tenant.organisation_id


# Rights


async def test_nobody_changes_their_own_rights(tenant: Tenant, admin: Member) -> None:
    """Case A2."""
    await tenant.member(Role.ADMIN)
    path = f"/users/{admin.user_id}"
    for rights in ({"roles": ["admin", "approver"]}, {"approval_limit": "1000000"}, {"roles": ["buyer"]}):
        await refused(admin.patch(path, etag="*", json=rights), 403, "own_rights")
    await ok(admin.patch(path, etag="*", json={"name": "Ada", "roles": ["admin"], "approval_limit": None}))


async def test_the_only_active_member_changes_their_own_rights(tenant: Tenant, admin: Member) -> None:
    gone = await tenant.member(Role.BUYER)
    await ok(_switch(admin, gone.user_id, "deactivate"))
    path = f"/users/{admin.user_id}"
    changed = (
        await ok(admin.patch(path, etag="*", json={"roles": ["admin", "approver"], "approval_limit": "5"}))
    ).json()
    assert (changed["roles"], changed["approval_limit"]) == (["admin", "approver"], "5")


async def test_rights_and_sign_ins_of_others_are_for_admins_and_auditors(tenant: Tenant, admin: Member) -> None:
    """Case I5."""
    approver = await tenant.member(Role.APPROVER, approval_limit="500")
    private = {"approval_limit", "last_login"}
    for role in Role:
        reader = await tenant.member(role)
        sees = role in {Role.ADMIN, Role.AUDITOR}
        shown = (await ok(reader.get(f"/users/{approver.user_id}"))).json()
        assert private <= shown.keys() if sees else not private & shown.keys()
        assert shown["roles"] == ["approver"]
        items = (await ok(reader.get("/users"))).json()["items"]
        included = (await ok(reader.get(f"/organisations/{tenant.organisation_id}?include=users"))).json()["users"]
        for item in [*items, *included]:
            assert bool(private & item.keys()) == (sees or item["id"] == reader.user_id)


async def test_the_founder_has_every_role_but_the_auditors(person: Member) -> None:
    await created(person.post("/organisations", json={"name": "Founded"}))
    assert (await _me(person))["roles"] == ["admin", "approver", "buyer", "requester"]


async def test_a_key_of_another_organisation_is_not_valid(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.BUYER)
    key = await _key(member, Scope.PORFS_READ)
    await ok(member.post("/users/me/leave", etag="*"))
    await created(member.post("/organisations", json={"name": "Founded"}))
    await refused(key.get("/porfs"), 401, "unauthenticated")
    listed = (await ok(admin.get("/api-keys"))).json()["items"]
    assert listed == []


async def test_a_stored_response_is_only_given_inside_its_organisation(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    member = await tenant.member()
    once = {"headers": {"Idempotency-Key": "same"}, "json": {"title": "Lamps"}}
    first = (await created(member.post("/porfs", **once))).json()
    await ok(member.post("/users/me/leave", etag="*"))
    await created(member.post("/organisations", json={"name": "Founded"}))
    second = await created(member.post("/porfs", **once))
    assert "Idempotent-Replayed" not in second.headers
    assert second.json()["id"] != first["id"]


# Races


@pytest.mark.heavy
@in_turns
async def test_an_acceptance_races_with_a_revocation(admin: Member, person: Member, turn: int) -> None:
    invitation_id = await _invite(admin, person)
    accepted, revoked = await asyncio.gather(
        _accept(person, invitation_id), admin.post(f"/invitations/{invitation_id}/revoke", etag='"1"')
    )
    has_joined = (await _me(person))["organisation_id"] is not None
    assert (accepted.status_code == 200) == has_joined
    assert (revoked.status_code == 200) != has_joined
    status = (await ok(admin.get(f"/invitations/{invitation_id}"))).json()["status"]
    assert status == ("accepted" if has_joined else "revoked")


@pytest.mark.heavy
@in_turns
async def test_two_acceptances_at_once_lead_to_one_organisation(
    app: FastAPI, client: httpx.AsyncClient, admin: Member, person: Member, turn: int
) -> None:
    other = await (await new_tenant(app, client)).member(Role.ADMIN)
    ids = [await _invite(admin, person), await _invite(other, person)]
    answers = await asyncio.gather(*(_accept(person, invitation_id) for invitation_id in ids))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (joined,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await _me(person))["organisation_id"] == joined["organisation_id"]


@pytest.mark.heavy
@in_turns
async def test_leaving_races_with_the_demotion_of_the_other_admin(tenant: Tenant, admin: Member, turn: int) -> None:
    other = await tenant.member(Role.ADMIN)
    await asyncio.gather(
        other.post("/users/me/leave", etag="*"),
        other.patch(f"/users/{admin.user_id}", etag="*", json={"roles": ["buyer"]}),
        admin.patch(f"/users/{other.user_id}", etag="*", json={"roles": ["buyer"]}),
    )
    auditor = await tenant.member(Role.AUDITOR)
    left = (await ok(auditor.get("/users", params={"role": "admin", "is_active": "true"}))).json()["items"]
    assert left


@pytest.mark.heavy
@in_turns
async def test_a_change_of_role_races_with_an_approval(organisation: TestOrganisation, turn: int) -> None:
    porf = await organisation.pending()
    path = f"/porfs/{porf.json()['id']}/approve"
    approver = organisation.approver
    approved, demoted = await asyncio.gather(
        approver.post(path, etag=porf.headers["ETag"]),
        organisation.admin.patch(f"/users/{approver.user_id}", etag="*", json={"roles": ["requester"]}),
    )
    assert demoted.status_code == 200
    assert approved.status_code in {200, 403}
    status = (await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}"))).json()["status"]
    assert status == ("approved" if approved.status_code == 200 else "pending")


# What is left of an admin


@pytest.mark.parametrize("end", ["demoted", "deactivated", "left"])
async def test_open_invitations_of_a_former_admin_are_revoked(
    tenant: Tenant, admin: Member, person: Member, end: str
) -> None:
    """Otherwise they could come back by another account of theirs."""
    other = await tenant.member(Role.ADMIN)
    invitation_id = await _invite(other, person, roles=["admin"])
    match end:
        case "demoted":
            await ok(admin.patch(f"/users/{other.user_id}", etag="*", json={"roles": ["buyer"]}))
        case "deactivated":
            await ok(_switch(admin, other.user_id, "deactivate"))
        case "left":
            await ok(other.post("/users/me/leave", etag="*"))
    assert (await ok(admin.get(f"/invitations/{invitation_id}"))).json()["status"] == "revoked"
    await refused(_accept(person, invitation_id), 404, "invitation_not_found")


async def test_a_member_who_has_been_elsewhere_is_not_taken_back(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.BUYER)
    await ok(_switch(admin, member.user_id, "deactivate"))
    member = await with_new_session(tenant.app, member)
    await created(member.post("/organisations", json={"name": "Founded"}))
    colleague = await new_member(tenant.app, tenant.client, (await _me(member))["organisation_id"], [Role.ADMIN])
    await ok(member.post("/users/me/leave", etag="*"))
    for _ in range(2):
        await refused(_switch(admin, member.user_id, "activate"), 409, "invitation_required")
        await ok(_switch(admin, member.user_id, "deactivate"))
    assert (await _me(member))["organisation_id"] is None
    assert (await _me(colleague))["organisation_id"] is not None


_A_HUNDRED_INVITATIONS = """
    WITH o AS (INSERT INTO organisations (name) SELECT 'Other' FROM generate_series(1, 100) RETURNING id),
    m AS (
        INSERT INTO members (organisation_id, user_id, email, roles, is_active, joined_at)
        SELECT id, $1, 'inviting@other.example', '{admin}', false, now() FROM o RETURNING organisation_id
    ),
    i AS (
        INSERT INTO invitations (organisation_id, email, roles, invited_by_id, expires_at)
        SELECT organisation_id, $2, '{requester}', $1, now() + interval '1 day' FROM m RETURNING organisation_id, id
    )
    INSERT INTO invitation_addresses (organisation_id, invitation_id, digest) SELECT organisation_id, id, $3 FROM i
"""


async def test_an_invitation_beyond_the_listed_ones_can_be_answered(
    admin: Member, person: Member, stranger: Member, owner: asyncpg.Connection
) -> None:
    first = await _invite(admin, person)
    await owner.execute(_A_HUNDRED_INVITATIONS, stranger.user_id, person.email, address_digest(person.email))
    offered = (await ok(person.get("/users/me/invitations"))).json()["items"]
    assert len(offered) == 100
    assert first not in [item["id"] for item in offered]
    await ok(_accept(person, first))
