"""Requests about one membership at once: a request that waits for another one sees its result.

Each test holds a row so that both requests wait, in a known order.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.locks import Request, Row, in_this_order, member_row
from support.organisations import Member, Tenant, created, new_member, ok, refused, with_new_session
from support.pages import all_items
from support.polling import until_blocked

Both = Callable[[Row, Request, Request], Awaitable[list[httpx.Response]]]


@pytest.fixture
def both(owner: asyncpg.Connection, urls: tuple[str, str]) -> Both:
    """The responses to two requests: the second is sent while the first waits for a row that is held."""
    return partial(in_this_order, owner, urls[0])


@pytest.fixture
async def admin(tenant: Tenant) -> Member:
    return await tenant.member(Role.ADMIN)


def _switch(admin: Member, member: Member, action: str) -> Request:
    return lambda: admin.post(f"/users/{member.user_id}/{action}", etag="*")


def _leave(member: Member) -> Request:
    return lambda: member.post("/users/me/leave", etag="*")


def _accept(person: Member, invitation_id: int, **body: Any) -> Request:
    return lambda: person.post(f"/users/me/invitations/{invitation_id}/accept", etag="*", json=body)


def _invite(admin: Member, email: str, *roles: str) -> Request:
    return lambda: admin.post("/invitations", json={"email": email, "roles": roles or ["requester"]})


async def _invited(admin: Member, email: str, *roles: str) -> int:
    invitation_id: int = (await created(_invite(admin, email, *roles)())).json()["id"]
    return invitation_id


async def _require_usable(app: FastAPI, owner: asyncpg.Connection, member: Member) -> None:
    """The account is in the organisation exactly if the member is active, and its owner can sign in and use it."""
    row = await owner.fetchrow(
        "SELECT u.organisation_id IS NOT NULL AS is_in, m.is_active FROM users u JOIN members m ON m.user_id = u.id"
        " WHERE u.id = $1",
        member.user_id,
    )
    assert row["is_in"] == row["is_active"]
    await ok((await with_new_session(app, member)).get("/users/me"))


@pytest.mark.parametrize(
    ("is_active", "actions", "statuses"),
    [
        (False, ("activate", "deactivate"), [200, 200]),
        (True, ("deactivate", "activate"), [200, 200]),
        (True, ("leave", "activate"), [200, 409]),
        (True, ("leave", "deactivate"), [200, 200]),
    ],
    ids=str,
)
async def test_the_account_is_where_its_member_is_active(
    app: FastAPI,
    tenant: Tenant,
    admin: Member,
    owner: asyncpg.Connection,
    both: Both,
    is_active: bool,
    actions: tuple[str, str],
    statuses: list[int],
) -> None:
    member = await tenant.member(Role.BUYER)
    if not is_active:
        await ok(_switch(admin, member, "deactivate")())
    requests = [_leave(member) if action == "leave" else _switch(admin, member, action) for action in actions]
    responses = await both(member_row(tenant.organisation_id, admin.user_id), requests[0], requests[1])
    assert [response.status_code for response in responses] == statuses
    await _require_usable(app, owner, member)


async def test_a_person_who_comes_back_while_they_are_deactivated_keeps_the_account(
    app: FastAPI, tenant: Tenant, admin: Member, owner: asyncpg.Connection, both: Both
) -> None:
    member = await tenant.member(Role.BUYER)
    await ok(_leave(member)())
    invitation_id = await _invited(admin, member.email)
    requests = _accept(member, invitation_id), _switch(admin, member, "deactivate")
    responses = await both(Row("invitations", tenant.organisation_id, invitation_id), *requests)
    assert [response.status_code for response in responses] == [200, 200]
    await _require_usable(app, owner, member)


async def test_an_admin_who_leaves_does_not_invite_themselves(tenant: Tenant, admin: Member, both: Both) -> None:
    other = await tenant.member(Role.ADMIN)
    inviting = _invite(admin, admin.email, "admin", "approver")
    left, invited = await both(member_row(tenant.organisation_id, other.user_id), _leave(admin), inviting)
    assert (left.status_code, invited.status_code) == (200, 403), invited.text
    assert await all_items(other, "/invitations") == []


async def test_an_admin_who_is_demoted_grants_nothing(tenant: Tenant, admin: Member, both: Both) -> None:
    other, friend = await tenant.member(Role.ADMIN), await tenant.member()
    demoting, granting, inviting = (
        lambda: other.patch(f"/users/{admin.user_id}", etag="*", json={"roles": ["buyer"]}),
        lambda: admin.patch(f"/users/{friend.user_id}", etag="*", json={"roles": ["admin"]}),
        _invite(admin, f"friend-{friend.email}", "admin"),
    )
    demoted, granted = await both(member_row(tenant.organisation_id, admin.user_id), demoting, granting)
    assert (demoted.status_code, granted.status_code) == (200, 403), granted.text
    await ok(other.patch(f"/users/{admin.user_id}", etag="*", json={"roles": ["admin"]}))
    demoted, invited = await both(member_row(tenant.organisation_id, admin.user_id), demoting, inviting)
    assert (demoted.status_code, invited.status_code) == (200, 403), invited.text


async def test_a_person_who_has_just_joined_is_not_invited_again(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member, both: Both
) -> None:
    person = await new_member(app, client, None, [])
    invitation_id = await _invited(admin, person.email)
    requests = _accept(person, invitation_id), _invite(admin, person.email, "admin")
    joined, invited = await both(Row("invitations", tenant.organisation_id, invitation_id), *requests)
    assert (joined.status_code, invited.json()["code"]) == (200, "already_in_organisation")
    assert await all_items(admin, "/invitations", status="open") == []


async def test_no_key_is_created_by_a_member_who_leaves(tenant: Tenant, admin: Member, both: Both) -> None:
    member = await tenant.member()
    body = {"name": "Script", "scopes": ["porfs:read"]}
    left, keyed = await both(
        member_row(tenant.organisation_id, admin.user_id), _leave(member), lambda: member.post("/api-keys", json=body)
    )
    assert (left.status_code, keyed.status_code) == (200, 401), keyed.text
    assert await all_items(admin, "/api-keys") == []


async def test_a_member_who_changes_their_name_waits_for_the_account_first(
    tenant: Tenant, admin: Member, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    """As those do who end a membership: in the other order, the two would be a deadlock."""
    async with owner.transaction():
        await owner.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", admin.user_id)
        renaming = asyncio.ensure_future(admin.patch(f"/users/{admin.user_id}", etag="*", json={"name": "Ada"}))
        await until_blocked(urls[0])
        await member_row(tenant.organisation_id, admin.user_id).lock(owner, "NOWAIT")
    await ok(renaming)


async def test_a_person_who_joins_while_the_base_currency_changes_creates_requests_in_the_new_one(
    app: FastAPI, client: httpx.AsyncClient, tenant: Tenant, admin: Member, both: Both
) -> None:
    person = await new_member(app, client, None, [])
    invitation_id = await _invited(admin, person.email)

    def changes() -> Awaitable[httpx.Response]:
        return admin.patch("/organisations/current", etag="*", json={"currency": "USD"})

    for response in await both(
        member_row(tenant.organisation_id, admin.user_id), changes, _accept(person, invitation_id)
    ):
        assert response.status_code == 200, response.text


# Invitations that would give more than the member has


async def test_a_reactivated_member_cannot_accept_an_invitation_of_before(tenant: Tenant, admin: Member) -> None:
    member = await tenant.member(Role.BUYER)
    await ok(_switch(admin, member, "deactivate")())
    invitation_id = await _invited(admin, member.email, "admin", "approver")
    await ok(_switch(admin, member, "activate")())
    assert (await ok(admin.get(f"/invitations/{invitation_id}"))).json()["status"] == "revoked"
    member = await with_new_session(tenant.app, member)
    await refused(_accept(member, invitation_id, leave=True)(), 404, "invitation_not_found")


async def test_nobody_accepts_their_own_invitation(tenant: Tenant, admin: Member, owner: asyncpg.Connection) -> None:
    """An operator has corrected the address of an account, which the member does not have yet."""
    await tenant.member(Role.ADMIN)
    later = f"later-{admin.email}"
    invitation_id = await _invited(admin, later, "admin", "approver")
    await owner.execute("UPDATE users SET email = $2 WHERE id = $1", admin.user_id, later)
    await refused(_accept(admin, invitation_id, leave=True)(), 409, "already_in_organisation")
    await ok(_leave(admin)())
    await refused(_accept(admin, invitation_id)(), 404, "invitation_not_found")


# Across organisations


async def test_the_last_sign_in_of_a_former_member_is_not_shown(tenant: Tenant, admin: Member) -> None:
    left, deactivated = await tenant.member(), await tenant.member()
    await ok(_leave(left)())
    await created(left.post("/organisations", json={"name": "Founded"}))
    await ok(_switch(admin, deactivated, "deactivate")())
    for member in (left, deactivated):
        await with_new_session(tenant.app, member)
        assert (await ok(admin.get(f"/users/{member.user_id}"))).json()["last_login"] is None
    shown = {item["id"]: item["last_login"] for item in await all_items(admin, "/users")}
    assert [member for member, time in shown.items() if time is not None] == [admin.user_id]
