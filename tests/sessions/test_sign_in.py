"""The redirect flow with tokens or cookies: manipulated and incomplete sign-ins are refused."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.responses import JSONResponse

from po_api.core.clock import utc_now
from po_api.sessions.models import SignInAttempt, SignInCode
from po_api.sessions.sign_in import ATTEMPT_LIFETIME, CODE_LIFETIME
from po_api.sessions.tokens import code_challenge, digest, new_secret
from po_api.users.service import UserService
from po_api.web.cookies import REFRESH_COOKIE, SIGN_IN_COOKIE
from support.identity_provider import REDIRECT_URI, Provider, authorized
from support.organisations import Tenant, created, ok, refused
from support.sign_in import (
    BY_COOKIE,
    BY_TOKEN,
    FROM_PAGE,
    FRONT_END,
    OTHER_FRONT_END,
    VERIFIER,
    app_with,
    bearing,
    browser_at,
    come_back,
    depart,
    exchange,
    sign_in,
    start,
    there_and_back,
    told,
)


@pytest.fixture(autouse=True)
async def provider_user(provider: Provider, tenant: Tenant) -> str:
    """A member who is the provider's current user; returns their address."""
    member = await tenant.member()
    provider.be(member.email)
    return member.email


async def test_a_browser_signs_in_and_gets_tokens(browser: httpx.AsyncClient, provider_user: str) -> None:
    tokens = await sign_in(browser)
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 900
    assert tokens["session"]["is_current"]
    me = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    assert me["email"] == provider_user
    current = (await ok(browser.get("/sessions/current", headers=bearing(tokens)))).json()
    assert current["id"] == tokens["session"]["id"]


async def test_the_authorization_request_conforms_to_the_standard(
    browser: httpx.AsyncClient, signing: FastAPI, provider: Provider
) -> None:
    url = urlsplit(await depart(browser, **BY_TOKEN))
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/authorize"
    assert asked["redirect_uri"] == REDIRECT_URI
    assert asked["scope"] == "openid email profile"
    assert asked["code_challenge_method"] == "S256"
    async with signing.state.database.sessions() as session:
        attempt = await session.get(SignInAttempt, digest(asked["state"]))
    assert attempt.nonce == asked["nonce"]
    assert code_challenge(attempt.code_verifier) == asked["code_challenge"]
    # Neither the browser's secret nor the state is stored; the front end's challenge is another one.
    assert len({asked["state"], attempt.state, attempt.nonce, attempt.code_verifier, asked["code_challenge"]}) == 5
    assert attempt.code_challenge == BY_TOKEN["code_challenge"]


async def test_a_browser_signs_in_and_gets_cookies_that_no_script_can_read(
    browser: httpx.AsyncClient, provider_user: str
) -> None:
    arrived = await there_and_back(browser, **BY_COOKIE)
    assert arrived.headers["location"] == f"{FRONT_END}/app"
    cookies = {cookie.partition("=")[0]: cookie for cookie in arrived.headers.get_list("set-cookie")}
    assert cookies.keys() == {"__Host-po_access", "__Host-po_refresh"}
    for cookie in cookies.values():
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "secure", "samesite=lax", "path=/"} < attributes
        assert not any(part.startswith("domain") for part in attributes)
    assert (await ok(browser.get("/users/me", headers=FROM_PAGE))).json()["email"] == provider_user


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.test/",
        "https://spa.test.evil.test/",
        "https://spa.test@evil.test/",
        "https://spa.test:444/",
        "http://spa.test/",
        "//spa.test/",
        "/app",
        "https://spa.test\\@evil.test/",
        "https://evil.test\\.spa.test/",
        "https://spa.test/#fragment",
        "javascript:alert(1)//spa.test",
        "https://[::1/",
        "https://spa.test/\r\nX: 1",
        "https://spa.te\nst/",
        # The origin of a front end, and none of its addresses.
        "https://spa.test",
        "https://spa.test/",
        "https://spa.test/elsewhere",
        "https://spa.test/app/",
        "https://spa.test/App",
        "https://spa.test/app/elsewhere",
        "https://spa.test/app/../elsewhere",
        "https://spa.test/app/..%2felsewhere",
        "https://spa.test/%61pp",
        "https://spa.test//app",
        "https://spa.test/app;x",
        "https://spa.test/app?to=1#fragment",
        "https://somebody@spa.test/app",
        "https://spa.test./app",
        "http://spa.test:443/app",
    ],
)
async def test_the_browser_is_sent_nowhere_else(browser: httpx.AsyncClient, address: str) -> None:
    for answer in (
        browser.get("/sessions/oidc/start", params={"return_to": address}),
        start(browser, return_to=address),
    ):
        problem = await refused(answer, 422, "validation_failed")
        assert [error["pointer"] for error in problem["errors"]] == ["/return_to"]


@pytest.mark.parametrize(
    ("return_to", "address"),
    [
        (f"{FRONT_END}/app", f"{FRONT_END}/app"),
        (f"{FRONT_END}/app?tab=2&to=/x", f"{FRONT_END}/app?tab=2&to=/x"),
        ("HTTPS://SPA.test:443/app", f"{FRONT_END}/app"),
        (OTHER_FRONT_END, f"{OTHER_FRONT_END}/"),
        (f"{OTHER_FRONT_END}/?x", f"{OTHER_FRONT_END}/?x"),
    ],
)
async def test_the_browser_returns_to_a_configured_address_with_any_query(
    browser: httpx.AsyncClient, return_to: str, address: str
) -> None:
    arrived = await there_and_back(browser, return_to=return_to, **BY_COOKIE)
    assert arrived.headers["location"] == address


async def test_a_state_is_good_once(browser: httpx.AsyncClient) -> None:
    answer = await authorized(await depart(browser))
    assert "sign_in_code" in told(await come_back(browser, answer))
    await refused(come_back(browser, answer), 400, "invalid_sign_in")


@pytest.mark.parametrize("mode", [BY_TOKEN, BY_COOKIE])
async def test_two_tabs_may_sign_in_at_once(browser: httpx.AsyncClient, mode: dict[str, str]) -> None:
    answers = [await authorized(await depart(browser, **mode)) for _ in range(2)]
    for answer in answers:
        arrived = await come_back(browser, answer)
        assert "sign_in_code" in told(arrived) or REFRESH_COOKIE in arrived.headers["set-cookie"]


@pytest.mark.parametrize("cookie", ["x", '"a\\012b"', "x" * 43 + "; evil=1", "é" * 43])
async def test_a_browsers_own_idea_of_its_secret_is_not_taken_over(
    browser: httpx.AsyncClient, signing: FastAPI, cookie: str
) -> None:
    headers = {b"Cookie": f"{SIGN_IN_COOKIE}={cookie}".encode()}
    response = await ok(browser.get("/sessions/oidc/start", headers=headers), 303)
    (given,) = response.headers.get_list("set-cookie")
    assert f"={cookie};" not in given
    arrived = await come_back(browser, await authorized(response.headers["location"]))
    assert arrived.headers["location"] == f"{FRONT_END}/app"


async def test_another_browser_cannot_finish_a_sign_in(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    """Otherwise an attacker could sign victims in to the attacker's account by a link."""
    answer = await authorized(await depart(browser, **BY_COOKIE))
    async with browser_at(signing) as other:
        await refused(come_back(other, answer), 400, "invalid_sign_in")
        await depart(other, **BY_COOKIE)
        await refused(come_back(other, answer), 400, "invalid_sign_in")
    assert (await come_back(browser, answer)).headers["location"] == f"{FRONT_END}/app"


@pytest.mark.parametrize("changes", [{"state": "x" * 43}, {"state": None}, {"state": ""}])
async def test_an_unknown_state_is_refused(browser: httpx.AsyncClient, changes: dict[str, str | None]) -> None:
    answer: dict[str, Any] = await authorized(await depart(browser)) | changes
    await refused(come_back(browser, {k: v for k, v in answer.items() if v is not None}), 400, "invalid_sign_in")


async def test_a_sign_in_ends_after_ten_minutes(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    answer = await authorized(await depart(browser))
    async with signing.state.database.sessions.begin() as session:
        attempt = await session.get(SignInAttempt, digest(answer["state"]))
        assert attempt.browser == ""
        assert attempt.expires_at - utc_now() <= ATTEMPT_LIFETIME
        attempt.expires_at = utc_now()
    await refused(come_back(browser, answer), 400, "invalid_sign_in")


async def _failed(browser: httpx.AsyncClient, answer: dict[str, str]) -> str:
    """The code of the problem that the front end gets, for a sign-in of this browser."""
    response = await come_back(browser, answer)
    assert response.headers["location"].startswith(f"{FRONT_END}/app#")
    said = told(response)
    assert said["request_id"] == response.headers["x-request-id"]
    await refused(come_back(browser, answer), 400, "invalid_sign_in")
    return said["error"]


async def test_an_answer_of_another_provider_is_refused(browser: httpx.AsyncClient, provider: Provider) -> None:
    """RFC 9207: in a mix-up attack, the code is not sent to the other provider."""
    for wrong in ("https://evil.test", ""):
        answer = await authorized(await depart(browser)) | {"iss": wrong}
        assert await _failed(browser, answer) == "sign_in_refused"
    answer = await authorized(await depart(browser))
    del answer["iss"]
    assert await _failed(browser, answer) == "sign_in_refused"
    assert "/token" not in provider.requests


async def test_a_provider_without_issuer_parameter_is_accepted(browser: httpx.AsyncClient, provider: Provider) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": False}
    answer = await authorized(await depart(browser))
    del answer["iss"]
    assert "sign_in_code" in told(await come_back(browser, answer))


@pytest.mark.parametrize("error", ["access_denied", "server_error", "<script>", "x" * 500])
async def test_what_the_provider_refuses_goes_back_to_the_front_end(
    browser: httpx.AsyncClient, provider: Provider, error: str
) -> None:
    answer = await authorized(await depart(browser))
    del answer["code"]
    assert await _failed(browser, answer | {"error": error}) == "sign_in_refused"
    assert "/token" not in provider.requests


async def test_a_code_that_the_provider_does_not_know_is_refused(browser: httpx.AsyncClient) -> None:
    answer = await authorized(await depart(browser)) | {"code": "guessed"}
    assert await _failed(browser, answer) == "sign_in_refused"


async def test_a_code_of_another_sign_in_fails_at_the_verifier(browser: httpx.AsyncClient) -> None:
    stolen = await authorized(await depart(browser))
    answer = await authorized(await depart(browser)) | {"code": stolen["code"]}
    assert await _failed(browser, answer) == "sign_in_refused"


async def test_the_verifier_is_sent_and_nothing_else_proves_the_code(
    browser: httpx.AsyncClient, signing: FastAPI, provider: Provider
) -> None:
    answer = await authorized(await depart(browser))
    async with signing.state.database.sessions.begin() as session:
        await session.execute(
            update(SignInAttempt)
            .where(SignInAttempt.state == digest(answer["state"]))
            .values(code_verifier=new_secret())
        )
    assert await _failed(browser, answer) == "sign_in_refused"
    assert provider.forms[-1]["redirect_uri"] == REDIRECT_URI


WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another-client"},
    "another issuer": {"iss": "https://evil.test"},
    "expired": {"exp": 1},
    "issued tomorrow": {"iat": 9_999_999_999},
    "issued ten years ago": {"iat": 1_480_000_000},
}


@pytest.mark.parametrize("claims", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    browser: httpx.AsyncClient, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert await _failed(browser, await authorized(await depart(browser))) == "invalid_id_token"


async def test_an_unverified_address_is_refused(browser: httpx.AsyncClient, provider: Provider) -> None:
    provider.claims = {"email_verified": False}
    assert await _failed(browser, await authorized(await depart(browser))) == "email_not_verified"


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"access_token": "only"}),
        JSONResponse({"error": "temporarily"}, 500),
        JSONResponse([]),
        JSONResponse({"id_token": 7}),
    ],
    ids=["no ID token", "500", "no object", "no text"],
)
async def test_a_token_endpoint_that_answers_nonsense_is_a_clear_problem(
    browser: httpx.AsyncClient, provider: Provider, answer: JSONResponse
) -> None:
    departed = await authorized(await depart(browser))
    provider.answers["/token"] = answer
    assert await _failed(browser, departed) == "identity_provider_unavailable"


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"], None])
async def test_the_client_authenticates_by_a_supported_method(
    browser: httpx.AsyncClient, provider: Provider, methods: list[str] | None
) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": methods}
    assert "access_token" in await sign_in(browser)
    assert ("client_secret" in provider.forms[-1]) == (methods == ["client_secret_post"])


async def test_a_client_without_secret_sends_none(urls: tuple[str, str], provider: Provider) -> None:
    async with app_with(provider, urls[1], google_client_secret=None) as app, browser_at(app) as browser:
        assert told(await there_and_back(browser))["error"] == "sign_in_refused"
    assert provider.forms[-1].keys() == {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"}


# The code that the front end exchanges


async def test_a_sign_in_code_is_good_once(browser: httpx.AsyncClient) -> None:
    code = told(await there_and_back(browser))["sign_in_code"]
    await created(exchange(browser, code))
    await refused(exchange(browser, code), 401, "invalid_sign_in_code")


async def test_of_twenty_exchanges_at_once_one_gets_the_tokens(browser: httpx.AsyncClient) -> None:
    code = told(await there_and_back(browser))["sign_in_code"]
    answers = await asyncio.gather(*(exchange(browser, code) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 19


async def test_a_wrong_verifier_uses_the_code_up(browser: httpx.AsyncClient) -> None:
    code = told(await there_and_back(browser))["sign_in_code"]
    await refused(exchange(browser, code, new_secret()), 401, "invalid_sign_in_code")
    await refused(exchange(browser, code, VERIFIER), 401, "invalid_sign_in_code")


async def test_a_sign_in_code_lives_for_a_minute(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    code = told(await there_and_back(browser))["sign_in_code"]
    async with signing.state.database.sessions.begin() as session:
        row = await session.scalar(select(SignInCode).where(SignInCode.code == digest(code)))
        assert row.expires_at - utc_now() <= CODE_LIFETIME
        row.expires_at = utc_now()
    await refused(exchange(browser, code), 401, "invalid_sign_in_code")


async def test_a_sign_in_code_of_before_a_deactivation_is_refused(browser: httpx.AsyncClient, signing: FastAPI) -> None:
    """Case I4: a sign-in in progress ends, too."""
    tokens = await sign_in(browser)
    user_id = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()["id"]
    code = told(await there_and_back(browser))["sign_in_code"]
    for active in (False, True):
        async with signing.state.database.sessions.begin() as session:
            users = UserService(session)
            await users.set_active(await users.get(user_id), active=active)
    await refused(exchange(browser, code), 401, "invalid_sign_in_code")
    await sign_in(browser)


async def test_a_session_begins_with_the_exchange(browser: httpx.AsyncClient) -> None:
    tokens = await sign_in(browser)
    before = (await ok(browser.get("/sessions", headers=bearing(tokens)))).json()["items"]
    code = told(await there_and_back(browser))["sign_in_code"]
    assert (await ok(browser.get("/sessions", headers=bearing(tokens)))).json()["items"] == before
    await exchange(browser, code)
    assert len((await ok(browser.get("/sessions", headers=bearing(tokens)))).json()["items"]) == len(before) + 1


async def test_the_session_knows_the_device_from_the_beginning(signing: FastAPI) -> None:
    async with browser_at(signing, **{"User-Agent": "Browser/7"}) as browser:
        shown = (await sign_in(browser))["session"]
    assert (shown["user_agent"], shown["ip_address"]) == ("Browser/7", "127.0.0.1")


# What is not configured


@pytest.mark.parametrize("missing", ["google_client_id", "google_redirect_uri", "frontend_url"])
async def test_without_configuration_there_is_no_redirect_flow(
    urls: tuple[str, str], provider: Provider, missing: str
) -> None:
    nothing = () if missing == "frontend_url" else None
    async with app_with(provider, urls[1], **{missing: nothing}) as app, browser_at(app) as browser:
        await refused(browser.get("/sessions/oidc/start"), 404, "sign_in_not_configured")
        await refused(start(browser), 404, "sign_in_not_configured")
        if missing == "google_client_id":
            body = {"id_token": provider.id_token()}
            await refused(browser.post("/sessions", json=body), 404, "sign_in_not_configured")
    assert not provider.requests
