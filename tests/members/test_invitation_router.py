"""Invitations: sent, listed and revoked by admins, who learn nothing about the person."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from po_api.audit.events import AuditEvent
from po_api.core.clock import utc_now
from po_api.core.permissions import Role, Scope
from po_api.db.database import enter_tenant
from support.organisations import Member, Tenant, created, new_member, new_tenant, ok, refused
from support.pages import all_items
from support.statements import sent_to

MISSING = 8_000_000_000_000_000_000


@pytest.fixture
async def admin(tenant: Tenant) -> Member:
    return await tenant.member(Role.ADMIN, name="Ada Admin")


def _address(member: Member, prefix: str = "new") -> str:
    """An address that no other test uses."""
    return f"{prefix}-{member.email}"


async def _invite(admin: Member, email: str, **fields: Any) -> dict[str, Any]:
    invitation: dict[str, Any] = (await created(admin.post("/invitations", json={"email": email, **fields}))).json()
    return invitation


async def test_an_admin_invites_by_address(tenant: Tenant, admin: Member) -> None:
    body = {"email": _address(admin).upper(), "roles": ["buyer", "approver", "buyer"], "approval_limit": "12.5"}
    response = await created(admin.post("/invitations", json=body))
    invitation = response.json()
    assert response.headers["Location"] == f"/api/v1/invitations/{invitation['id']}"
    assert invitation["email"] == _address(admin)
    assert (invitation["roles"], invitation["approval_limit"]) == (["approver", "buyer"], "12.5")
    assert invitation["invited_by"] == {"id": admin.user_id, "name": "Ada Admin"}
    assert (invitation["status"], invitation["version"]) == ("open", 1)
    shown = await ok(admin.get(f"/invitations/{invitation['id']}"))
    assert shown.json() == invitation
    assert shown.headers["ETag"] == response.headers["ETag"]
    # Inviting makes no member.
    assert [item["id"] for item in await all_items(admin, "/users")] == [admin.user_id]


async def test_an_invited_person_is_a_requester_without_a_limit_by_default(admin: Member) -> None:
    invitation = await _invite(admin, _address(admin))
    assert (invitation["roles"], invitation["approval_limit"]) == (["requester"], None)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_admins_see_and_send_invitations(tenant: Tenant, admin: Member, role: Role) -> None:
    invitation = await _invite(admin, _address(admin))
    member = await tenant.member(role)
    path = f"/invitations/{invitation['id']}"
    await refused(member.post("/invitations", json={"email": _address(member)}), 403, "missing_role")
    await refused(member.get("/invitations"), 403, "missing_role")
    await refused(member.get(path), 403, "missing_role")
    await refused(member.post(f"{path}/revoke", etag="*"), 403, "missing_role")


async def test_the_answer_is_the_same_whether_there_is_an_account_or_not(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    """Known and unknown people, members of other organisations, operators, deactivated users, former members."""
    elsewhere = await new_tenant(app, client)
    others = [
        await elsewhere.member(Role.ADMIN),
        await new_member(app, client, None, []),
        await new_member(app, client, None, [], is_operator=True),
    ]
    varying = {"id", "email", "created_at", "updated_at", "expires_at"}
    varying_headers = {"x-request-id", "ratelimit", "etag", "location", "content-length"}
    answers = []
    for email in (_address(admin, "unknown"), *(other.email for other in others)):
        response = await created(admin.post("/invitations", json={"email": email}))
        body = {name: value for name, value in response.json().items() if name not in varying}
        headers = {name: value for name, value in response.headers.items() if name not in varying_headers}
        answers.append((body, headers, [*response.json()]))
    assert all(answer == answers[0] for answer in answers)
    # Nobody has been moved.
    assert (await ok(others[0].get("/users/me"))).json()["organisation_id"] == elsewhere.organisation_id
    assert (await ok(others[1].get("/users/me"))).json()["organisation_id"] is None


async def test_the_statements_are_the_same_whether_there_is_an_account_or_not(
    app: FastAPI, client: httpx.AsyncClient, admin: Member
) -> None:
    """Equal statements, none of which reads accounts: so there is nothing to be learnt by time, either."""
    stranger = await new_member(app, client, None, [])
    await ok(admin.get("/users/me"))  # the first request of a session writes when it was
    seen = []
    for email in (_address(admin, "unknown"), stranger.email):
        async with sent_to(app.state.database) as sent:
            await _invite(admin, email)
        seen.append([trip.sql for trip in sent])
    assert seen[0] == seen[1]
    assert not [sql for sql in seen[0] if "FROM users" in sql]


async def test_two_organisations_invite_one_address(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    other = await (await new_tenant(app, client)).member(Role.ADMIN)
    person = await new_member(app, client, None, [])
    first, second = await _invite(admin, person.email), await _invite(other, person.email, roles=["buyer"])
    for mine, theirs, who in ((first, second, admin), (second, first, other)):
        assert [item["id"] for item in await all_items(who, "/invitations")] == [mine["id"]]
        await refused(who.get(f"/invitations/{theirs['id']}"), 404, "invitation_not_found")
        await refused(who.post(f"/invitations/{theirs['id']}/revoke", etag="*"), 404, "invitation_not_found")
    offered = (await ok(person.get("/users/me/invitations"))).json()["items"]
    assert {item["id"] for item in offered} == {first["id"], second["id"]}
    await ok(person.post(f"/users/me/invitations/{second['id']}/accept", etag='"1"'))
    # The other organisation sees an invitation that is still open.
    assert (await ok(admin.get(f"/invitations/{first['id']}"))).json() == first


SPELLINGS = [
    ("case", "Ada.Lovelace-{}@Example.COM", "ada.lovelace-{}@example.com"),
    ("composition", "zoe\u0308-{}@example.com", "zoë-{}@example.com"),
    ("white space", "  spaced-{}@example.com ", "spaced-{}@example.com"),
]


@pytest.mark.parametrize(("first", "second"), [item[1:] for item in SPELLINGS], ids=[item[0] for item in SPELLINGS])
async def test_inviting_an_address_again_revokes_the_open_invitation(admin: Member, first: str, second: str) -> None:
    earlier = await _invite(admin, first.format(admin.user_id))
    later = await _invite(admin, second.format(admin.user_id), roles=["buyer"])
    assert later["email"] == earlier["email"]
    assert (await ok(admin.get(f"/invitations/{earlier['id']}"))).json()["status"] == "revoked"
    found = await all_items(admin, "/invitations", status="open", email=second.format(admin.user_id))
    assert [item["id"] for item in found] == [later["id"]]


async def test_invitations_of_one_address_at_once_leave_one_open(admin: Member) -> None:
    body = {"email": _address(admin)}
    responses = await asyncio.gather(*(admin.post("/invitations", json=body) for _ in range(5)))
    assert {response.json().get("code", "sent") for response in responses} <= {"sent", "already_invited"}
    assert len(await all_items(admin, "/invitations", status="open")) == 1


async def test_an_active_member_is_not_invited(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member()
    await refused(admin.post("/invitations", json={"email": member.email}), 409, "already_in_organisation")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"email": "no address"}, "/email"),
        ({"email": "a@b"}, "/email"),
        ({"email": "a@example.com\n"}, "/email"),
        ({"email": f"{'a' * 300}@example.com"}, "/email"),
        ({"email": None}, "/email"),
        ({"roles": []}, "/roles"),
        ({"roles": ["king"]}, "/roles/0"),
        ({"roles": None}, "/roles"),
        ({"approval_limit": "-1"}, "/approval_limit"),
        ({"approval_limit": 100}, "/approval_limit"),
        ({"approval_limit": "NaN"}, "/approval_limit"),
        ({"approval_limit": "1e3"}, "/approval_limit"),
        ({"approval_limit": "1.12345"}, "/approval_limit"),
    ],
    ids=str,
)
async def test_an_invitation_with_a_wrong_value_is_refused(
    admin: Member, changes: dict[str, Any], pointer: str
) -> None:
    body = {"email": _address(admin)} | changes
    problem = await refused(admin.post("/invitations", json=body), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_revoked_invitation_cannot_be_accepted(app: FastAPI, client: httpx.AsyncClient, admin: Member) -> None:
    person = await new_member(app, client, None, [])
    invitation = await _invite(admin, person.email)
    path = f"/invitations/{invitation['id']}/revoke"
    await refused(admin.post(path), 428, "if_match_required")
    await refused(admin.post(path, etag='"7"'), 412, "stale_version")
    tried = await ok(admin.post(path, etag='"1"', params={"dry_run": "true"}))
    assert tried.json()["status"] == "revoked"
    revoked = (await ok(admin.post(path, etag='"1"'))).json()
    assert (revoked["status"], revoked["version"]) == ("revoked", 2)
    await refused(admin.post(path, etag="*"), 409, "invitation_not_open")
    assert (await ok(person.get("/users/me/invitations"))).json()["items"] == []
    accepting = person.post(f"/users/me/invitations/{invitation['id']}/accept", etag="*")
    await refused(accepting, 404, "invitation_not_found")


async def test_an_expired_invitation_can_be_sent_again(
    app: FastAPI, client: httpx.AsyncClient, admin: Member, owner: asyncpg.Connection
) -> None:
    person = await new_member(app, client, None, [])
    invitation = await _invite(admin, person.email)
    expired = utc_now() - timedelta(seconds=1)
    await owner.execute("UPDATE invitations SET expires_at = $2 WHERE id = $1", invitation["id"], expired)
    assert (await ok(admin.get(f"/invitations/{invitation['id']}"))).json()["status"] == "expired"
    assert [item["id"] for item in await all_items(admin, "/invitations", status="expired")] == [invitation["id"]]
    assert await all_items(admin, "/invitations", status="open") == []
    assert (await ok(person.get("/users/me/invitations"))).json()["items"] == []
    again = await _invite(admin, person.email)
    await ok(person.post(f"/users/me/invitations/{again['id']}/accept", etag='"1"'))


async def test_pages_show_every_invitation_once(admin: Member) -> None:
    sent = [(await _invite(admin, _address(admin, f"p{number}")))["id"] for number in range(5)]
    seen = [item["id"] for item in await all_items(admin, "/invitations", limit="2", sort="created_at")]
    assert seen == sent
    seen = [item["id"] for item in await all_items(admin, "/invitations", limit="2")]
    assert seen == sent[::-1]


async def test_a_missing_invitation_is_not_found(admin: Member, stranger: Member) -> None:
    await refused(admin.get(f"/invitations/{MISSING}"), 404, "invitation_not_found")
    await refused(stranger.post(f"/users/me/invitations/{MISSING}/accept", etag="*"), 404, "invitation_not_found")
    await refused(stranger.post(f"/users/me/invitations/{MISSING}/decline", etag="*"), 404, "invitation_not_found")


# Keys


async def _key(owner: Member, *scopes: Scope) -> Member:
    key = (await created(owner.post("/api-keys", json={"name": "Script", "scopes": list(scopes)}))).json()["key"]
    return Member(owner.client, owner.user_id, owner.email, key)


async def test_a_key_invites_requesters_and_grants_nothing_else(tenant: Tenant, admin: Member) -> None:
    """Case I6."""
    key = await _key(admin, Scope.USERS_WRITE)
    assert (await _invite(key, _address(admin)))["roles"] == ["requester"]
    for rights in ({"roles": ["admin"]}, {"roles": ["requester", "approver"]}, {"approval_limit": "1"}):
        body = {"email": _address(admin, "more"), **rights}
        await refused(key.post("/invitations", json=body), 403, "key_cannot_grant")
    member = await tenant.member(Role.BUYER, approval_limit="100")
    path = f"/users/{member.user_id}"
    raised: tuple[dict[str, Any], ...] = (
        {"roles": ["buyer", "admin"]},
        {"approval_limit": None},
        {"approval_limit": "100.01"},
    )
    for rights in raised:
        await refused(key.patch(path, etag="*", json=rights), 403, "key_cannot_grant")
    await ok(key.patch(path, etag="*", json={"roles": ["requester"], "approval_limit": "1"}))


async def test_a_key_reactivates_no_member_with_more_rights(tenant: Tenant, admin: Member) -> None:
    key = await _key(admin, Scope.USERS_WRITE)
    for role, status in ((Role.ADMIN, 403), (Role.REQUESTER, 200)):
        member = await tenant.member(role)
        await ok(key.post(f"/users/{member.user_id}/deactivate", etag="*"))
        response = await key.post(f"/users/{member.user_id}/activate", etag="*")
        assert response.status_code == status, response.text


async def test_what_happens_to_an_invitation_is_on_record(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member
) -> None:
    people = [await new_member(app, client, None, []) for _ in range(2)]
    ids = [(await _invite(admin, person.email))["id"] for person in people]
    await ok(people[0].post(f"/users/me/invitations/{ids[0]}/accept", etag='"1"'))
    await ok(people[1].post(f"/users/me/invitations/{ids[1]}/decline", etag='"1"'), 204)
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        found = select(AuditEvent).where(AuditEvent.entity == "invitation").order_by(AuditEvent.id)
        events = (await session.scalars(found)).all()
    assert [(event.action, event.actor_kind, event.actor_id) for event in events] == [
        ("invitation.create", "member", admin.user_id),
        ("invitation.create", "member", admin.user_id),
        ("invitation.accept", "member", people[0].user_id),
        ("invitation.decline", "invitee", None),
    ]
