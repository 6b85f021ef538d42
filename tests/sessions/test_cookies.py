"""Sessions in cookies: only for pages of the front ends on the API's own site."""

import httpx
import pytest
from fastapi import FastAPI

from po_api.web.cookies import ACCESS_COOKIE, REFRESH_COOKIE, SIGN_IN_COOKIE
from support.applications import client_of, new_app
from support.identity_provider import Provider, authorized
from support.organisations import LINE, Member, Tenant, created, ok, refused
from support.sign_in import BY_COOKIE, FROM_PAGE, FRONT_END, browser_at, depart, there_and_back

PORF = {"title": "Lamps", "lines": [LINE]}


@pytest.fixture
async def page(browser: httpx.AsyncClient, provider: Provider, tenant: Tenant) -> httpx.AsyncClient:
    """A browser that is signed in with cookies."""
    provider.be((await tenant.member()).email)
    await there_and_back(browser, **BY_COOKIE)
    return browser


async def test_a_page_reads_and_writes_with_cookies(page: httpx.AsyncClient) -> None:
    await created(page.post("/porfs", json=PORF, headers=FROM_PAGE))
    shown = await ok(page.get("/porfs", headers={"Origin": FRONT_END, "Sec-Fetch-Site": "same-site"}))
    assert len(shown.json()["items"]) == 1
    assert shown.headers["access-control-allow-credentials"] == "true"


async def test_the_apis_own_pages_may_use_the_cookies(page: httpx.AsyncClient) -> None:
    own = {"Origin": "https://api.test", "Sec-Fetch-Site": "same-origin", "X-CSRF": "1"}
    await created(page.post("/porfs", json=PORF, headers=own))


NOT_FROM_A_PAGE = {
    "no header": {"X-CSRF": None},
    "an empty header": {"X-CSRF": ""},
    "another header": {"X-CSRF": "true"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "an unheard-of site": {"Sec-Fetch-Site": "elsewhere"},
    "another origin": {"Origin": "https://evil.test"},
    "another origin of the same site": {"Origin": "https://blog.spa.test"},
    "another port": {"Origin": f"{FRONT_END}:8443"},
    "another scheme": {"Origin": FRONT_END.replace("https", "http")},
    "no origin to speak of": {"Origin": "null"},
    "a front end one may return to but that may not call": {"Origin": "https://other.test"},
}


@pytest.mark.parametrize("changes", NOT_FROM_A_PAGE.values(), ids=NOT_FROM_A_PAGE)
async def test_cross_site_requests_with_cookies_change_nothing(
    page: httpx.AsyncClient, changes: dict[str, str | None]
) -> None:
    headers = {name: value for name, value in {**FROM_PAGE, **changes}.items() if value is not None}
    await refused(page.post("/porfs", json=PORF, headers=headers), 403, "cross_site_request")
    await refused(page.delete("/sessions/current", headers=headers), 403, "cross_site_request")
    await refused(page.post("/sessions/refresh", headers=headers), 403, "cross_site_request")
    assert (await ok(page.get("/porfs"))).json()["items"] == []


async def test_another_site_reads_nothing_with_the_cookies(page: httpx.AsyncClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    await refused(page.get("/porfs", headers=headers), 403, "cross_site_request")


async def test_an_address_that_is_typed_in_may_be_read(page: httpx.AsyncClient) -> None:
    """A PDF opened in a tab of its own."""
    await ok(page.get("/porfs", headers={"Sec-Fetch-Site": "none"}))


async def test_a_token_that_is_sent_on_purpose_comes_before_the_cookies(
    page: httpx.AsyncClient, tenant: Tenant
) -> None:
    other = await tenant.member()
    headers = {"Authorization": f"Bearer {other.token}"}
    assert (await ok(page.get("/users/me", headers=headers))).json()["id"] == other.user_id
    # Other sites cannot make a browser send that, so no header is required.
    await created(page.post("/porfs", json=PORF, headers=headers | {"Sec-Fetch-Site": "cross-site"}))
    await refused(page.get("/users/me", headers={"Authorization": "Bearer x"}), 401, "unauthenticated")


async def test_cookies_are_refreshed_by_cookies(page: httpx.AsyncClient) -> None:
    before = dict(page.cookies)
    response = await ok(page.post("/sessions/refresh", headers=FROM_PAGE))
    assert (response.json()["access_token"], response.json()["refresh_token"]) == (None, None)
    after = dict(page.cookies)
    assert before.keys() == after.keys() >= {ACCESS_COOKIE, REFRESH_COOKIE}
    assert before[REFRESH_COOKIE] != after[REFRESH_COOKIE]
    await ok(page.get("/users/me"))


async def test_a_refresh_works_when_the_access_cookie_has_gone(page: httpx.AsyncClient) -> None:
    page.cookies.delete(ACCESS_COOKIE)
    await refused(page.get("/users/me"), 401, "unauthenticated")
    await ok(page.post("/sessions/refresh", headers=FROM_PAGE))
    await ok(page.get("/users/me"))


@pytest.mark.parametrize("path", ["/sessions/current", "/sessions"])
async def test_signing_out_takes_the_cookies_away(page: httpx.AsyncClient, path: str) -> None:
    await ok(page.delete(path, headers=FROM_PAGE), 204)
    assert not {ACCESS_COOKIE, REFRESH_COOKIE} & set(page.cookies)


async def test_signing_out_with_a_token_sets_no_cookies(tenant: Tenant) -> None:
    member = await tenant.member()
    assert "set-cookie" not in (await ok(member.delete("/sessions/current"), 204)).headers


async def test_a_cookie_that_is_no_token_is_refused(signing: FastAPI) -> None:
    async with browser_at(signing) as browser:
        for value in ("x", "a.b.c", "x" * 9000, '"'):
            headers = {"Cookie": f"{ACCESS_COOKIE}={value}"}
            await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")


# Names that some parser takes for the cookie's own. Every host of the domain can set cookies with these names.
SIMILAR_NAMES = [
    b"\xa0%s",
    b"%s\xa0",
    b"\xc2\xa0%s",
    b"\x85%s",
    b"%s\x1c",
    b"\x1f%s",
    b"\x0b%s",
    b"\x0c%s",
    b'"%s"',
    b"x%s",
    b"%sx",
    b"\\%s",
    b"$%s",
]


@pytest.mark.parametrize("pattern", SIMILAR_NAMES)
async def test_only_the_exact_name_counts(signing: FastAPI, tenant: Tenant, pattern: bytes) -> None:
    member = await tenant.member()
    for name in (pattern % ACCESS_COOKIE.encode(), ACCESS_COOKIE.swapcase().encode(), ACCESS_COOKIE.lower().encode()):
        async with browser_at(signing) as browser:
            headers = {b"Cookie": name + b"=" + member.token.encode()}
            await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")


@pytest.mark.parametrize("pattern", SIMILAR_NAMES)
async def test_a_similar_name_beside_the_cookie_makes_no_difference(
    page: httpx.AsyncClient, tenant: Tenant, pattern: bytes
) -> None:
    other = await tenant.member()
    me = (await ok(page.get("/users/me"))).json()
    own = f"{ACCESS_COOKIE}={page.cookies[ACCESS_COOKIE]}".encode()
    planted = pattern % ACCESS_COOKIE.encode() + b"=" + other.token.encode()
    for cookies in (own + b"; " + planted, planted + b";" + own, planted + b";\t" + own + b" \t; a; =b; ;;"):
        shown = await ok(page.get("/users/me", headers={b"Cookie": cookies}))
        assert shown.json()["id"] == me["id"]


async def test_similar_names_are_not_the_cookies_of_refresh_and_sign_in(
    page: httpx.AsyncClient, signing: FastAPI
) -> None:
    refresh = page.cookies[REFRESH_COOKIE].encode()
    headers = {b"Cookie": b"\xa0" + REFRESH_COOKIE.encode() + b"=" + refresh, b"Origin": FRONT_END.encode()}
    async with browser_at(signing) as other:
        refresh_request = other.post("/sessions/refresh", headers=headers | {b"X-CSRF": b"1"})
        await refused(refresh_request, 401, "invalid_refresh_token")
    answer = await authorized(await depart(page, **BY_COOKIE))
    browser = b"\xa0" + SIGN_IN_COOKIE.encode() + b"=" + page.cookies[SIGN_IN_COOKIE].encode()
    async with browser_at(signing) as other:
        callback = other.get("/sessions/oidc/callback", params=answer, headers={b"Cookie": browser})
        await refused(callback, 400, "invalid_sign_in")


@pytest.mark.parametrize("split", [False, True])
async def test_a_second_cookie_of_a_name_is_refused(
    page: httpx.AsyncClient, signing: FastAPI, tenant: Tenant, split: bool
) -> None:
    """A session of somebody else, planted by another host of the domain; or a copy of the own one."""
    other = (await tenant.member()).token
    values = {
        ACCESS_COOKIE: page.cookies[ACCESS_COOKIE],
        REFRESH_COOKIE: page.cookies[REFRESH_COOKIE],
        SIGN_IN_COOKIE: page.cookies[SIGN_IN_COOKIE],
    }
    requests = {
        ACCESS_COOKIE: ("GET", "/users/me"),
        REFRESH_COOKIE: ("POST", "/sessions/refresh"),
        SIGN_IN_COOKIE: ("GET", "/sessions/oidc/callback?state=x"),
    }
    for name, (method, path) in requests.items():
        for planted in (other, "", values[name]):
            for pair in ((values[name], planted), (planted, values[name])):
                cookies = [f"{name}={value}" for value in pair]
                sent = cookies if split else ["; ".join(cookies)]
                headers = [*(("Cookie", cookie) for cookie in sent), *FROM_PAGE.items()]
                async with browser_at(signing) as browser:
                    await refused(browser.request(method, path, headers=headers), 400, "duplicate_cookie")
    await ok(page.get("/users/me"))


async def test_two_cookies_make_no_difference_beside_a_token(signing: FastAPI, tenant: Tenant) -> None:
    member = await tenant.member()
    headers = {"Authorization": f"Bearer {member.token}", "Cookie": f"{ACCESS_COOKIE}=x; {ACCESS_COOKIE}=y"}
    async with browser_at(signing) as browser:
        assert (await ok(browser.get("/users/me", headers=headers))).json()["id"] == member.user_id


async def test_two_cookies_count_for_the_address(urls: tuple[str, str]) -> None:
    headers = {"Cookie": f"{ACCESS_COOKIE}=x; {ACCESS_COOKIE}=y"}
    async with client_of(new_app(urls[1], rate_limit_per_address="1/day")) as client:
        answers = [await client.get("/api/v1/users/me", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 429]


async def test_a_value_in_quotes_is_another_value(page: httpx.AsyncClient, signing: FastAPI) -> None:
    async with browser_at(signing) as browser:
        headers = {"Cookie": f'{ACCESS_COOKIE}="{page.cookies[ACCESS_COOKIE]}"'}
        await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")


async def test_cookies_without_the_host_prefix_are_ignored(signing: FastAPI, tenant: Tenant) -> None:
    """A cookie that another host of the domain could have set."""
    member: Member = await tenant.member()
    async with browser_at(signing) as browser:
        headers = {"Cookie": f"po_access={member.token}"}
        await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")
