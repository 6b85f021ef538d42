"""Rate limits: per user, and lower ones per address without a token.

The limits are per day, here and in other tests that exhaust one: a window of a minute could end during a test.
"""

import re

import httpx
import pytest

from support.applications import client_of, new_app
from support.organisations import Member, TestOrganisation, ok, refused

PATH = "/api/v1/porfs"


def _at(client: httpx.AsyncClient, member: Member) -> Member:
    return Member(client, member.user_id, member.email, member.token)


async def test_a_user_has_so_many_requests(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    async with client_of(new_app(urls[1], rate_limit_per_user="3/day")) as client:
        requester, approver = _at(client, organisation.requester), _at(client, organisation.approver)
        left = [(await ok(requester.get("/porfs"))).headers["RateLimit"].split(";")[1] for _ in range(3)]
        assert left == ["r=2", "r=1", "r=0"]
        response = await requester.get("/porfs")
        await refused(requester.get("/porfs"), 429, "rate_limited")
        assert response.headers["RateLimit-Policy"] == '"user";q=3;w=86400'
        assert re.fullmatch(r'"user";r=0;t=\d+', response.headers["RateLimit"])
        assert 1 <= int(response.headers["Retry-After"]) <= 86400
        await ok(approver.get("/porfs"))


async def test_an_address_has_fewer_requests_without_a_token(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    app = new_app(urls[1], rate_limit_per_address="2/day")
    async with client_of(app) as client, client_of(app, "192.0.2.2") as other:
        statuses = [
            (await client.get(PATH, headers={"Authorization": token})).status_code for token in ("", "Bearer x")
        ]
        assert statuses == [401, 401]
        response = await client.get(PATH)
        assert response.status_code == 429
        assert response.headers["RateLimit-Policy"] == '"address";q=2;w=86400'
        assert (await client.get(PATH, headers={"X-Forwarded-For": "192.0.2.9"})).status_code == 429
        assert (await other.get(PATH)).status_code == 401
        await ok(_at(client, organisation.requester).get("/porfs"))


@pytest.mark.parametrize("wrong", ["json", "parameter", "media type"])
async def test_what_is_refused_before_the_token_is_read_counts_for_the_address(
    urls: tuple[str, str], wrong: str
) -> None:
    async with client_of(new_app(urls[1], rate_limit_per_address="2/day")) as client:
        headers = {"Content-Type": "text/plain" if wrong == "media type" else "application/json"}
        params = {"unknown": "1"} if wrong == "parameter" else {}
        answers = [await client.post(PATH, content=b"{", headers=headers, params=params) for _ in range(3)]
        assert [answer.status_code for answer in answers][2] == 429
        assert all(answer.status_code in {400, 415, 422} for answer in answers[:2])


@pytest.mark.heavy
async def test_health_and_docs_are_not_counted(urls: tuple[str, str]) -> None:
    async with client_of(new_app(urls[1], rate_limit_per_address="1/day")) as client:
        for path in ("/health/live", "/health/ready", "/docs", "/openapi.json") * 3:
            response = await client.get(path)
            assert response.status_code == 200
            assert "RateLimit" not in response.headers


async def test_without_the_store_nothing_is_let_through_uncounted(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    """Otherwise an attacker could disable the limits through the store."""
    async with client_of(new_app(urls[1], rate_limit_storage_uri="redis://127.0.0.1:1")) as client:
        for request in (_at(client, organisation.requester).get("/porfs"), client.get(PATH)):
            response = await request
            assert (response.status_code, response.json()["code"]) == (503, "unavailable")
            assert response.headers["Retry-After"] == "5"
        assert (await client.get("/health/ready")).status_code == 200
