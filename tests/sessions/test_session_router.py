"""Sessions: listed, revoked, expired; changes of a user take effect on the next request."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.audit.events import AuditEvent
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.db.query import TransactionExecutor
from po_api.sessions.domain import Device
from po_api.sessions.models import UserSession
from po_api.sessions.queries import SessionQueries
from po_api.sessions.service import SessionService
from po_api.users.errors import UserDeactivated
from po_api.users.models import User
from po_api.users.service import UserService
from support.one_server import IS_DISTRIBUTED, plans_of_one_server
from support.organisations import Member, Tenant, ok, refused
from support.statements import plan_of, sent_to

HOUR = timedelta(hours=1)


@pytest.fixture
async def session(tenant: Tenant) -> AsyncIterator[AsyncSession]:
    """A transaction inside the tenant, committed by the test."""
    async with tenant.database.sessions() as made:
        await enter_tenant(made, tenant.organisation_id)
        yield made


async def _open(tenant: Tenant, member: Member, lifetime: timedelta = HOUR) -> Member:
    """Another session of the member."""
    async with tenant.database.sessions.begin() as session:
        user = await UserService(session).get(member.user_id)
        token = await SessionService(session, key=tenant.app.state.secret_key).open(user, lifetime=lifetime)
    return Member(tenant.client, member.user_id, member.email, token)


async def _current(member: Member) -> dict[str, Any]:
    shown: dict[str, Any] = (await ok(member.get("/sessions/current"))).json()
    return shown


async def _set(tenant: Tenant, session_id: int, **values: Any) -> None:
    """Change the row of a session, to simulate the passage of time."""
    async with tenant.database.sessions.begin() as session:
        await session.execute(update(UserSession).where(UserSession.id == session_id).values(**values))


async def test_the_list_shows_ones_own_live_sessions_newest_first(tenant: Tenant) -> None:
    member = await tenant.member()
    second, third = await _open(tenant, member), await _open(tenant, member)
    await tenant.member()
    ids = [(await _current(who))["id"] for who in (third, second, member)]
    listed = (await ok(second.get("/sessions"))).json()
    assert [item["id"] for item in listed["items"]] == ids
    assert [item["is_current"] for item in listed["items"]] == [False, True, False]
    assert not listed["has_more"]


async def test_the_list_is_paged(tenant: Tenant) -> None:
    member = await tenant.member()
    for _ in range(2):
        await _open(tenant, member)
    first = await ok(member.get("/sessions", params={"limit": 2}))
    rest = await ok(member.get("/sessions", params={"limit": 2, "cursor": first.json()["next_cursor"]}))
    seen = [item["id"] for page in (first, rest) for item in page.json()["items"]]
    assert len(seen) == len(set(seen)) == 3
    assert 'rel="next"' in first.headers["Link"]


async def test_a_session_never_shows_its_token(tenant: Tenant) -> None:
    member = await tenant.member()
    response = await ok(member.get("/sessions"))
    (item,) = response.json()["items"]
    assert item.keys() == {
        "id",
        "created_at",
        "expires_at",
        "last_seen_at",
        "ip_address",
        "user_agent",
        "is_current",
    }
    assert member.token not in response.text


async def test_signing_out_ends_the_current_session_only(tenant: Tenant) -> None:
    member = await tenant.member()
    other = await _open(tenant, member)
    await ok(member.delete("/sessions/current"), 204)
    await refused(member.get("/sessions/current"), 401, "unauthenticated")
    assert [item["is_current"] for item in (await ok(other.get("/sessions"))).json()["items"]] == [True]


async def test_one_session_can_be_ended_from_another(tenant: Tenant) -> None:
    member = await tenant.member()
    other = await _open(tenant, member)
    path = f"/sessions/{(await _current(other))['id']}"
    await ok(member.delete(path), 204)
    await refused(other.get("/users/me"), 401, "unauthenticated")
    await refused(member.delete(path), 404, "session_not_found")


async def test_signing_out_everywhere_ends_all_of_ones_own_sessions(tenant: Tenant) -> None:
    member, bystander = await tenant.member(), await tenant.member()
    other = await _open(tenant, member)
    await ok(other.delete("/sessions"), 204)
    for who in (member, other):
        await refused(who.get("/users/me"), 401, "unauthenticated")
    await ok(bystander.get("/users/me"))


async def test_another_users_session_is_as_if_it_did_not_exist(tenant: Tenant) -> None:
    admin, other = await tenant.member(Role.ADMIN), await tenant.member()
    session_id = (await _current(other))["id"]
    theirs = await refused(admin.delete(f"/sessions/{session_id}"), 404, "session_not_found")
    missing = await refused(admin.delete("/sessions/8000000000000000000"), 404, "session_not_found")
    assert theirs["detail"] == missing["detail"]
    await ok(other.get("/users/me"))


async def test_an_expired_session_is_gone(tenant: Tenant) -> None:
    member = await tenant.member()
    other = await _open(tenant, member)
    session_id = (await _current(other))["id"]
    await _set(tenant, session_id, expires_at=utc_now() - timedelta(seconds=1))
    await refused(other.get("/users/me"), 401, "unauthenticated")
    assert len((await ok(member.get("/sessions"))).json()["items"]) == 1
    await refused(member.delete(f"/sessions/{session_id}"), 404, "session_not_found")


async def test_a_session_that_lives_no_time_at_all_is_refused(tenant: Tenant) -> None:
    member = await tenant.member()
    await refused((await _open(tenant, member, timedelta(0))).get("/users/me"), 401, "unauthenticated")


async def test_a_user_without_an_organisation_has_sessions_too(stranger: Member) -> None:
    assert (await _current(stranger))["is_current"] is True
    await ok(stranger.delete("/sessions/current"), 204)
    await refused(stranger.get("/sessions"), 401, "unauthenticated")


async def test_a_deactivated_user_is_out_on_the_next_request(tenant: Tenant) -> None:
    admin, member = await tenant.member(Role.ADMIN), await tenant.member()
    shown = await ok(admin.get(f"/users/{member.user_id}"))
    path = f"/users/{member.user_id}/deactivate"
    await ok(admin.post(path, etag=shown.headers["ETag"]))
    await refused(member.get("/users/me"), 401, "unauthenticated")


async def test_a_deactivated_account_gets_no_session(tenant: Tenant) -> None:
    member = await tenant.member()
    async with tenant.database.sessions.begin() as session:
        users = UserService(session)
        await users.set_active(await users.get(member.user_id), active=False)
    await refused(member.get("/users/me"), 401, "unauthenticated")
    async with tenant.database.sessions() as session:
        user = await UserService(session).get(member.user_id)
        with pytest.raises(UserDeactivated):
            await SessionService(session, key=tenant.app.state.secret_key).open(user, lifetime=HOUR)


async def test_new_roles_and_a_new_organisation_count_from_the_next_request(tenant: Tenant, stranger: Member) -> None:
    admin, member = await tenant.member(Role.ADMIN), await tenant.member()
    await refused(member.post("/suppliers", json={"name": "Mine"}), 403, "missing_role")
    await ok(admin.patch(f"/users/{member.user_id}", etag="*", json={"roles": ["buyer"]}))
    await ok(member.post("/suppliers", json={"name": "Mine"}), 201)
    await refused(stranger.get("/suppliers"), 403, "no_organisation")
    await ok(stranger.post("/organisations", json={"name": "Founded"}), 201)
    assert (await ok(stranger.get("/suppliers"))).json()["items"] == []


async def test_the_first_request_records_where_it_came_from(tenant: Tenant) -> None:
    member = await tenant.member()
    shown = (await ok(member.get("/sessions/current", headers={"User-Agent": "Browser/1.0"}))).json()
    assert shown["user_agent"] == "Browser/1.0"
    assert shown["ip_address"] == "127.0.0.1"
    assert shown["last_seen_at"] is not None


async def test_a_user_agent_of_any_kind_is_kept_within_bounds(tenant: Tenant) -> None:
    member = await tenant.member()
    shown = (await ok(member.get("/sessions/current", headers={"User-Agent": "x" * 5000}))).json()
    assert shown["user_agent"] == "x" * 500
    raw = [
        (b"User-Agent", b"caf\xe9 \xff"),
        (b"Authorization", f"Bearer {(await _open(tenant, member)).token}".encode()),
    ]
    response = await ok(tenant.client.get("/api/v1/sessions/current", headers=raw))
    assert response.json()["user_agent"] == "café ÿ"


async def test_last_seen_is_written_at_most_once_a_minute(tenant: Tenant) -> None:
    member = await tenant.member()
    first = await _current(member)
    again = (await ok(member.get("/sessions/current", headers={"User-Agent": "Other/2.0"}))).json()
    assert again == first
    long_ago = utc_now() - timedelta(seconds=61)
    await _set(tenant, first["id"], last_seen_at=long_ago)
    later = (await ok(member.get("/sessions/current", headers={"User-Agent": "Other/2.0"}))).json()
    assert later["last_seen_at"] > first["last_seen_at"]
    assert later["user_agent"] == "Other/2.0"


async def test_the_check_lets_a_change_plan_each_statement_once(tenant: Tenant) -> None:
    member = await tenant.member()
    lifetimes = tenant.app.state.lifetimes
    async with tenant.database.sessions() as session:
        modes = [await session.scalar(text("SHOW plan_cache_mode"))]
        queries = SessionQueries(TransactionExecutor(session), key=tenant.app.state.secret_key, lifetimes=lifetimes)
        await queries.authenticate(member.token, Device())
        modes.append(await session.scalar(text("SHOW plan_cache_mode")))
        await session.commit()
        modes.append(await session.scalar(text("SHOW plan_cache_mode")))
    # Of a distributed database, the mode stays the server's own choice.
    assert modes == ["auto", "auto" if IS_DISTRIBUTED else "force_generic_plan", "auto"]


async def test_the_check_is_one_query_on_indexes(tenant: Tenant) -> None:
    member = await tenant.member()
    await _current(member)
    async with sent_to(tenant.database) as sent:
        await ok(member.get("/state-machines/porf"))
    (check,) = sent
    plan = await plan_of(tenant.database, check)
    assert "Seq Scan" not in plan
    assert "on sessions" in plan
    assert "pk_users" in plan
    assert "Function Scan on member_of" in plan


@plans_of_one_server
async def test_the_member_of_the_check_is_found_by_its_key(owner: asyncpg.Connection) -> None:
    """The function's own query is not in the plan of the check."""
    (function,) = await owner.fetch("SELECT prosrc FROM pg_proc WHERE proname = 'member_of'")
    (body,) = re.findall(r"QUERY (SELECT .+?);", function["prosrc"], re.DOTALL)
    async with owner.transaction():
        await owner.execute("SET LOCAL enable_seqscan = off")
        lines = await owner.fetch("EXPLAIN " + body.replace("of_organisation", "1").replace("of_user", "1"))
    assert "pk_members" in lines[0]["QUERY PLAN"]


async def test_a_request_takes_the_check_and_its_own_queries(tenant: Tenant) -> None:
    member = await tenant.member()
    await _current(member)
    async with sent_to(tenant.database) as sent:
        await _current(member)
    assert len(sent) == 2, sent


async def test_ending_sessions_is_on_record(tenant: Tenant, session: AsyncSession) -> None:
    member = await tenant.member()
    other = await _open(tenant, member)
    session_id = (await _current(other))["id"]
    await ok(member.delete(f"/sessions/{session_id}"), 204)
    await ok(member.delete("/sessions"), 204)
    events = await session.scalars(
        select(AuditEvent)
        .where(AuditEvent.actor_id == member.user_id, AuditEvent.entity == "session")
        .order_by(AuditEvent.id)
    )
    actions = [(event.action, event.entity_id) for event in events]
    assert actions[0] == ("session.revoke", session_id)
    assert [action for action, _ in actions] == ["session.revoke", "session.revoke_all"]


async def test_signing_in_is_noted_with_the_user(tenant: Tenant) -> None:
    before = utc_now()
    member = await tenant.member()
    async with tenant.database.sessions() as session:
        last_login = await session.scalar(select(User.last_login).where(User.id == member.user_id))
    assert last_login is not None
    assert before <= last_login <= utc_now()


async def test_only_the_digest_of_a_token_is_stored(tenant: Tenant) -> None:
    member = await tenant.member()
    async with tenant.database.sessions() as session:
        stored = await session.scalar(select(UserSession.token).where(UserSession.user_id == member.user_id))
    assert stored is not None
    assert len(stored) == 64
    assert stored not in member.token


async def test_purging_deletes_what_ended_before_and_nothing_else(tenant: Tenant) -> None:
    member = await tenant.member()
    ended, revoked = await _open(tenant, member), await _open(tenant, member)
    ids = [(await _current(who))["id"] for who in (ended, revoked, member)]
    long_ago = utc_now() - timedelta(days=3650)
    await _set(tenant, ids[0], expires_at=long_ago)
    await _set(tenant, ids[1], revoked_at=long_ago)
    async with tenant.database.sessions.begin() as session:
        service = SessionService(session, key=tenant.app.state.secret_key)
        assert await service.purge(before=long_ago + timedelta(days=1)) == 2
    async with tenant.database.sessions() as session:
        left = await session.scalars(select(UserSession.id).where(UserSession.user_id == member.user_id))
        assert left.all() == [ids[2]]
