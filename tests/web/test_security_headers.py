"""Every kind of response has the security headers, over TLS and without."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from support.applications import new_app
from support.identity_provider import Provider
from support.organisations import LINE, PREFIX, TestOrganisation, new_organisation, ok
from support.sign_in import FRONT_END, app_with

Answers = dict[str, httpx.Response]

FILE = {"file": ("lines.csv", b"description,quantity,unit_price\nLamp,1,2\n")}
PAGES = ("/docs", "/redoc", "/docs/errors", "/docs/errors/not_found", "/docs/limits")
OUTSIDE = (*PAGES, "/docs/errors/unheard-of", "/openapi.json", "/health/live", "/health/ready", "/nothing")
ASSETS = ("/docs/assets/swagger-ui-bundle.js", "/docs/assets/pages.css")
A_YEAR = 365 * 24 * 3600


def _client(app: FastAPI, scheme: str) -> httpx.AsyncClient:
    """A client that sends the headers of a page of the front end."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://api.test", headers={"Origin": FRONT_END})


async def _done(organisation: TestOrganisation) -> Answers:
    """Responses under /api: successes and problems."""
    requester, draft, issued = organisation.requester, await organisation.draft(), await organisation.issued()
    path, etag = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    body, key = {"title": "x", "lines": [LINE]}, {"Idempotency-Key": "once"}
    return {
        "200": await requester.get(path),
        "200 of a list": await requester.get("/porfs"),
        "200 without its body": await requester.request("HEAD", path),
        "200 of a PDF": await organisation.buyer.get(f"/purchase-orders/{issued.json()['id']}/document.pdf"),
        "200 of a CSV": await requester.get(f"{path}/export?format=csv"),
        "200 of an XLSX": await requester.get("/porfs/import-template?format=xlsx"),
        "201": await requester.post("/porfs", json=body, headers=key),
        "201 replayed": await requester.post("/porfs", json=body, headers=key),
        "201 of a file": await requester.post("/porfs/import", files=FILE, data={"title": "x"}),
        "201 with a secret": await requester.post("/api-keys", json={"name": "x", "scopes": ["porfs:read"]}),
        "303": await requester.client.get(f"{PREFIX}/sessions/oidc/start"),
        "304": await requester.get(path, headers={"If-None-Match": "*"}),
        "400": await requester.get("/porfs?unknown=1"),
        "401": await requester.client.get(f"{PREFIX}/porfs"),
        "403": await organisation.auditor.post("/porfs", json=body),
        "404": await requester.get("/porfs/9999999999"),
        "404 of a route": await requester.get("/nothing"),
        "405": await requester.request("PUT", path),
        "409": await requester.post(f"{path}/recall", etag=etag),
        "412": await requester.patch(path, etag='"99"', json={"title": "x"}),
        "413": await requester.post("/porfs", content=b"x" * 13_000_000),
        "415": await requester.post("/porfs", content=b"<p>", headers={"Content-Type": "text/html"}),
        "422": await requester.post("/porfs", json={"<script>": 1}),
        "428": await requester.patch(path, json={"title": "x"}),
        "204": await requester.delete(path, etag=etag),
    }


async def _in_trouble(app: FastAPI, scheme: str) -> Answers:
    """Responses of exhausted rate limits, unhandled errors, and an unavailable database."""

    async def fail() -> None:
        raise RuntimeError

    app.add_api_route(f"{PREFIX}/fail", fail, include_in_schema=False)
    away = new_app("postgresql://po_app@127.0.0.1:1/po_api", cors_origins=FRONT_END, rate_limit_per_address="1/day")
    async with _client(app, scheme) as client, _client(away, scheme) as late:
        exchanging = [await late.post(f"{PREFIX}/sessions/oidc/exchange", json={"code": "x"}) for _ in range(2)]
        return {
            "429": exchanging[-1],
            "500": await client.get(f"{PREFIX}/fail"),
            "503": await late.post(f"{PREFIX}/sessions/refresh", json={"refresh_token": "x"}),
        }


@pytest.fixture(scope="module", params=["http", "https"])
async def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def signing_app(app: FastAPI, urls: tuple[str, str], running: Provider) -> AsyncIterator[FastAPI]:
    running.reset()
    async with app_with(running, urls[1]) as made:
        yield made


@pytest.fixture(scope="module")
async def api_answers(signing_app: FastAPI, scheme: str) -> Answers:
    async with _client(signing_app, scheme) as client:
        done = await _done(await new_organisation(signing_app, client))
    return done | await _in_trouble(signing_app, scheme)


@pytest.fixture(scope="module")
async def outside(signing_app: FastAPI, scheme: str) -> Answers:
    """Responses outside of /api, by their paths."""
    async with _client(signing_app, scheme) as client:
        return {path: await client.get(path) for path in (*OUTSIDE, *ASSETS)}


def _lacking(answers: Answers, header: str, pattern: str) -> set[str]:
    """The responses that lack this header."""
    return {label for label, answer in answers.items() if not re.fullmatch(pattern, answer.headers.get(header, ""))}


async def test_the_answers_are_of_every_kind(api_answers: Answers) -> None:
    assert {label: answer.status_code for label, answer in api_answers.items()} == {
        label: int(label[:3]) for label in api_answers
    }


async def test_every_answer_has_the_safe_headers(api_answers: Answers, outside: Answers) -> None:
    answers = api_answers | outside
    assert _lacking(answers, "X-Content-Type-Options", "nosniff") == set()
    assert _lacking(answers, "Referrer-Policy", "no-referrer") == set()
    assert _lacking(answers, "Content-Security-Policy", r".*frame-ancestors 'none'.*") == set()
    assert _lacking(answers, "X-Request-ID", r"[A-Za-z0-9-]+") == set()


async def test_no_response_names_the_server_software(api_answers: Answers, outside: Answers) -> None:
    answers = api_answers | outside
    for header in ("Server", "X-Powered-By", "Via"):
        assert _lacking(answers, header, "") == set()


async def test_responses_of_the_api_are_not_cached(api_answers: Answers) -> None:
    assert _lacking(api_answers, "Cache-Control", "no-store") == set()


async def test_what_the_api_answers_loads_nothing_if_it_is_shown_as_a_page(api_answers: Answers) -> None:
    assert _lacking(api_answers, "Content-Security-Policy", r"default-src 'none'; frame-ancestors 'none'") == set()
    for label, answer in api_answers.items():
        assert "html" not in answer.headers.get("Content-Type", ""), label


async def test_files_are_downloads_of_their_own_type(api_answers: Answers) -> None:
    files = {label: answer for label, answer in api_answers.items() if label[-3:] in {"PDF", "CSV", "LSX"}}
    assert len(files) == 3
    assert _lacking(files, "Content-Disposition", r'attachment; filename="[\w.-]+"') == set()
    types = {answer.headers["Content-Type"].partition(";")[0] for answer in files.values()}
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert types == {"application/pdf", "text/csv", sheet}


async def test_of_the_docs_only_scripts_and_styles_are_kept(outside: Answers) -> None:
    assets = {path: outside[path] for path in ASSETS}
    assert _lacking(assets, "Cache-Control", r"public, max-age=\d+") == set()
    assert _lacking({path: outside[path] for path in OUTSIDE}, "Cache-Control", "no-store") == set()


async def test_strict_transport_security_is_sent_over_tls_only(
    api_answers: Answers, outside: Answers, scheme: str
) -> None:
    """Over plain HTTP an attacker could send it, so browsers ignore it there (RFC 6797, 8.1)."""
    for label, answer in (api_answers | outside).items():
        said = answer.headers.get("Strict-Transport-Security")
        if scheme == "http":
            assert said is None, label
        else:
            age = re.fullmatch(r"max-age=(\d+); includeSubDomains", said or "")
            assert age is not None, label
            assert int(age[1]) >= A_YEAR


async def test_the_front_end_can_read_every_answer(api_answers: Answers, outside: Answers) -> None:
    answers = api_answers | outside
    assert _lacking(answers, "Access-Control-Allow-Origin", re.escape(FRONT_END)) == set()
    assert _lacking(answers, "Access-Control-Allow-Credentials", "true") == set()
    assert _lacking(answers, "Access-Control-Expose-Headers", r".*\bETag\b.*\bRetry-After\b.*") == set()
    # Otherwise a cache could return the permission of one origin to another.
    assert _lacking(answers, "Vary", r".*\bOrigin\b.*") == set()


async def test_other_origins_cannot_read_any_response(signing_app: FastAPI, scheme: str) -> None:
    async with _client(signing_app, scheme) as client:
        for origin in ("https://evil.test", f"{FRONT_END}.evil.test", f"{FRONT_END}:444", "null", "*"):
            for path in (f"{PREFIX}/porfs", f"{PREFIX}/nothing", "/health/live", "/openapi.json", "/docs"):
                response = await client.get(path, headers={"Origin": origin})
                assert "access-control-allow-origin" not in response.headers


async def test_a_preflight_allows_what_is_documented(signing_app: FastAPI, scheme: str) -> None:
    asked = "authorization, content-type, if-match, if-none-match, idempotency-key, x-request-id, x-csrf"
    headers = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": asked}
    async with _client(signing_app, scheme) as client:
        allowed = await ok(client.options(f"{PREFIX}/sessions/current", headers=headers))
        assert allowed.headers["Access-Control-Allow-Origin"] == FRONT_END
        assert allowed.headers["Access-Control-Allow-Credentials"] == "true"
        assert "*" not in str(allowed.headers)
        assert "server" not in allowed.headers
        refused = await client.options(f"{PREFIX}/porfs", headers=headers | {"Origin": "https://evil.test"})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
