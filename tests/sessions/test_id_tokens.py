"""POST /sessions: an ID token is accepted if it is the provider's, for this client, and valid in every claim."""

import asyncio
import hashlib
import hmac
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response

from po_api.core.clock import utc_now
from po_api.sessions import oidc
from po_api.sessions.models import UsedIdToken
from po_api.sessions.repository import SignInRepository
from support.identity_provider import CLIENT_ID, Provider, SigningKey, authorized, segment
from support.organisations import Member, Tenant, created, ok, refused, set_active
from support.sign_in import (
    BY_COOKIE,
    FROM_PAGE,
    FRONT_END,
    app_with,
    bearing,
    browser_at,
    come_back,
    depart,
    start,
    told,
)

NONCE = "n-0S6_WzA2Mj"


@pytest.fixture(autouse=True)
async def provider_user(provider: Provider, tenant: Tenant) -> Member:
    """A member who is the provider's current user."""
    member = await tenant.member()
    provider.be(member.email)
    return member


async def _sign_in(browser: httpx.AsyncClient, token: str, **body: Any) -> httpx.Response:
    return await browser.post("/sessions", json={"id_token": token, **body})


async def _accepted(browser: httpx.AsyncClient, token: str, **body: Any) -> dict[str, Any]:
    tokens: dict[str, Any] = (await created(_sign_in(browser, token, **body))).json()
    return tokens


async def _refused(browser: httpx.AsyncClient, token: str, **body: Any) -> None:
    problem = await refused(_sign_in(browser, token, **body), 401, "invalid_id_token")
    assert token not in str(problem)


async def test_an_id_token_becomes_a_session(
    browser: httpx.AsyncClient, provider: Provider, provider_user: Member
) -> None:
    tokens = await _accepted(browser, provider.id_token())
    me = (await ok(browser.get("/users/me", headers=bearing(tokens)))).json()
    assert me["id"] == provider_user.user_id
    assert me["last_login"] is not None


async def test_an_id_token_becomes_cookies_for_a_page_of_the_front_end(
    browser: httpx.AsyncClient, provider: Provider, provider_user: Member
) -> None:
    body = {"id_token": provider.id_token(), "mode": "cookie"}
    await refused(browser.post("/sessions", json=body), 403, "cross_site_request")
    shown = (await created(browser.post("/sessions", json=body, headers=FROM_PAGE))).json()
    assert (shown["access_token"], shown["refresh_token"]) == (None, None)
    assert (await ok(browser.get("/users/me"))).json()["id"] == provider_user.user_id


async def test_the_nonce_has_to_be_the_requested_one(browser: httpx.AsyncClient, provider: Provider) -> None:
    await _accepted(browser, provider.id_token(nonce=NONCE), nonce=NONCE)
    await _refused(browser, provider.id_token(nonce=NONCE))
    await _refused(browser, provider.id_token(nonce=NONCE), nonce="another")
    await _refused(browser, provider.id_token(), nonce=NONCE)


WRONG: dict[str, dict[str, Any]] = {
    "no issuer": {"iss": None},
    "another issuer": {"iss": "https://evil.test"},
    "google": {"iss": "https://accounts.google.com"},
    "no audience": {"aud": None},
    "another audience": {"aud": "another"},
    "an audience of several without azp": {"aud": [CLIENT_ID, "another"]},
    "an audience of several for another": {"aud": [CLIENT_ID, "another"], "azp": "another"},
    "issued to another": {"azp": "another"},
    "no expiry": {"exp": None},
    "expired": {"exp": 1_700_000_000},
    "an expiry that is no number": {"exp": "tomorrow"},
    "no time of issue": {"iat": None},
    "issued in the future": {"iat": 9_999_999_999},
    "issued ten years ago": {"iat": 1_480_000_000, "exp": 9_999_999_999},
    "issued at no time": {"iat": float("nan")},
    "a time of issue that is no number": {"iat": "x"},
    "not yet valid": {"nbf": 9_999_999_999},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 7},
    "a subject too long": {"sub": "x" * 256},
    "a subject with a control character": {"sub": "a\x00b"},
    "no address": {"email": None},
    "an address that is none": {"email": "provider_user"},
    "an address that is no text": {"email": ["a@b.example"]},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
async def test_a_claim_that_does_not_hold_is_refused(
    browser: httpx.AsyncClient, provider: Provider, claims: dict[str, Any]
) -> None:
    await _refused(browser, provider.id_token(**claims))


@pytest.mark.parametrize("claims", [{"aud": [CLIENT_ID]}, {"azp": CLIENT_ID}, {"at_hash": "unchecked"}])
async def test_further_claims_are_accepted(
    browser: httpx.AsyncClient, provider: Provider, claims: dict[str, Any]
) -> None:
    await _accepted(browser, provider.id_token(**claims))


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_the_address_has_to_be_verified(browser: httpx.AsyncClient, provider: Provider, verified: object) -> None:
    token = provider.id_token(email_verified=verified)
    await refused(_sign_in(browser, token), 403, "email_not_verified")


# Attacks on the signature


def _unsigned(provider: Provider, header: dict[str, Any]) -> str:
    return f"{segment(header)}.{provider.id_token().split('.')[1]}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
async def test_a_token_without_signature_is_refused(
    browser: httpx.AsyncClient, provider: Provider, algorithm: str
) -> None:
    unsigned = _unsigned(provider, {"alg": algorithm, "kid": provider.keys[0].id})
    for signature in ("", provider.id_token().split(".")[2]):
        await _refused(browser, f"{unsigned}.{signature}")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_the_public_key_is_no_secret_to_sign_with(
    browser: httpx.AsyncClient, provider: Provider, encoding: Encoding, algorithm: str
) -> None:
    unsigned = _unsigned(provider, {"alg": algorithm, "kid": provider.keys[0].id})
    secret = provider.keys[0].public(encoding)
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    await _refused(browser, f"{unsigned}.{segment(hmac.digest(secret, unsigned.encode(), digest))}")


async def test_a_shared_key_among_the_published_ones_signs_nothing(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    shared = {"kty": "oct", "kid": "shared", "k": segment(b"k" * 32), "alg": "HS256"}
    provider.answers["/jwks"] = JSONResponse({"keys": [shared]})
    unsigned = _unsigned(provider, {"alg": "HS256", "kid": "shared"})
    await _refused(browser, f"{unsigned}.{segment(hmac.digest(b'k' * 32, unsigned.encode(), hashlib.sha256))}")
    await _refused(browser, provider.id_token(header={"kid": "shared"}))


@pytest.mark.parametrize("changes", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "EC"}, {"n": "AQAB"}])
async def test_a_published_key_that_is_for_something_else_signs_nothing(
    browser: httpx.AsyncClient, provider: Provider, changes: dict[str, str]
) -> None:
    provider.answers["/jwks"] = JSONResponse({"keys": [provider.keys[0].published | changes]})
    await _refused(browser, provider.id_token())


async def test_a_token_signed_with_another_key_is_refused(browser: httpx.AsyncClient, provider: Provider) -> None:
    stranger = SigningKey()
    await _refused(browser, provider.id_token(key=stranger))
    await _refused(browser, provider.id_token(key=stranger, header={"kid": provider.keys[0].id}))
    embedded = {"kid": provider.keys[0].id, "jwk": stranger.published}
    await _refused(browser, provider.id_token(key=stranger, header=embedded))


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"kid": None}, {"kid": 7}, {"alg": "RS512"}, {"alg": None}])
async def test_a_header_with_critical_extensions_is_refused(
    browser: httpx.AsyncClient, provider: Provider, header: dict[str, Any]
) -> None:
    honest = provider.id_token()
    changed = segment({"alg": "RS256", "kid": provider.keys[0].id, "typ": "JWT"} | header)
    await _refused(browser, f"{changed}.{honest.partition('.')[2]}")
    await _refused(browser, provider.id_token(header=header) if "crit" in header else changed)


@pytest.mark.parametrize("change", ["{token}=", "{token}.x", "x{token}", " {token}", "{token}é", "...", "x"])
async def test_what_is_no_token_is_refused(browser: httpx.AsyncClient, provider: Provider, change: str) -> None:
    await _refused(browser, change.format(token=provider.id_token()))


async def test_our_own_access_token_is_no_id_token(browser: httpx.AsyncClient, provider_user: Member) -> None:
    await _refused(browser, provider_user.token)


async def test_an_id_token_is_no_access_token(browser: httpx.AsyncClient, provider: Provider) -> None:
    headers = {"Authorization": f"Bearer {provider.id_token()}"}
    await refused(browser.get("/users/me", headers=headers), 401, "unauthenticated")


# Keys come and go


async def test_the_providers_metadata_are_fetched_once(browser: httpx.AsyncClient, provider: Provider) -> None:
    await asyncio.gather(*(_accepted(browser, provider.id_token()) for _ in range(5)))
    await _accepted(browser, provider.id_token())
    assert provider.requests == {"/.well-known/openid-configuration": 1, "/jwks": 1}


async def test_a_new_key_is_found_and_the_old_one_is_forgotten(browser: httpx.AsyncClient, provider: Provider) -> None:
    old = provider.keys[0]
    await _accepted(browser, provider.id_token())
    provider.rotate()
    await _accepted(browser, provider.id_token())
    await _refused(browser, provider.id_token(key=old))


@pytest.mark.heavy
async def test_unknown_keys_are_fetched_at_most_every_ten_seconds(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    await _accepted(browser, provider.id_token())
    for _ in range(5):
        await _refused(browser, provider.id_token(header={"kid": SigningKey().id}))
    assert provider.requests["/jwks"] == 2
    await _accepted(browser, provider.id_token())


# The provider in trouble

NONSENSE: dict[str, tuple[str, Response]] = {
    "no JSON": ("/.well-known/openid-configuration", PlainTextResponse("<html>")),
    "no object": ("/jwks", JSONResponse([1])),
    "no keys": ("/jwks", JSONResponse({"keys": "none"})),
    "deeply nested": ("/jwks", PlainTextResponse("[" * 100_000)),
    "an error": ("/jwks", JSONResponse({}, 500)),
    "a redirect": ("/jwks", Response(status_code=302, headers={"Location": "https://evil.test"})),
    "too much": ("/jwks", PlainTextResponse("x" * 300_000)),
    "no UTF-8": ("/jwks", Response(b"\xff\xfe\x00")),
    "another issuer": ("/.well-known/openid-configuration", JSONResponse({"issuer": "https://evil.test"})),
}


@pytest.mark.parametrize(("path", "answer"), NONSENSE.values(), ids=NONSENSE)
async def test_a_provider_that_answers_nonsense_is_a_clear_problem(
    browser: httpx.AsyncClient, provider: Provider, path: str, answer: Response
) -> None:
    provider.answers[path] = answer
    response = await _sign_in(browser, provider.id_token())
    await refused(_sign_in(browser, provider.id_token()), 503, "identity_provider_unavailable")
    assert int(response.headers["retry-after"]) > 0
    provider.reset()
    await _accepted(browser, provider.id_token())


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", [None, "http://provider.example/x", "file:///etc/passwd", 7])
async def test_endpoints_have_to_be_reached_over_tls(
    browser: httpx.AsyncClient, provider: Provider, name: str, url: object
) -> None:
    provider.metadata = {name: url}
    await refused(browser.get("/sessions/oidc/start"), 503, "identity_provider_unavailable")
    await refused(start(browser), 503, "identity_provider_unavailable")


async def test_a_provider_that_hangs_delays_requests_by_the_deadline_only(
    monkeypatch: pytest.MonkeyPatch, browser: httpx.AsyncClient, signing: FastAPI, provider: Provider
) -> None:
    monkeypatch.setattr(oidc, "DEADLINE_SECONDS", 0.2)
    provider.hanging.add("/jwks")
    waiting = [_sign_in(browser, provider.id_token()) for _ in range(10)]
    answers = await asyncio.gather(*waiting)
    assert {answer.status_code for answer in answers} == {503}
    # All of them waited for one and the same question, and none with a connection to the database.
    assert provider.requests["/jwks"] == 1
    assert signing.state.database.engine.pool.checkedout() == 0


async def test_a_provider_that_is_away_is_a_clear_problem(
    urls: tuple[str, str], app: FastAPI, provider: Provider
) -> None:
    async with app_with(provider, urls[1], oidc_issuer="http://127.0.0.1:1") as made, browser_at(made) as browser:
        await refused(_sign_in(browser, provider.id_token()), 503, "identity_provider_unavailable")
        await refused(browser.get("/sessions/oidc/start"), 503, "identity_provider_unavailable")


# Who may sign in


async def test_only_people_of_the_allowed_domains_may_sign_in(
    urls: tuple[str, str], app: FastAPI, provider: Provider
) -> None:
    allowed = "company.example, other.example"
    async with app_with(provider, urls[1], oidc_hosted_domain=allowed) as made, browser_at(made) as browser:
        await _accepted(browser, provider.id_token())
        for email in ("eve@evil.example", "eve@sub.company.example", "company.example@evil.example"):
            # A claim that only Google defines has no meaning at another provider.
            token = provider.id_token(email=email, sub="eve", hd="company.example")
            await refused(_sign_in(browser, token), 403, "domain_not_allowed")


async def test_at_google_the_account_has_to_be_the_domains(
    monkeypatch: pytest.MonkeyPatch, urls: tuple[str, str], app: FastAPI, provider: Provider
) -> None:
    """Google vouches for the domain with `hd`; an address of it may belong to a private account."""
    monkeypatch.setattr(oidc, "GOOGLE", provider.issuer)
    domain = "company.example"
    async with app_with(provider, urls[1], oidc_hosted_domain=domain) as made, browser_at(made) as browser:
        for spelling in (provider.issuer, provider.issuer.removeprefix("http://")):
            await _accepted(browser, provider.id_token(iss=spelling, hd=domain))
        for wrong in (None, "evil.example", domain.upper()):
            await refused(_sign_in(browser, provider.id_token(hd=wrong)), 403, "domain_not_allowed")
        assert f"hd={domain}" in await depart(browser)


STRASZE = "xn--strae-oqa.example"


@pytest.mark.parametrize(
    ("configured", "emails", "strangers"),
    [
        ("strasse.example", ["ada@strasse.example", "ada@STRASSE.Example"], ["ada@straße.example", f"ada@{STRASZE}"]),
        ("straße.example", ["ada@straße.example", f"ada@{STRASZE.upper()}"], ["ada@strasse.example"]),
        (STRASZE, ["ada@Straße.example"], ["ada@strasse.example"]),
        ("sam.example", ["ada@ſam.example"], ["ada@sam.example.evil.example"]),  # UTS 46 maps ſ in domains
    ],
)
async def test_domains_are_compared_as_a_labels(
    urls: tuple[str, str],
    app: FastAPI,
    provider: Provider,
    provider_user: Member,
    configured: str,
    emails: list[str],
    strangers: list[str],
) -> None:
    name = f"ada{provider_user.user_id}"
    async with app_with(provider, urls[1], oidc_hosted_domain=configured) as made, browser_at(made) as browser:
        for email in strangers:
            token = provider.id_token(email=email.replace("ada", name), sub=name)
            await refused(_sign_in(browser, token), 403, "domain_not_allowed")
        for email in emails:
            await _accepted(browser, provider.id_token(email=email.replace("ada", name), sub=name))


async def test_at_google_the_domain_may_be_written_either_way(
    monkeypatch: pytest.MonkeyPatch, urls: tuple[str, str], app: FastAPI, provider: Provider
) -> None:
    monkeypatch.setattr(oidc, "GOOGLE", provider.issuer)
    async with app_with(provider, urls[1], oidc_hosted_domain="straße.example") as made, browser_at(made) as browser:
        for hd in ("straße.example", STRASZE):
            await _accepted(browser, provider.id_token(hd=hd))
        for wrong in ("strasse.example", ["straße.example"], {"straße.example": 1}):
            await refused(_sign_in(browser, provider.id_token(hd=wrong)), 403, "domain_not_allowed")
        assert f"hd={STRASZE}" in await depart(browser)


# Once


async def test_an_id_token_is_good_once(browser: httpx.AsyncClient, provider: Provider) -> None:
    token = provider.id_token()
    await _accepted(browser, token)
    await _refused(browser, token)
    await _accepted(browser, provider.id_token())


async def test_another_spelling_of_the_signature_is_no_other_token(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    """The last character of 256 bytes in base64 has four bits that no decoder looks at."""
    token = provider.id_token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [token[:-1] + character for character in alphabet if character != token[-1]]
    await _accepted(browser, token)
    answers = await asyncio.gather(*(_sign_in(browser, spelling) for spelling in spellings))
    assert {answer.status_code for answer in answers} == {401}


@pytest.mark.heavy
async def test_of_uses_at_once_one_is_accepted(browser: httpx.AsyncClient, provider: Provider) -> None:
    await _accepted(browser, provider.id_token())
    for _ in range(20):
        token = provider.id_token()
        answers = await asyncio.gather(*(_sign_in(browser, token) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401]


async def test_after_another_error_the_token_is_good_still(
    browser: httpx.AsyncClient, provider: Provider, tenant: Tenant
) -> None:
    member = await tenant.member()
    provider.be(member.email)
    await set_active(tenant, member.user_id, active=False)
    token = provider.id_token()
    await refused(_sign_in(browser, token), 403, "user_deactivated")
    await set_active(tenant, member.user_id, active=True)
    await _accepted(browser, token)


async def _departed(browser: httpx.AsyncClient, provider: Provider) -> tuple[dict[str, str], str, str]:
    """The provider's answer to a sign-in in progress, the ID token that it will send, and the nonce in it."""
    location = await depart(browser, **BY_COOKIE)
    (nonce,) = parse_qs(urlsplit(location).query)["nonce"]
    token = provider.id_token(nonce=nonce)
    provider.answers["/token"] = JSONResponse({"id_token": token})
    return await authorized(location), token, nonce


async def test_a_token_of_the_redirect_flow_is_good_once(browser: httpx.AsyncClient, provider: Provider) -> None:
    answer, token, nonce = await _departed(browser, provider)
    assert (await come_back(browser, answer)).headers["location"] == f"{FRONT_END}/app"
    await _refused(browser, token, nonce=nonce)


async def test_a_used_token_does_not_end_a_redirect(browser: httpx.AsyncClient, provider: Provider) -> None:
    answer, token, nonce = await _departed(browser, provider)
    await _accepted(browser, token, nonce=nonce)
    assert told(await come_back(browser, answer))["error"] == "invalid_id_token"


@pytest.mark.parametrize(("minutes", "accepted"), [(9.5, True), (10.5, False)])
async def test_a_token_is_at_most_ten_minutes_old(
    browser: httpx.AsyncClient, provider: Provider, minutes: float, accepted: bool
) -> None:
    issued_at = int(utc_now().timestamp() - minutes * 60)
    token = provider.id_token(iat=issued_at, exp=issued_at + 3600)
    if accepted:
        await _accepted(browser, token)
    else:
        await _refused(browser, token)


async def test_used_tokens_are_remembered_as_long_as_they_could_be_used(
    browser: httpx.AsyncClient, signing: FastAPI, provider: Provider
) -> None:
    """Rows are deleted by `po-api sessions purge`, as those of sign-ins in progress."""
    now = int(utc_now().timestamp())
    tokens = [provider.id_token(), provider.id_token(iat=now - 500, exp=now + 10**9)]
    signed = [hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest() for token in tokens]
    for token in tokens:
        await _accepted(browser, token)
    async with signing.state.database.sessions.begin() as session:
        await SignInRepository(session).purge(utc_now())
    for token in tokens:
        await _refused(browser, token)
    async with signing.state.database.sessions.begin() as session:
        rows = [await session.get(UsedIdToken, digest) for digest in signed]
        assert all(row is not None and row.expires_at < utc_now() + timedelta(minutes=11) for row in rows)
    async with signing.state.database.sessions.begin() as session:
        await SignInRepository(session).purge(utc_now() + timedelta(minutes=11))
    async with signing.state.database.sessions.begin() as session:
        assert [await session.get(UsedIdToken, digest) for digest in signed] == [None, None]
