"""An application with the tests' identity provider, and browsers that sign in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from fastapi import FastAPI

from po_api.sessions.tokens import code_challenge, new_secret
from support.applications import new_app
from support.identity_provider import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, Provider, authorized
from support.organisations import created, ok

FRONT_END = "https://spa.test"
OTHER_FRONT_END = "https://other.test"
VERIFIER = new_secret()
BY_TOKEN = {"code_challenge": code_challenge(VERIFIER)}
BY_COOKIE = {"mode": "cookie"}
# The headers that a page of the front end sends with its cookies.
FROM_PAGE = {"Origin": FRONT_END, "Sec-Fetch-Site": "same-site", "X-CSRF": "1"}


@asynccontextmanager
async def app_with(provider: Provider, url: str, **settings: Any) -> AsyncIterator[FastAPI]:
    """An application on the tests' database; its connections are closed at the end."""
    values = {
        "oidc_issuer": provider.issuer,
        "google_client_id": CLIENT_ID,
        "google_client_secret": CLIENT_SECRET,
        "google_redirect_uri": REDIRECT_URI,
        "frontend_url": f"{FRONT_END}/app, {OTHER_FRONT_END}",
        "cors_origins": FRONT_END,
        "rate_limit_sign_in": "1000/minute",
        "rate_limit_refresh": "1000/minute",
    }
    app = new_app(url, **values | settings)
    yield app
    await app.state.database.dispose()


@asynccontextmanager
async def browser_at(app: FastAPI, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with its own cookies, over TLS, so that it stores and sends `Secure` ones."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test/api/v1", headers=headers) as browser:
        yield browser


async def start(browser: httpx.AsyncClient, *, origin: str | None = FRONT_END, **fields: str) -> httpx.Response:
    """The application's response to a page of the front end that starts a sign-in with tokens."""
    headers = {} if origin is None else {"Origin": origin}
    return await browser.post("/sessions/oidc/start", json=BY_TOKEN | fields, headers=headers)


async def depart(browser: httpx.AsyncClient, **fields: str) -> str:
    """Start a sign-in, with tokens unless BY_COOKIE is given; returns the URL at the provider."""
    if BY_COOKIE.items() <= fields.items():
        response = await ok(browser.get("/sessions/oidc/start", params=fields), 303)
        return response.headers["location"]
    url: str = (await ok(start(browser, **fields))).json()["authorization_url"]
    return url


async def come_back(browser: httpx.AsyncClient, answer: dict[str, str]) -> httpx.Response:
    """The application's response to the provider's redirect."""
    return await browser.get("/sessions/oidc/callback", params=answer)


async def there_and_back(browser: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await come_back(browser, await authorized(await depart(browser, **fields)))


def told(response: httpx.Response) -> dict[str, str]:
    """The parameters in the fragment of the return address."""
    assert response.status_code == 303, response.text
    return dict(parse_qsl(urlsplit(response.headers["location"]).fragment))


async def exchange(
    browser: httpx.AsyncClient, code: str, verifier: str = VERIFIER, *, origin: str | None = FRONT_END
) -> httpx.Response:
    headers = {} if origin is None else {"Origin": origin}
    body = {"code": code, "code_verifier": verifier}
    return await browser.post("/sessions/oidc/exchange", json=body, headers=headers)


async def sign_in(browser: httpx.AsyncClient) -> dict[str, Any]:
    """Sign in as the provider's current user; returns the tokens."""
    code = told(await there_and_back(browser))["sign_in_code"]
    tokens: dict[str, Any] = (await created(exchange(browser, code))).json()
    return tokens


def bearing(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}
