"""Who accepts gzip gets JSON from 1 kB on, documents and scripts compressed; ETags and Vary follow."""

import gzip
from typing import Any

import httpx
import pytest

from support.organisations import LINE, Member, TestOrganisation, created, ok, refused

IDENTITY = {"Accept-Encoding": "identity"}
GZIP = {"Accept-Encoding": "gzip"}
ASSETS = ["swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"]


async def _raw(client: httpx.AsyncClient, path: str, headers: dict[str, str], method: str = "GET") -> tuple[Any, bytes]:
    """The response and its body as it was sent."""
    async with client.stream(method, path, headers=headers) as response:
        return response, b"".join([part async for part in response.aiter_raw()])


async def _of(member: Member, path: str, headers: dict[str, str], method: str = "GET") -> tuple[Any, bytes]:
    headers = {"Authorization": f"Bearer {member.token}", **headers}
    return await _raw(member.client, f"/api/v1{path}", headers, method)


@pytest.fixture
async def porf(organisation: TestOrganisation) -> dict[str, Any]:
    """A request of 10 lines."""
    porf: dict[str, Any] = (await organisation.draft(lines=[LINE] * 10)).json()
    return porf


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip", True),
        ("GZip", True),
        ("deflate, gzip;q=0.5", True),
        ("br;q=1.0, *;q=0.1", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0, gzip", True),
        ("*, gzip;q=0", False),
        ("gzip;q=much", False),
        ("br, deflate", False),
        ("identity", False),
        ("", False),
    ],
)
async def test_json_is_compressed_for_who_accepts_it(
    organisation: TestOrganisation, porf: dict[str, Any], accepted: str, *, is_compressed: bool
) -> None:
    path = f"/porfs/{porf['id']}"
    plain, text = await _of(organisation.requester, path, IDENTITY)
    response, body = await _of(organisation.requester, path, {"Accept-Encoding": accepted})
    assert response.status_code == 200
    assert ("content-encoding" in response.headers) is is_compressed
    assert (gzip.decompress(body) if is_compressed else body) == text
    assert int(response.headers["content-length"]) == len(body)
    for each in (plain, response):
        assert "Accept-Encoding" in each.headers["vary"]
        assert each.headers["content-type"] == "application/json"
    tag = plain.headers["etag"]
    assert response.headers["etag"] == (f'{tag[:-1]}-gzip"' if is_compressed else tag)


async def test_etags_of_both_forms_are_those_of_the_version(
    organisation: TestOrganisation, porf: dict[str, Any]
) -> None:
    path, requester = f"/porfs/{porf['id']}", organisation.requester
    tags = {name: (await _of(requester, path, headers))[0].headers["etag"] for name, headers in _FORMS.items()}
    assert tags["gzip"] != tags["identity"]
    for headers in _FORMS.values():
        for known in (*tags.values(), f"W/{tags['identity']}", f'"x", {tags["gzip"]}', "*"):
            response, body = await _of(requester, path, {**headers, "If-None-Match": known})
            assert (response.status_code, body) == (304, b"")
            assert response.headers["etag"] == tags["gzip" if headers is GZIP else "identity"]
            assert "Accept-Encoding" in response.headers["vary"]
            assert "content-encoding" not in response.headers
    changed = await ok(requester.patch(path, etag=tags["gzip"], json={"title": "Other"}))
    await refused(requester.patch(path, etag=tags["identity"], json={"title": "x"}), 412, "stale_version")
    await ok(requester.patch(path, etag=changed.headers["ETag"], json={"title": "Third"}))


_FORMS = {"identity": IDENTITY, "gzip": GZIP}


async def test_lists_are_compressed_and_short_answers_are_not(organisation: TestOrganisation) -> None:
    await organisation.draft()
    short, _ = await _of(organisation.requester, "/porfs", GZIP)
    assert "content-encoding" not in short.headers
    for _ in range(9):
        await organisation.draft()
    long, body = await _of(organisation.requester, "/porfs", GZIP)
    assert long.headers["content-encoding"] == "gzip"
    assert len(body) < len(gzip.decompress(body)) / 4


async def test_nothing_else_is_compressed(organisation: TestOrganisation, porf: dict[str, Any]) -> None:
    issued = (await organisation.issued()).json()
    for path in (f"/purchase-orders/{issued['id']}/document.pdf", "/porfs/export", "/porfs/export?format=xlsx"):
        response, _ = await _of(organisation.buyer, path, GZIP)
        assert response.status_code == 200
        assert "content-encoding" not in response.headers
    unknown = await organisation.requester.get("/porfs", params={f"x{n}": "y" for n in range(30)})
    assert len(unknown.content) > 1024
    assert (unknown.status_code, "content-encoding" in unknown.headers) == (400, False)


async def test_the_answer_to_a_change_has_the_etag_of_the_next_read(organisation: TestOrganisation) -> None:
    body, key = {"title": "Lamps", "lines": [LINE] * 10}, {"Idempotency-Key": "once"}
    for headers in _FORMS.values():
        path = "/porfs"
        post = [await created(organisation.requester.post(path, json=body, headers=headers | key)) for _ in range(2)]
        is_compressed = ["content-encoding" in response.headers for response in post]
        assert is_compressed == [headers is GZIP] * 2
        read = await ok(organisation.requester.get(f"/porfs/{post[0].json()['id']}", headers=headers))
        assert {response.headers["etag"] for response in (*post, read)} == {read.headers["etag"]}
        assert post[1].headers["idempotent-replayed"] == "true"
        assert post[0].json() == post[1].json() == read.json()


async def test_answers_about_credentials_are_not_compressed(organisation: TestOrganisation) -> None:
    for number in range(12):
        await created(organisation.admin.post("/api-keys", json={"name": f"Key {number}", "scopes": ["porfs:read"]}))
    response, body = await _of(organisation.admin, "/api-keys", GZIP)
    assert len(body) > 1024
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("path", [*(f"/docs/assets/{name}" for name in ASSETS), "/openapi.json"])
async def test_static_files_are_compressed_once_and_can_be_cached(client: httpx.AsyncClient, path: str) -> None:
    plain, content = await _raw(client, path, IDENTITY)
    packed, body = await _raw(client, path, GZIP)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == content
    assert len(body) < len(content) / 2
    assert plain.headers["etag"] != packed.headers["etag"]
    assert (await _raw(client, path, GZIP))[1] == body
    for headers, response in ((IDENTITY, plain), (GZIP, packed)):
        assert "Accept-Encoding" in response.headers["vary"]
        for tag in (plain.headers["etag"], packed.headers["etag"]):
            known, nothing = await _raw(client, path, {**headers, "If-None-Match": tag})
            assert (known.status_code, nothing) == (304, b"")
            assert known.headers["etag"] == response.headers["etag"]
