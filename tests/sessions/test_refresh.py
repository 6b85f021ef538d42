"""Refresh tokens: each is good for one refresh, parallel tabs lose nothing, a stolen one ends the session."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from po_api.audit.events import AuditEvent
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.sessions.domain import REFRESH_GRACE
from po_api.sessions.models import RotatedToken, UserSession
from po_api.sessions.tokens import digest, new_salt, new_secret, successor
from support.identity_provider import Provider
from support.organisations import Member, Tenant, ok, refused
from support.sign_in import app_with, bearing, browser_at, sign_in

KEY = "k" * 32


@pytest.fixture(autouse=True)
async def provider_user(provider: Provider, tenant: Tenant) -> Member:
    """A member who is the provider's current user."""
    member = await tenant.member()
    provider.be(member.email)
    return member


async def _refresh(browser: httpx.AsyncClient, token: str) -> httpx.Response:
    return await browser.post("/sessions/refresh", json={"refresh_token": token})


async def _refreshed(browser: httpx.AsyncClient, token: str) -> dict[str, Any]:
    tokens: dict[str, Any] = (await ok(_refresh(browser, token))).json()
    return tokens


async def _change(app: FastAPI, session_id: int, **values: Any) -> None:
    """Change the row of a session, to simulate the passage of time."""
    async with app.state.database.sessions.begin() as session:
        await session.execute(update(UserSession).where(UserSession.id == session_id).values(**values))


async def _let_the_grace_pass(app: FastAPI) -> None:
    async with app.state.database.sessions.begin() as session:
        earlier = RotatedToken.rotated_at - REFRESH_GRACE - timedelta(seconds=1)
        await session.execute(update(RotatedToken).values(rotated_at=earlier))


async def test_a_refresh_gives_the_next_tokens_of_the_same_session(browser: httpx.AsyncClient) -> None:
    first = await sign_in(browser)
    second = await _refreshed(browser, first["refresh_token"])
    third = await _refreshed(browser, second["refresh_token"])
    assert len({tokens["refresh_token"] for tokens in (first, second, third)}) == 3
    assert {tokens["session"]["id"] for tokens in (first, second, third)} == {first["session"]["id"]}
    for tokens in (first, second, third):
        await ok(browser.get("/users/me", headers=bearing(tokens)))


@pytest.mark.heavy
async def test_twenty_tabs_that_refresh_at_once_get_the_same_successor(browser: httpx.AsyncClient) -> None:
    tokens = await sign_in(browser)
    for _ in range(3):
        answers = await asyncio.gather(*(_refreshed(browser, tokens["refresh_token"]) for _ in range(20)))
        assert len({answer["refresh_token"] for answer in answers}) == 1
        for answer in answers:
            await ok(browser.get("/users/me", headers=bearing(answer)))
        tokens = answers[0]


async def test_a_tab_that_comes_two_refreshes_late_is_not_logged_out(browser: httpx.AsyncClient) -> None:
    first = await sign_in(browser)
    second = await _refreshed(browser, first["refresh_token"])
    third = await _refreshed(browser, second["refresh_token"])
    late = await _refreshed(browser, first["refresh_token"])
    assert late["refresh_token"] == second["refresh_token"]
    assert (await _refreshed(browser, late["refresh_token"]))["refresh_token"] == third["refresh_token"]


async def _events(tenant: Tenant, user_id: int) -> list[str]:
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        found = await session.scalars(
            select(AuditEvent.action).where(AuditEvent.actor_id == user_id).order_by(AuditEvent.id)
        )
        return list(found)


async def test_an_old_token_after_the_grace_ends_the_session_and_is_on_record(
    browser: httpx.AsyncClient, signing: FastAPI, tenant: Tenant, provider_user: Member
) -> None:
    stolen = await sign_in(browser)
    used = await _refreshed(browser, stolen["refresh_token"])
    await _let_the_grace_pass(signing)
    await refused(_refresh(browser, stolen["refresh_token"]), 401, "refresh_token_reused")
    await refused(browser.get("/users/me", headers=bearing(used)), 401, "unauthenticated")
    for token in (stolen["refresh_token"], used["refresh_token"]):
        await refused(_refresh(browser, token), 401, "invalid_refresh_token")
    assert (await _events(tenant, provider_user.user_id)).count("session.refresh_token_reused") == 1


async def test_the_second_refresh_after_a_theft_ends_the_session(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    """The stolen token was used first: then the owner's use of it is the reuse."""
    tokens = await sign_in(browser)
    thief = await _refreshed(browser, tokens["refresh_token"])
    await _let_the_grace_pass(signing)
    await refused(_refresh(browser, tokens["refresh_token"]), 401, "refresh_token_reused")
    await refused(_refresh(browser, thief["refresh_token"]), 401, "invalid_refresh_token")


async def test_a_reuse_ends_the_session_of_a_user_without_an_organisation(
    browser: httpx.AsyncClient, signing: FastAPI, provider: Provider, stranger: Member
) -> None:
    provider.be(stranger.email)
    tokens = await sign_in(browser)
    await _refreshed(browser, tokens["refresh_token"])
    await _let_the_grace_pass(signing)
    await refused(_refresh(browser, tokens["refresh_token"]), 401, "refresh_token_reused")
    await refused(browser.get("/users/me", headers=bearing(tokens)), 401, "unauthenticated")


async def test_twenty_reuses_at_once_are_one_event(
    browser: httpx.AsyncClient, signing: FastAPI, tenant: Tenant, provider_user: Member
) -> None:
    tokens = await sign_in(browser)
    await _refreshed(browser, tokens["refresh_token"])
    await _let_the_grace_pass(signing)
    answers = await asyncio.gather(*(_refresh(browser, tokens["refresh_token"]) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {401}
    assert (await _events(tenant, provider_user.user_id)).count("session.refresh_token_reused") == 1


@pytest.mark.parametrize("token", ["x", "x" * 43, "x" * 8192, "é", "\x00"])
async def test_an_unknown_token_is_refused(browser: httpx.AsyncClient, token: str) -> None:
    await refused(_refresh(browser, token), 401, "invalid_refresh_token")


@pytest.mark.parametrize("body", [{}, {"refresh_token": None}])
async def test_without_token_and_cookie_there_is_nothing_to_refresh(
    browser: httpx.AsyncClient, body: dict[str, None]
) -> None:
    await refused(browser.post("/sessions/refresh", json=body), 401, "invalid_refresh_token")
    await refused(browser.post("/sessions/refresh"), 401, "invalid_refresh_token")


async def test_an_access_token_refreshes_nothing(browser: httpx.AsyncClient) -> None:
    tokens = await sign_in(browser)
    await refused(_refresh(browser, tokens["access_token"]), 401, "invalid_refresh_token")
    headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")


async def test_a_session_that_was_ended_cannot_be_refreshed(browser: httpx.AsyncClient) -> None:
    tokens = await sign_in(browser)
    following = await _refreshed(browser, tokens["refresh_token"])
    await ok(browser.delete("/sessions/current", headers=bearing(following)), 204)
    for token in (tokens["refresh_token"], following["refresh_token"]):
        await refused(_refresh(browser, token), 401, "invalid_refresh_token")


async def test_a_deactivated_user_refreshes_nothing(
    browser: httpx.AsyncClient, tenant: Tenant, provider_user: Member
) -> None:
    tokens = await sign_in(browser)
    admin = await tenant.member(Role.ADMIN)
    path = f"/users/{provider_user.user_id}"
    await ok(admin.post(f"{path}/deactivate", etag="*"))
    await refused(_refresh(browser, tokens["refresh_token"]), 401, "invalid_refresh_token")
    await ok(admin.post(f"{path}/activate", etag="*"))
    await refused(_refresh(browser, tokens["refresh_token"]), 401, "invalid_refresh_token")


async def test_a_session_ends_in_any_case(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    tokens = await sign_in(browser)
    await _change(signing, tokens["session"]["id"], expires_at=utc_now() + timedelta(seconds=60))
    following = await _refreshed(browser, tokens["refresh_token"])
    # No access token outlives its session.
    assert following["expires_in"] <= 60
    await _change(signing, tokens["session"]["id"], expires_at=utc_now())
    await refused(_refresh(browser, following["refresh_token"]), 401, "invalid_refresh_token")
    await refused(browser.get("/users/me", headers=bearing(following)), 401, "unauthenticated")


async def test_a_session_that_is_not_used_ends_sooner(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    idle = signing.state.lifetimes.idle
    tokens = await sign_in(browser)
    await _change(signing, tokens["session"]["id"], created_at=utc_now() - idle * 2, last_seen_at=utc_now() - idle / 2)
    tokens = await _refreshed(browser, tokens["refresh_token"])
    await ok(browser.get("/users/me", headers=bearing(tokens)))
    await _change(signing, tokens["session"]["id"], last_seen_at=utc_now() - idle)
    await refused(browser.get("/users/me", headers=bearing(tokens)), 401, "unauthenticated")
    await refused(_refresh(browser, tokens["refresh_token"]), 401, "invalid_refresh_token")


async def test_lifetimes_are_the_configured_ones(urls: tuple[str, str], app: FastAPI, provider: Provider) -> None:
    lives = {"jwt_access_token_expires": 60, "session_lifetime": 3600}
    async with app_with(provider, urls[1], **lives) as made, browser_at(made) as browser:
        tokens = await sign_in(browser)
    assert tokens["expires_in"] == 60
    async with app.state.database.sessions() as session:
        row = await session.get(UserSession, tokens["session"]["id"])
    assert row is not None
    assert row.expires_at - row.created_at <= timedelta(seconds=3601)


async def test_nothing_that_is_stored_is_a_token(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    first = await sign_in(browser)
    second = await _refreshed(browser, first["refresh_token"])
    async with signing.state.database.sessions() as session:
        row = await session.get(UserSession, first["session"]["id"])
        rotated = await session.get(RotatedToken, digest(first["refresh_token"]))
    assert row.token == digest(second["refresh_token"])
    assert rotated.session_id == row.id
    assert row.token != rotated.token


async def test_sessions_of_the_command_line_cannot_be_refreshed(
    browser: httpx.AsyncClient, provider_user: Member
) -> None:
    """Tokens of the command line end with their session."""
    await refused(_refresh(browser, provider_user.token), 401, "invalid_refresh_token")


async def test_purging_takes_the_used_tokens_along(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    tokens = await sign_in(browser)
    await _refreshed(browser, tokens["refresh_token"])
    async with signing.state.database.sessions.begin() as session:
        row = await session.get(UserSession, tokens["session"]["id"])
        await session.delete(row)
    async with signing.state.database.sessions() as session:
        count = select(func.count()).where(RotatedToken.session_id == tokens["session"]["id"])
        assert await session.scalar(count) == 0


def test_the_successor_takes_token_salt_and_key_to_know() -> None:
    token, salt = new_secret(), new_salt()
    found = successor(token, salt=salt, key=KEY)
    assert found == successor(token, salt=salt, key=KEY)
    others = {
        successor(new_secret(), salt=salt, key=KEY),
        successor(token, salt=new_salt(), key=KEY),
        successor(token, salt=salt, key="j" * 32),
    }
    assert len({found, token, *others}) == 5
    assert len(found) == 43
