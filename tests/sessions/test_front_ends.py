"""Sign-ins that end with tokens: started by a page of the front end, for that page alone."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.sessions.tokens import code_challenge, new_secret
from support.identity_provider import Provider, authorized
from support.organisations import Tenant, created, ok, refused
from support.sign_in import (
    BY_TOKEN,
    FRONT_END,
    OTHER_FRONT_END,
    VERIFIER,
    app_with,
    browser_at,
    come_back,
    depart,
    exchange,
    start,
    there_and_back,
    told,
)


@pytest.fixture(autouse=True)
async def provider_user(provider: Provider, tenant: Tenant) -> None:
    provider.be((await tenant.member()).email)


async def test_a_page_gets_the_providers_url_and_no_cookie(browser: httpx.AsyncClient, provider: Provider) -> None:
    answer = await ok(start(browser))
    assert answer.json().keys() == {"authorization_url"}
    assert answer.json()["authorization_url"].startswith(f"{provider.issuer}/authorize?")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://evil.test",
        "https://api.test",
        "http://spa.test",
        "https://spa.test:444",
        "https://spa.test.evil.test",
        "https://spa.test/",
        "https://spa.test/app",
        "https://SPA.test",
        OTHER_FRONT_END,
    ],
)
async def test_another_page_cannot_start(browser: httpx.AsyncClient, origin: str | None) -> None:
    """The attack: a challenge whose verifier the attacker knows makes the victim's code the attacker's."""
    await refused(start(browser, origin=origin, return_to=f"{FRONT_END}/app"), 403, "origin_not_allowed")


async def test_two_origins_are_none(browser: httpx.AsyncClient) -> None:
    headers = [("Origin", FRONT_END), ("Origin", FRONT_END)]
    answer = browser.post("/sessions/oidc/start", json=BY_TOKEN, headers=headers)
    await refused(answer, 403, "origin_not_allowed")


@pytest.mark.parametrize(
    "query",
    [
        BY_TOKEN,
        {**BY_TOKEN, "mode": "bearer"},
        {**BY_TOKEN, "mode": "cookie"},
        {**BY_TOKEN, "return_to": f"{FRONT_END}/app"},
    ],
)
async def test_a_link_cannot_start_with_a_challenge(browser: httpx.AsyncClient, query: dict[str, str]) -> None:
    for headers in ({}, {"Origin": FRONT_END}):
        answer = browser.get("/sessions/oidc/start", params=query, headers=headers)
        await refused(answer, 400, "unknown_parameter")


async def test_a_link_leads_to_cookies_only(browser: httpx.AsyncClient) -> None:
    answer = browser.get("/sessions/oidc/start", params={"mode": "bearer"})
    problem = await refused(answer, 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == ["/mode"]


@pytest.mark.parametrize("challenge", [None, "", "short", "=" * 43, 7])
async def test_a_start_with_tokens_needs_a_challenge(browser: httpx.AsyncClient, challenge: Any) -> None:
    body = {} if challenge is None else {"code_challenge": challenge}
    answer = browser.post("/sessions/oidc/start", json=body, headers={"Origin": FRONT_END})
    problem = await refused(answer, 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == ["/code_challenge"]


async def test_the_default_address_is_the_first_one_of_the_origin(browser: httpx.AsyncClient) -> None:
    for origin, address in ((FRONT_END, f"{FRONT_END}/app"), (OTHER_FRONT_END, f"{OTHER_FRONT_END}/")):
        url = (await ok(start(browser, origin=origin))).json()["authorization_url"]
        arrived = await come_back(browser, await authorized(url))
        assert arrived.headers["location"].startswith(f"{address}#sign_in_code=")


# The exchange


@pytest.mark.parametrize("origin", [None, "null", "https://evil.test", "https://api.test", OTHER_FRONT_END])
async def test_a_code_is_for_the_page_that_started(browser: httpx.AsyncClient, origin: str | None) -> None:
    code = told(await there_and_back(browser))["sign_in_code"]
    await refused(exchange(browser, code, origin=origin), 401, "invalid_sign_in_code")
    await refused(exchange(browser, code), 401, "invalid_sign_in_code")


async def test_a_code_of_another_front_end_is_its_own(browser: httpx.AsyncClient) -> None:
    url = (await ok(start(browser, origin=OTHER_FRONT_END))).json()["authorization_url"]
    code = told(await come_back(browser, await authorized(url)))["sign_in_code"]
    await created(exchange(browser, code, origin=OTHER_FRONT_END))


async def test_a_sign_in_that_an_attacker_started_is_of_no_use_in_another_browser(
    browser: httpx.AsyncClient, signing: FastAPI
) -> None:
    """Front ends of other sites get no cookie, so any browser may finish; its page has another verifier, or none."""
    attackers = new_secret()
    async with browser_at(signing) as attacker:
        answer = await authorized(await depart(attacker, code_challenge=code_challenge(attackers)))
    code = told(await come_back(browser, answer))["sign_in_code"]
    await refused(exchange(browser, code, VERIFIER), 401, "invalid_sign_in_code")
    await refused(exchange(browser, code, attackers), 401, "invalid_sign_in_code")


async def test_addresses_with_other_ports_are_other_front_ends(urls: tuple[str, str], provider: Provider) -> None:
    addresses = "http://localhost:5173/, https://spa.test:8443/app"
    async with app_with(provider, urls[1], frontend_url=addresses) as app, browser_at(app) as browser:
        await ok(start(browser, origin="http://localhost:5173"))
        await ok(start(browser, origin="https://spa.test:8443"))
        for origin in ("http://localhost:5174", "http://localhost", "https://localhost:5173", FRONT_END):
            await refused(start(browser, origin=origin), 403, "origin_not_allowed")
