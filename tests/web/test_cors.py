"""CORS: exactly the configured origins."""

import httpx

from po_api.app import EXPOSED_HEADERS
from support.applications import client_of, new_app
from support.organisations import PREFIX, TestOrganisation

ORIGIN = "https://spa.example"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "If-Match, Authorization"}
PROMISED = {"ETag", "Location", "Link", "X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After", "Deprecation"}


def _cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


async def test_the_front_end_reads_answers_and_their_headers(organisation: TestOrganisation) -> None:
    response = await organisation.requester.get("/porfs", headers={"Origin": ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Origin" in response.headers["Vary"]
    exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed == set(EXPOSED_HEADERS) >= PROMISED | {"Sunset"}


async def test_the_front_end_reads_problems_too(client: httpx.AsyncClient) -> None:
    for path in ("/porfs", "/nothing"):
        response = await client.get(f"{PREFIX}{path}", headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    large = await client.post(f"{PREFIX}/porfs", content=b"x" * 13_000_000, headers={"Origin": ORIGIN})
    assert (large.status_code, large.headers["Access-Control-Allow-Origin"]) == (413, ORIGIN)


async def test_a_preflight_is_answered_without_a_token(client: httpx.AsyncClient) -> None:
    response = await client.options(f"{PREFIX}/porfs/1", headers={"Origin": ORIGIN} | PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = response.headers["Access-Control-Allow-Headers"]
    for name in ("Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-ID"):
        assert name in allowed


async def test_another_origin_gets_nothing(client: httpx.AsyncClient) -> None:
    for origin in (
        "https://evil.example",
        "http://spa.example",
        "https://spa.example.evil",
        "https://spa.example:444",
        "null",
    ):
        for response in (
            await client.options(f"{PREFIX}/porfs", headers={"Origin": origin} | PREFLIGHT),
            await client.get(f"{PREFIX}/porfs", headers={"Origin": origin}),
        ):
            assert "access-control-allow-origin" not in _cors(response)


async def test_a_foreign_header_or_method_is_not_allowed(client: httpx.AsyncClient) -> None:
    for wrong in ({"Access-Control-Request-Headers": "X-Evil"}, {"Access-Control-Request-Method": "TRACE"}):
        response = await client.options(f"{PREFIX}/porfs", headers={"Origin": ORIGIN} | PREFLIGHT | wrong)
        assert response.status_code == 400


async def test_credentials_are_allowed_for_the_front_ends_only(client: httpx.AsyncClient) -> None:
    response = await client.get(f"{PREFIX}/porfs", headers={"Origin": ORIGIN})
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    response = await client.get(f"{PREFIX}/porfs", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in _cors(response)


async def test_without_configured_origins_there_is_no_cors(urls: tuple[str, str]) -> None:
    async with client_of(new_app(urls[1])) as client:
        assert _cors(await client.get(f"{PREFIX}/porfs", headers={"Origin": ORIGIN})) == {}
