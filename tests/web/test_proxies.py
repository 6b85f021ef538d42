"""The client's address: only headers of trusted proxies are used. Rate limits count by it."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from po_api.sessions.tokens import new_secret
from po_api.web.cookies import ACCESS_COOKIE, REFRESH_COOKIE
from support.applications import client_of, new_app
from support.identity_provider import Provider
from support.organisations import Member, Tenant, TestOrganisation, created, ok, refused
from support.sign_in import FRONT_END, app_with

PROXIES = "10.0.0.0/8, 192.0.2.10, 2001:db8:ffff::/48"
PROXY, OTHER_PROXY, IPV6_PROXY = "10.1.2.3", "192.0.2.10", "2001:db8:ffff::7"
NO_PROXY = "192.0.2.11"
VISITOR = "198.51.100.7"
SIGN_IN_POLICY = '"sign-in";q=3;w=86400'


def at(client: httpx.AsyncClient, member: Member) -> Member:
    return Member(client, member.user_id, member.email, member.token)


@asynccontextmanager
async def behind(url: str, address: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connection comes from `address`, at an application that trusts PROXIES."""
    async with client_of(new_app(url, **{"trusted_proxies": PROXIES} | settings), address) as client:
        yield client


async def _address_of(client: httpx.AsyncClient, member: Member, **headers: str) -> str:
    """The address that is stored in the member's session, which was not used before."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    shown = await ok(at(client, member).get("/sessions/current", headers=sent))
    address: str = shown.json()["ip_address"]
    return address


@pytest.mark.parametrize("peer", [PROXY, OTHER_PROXY, IPV6_PROXY])
@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (VISITOR, VISITOR),
        (f"{VISITOR}:4711", VISITOR),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        # A client behind the proxy can send any addresses before the one that the proxy adds.
        (f"203.0.113.9, {VISITOR}", VISITOR),
        (f"{OTHER_PROXY}, {VISITOR}", VISITOR),
        (f"nonsense, <script>, {VISITOR}", VISITOR),
        # Two proxies in a row: the second one adds the address of the first.
        (f"203.0.113.9, {VISITOR}, 10.9.9.9", VISITOR),
    ],
)
async def test_the_address_is_that_stated_by_a_trusted_proxy(
    tenant: Tenant, urls: tuple[str, str], peer: str, forwarded: str, expected: str
) -> None:
    async with behind(urls[1], peer) as client:
        assert await _address_of(client, await tenant.member(), X_Forwarded_For=forwarded) == expected


async def test_a_trusted_proxy_may_send_several_headers(tenant: Tenant, urls: tuple[str, str]) -> None:
    member = await tenant.member()
    async with behind(urls[1], PROXY) as client:
        headers = [
            ("Authorization", f"Bearer {member.token}"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", VISITOR),
        ]
        shown = await ok(client.get("/api/v1/sessions/current", headers=headers))
        assert shown.json()["ip_address"] == VISITOR


@pytest.mark.parametrize("peer", [NO_PROXY, "11.0.0.1", "2001:db8:fffe::7"])
async def test_headers_of_other_hosts_are_ignored(tenant: Tenant, urls: tuple[str, str], peer: str) -> None:
    async with behind(urls[1], peer) as client:
        for forwarded in (VISITOR, PROXY, f"{VISITOR}, {PROXY}"):
            headers = {"X_Forwarded_For": forwarded, "Forwarded": f"for={forwarded}", "X_Real_IP": forwarded}
            assert await _address_of(client, await tenant.member(), **headers) == peer


async def test_without_the_setting_all_headers_are_ignored(tenant: Tenant, urls: tuple[str, str]) -> None:
    for peer in (PROXY, "127.0.0.1", "::1"):
        async with behind(urls[1], peer, trusted_proxies=()) as client:
            member = await tenant.member()
            assert await _address_of(client, member, X_Forwarded_For=VISITOR, X_Forwarded_Proto="https") == peer
            response = await client.get("/health/live", headers={"X-Forwarded-Proto": "https"})
            assert "Strict-Transport-Security" not in response.headers


async def test_without_headers_the_address_is_that_of_the_proxy(tenant: Tenant, urls: tuple[str, str]) -> None:
    async with behind(urls[1], PROXY) as client:
        assert await _address_of(client, await tenant.member()) == PROXY
        assert await _address_of(client, await tenant.member(), X_Forwarded_For="") == PROXY


# The scheme


@pytest.mark.parametrize(
    ("peer", "said", "is_secure"),
    [
        (PROXY, "https", True),
        (PROXY, "http", False),
        (PROXY, "HTTPS, http", False),
        (PROXY, "javascript", False),
        (NO_PROXY, "https", False),
    ],
)
async def test_the_scheme_is_that_stated_by_a_trusted_proxy(
    urls: tuple[str, str], peer: str, said: str, is_secure: bool
) -> None:
    async with behind(urls[1], peer) as client:
        response = await client.get("/health/live", headers={"X-Forwarded-Proto": said})
        assert ("Strict-Transport-Security" in response.headers) == is_secure


async def test_the_apis_own_origin_is_what_the_browser_sees(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    """Otherwise pages of the API's own site could not write with cookies behind a proxy that terminates TLS."""
    cookie = {"Cookie": f"{ACCESS_COOKIE}={organisation.requester.token}", "X-CSRF": "1", "X-Forwarded-Proto": "https"}
    seen = {}
    for peer in (PROXY, NO_PROXY):
        async with behind(urls[1], peer) as client:
            for origin in ("https://test", "http://test"):
                headers = cookie | {"Origin": origin}
                response = await client.post("/api/v1/porfs", json={"title": "Lamps"}, headers=headers)
                seen[peer, origin] = response.status_code
    assert seen == {
        (PROXY, "https://test"): 201,
        (PROXY, "http://test"): 403,
        (NO_PROXY, "https://test"): 403,
        (NO_PROXY, "http://test"): 201,
    }


async def test_no_header_makes_another_host_the_apis_own(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    evil = {"Origin": "https://evil.test", "X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test;proto=https"}
    cookie = {"Cookie": f"{ACCESS_COOKIE}={organisation.requester.token}", "X-CSRF": "1", "X-Forwarded-Proto": "https"}
    async with behind(urls[1], PROXY) as client:
        request = client.post("/api/v1/porfs", json={"title": "Lamps"}, headers=cookie | evil)
        await refused(request, 403, "cross_site_request")


# Limits by address


async def test_each_visitor_behind_a_proxy_has_a_limit_of_their_own(urls: tuple[str, str]) -> None:
    async with behind(urls[1], PROXY, rate_limit_per_address="2/day") as client:
        for visitor in (VISITOR, "198.51.100.8"):
            headers = {"X-Forwarded-For": visitor}
            answers = [await client.get("/api/v1/porfs", headers=headers) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [401, 401, 429]


async def test_headers_of_clients_do_not_circumvent_a_limit(urls: tuple[str, str]) -> None:
    for peer, added in ((PROXY, f", {VISITOR}"), (NO_PROXY, "")):
        async with behind(urls[1], peer, rate_limit_per_address="2/day") as client:
            statuses = []
            for number in range(4):
                headers = {"X-Forwarded-For": f"203.0.113.{number}{added}"}
                statuses.append((await client.get("/api/v1/porfs", headers=headers)).status_code)
            assert statuses == [401, 401, 429, 429]


@pytest.mark.parametrize(
    ("addresses", "share"),
    [
        (("2001:db8:1:1::1", "2001:db8:1:1:ffff:ffff:ffff:ffff"), True),
        (("2001:db8:1:1::1", "2001:DB8:1:1:0:0:0:1"), True),
        (("2001:db8:1:1::1", "2001:db8:1:2::1"), False),
        (("198.51.100.7", "198.51.100.8"), False),
        (("198.51.100.7", "::ffff:198.51.100.7"), True),
        (("::ffff:198.51.100.7", "::ffff:198.51.100.8"), False),
    ],
)
async def test_the_addresses_of_one_network_share_a_limit(
    urls: tuple[str, str], addresses: tuple[str, str], share: bool
) -> None:
    app = new_app(urls[1], rate_limit_per_address="1/day")
    async with AsyncExitStack() as stack:
        statuses = []
        for address in addresses:
            client = await stack.enter_async_context(client_of(app, address))
            statuses.append((await client.get("/api/v1/porfs")).status_code)
    assert statuses == [401, 429 if share else 401]


# Limits of signing in


@asynccontextmanager
async def _signing_in(
    provider: Provider, url: str, *addresses: str, **settings: Any
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients at these addresses, of an application with a limit of three sign-ins per address and day."""
    async with (
        app_with(provider, url, **{"rate_limit_sign_in": "3/day"} | settings) as app,
        AsyncExitStack() as stack,
    ):
        yield [await stack.enter_async_context(client_of(app, address)) for address in addresses]


async def _start(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get("/api/v1/sessions/oidc/start")


async def _start_with_tokens(client: httpx.AsyncClient) -> httpx.Response:
    body = {"code_challenge": new_secret()}
    return await client.post("/api/v1/sessions/oidc/start", json=body, headers={"Origin": FRONT_END})


async def _send_id_token(client: httpx.AsyncClient, token: str = "x.y.z") -> httpx.Response:
    return await client.post("/api/v1/sessions", json={"id_token": token})


async def _guess(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/api/v1/sessions/refresh", json={"refresh_token": new_secret()})


async def _guess_in_cookie(client: httpx.AsyncClient) -> httpx.Response:
    headers = {"Cookie": f"{REFRESH_COOKIE}={new_secret()}", "X-CSRF": "1"}
    return await client.post("/api/v1/sessions/refresh", headers=headers)


def _is_limited(response: httpx.Response, policy: str) -> bool:
    name = policy.partition(";")[0]
    return (
        response.status_code == 429
        and response.json()["code"] == "rate_limited"
        and response.headers["RateLimit-Policy"] == policy
        and re.fullmatch(rf"{name};r=0;t=\d+", response.headers["RateLimit"]) is not None
        and 1 <= int(response.headers["Retry-After"]) <= 86400
    )


TRIES = {
    "a redirect": (_start, 303),
    "a start of a page": (_start_with_tokens, 200),
    "an ID token": (_send_id_token, 401),
    "a refresh token": (_guess, 401),
    "a refresh token in its cookie": (_guess_in_cookie, 401),
}


@pytest.mark.parametrize(("attempt", "usual"), TRIES.values(), ids=TRIES)
async def test_an_address_tries_to_sign_in_so_many_times(
    urls: tuple[str, str], provider: Provider, attempt: Any, usual: int
) -> None:
    async with _signing_in(provider, urls[1], VISITOR, "198.51.100.8") as (client, other):
        answers = [await attempt(client) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [usual] * 3
        assert {answer.headers["RateLimit-Policy"] for answer in answers} == {SIGN_IN_POLICY}
        assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0"]
        assert _is_limited(await attempt(client), SIGN_IN_POLICY)
        assert (await attempt(other)).status_code == usual


async def test_all_ways_to_sign_in_count_together(urls: tuple[str, str], provider: Provider, tenant: Tenant) -> None:
    provider.be((await tenant.member()).email)
    async with _signing_in(provider, urls[1], VISITOR) as (client,):
        for attempt, usual in ((_start, 303), (_send_id_token, 401), (_guess, 401)):
            assert (await attempt(client)).status_code == usual
        assert all([_is_limited(await attempt(client), SIGN_IN_POLICY) for attempt, _ in TRIES.values()])
        # Who they are makes no difference any more.
        assert _is_limited(await _send_id_token(client, provider.id_token()), SIGN_IN_POLICY)


async def test_signing_in_counts_when_it_succeeds(urls: tuple[str, str], provider: Provider, tenant: Tenant) -> None:
    provider.be((await tenant.member()).email)
    async with _signing_in(provider, urls[1], VISITOR) as (client,):
        statuses = [(await _send_id_token(client, provider.id_token())).status_code for _ in range(4)]
    assert statuses == [201, 201, 201, 429]


async def _refreshed(client: httpx.AsyncClient, tokens: dict[str, Any]) -> httpx.Response:
    return await client.post("/api/v1/sessions/refresh", json={"refresh_token": tokens["refresh_token"]})


async def test_a_user_refreshes_so_many_times_and_loses_nothing(
    urls: tuple[str, str], provider: Provider, tenant: Tenant
) -> None:
    policy = '"refresh";q=2;w=86400'
    async with _signing_in(provider, urls[1], VISITOR, "198.51.100.8", rate_limit_refresh="2/day") as clients:
        signed_in = []
        for _ in range(2):
            provider.be((await tenant.member()).email)
            signed_in.append((await created(_send_id_token(clients[0], provider.id_token()))).json())
        tokens, others = signed_in
        for left in (1, 0):
            answer = await ok(_refreshed(clients[0], tokens))
            assert answer.headers["RateLimit-Policy"] == policy
            assert answer.headers["RateLimit"].startswith(f'"refresh";r={left};')
            tokens = answer.json()
        # From wherever, since it is about the user. The token that was refused is still good for the same again.
        assert _is_limited(await _refreshed(clients[0], tokens), policy)
        assert _is_limited(await _refreshed(clients[1], tokens), policy)
        session = {"Authorization": f"Bearer {tokens['access_token']}"}
        await ok(clients[0].get("/api/v1/users/me", headers=session))
        await ok(_refreshed(clients[0], others))


async def test_a_refused_refresh_rotates_nothing(urls: tuple[str, str], provider: Provider, tenant: Tenant) -> None:
    provider.be((await tenant.member()).email)
    strict = {"rate_limit_refresh": "1/day"}
    async with _signing_in(provider, urls[1], VISITOR, **strict) as (client,):
        first = (await created(_send_id_token(client, provider.id_token()))).json()
        second = (await ok(_refreshed(client, first))).json()
        assert _is_limited(await _refreshed(client, second), '"refresh";q=1;w=86400')
    async with _signing_in(provider, urls[1], VISITOR) as (later,):
        await ok(_refreshed(later, second))


async def test_good_refreshes_do_not_count_against_the_address(
    urls: tuple[str, str], provider: Provider, tenant: Tenant
) -> None:
    """Many users may share an address."""
    provider.be((await tenant.member()).email)
    async with _signing_in(provider, urls[1], VISITOR) as (client,):
        tokens = (await created(_send_id_token(client, provider.id_token()))).json()
        for _ in range(5):
            tokens = (await ok(_refreshed(client, tokens))).json()


@pytest.mark.parametrize("path", ["/oidc/callback", "/oidc/exchange"])
async def test_what_follows_a_start_counts_for_the_address(
    urls: tuple[str, str], provider: Provider, path: str
) -> None:
    """Not as further attempts, since every sign-in needs these requests."""
    async with _signing_in(provider, urls[1], VISITOR, rate_limit_per_address="2/day") as (client,):
        answers = []
        for _ in range(3):
            if path == "/oidc/callback":
                answers.append(await client.get(f"/api/v1/sessions{path}", params={"state": "x", "code": "x"}))
            else:
                body = {"code": new_secret(), "code_verifier": new_secret()}
                answers.append(await client.post(f"/api/v1/sessions{path}", json=body))
    assert [answer.status_code for answer in answers[:2]] == [400 if path == "/oidc/callback" else 401] * 2
    assert _is_limited(answers[2], '"address";q=2;w=86400')


@pytest.mark.parametrize(("method", "path"), [("GET", "/porfs"), ("POST", "/porfs"), ("POST", "/sessions/refresh")])
async def test_cookies_from_another_site_count_for_the_address(
    organisation: TestOrganisation, urls: tuple[str, str], method: str, path: str
) -> None:
    cookies = f"{ACCESS_COOKIE}={organisation.requester.token}; {REFRESH_COOKIE}={new_secret()}"
    headers = {"Cookie": cookies, "Sec-Fetch-Site": "cross-site"}
    limits = {"rate_limit_per_address": "1/day", "rate_limit_sign_in": "1/day"}
    async with behind(urls[1], VISITOR, **limits) as client:
        answers = [await client.request(method, f"/api/v1{path}", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [403, 429]
