"""Secrets are in no log, metric or problem, and only as digests in the database: tokens, codes, keys, input.

A process of its own is sent secrets, real ones and made-up ones, wherever a request can carry something. It logs as
much as it can, every SQL statement included.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse

from po_api.db.database import libpq_url
from po_api.web.cookies import ACCESS_COOKIE, REFRESH_COOKIE, SIGN_IN_COOKIE
from support.applications import CANARY, SECRET_KEY, canary_answers
from support.failing_server import failing_server
from support.forked import ForkedServer
from support.identity_provider import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, Provider, authorized, segment
from support.organisations import Member, created, new_tenant, ok
from support.polling import wait_until
from support.server_processes import free_port, listens
from support.sign_in import (
    BY_COOKIE,
    FRONT_END,
    VERIFIER,
    bearing,
    come_back,
    depart,
    there_and_back,
    told,
)

pytestmark = pytest.mark.heavy

TIMEOUT = 60


@dataclass
class Evidence:
    """The secrets that were sent, and the outputs of the process."""

    # Real secrets by kind: each could be used by an attacker.
    secrets: dict[str, str] = field(default_factory=dict)
    # Of a sign-in in progress: the nonce must be in the ID token, the verifier is sent to the provider.
    under_way: dict[str, str] = field(default_factory=dict)
    reads: list[httpx.Response] = field(default_factory=list)
    refusals: list[httpx.Response] = field(default_factory=list)
    requests: int = 0
    log: str = ""
    metrics: str = ""


def _environment(urls: tuple[str, str], provider: Provider) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    limits = dict.fromkeys(
        ("RATE_LIMIT_PER_USER", "RATE_LIMIT_PER_ADDRESS", "RATE_LIMIT_SIGN_IN", "RATE_LIMIT_REFRESH"), "100000/minute"
    )
    return {
        **kept,
        **limits,
        "DATABASE_URL": urls[1],
        "SECRET_KEY": SECRET_KEY,
        "OIDC_ISSUER": provider.issuer,
        "GOOGLE_CLIENT_ID": CLIENT_ID,
        "GOOGLE_CLIENT_SECRET": CLIENT_SECRET,
        "GOOGLE_REDIRECT_URI": REDIRECT_URI,
        "FRONTEND_URL": FRONT_END,
        "CORS_ORIGINS": FRONT_END,
        "LOG_LEVEL": "DEBUG",
        "SQLALCHEMY_ECHO": "true",
    }


@contextmanager
def _process(environment: dict[str, str], place: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a process and of its metrics; its output is written to the file `log`."""
    ports = [str(free_port()) for _ in range(2)]
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    log = place / "log"
    process = ForkedServer(failing_server, *ports, environment=environment, directory=place, log=log)
    try:
        wait_until(lambda: process.poll() is not None or listens(int(ports[1])), "a server that listens")
        assert process.poll() is None, log.read_text()
        yield addresses[0], addresses[1]
    finally:
        process.terminate()
        process.wait(timeout=TIMEOUT)


@asynccontextmanager
async def _browser(address: str, evidence: Evidence) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that sends `Secure` cookies to this local address, as browsers do."""
    cookies: dict[str, str] = {}

    async def send(request: httpx.Request) -> None:
        evidence.requests += 1
        if cookies:
            request.headers.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))

    async def keep(response: httpx.Response) -> None:
        for cookie in response.headers.get_list("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            cookies[name] = value
            evidence.secrets[f"{name} {len(evidence.secrets)}"] = value

    hooks: Mapping[str, list[Any]] = {"request": [send], "response": [keep]}
    url = f"{address}/api/v1"
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, event_hooks=hooks) as browser:
        yield browser


def _asked(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def _sign_in_with_tokens(browser: httpx.AsyncClient, provider: Provider, evidence: Evidence) -> dict[str, str]:
    """Sign in through the provider, refresh twice and reuse a token; returns the Authorization header."""
    location = await depart(browser)
    asked = _asked(location)
    code = told(await come_back(browser, await authorized(location)))["sign_in_code"]
    body = {"code": code, "code_verifier": VERIFIER}
    from_page = {"Origin": FRONT_END}
    tokens = (await created(browser.post("/sessions/oidc/exchange", json=body, headers=from_page))).json()
    evidence.secrets |= {
        "state": asked["state"],
        "nonce": asked["nonce"],
        "our verifier": provider.forms[-1]["code_verifier"],
        "the front end's verifier": VERIFIER,
        "sign-in code": code,
    }
    evidence.refusals.append(await browser.post("/sessions/oidc/exchange", json=body, headers=from_page))
    first = tokens["refresh_token"]
    for number, token in enumerate((first, first, None)):
        evidence.secrets |= {
            f"access token {number}": tokens["access_token"],
            f"refresh token {number}": tokens["refresh_token"],
        }
        body = {"refresh_token": token or tokens["refresh_token"]}
        tokens = (await ok(browser.post("/sessions/refresh", json=body))).json()
    evidence.secrets |= {"last access token": tokens["access_token"], "last refresh token": tokens["refresh_token"]}
    return bearing(tokens)


async def _sign_in_with_cookies(browser: httpx.AsyncClient, provider: Provider, evidence: Evidence) -> None:
    await there_and_back(browser, **BY_COOKIE)
    from_page = {"Origin": FRONT_END, "X-CSRF": "1"}
    await ok(browser.post("/sessions/refresh", headers=from_page))
    id_token = provider.id_token(nonce="n-" + CANARY)
    body = {"id_token": id_token, "nonce": "n-" + CANARY, "mode": "cookie"}
    await created(browser.post("/sessions", json=body, headers=from_page))
    evidence.secrets["ID token"] = id_token
    evidence.reads.append(await ok(browser.get("/users/me")))


async def _use_keys(browser: httpx.AsyncClient, session: dict[str, str], evidence: Evidence) -> None:
    body = {"name": "Script", "scopes": ["porfs:read", "porfs:write"]}
    made = (await created(browser.post("/api-keys", json=body, headers=session))).json()
    path = f"/api-keys/{made['id']}"
    rotated = (await created(browser.post(f"{path}/rotate", json={}, headers=session))).json()
    evidence.secrets |= {"key": made["key"], "the key's successor": rotated["key"]}
    for key in (made["key"], rotated["key"]):
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "first"}
        evidence.reads.append(await created(browser.post("/porfs", json={"title": "x"}, headers=headers)))
    evidence.reads += [await ok(browser.get(name, headers=session)) for name in ("/api-keys", path, "/sessions")]


async def _leave_under_way(browser: httpx.AsyncClient, evidence: Evidence) -> None:
    """Start a sign-in without completing it, and one whose code is not exchanged."""
    asked = _asked(await depart(browser, **BY_COOKIE))
    evidence.under_way = {"nonce": asked["nonce"]}
    evidence.secrets["state of a sign-in under way"] = asked["state"]
    code = told(await there_and_back(browser))["sign_in_code"]
    evidence.secrets["sign-in code that waits"] = code


LONG = CANARY.ljust(43, "A")
JWT = ".".join([segment({"alg": "RS256", "kid": CANARY}), segment({"sub": CANARY}), segment(CANARY.encode())])
OWN_JWT = ".".join([segment({"alg": "HS256", "typ": "at+jwt"}), segment({"sub": CANARY}), segment(CANARY.encode())])

AUTHORIZATION = [
    f"Bearer {CANARY}",
    f"Bearer {JWT}",
    f"Bearer {OWN_JWT}",
    f"Bearer {CANARY * 700}",
    f"Bearer po_1_{LONG}xxxxxx",
    f"Bearer po_{CANARY}",
    f"Basic {CANARY}",
    f"{CANARY} x",
]
COOKIES = [f"{name}={value}" for name in (ACCESS_COOKIE, REFRESH_COOKIE, SIGN_IN_COOKIE) for value in (CANARY, OWN_JWT)]
BODIES: list[tuple[str, Any]] = [
    *(("/sessions/refresh", {"refresh_token": value}) for value in (CANARY, LONG, JWT, [CANARY], CANARY * 700)),
    *(("/sessions", {"id_token": value}) for value in (CANARY, JWT, OWN_JWT, {"a": CANARY}, CANARY * 700)),
    *(("/sessions", {"id_token": JWT, name: CANARY}) for name in ("nonce", "mode", CANARY)),
    ("/sessions", {"id_token": "x", "nonce": CANARY * 700}),
    ("/sessions/oidc/exchange", {"code": LONG, "code_verifier": LONG}),
    ("/sessions/oidc/exchange", {"code": CANARY, "code_verifier": CANARY}),
    ("/sessions/oidc/exchange", {"code": {CANARY: CANARY}}),
    ("/sessions/oidc/start", {"code_challenge": LONG, "return_to": f"https://{CANARY}.example/"}),
    ("/sessions/oidc/start", {"code_challenge": CANARY, CANARY: CANARY}),
    ("/api-keys", {"name": f"\x07{CANARY}", "scopes": [CANARY]}),
    ("/api-keys", {"name": "x", "scopes": ["porfs:read"], "expires_in_days": CANARY, CANARY: 1}),
    ("/api-keys/1/rotate", {"overlap_seconds": CANARY}),
]
QUERIES: list[tuple[str, dict[str, str]]] = [
    *(("/sessions/oidc/start", {name: CANARY}) for name in ("mode", "code_challenge", "access_token", CANARY)),
    ("/sessions/oidc/start", {"return_to": f"https://{CANARY}.example/"}),
    ("/sessions/oidc/start", {"return_to": f"{FRONT_END}/#{CANARY}"}),
    ("/sessions/oidc/start", {"return_to": f"{FRONT_END}/{CANARY}"}),
    ("/sessions/oidc/callback", dict.fromkeys(("state", "code", "error", "iss"), CANARY)),
    ("/sessions/oidc/callback", {"state": CANARY, CANARY: "x"}),
    ("/sessions/oidc/callback", {"state": "x" * 5000, "code": CANARY}),
    *((path, {"access_token": CANARY}) for path in ("/users/me", "/porfs", "/api-keys", "/sessions/current")),
    ("/sessions", {"cursor": CANARY}),
    ("/sessions", {"sort": CANARY}),
    ("/api-keys", {"cursor": CANARY}),
]


def _refused_requests(browser: httpx.AsyncClient, session: dict[str, str]) -> Iterator[httpx.Request]:
    """Made-up secrets in every place."""
    ask = browser.build_request
    # In place of the browser's own cookies.
    alone = {"Cookie": "-=-"}
    for value in AUTHORIZATION:
        yield ask("GET", "/users/me", headers=alone | {"Authorization": value})
    said = ("User-Agent", "Referer", "Accept", "X-Forwarded-For", "X-API-Key", "Origin", "If-None-Match")
    yield ask("GET", "/users/me", headers=alone | dict.fromkeys(said, CANARY))
    for cookie in COOKIES:
        headers = {"Cookie": cookie, "X-CSRF": "1"}
        yield ask("GET", "/users/me", headers=headers)
        yield ask("POST", "/sessions/refresh", headers=headers)
        yield ask("GET", "/sessions/oidc/callback", params={"state": "x"}, headers=headers)
    for headers in (session, alone):
        for path, body in BODIES:
            yield ask("POST", path, json=body, headers=headers)
        for path, query in QUERIES:
            yield ask("GET", path, params=query, headers=headers)
    for path in ("/sessions", "/sessions/refresh", "/sessions/oidc/exchange", "/api-keys"):
        for media_type in ("application/json", CANARY):
            headers = session | {"Content-Type": media_type}
            yield ask("POST", path, content=f'{{"refresh_token": "{CANARY}', headers=headers)
    for kind in ("api-keys", "sessions", "users", CANARY):
        yield ask("DELETE", f"/{kind}/{CANARY}", headers=session)
    yield ask("POST", "/sessions/refresh", headers={"Origin": f"https://{CANARY}", "X-CSRF": CANARY})
    yield ask("GET", browser.base_url.join(f"/fail?token={CANARY}"))


async def _provider_lies(browser: httpx.AsyncClient, provider: Provider) -> list[httpx.Response]:
    """The provider, or a proxy, sends secrets in places that the application could quote."""
    answers = []
    for changes in ({"code": CANARY}, {"iss": f"https://{CANARY}.example"}, {"error": CANARY}):
        answer = await authorized(await depart(browser)) | changes
        if "error" in changes:
            del answer["code"]
        answers.append(await come_back(browser, answer))
    for response in (
        JSONResponse({"error": CANARY, "error_description": CANARY}, 400),
        JSONResponse({"id_token": JWT, "access_token": CANARY}),
        JSONResponse({"id_token": [CANARY]}),
        PlainTextResponse(CANARY, 500),
        PlainTextResponse(CANARY),
    ):
        provider.answers["/token"] = response
        answers.append(await there_and_back(browser))
    provider.reset()
    for claim, lie in {"aud": CANARY, "nonce": CANARY, "email": CANARY, "sub": f"\n{CANARY}"}.items():
        body = {"id_token": provider.id_token(key=None, header=None, **{claim: lie})}
        answers.append(await browser.post("/sessions", json=body))
    return answers


@pytest.fixture(scope="module")
async def evidence(
    app: FastAPI,
    client: httpx.AsyncClient,
    urls: tuple[str, str],
    running: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Evidence:
    """All requests are sent once; the tests check the outputs."""
    running.reset()
    member = await (await new_tenant(app, client)).member()
    running.be(member.email)
    found = Evidence({"address": member.email, "session": member.token})
    place = tmp_path_factory.mktemp("redaction")
    with _process(_environment(urls, running), place) as (address, metrics):
        async with _browser(address, found) as browser:
            session = await _sign_in_with_tokens(browser, running, found)
            await _sign_in_with_cookies(browser, running, found)
            await _use_keys(browser, session, found)
            await _leave_under_way(browser, found)
            found.refusals += [await browser.send(request) for request in _refused_requests(browser, session)]
            found.refusals += await _provider_lies(browser, running)
        async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT) as other:
            answers = await canary_answers(Member(other, 0, "", member.token))
            found.metrics = (await other.get(f"{metrics}/metrics")).text
        found.refusals += answers
        found.requests += len(answers)
    found.log = (place / "log").read_text()
    return found


def _needles(evidence: Evidence) -> dict[str, str]:
    own = {
        "made up": CANARY,
        "a made-up JWT": JWT,
        "our own made-up JWT": OWN_JWT,
        "a part of it": segment(CANARY.encode()),
    }
    kept = {"the signing key": SECRET_KEY, "the client's secret": CLIENT_SECRET, "the front end's": VERIFIER}
    return evidence.secrets | evidence.under_way | own | kept


async def test_no_secret_is_in_the_log(evidence: Evidence) -> None:
    assert len(set(evidence.secrets.values())) > 20
    assert {label for label, secret in _needles(evidence).items() if secret in evidence.log} == set()


async def test_no_secret_is_in_the_metrics(evidence: Evidence) -> None:
    assert "po_http_request_duration_seconds_count" in evidence.metrics
    assert 'route="unmatched"' in evidence.metrics
    assert {label for label, secret in _needles(evidence).items() if secret in evidence.metrics} == set()


async def test_the_log_contains_all_that_it_may(evidence: Evidence) -> None:
    """Otherwise the search for secrets would be meaningless."""
    assert evidence.log.count('"event": "request_finished"') == evidence.requests > 200
    for event in ("signed_in", "sign_in_failed", "identity_provider_refused", "unhandled_error"):
        assert f'"event": "{event}"' in evidence.log
    for table in ("sessions", "rotated_tokens", "sign_in_attempts", "sign_in_codes", "api_keys", "idempotency_records"):
        assert f"INSERT INTO {table}" in evidence.log
    assert '/sessions/oidc/callback", "status": 303' in evidence.log
    assert "RuntimeError" in evidence.log


async def test_a_refusal_repeats_nothing_of_what_was_sent(evidence: Evidence) -> None:
    statuses = {answer.status_code for answer in evidence.refusals}
    assert statuses >= {303, 400, 401, 403, 404, 405, 415, 422, 500}
    assert min(statuses) == 303
    for answer in evidence.refusals:
        said = answer.text + str(answer.headers)
        # The browser of a refused sign-in keeps its secret, and is sent on its way with a request's id.
        found = {label for label, secret in _needles(evidence).items() if secret in said}
        assert not found, (answer.request.method, answer.request.url.path, found)


async def test_no_answer_shows_a_secret_for_a_second_time(evidence: Evidence) -> None:
    shown = {name: secret for name, secret in _needles(evidence).items() if name != "address"}
    for answer in evidence.reads:
        assert {label for label, secret in shown.items() if secret in answer.text} == set()


# The database

KEPT = [
    *("sessions", "rotated_tokens", "sign_in_codes", "sign_in_attempts", "used_id_tokens"),
    *("api_keys", "idempotency_records"),
]
MORE = ["users", "audit_events"]


@pytest.fixture(scope="module")
async def stored(evidence: Evidence, urls: tuple[str, str]) -> dict[str, str]:
    """The values of all columns of the tables for sign-ins and sessions, by `table.column`."""
    connection = await asyncpg.connect(libpq_url(urls[0]))
    found: dict[str, list[str]] = {}
    for table in KEPT + MORE:
        for row in await connection.fetch(f"SELECT * FROM {table}"):
            for column, value in row.items():
                text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                found.setdefault(f"{table}.{column}", []).append(text)
    await connection.close()
    return {column: "\n".join(texts) for column, texts in found.items()}


async def test_no_secret_is_stored_in_the_clear(evidence: Evidence, stored: dict[str, str]) -> None:
    secrets = {label: secret for label, secret in evidence.secrets.items() if label != "address"}
    in_clear = {
        (label, column) for label, secret in secrets.items() for column, text in stored.items() if secret in text
    }
    assert in_clear == set()
    assert {column for column, text in stored.items() if SECRET_KEY in text or CLIENT_SECRET in text} == set()


async def test_digests_of_them_are_stored(evidence: Evidence, stored: dict[str, str]) -> None:
    """Checks that the right rows were searched."""
    expected = {
        "last refresh token": "sessions.token",
        "refresh token 0": "rotated_tokens.token",
        "sign-in code that waits": "sign_in_codes.code",
        "state of a sign-in under way": "sign_in_attempts.state",
        "key": "api_keys.token",
        "signed part of the ID token": "used_id_tokens.token",
        "the key's successor": "api_keys.token",
    }
    secrets = evidence.secrets | {"signed part of the ID token": evidence.secrets["ID token"].rpartition(".")[0]}
    for label, column in expected.items():
        assert sha256(secrets[label].encode()).hexdigest() in stored[column], label
    cookies = [value for name, value in evidence.secrets.items() if name.startswith(SIGN_IN_COOKIE)]
    assert any(sha256(value.encode()).hexdigest() in stored["sign_in_attempts.browser"] for value in cookies)


async def test_only_what_the_provider_will_be_shown_is_kept_as_it_is(
    evidence: Evidence, stored: dict[str, str]
) -> None:
    """Until the callback: the nonce to compare, the verifier to send."""
    nonce = evidence.under_way["nonce"]
    assert {column for column, text in stored.items() if nonce in text} == {"sign_in_attempts.nonce"}
