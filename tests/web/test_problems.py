"""Every error is a problem of RFC 9457 that explains the error, without values of the request."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from po_api.core.permissions import Role
from po_api.web.openapi.declarations import FAMILIES
from support.applications import CANARY, canary_answers, client_of, new_app
from support.organisations import LINE, PREFIX, Member, Tenant, TestOrganisation, created, ok, refused

JSON = {"Content-Type": "application/json"}


async def _send(
    member: Member, body: bytes | AsyncIterator[bytes], path: str = "/porfs", **headers: str
) -> httpx.Response:
    return await member.post(
        path, content=body, headers=JSON | {name.replace("_", "-"): v for name, v in headers.items()}
    )


@pytest.fixture
async def requester(tenant: Tenant) -> Member:
    return await tenant.member(Role.REQUESTER)


def _is_problem(response: httpx.Response, status: int) -> bool:
    problem = response.json()
    return (
        response.status_code == problem["status"] == status
        and response.headers["content-type"] == "application/problem+json"
        and set(problem) == {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}
        and problem["type"] == f"/docs/errors/{problem['code']}"
        and problem["request_id"] == response.headers["x-request-id"]
        and problem["instance"] == f"urn:request:{problem['request_id']}"
    )


async def test_each_refusal_is_a_problem_whose_type_is_a_page(
    organisation: TestOrganisation, client: httpx.AsyncClient
) -> None:
    draft = await organisation.draft()
    path, etag = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    answers = {
        400: await organisation.requester.get("/porfs", params={"colour": "red"}),
        401: await client.get(f"{PREFIX}/porfs"),
        403: await organisation.auditor.post("/porfs", json={"title": "x"}),
        404: await organisation.requester.get("/porfs/9999999999"),
        405: await organisation.requester.request("PUT", "/porfs"),
        409: await organisation.requester.post(f"{path}/recall", etag=etag),
        412: await organisation.requester.patch(path, etag='"7"', json={"title": "x"}),
        413: await _send(organisation.requester, b" " * 13_000_000),
        415: await organisation.requester.post("/porfs", content=b"<a/>", headers={"Content-Type": "text/xml"}),
        422: await organisation.requester.post("/porfs", json={}),
        428: await organisation.requester.patch(path, json={"title": "x"}),
    }
    assert {status for status, answer in answers.items() if not _is_problem(answer, status)} == set()
    pages = {(await client.get(answer.json()["type"])).status_code for answer in answers.values()}
    assert pages == {200}
    assert set(answers) | {410, 429, 500, 503} == set(FAMILIES) | {405}


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": ',
        b"",
        b"null",
        b"7",
        b'{"title": "\xff"}',
        b'{"title": "x", "supplier_id": ' + b"9" * 5000 + b"}",
        b'{"title": "x", "supplier_id": ' + b"9" * 30 + b"}",
        b'{"title": "x", "supplier_id": 1e400}',
        b'{"title": "x", "supplier_id": NaN}',
        b'{"title": "\\ud800"}',
        b'{"title": "a\\u0000b"}',
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"title": "x", "lines": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=range(15),
)
async def test_a_body_that_is_no_request_is_unprocessable(requester: Member, body: bytes) -> None:
    problem = await refused(_send(requester, body), 422, "validation_failed")
    assert problem["errors"][0]["location"] == "body"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ('{"title": "first", "title": "last"}', ["/title"]),
        ('{"title": "x", "t\\u0069tle": "x"}', ["/title"]),
        (
            '{"title": "x", "lines": [{}, {"sku": "a", "unit": "C62", "sku": "b", "unit": "C62"}]}',
            ["/lines/1/sku", "/lines/1/unit"],
        ),
        # Names that are no fields are not repeated.
        (f'{{"title": "x", "{CANARY}": 1, "{CANARY}": 2}}', [""]),
        (f'{{"title": "x", "lines": [{{"{CANARY}": {{"sku": 1, "sku": 2}}}}]}}', ["/lines/0"]),
        (f'[{{"{CANARY}": 1, "{CANARY}": 2}}]', ["/0"]),
        # A name that hides another one.
        ('{"lines": [{"sku": "a", "sku": "b"}], "lines": []}', ["/lines"]),
        ('{"title": "x", "justification": "' + "x" * 2**21 + '", "title": "y"}', [""]),
        ('{"a":' * 500 + '{"a": 1, "a": 2}' + "}" * 500, [""]),
        (
            '{"title": "x", "lines": [' + '{"sku": "a", "sku": "b"},' * 30 + "{}]}",
            [f"/lines/{i}/sku" for i in range(20)],
        ),
    ],
    ids=range(10),
)
async def test_a_key_that_appears_twice_is_refused(requester: Member, body: str, pointers: list[str]) -> None:
    answer = await _send(requester, body.encode())
    problem = await refused(_send(requester, body.encode()), 422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        (pointer, "duplicate_field") for pointer in pointers
    ]
    assert CANARY not in answer.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
async def test_a_body_in_any_unicode_encoding_is_read(requester: Member, encoding: str) -> None:
    draft = await created(_send(requester, '{"title": "Möbel"}'.encode(encoding)))
    assert draft.json()["title"] == "Möbel"


async def test_every_operation_with_json_refuses_a_key_that_appears_twice(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path, etag = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    for member, method, path, content in (  # noqa: B020
        (organisation.requester, "PATCH", path, b'{"title": "a", "title": "b"}'),
        (organisation.requester, "POST", f"{path}/submit", b'{"comment": "a", "comment": "b"}'),
        (organisation.requester, "POST", f"{path}/lines", b'{"sku": "a", "sku": "b"}'),
        (organisation.buyer, "POST", "/suppliers", b'{"name": "a", "name": "b"}'),
        (organisation.admin, "POST", "/invitations", b'{"email": "a@x.example", "email": "b@x.example"}'),
    ):
        problem = await refused(
            member.request(method, path, etag=etag, content=content, headers=JSON), 422, "validation_failed"
        )
        assert [error["code"] for error in problem["errors"]] == ["duplicate_field"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("curency", "currency"),
        ("costCenter", "cost_centre"),
        ("Title", "title"),
        ("needed-by", "needed_by"),
        ("x" * 100_000, None),
        (CANARY, None),
        ("", None),
    ],
)
async def test_an_unknown_field_is_answered_with_the_known_ones(requester: Member, name: str, near: str | None) -> None:
    answer = await requester.post("/porfs", json={"title": "x", name: 1})
    (error,) = answer.json()["errors"]
    fields = (
        "title, justification, cost_centre, cost_centre_id, needed_by, currency, supplier_id, delivery_address_id,"
        " delivery_address, total, lines"
    )
    suggestion = "." if near is None else f"; did you mean {near}?"
    assert (error["pointer"], error["code"]) == ("", "unknown_field")
    assert error["detail"] == f"unknown field{suggestion} Allowed: {fields}"


async def test_an_unknown_field_of_a_line_is_answered_with_those_of_a_line(requester: Member) -> None:
    body = {"title": "x", "lines": [LINE, LINE | {"qantity": "1"}]}
    problem = await refused(requester.post("/porfs", json=body), 422, "validation_failed")
    (error,) = problem["errors"]
    assert error["pointer"] == "/lines/1"
    assert "did you mean quantity? Allowed: description, quantity, unit_price, sku, unit, " in error["detail"]
    assert "title" not in error["detail"]


async def test_many_unknown_fields_are_not_all_explained(requester: Member) -> None:
    problem = await refused(
        requester.post("/porfs", json={"title": "x"} | {f"x{n}": n for n in range(100)}), 422, "validation_failed"
    )
    details = [error["detail"] for error in problem["errors"]]
    assert len(details) == 100
    assert {"Allowed" in detail for detail in details[:20]} == {True}
    assert set(details[20:]) == {"unknown field"}


async def test_an_unknown_parameter_is_answered_with_the_known_ones(requester: Member) -> None:
    for name, near in (("stauts", "; did you mean status?"), ("Limit", "; did you mean limit?"), (CANARY, ".")):
        problem = await refused(requester.get("/porfs", params={name: "1"}), 400, "unknown_parameter")
        (error,) = problem["errors"]
        assert error["detail"].startswith(f"unknown query parameter{near} Allowed: ")
        assert "cost_centre, cost_centre_id, created_at_gte, created_at_lt" in error["detail"]
        assert CANARY not in str(problem)
    problem = await refused(requester.get("/porfs/1", params={"x": "1"}), 400, "unknown_parameter")
    assert problem["errors"][0]["detail"] == "unknown query parameter"


async def test_a_parameter_with_one_value_appears_once(requester: Member) -> None:
    problem = await refused(requester.get("/porfs?limit=1&limit=2&q=a&q=b"), 400, "duplicate_parameter")
    assert [(error["pointer"], error["location"]) for error in problem["errors"]] == [
        ("/limit", "query"),
        ("/q", "query"),
    ]
    await ok(requester.get("/porfs?status=draft&status=approved&currency=EUR&currency=GBP"))


@pytest.mark.parametrize("text", ["\u200b", "\u00a0\u2060\u3000", "\u3164", "\u2800", "\ufe0f", "\u00ad\u200d"])
async def test_a_text_without_visible_characters_is_refused(organisation: TestOrganisation, text: str) -> None:
    pending = await organisation.pending()
    path, etag = f"/porfs/{pending.json()['id']}", pending.headers["ETag"]
    for sent, pointer in (
        (organisation.requester.post("/porfs", json={"title": text}), "/title"),
        (organisation.requester.post("/porfs", json={"title": "x", "cost_centre": text}), "/cost_centre"),
        (
            organisation.requester.post("/porfs", json={"title": "x", "lines": [LINE | {"description": text}]}),
            "/lines/0/description",
        ),
        (organisation.approver.post(f"{path}/reject", etag=etag, json={"comment": text}), "/comment"),
        (organisation.approver.post(f"{path}/comments", json={"text": text}), "/text"),
        (organisation.buyer.post("/suppliers", json={"name": text}), "/name"),
        (organisation.admin.post("/api-keys", json={"name": text, "scopes": ["porfs:read"]}), "/name"),
    ):
        problem = await refused(sent, 422, "validation_failed")
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, "invisible")]
    draft = await created(organisation.requester.post("/porfs", json={"title": f"{text}x"}))
    assert "x" in draft.json()["title"]


@pytest.mark.parametrize(
    ("body", "pointer", "code", "detail"),
    [
        ({"title": "x" * 256}, "/title", "string_too_long", "must have at most 255 characters"),
        ({"title": "x", "justification": "x" * 5001}, "/justification", "string_too_long", "at most 5000 char"),
        ({"title": 1}, "/title", "string_type", "must be text"),
        ({"title": "x", "lines": {}}, "/lines", "list_type", "must be a JSON array"),
        ({"title": "x", "lines": [1]}, "/lines/0", "model_attributes_type", "must be a JSON object"),
        ([], "", "model_attributes_type", "must be a JSON object"),
    ],
)
async def test_the_details_are_about_json(requester: Member, body: Any, pointer: str, code: str, detail: str) -> None:
    problem = await refused(requester.post("/porfs", json=body), 422, "validation_failed")
    found = {error["pointer"]: error for error in problem["errors"] if error["code"] != "unknown_field"}
    assert found[pointer]["code"] == code
    assert detail in found[pointer]["detail"]


async def test_a_time_without_an_offset_is_explained(requester: Member) -> None:
    for value in ("2026-01-01", "2026-01-01T00:00:00"):
        pending = requester.get("/porfs", params={"created_at_gte": value})
        (error,) = (await refused(pending, 422, "validation_failed"))["errors"]
        assert (error["code"], "an offset from UTC" in error["detail"]) == ("timezone_aware", True)


async def test_pointers_name_the_place_in_the_body(requester: Member) -> None:
    body = {"title": "x", "lines": [LINE, LINE | {"quantity": "0", "a/b~c": 1}]}
    problem = await refused(requester.post("/porfs", json=body), 422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/lines/1/quantity", "greater_than"),
        ("/lines/1", "unknown_field"),
    ]


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_media_type_is_refused(requester: Member, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    for path in ("/porfs", "/porfs/import", "/porfs/1/submit"):
        request = requester.post(path, content=b'{"title": "x"}', headers=headers, etag='"1"')
        await refused(request, 415, "unsupported_media_type")


async def test_a_patch_is_a_merge_patch_by_either_name(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    merge = {"Content-Type": "application/merge-patch+json"}
    changed = await ok(
        organisation.requester.patch(path, etag=draft.headers["ETag"], content=b'{"title": "A"}', headers=merge)
    )
    changed = await ok(organisation.requester.patch(path, etag=changed.headers["ETag"], json={"title": "B"}))
    assert changed.json()["title"] == "B"
    await refused(organisation.requester.post("/porfs", content=b"{}", headers=merge), 415, "unsupported_media_type")


async def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_chunks(requester: Member) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(13):
            yield b" " * 2**20

    await refused(_send(requester, b"{}", Content_Length="99999999"), 413, "payload_too_large")
    await refused(_send(requester, chunks()), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=%00", 422),
        ("q=" + "x" * 5000, 422),
        ("cost_centre=%00", 422),
        ("cursor=%00", 400),
        ("cursor=" + "x" * 5000, 422),
        ("limit=0", 422),
        ("limit=101", 422),
        ("limit=" + "9" * 5000, 422),
        ("created_at_gte=0001-01-01T00:00:00%2B23:59", 422),
        ("created_at_gte=yesterday", 422),
        ("sort=secret", 400),
        ("sort=number,number", 400),
        ("status=draft&status=open", 422),
        ("unknown=1", 400),
        ("LIMIT=1", 400),
    ],
)
async def test_an_invalid_query_is_refused(requester: Member, query: str, status: int) -> None:
    response = await requester.get(f"/porfs?{query}")
    assert _is_problem(response, status), response.text
    assert response.json()["errors"][0]["location"] == "query"


async def test_an_id_beyond_the_column_is_refused(requester: Member) -> None:
    for wrong in ("0", "-1", "9223372036854775808", "9" * 5000, "1.5", "%00", "abc"):
        assert _is_problem(await requester.get(f"/porfs/{wrong}"), 422)
    assert _is_problem(await requester.get("/porfs/9223372036854775807"), 404)


async def test_there_are_no_trailing_slashes(requester: Member) -> None:
    assert _is_problem(await requester.get("/porfs/"), 404)


async def test_allow_names_every_method_of_the_path(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    for path, allowed in {
        "/porfs": "GET, HEAD, POST",
        f"/porfs/{draft.json()['id']}": "DELETE, GET, HEAD, PATCH",
        "/porfs/import": "POST",
        f"/porfs/{draft.json()['id']}/submit": "POST",
    }.items():
        for method in ("PUT", "OPTIONS", "TRACE"):
            response = await organisation.requester.request(method, path)
            assert _is_problem(response, 405)
            assert response.headers["Allow"] == allowed


async def test_head_answers_as_get_does_without_the_body(
    organisation: TestOrganisation, client: httpx.AsyncClient
) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    head, got = await ok(organisation.requester.request("HEAD", path)), await ok(organisation.requester.get(path))
    assert head.content == b""
    assert (head.headers["ETag"], head.headers["Content-Length"]) == (
        got.headers["ETag"],
        got.headers["Content-Length"],
    )
    assert (await client.head("/health/live")).status_code == 200


async def test_a_request_id_is_taken_or_replaced(requester: Member) -> None:
    good = {"X-Request-ID": "Order-66"}
    assert (await requester.get("/porfs", headers=good)).headers["X-Request-ID"] == "Order-66"
    assert (await requester.get("/nothing", headers=good)).json()["request_id"] == "Order-66"
    for bad in ("", "a b", "a_b", "x" * 65, "a\tb", "é".encode("latin-1").decode("latin-1")):
        made = (await requester.get("/porfs", headers={"X-Request-ID": bad.encode("latin-1")})).headers["X-Request-ID"]
        assert len(made) == 24
        assert made.isalnum()


async def test_every_answer_has_the_safe_headers(requester: Member, client: httpx.AsyncClient) -> None:
    paths = ("/porfs", "/porfs/9999999999", "/nothing", "/porfs?x=1")
    answers = [await requester.get(path) for path in paths]
    for answer in (*answers, await client.get(f"{PREFIX}/porfs")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "server" not in answer.headers


async def test_401_names_the_authentication_scheme(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}, {"Authorization": ""}):
        response = await client.get(f"{PREFIX}/porfs", headers=headers)
        assert _is_problem(response, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_what_was_sent_is_in_no_problem(requester: Member) -> None:
    answers = await canary_answers(requester)
    assert {answer.status_code for answer in answers} >= {400, 401, 404, 405, 415, 422}
    assert all(_is_problem(answer, answer.status_code) for answer in answers)
    assert [answer.text for answer in answers if CANARY in answer.text or CANARY in str(answer.headers)] == []


async def test_an_unhandled_error_is_a_problem_with_its_request_id(urls: tuple[str, str]) -> None:
    app = new_app(urls[1])

    async def fail() -> None:
        raise RuntimeError(CANARY)

    app.add_api_route("/fail", fail)
    async with client_of(app) as client:
        response = await client.get("/fail", headers={"X-Request-ID": "abc-1"})
    assert _is_problem(response, 500)
    assert response.json()["code"] == "internal_error"
    assert response.json()["request_id"] == "abc-1"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert CANARY not in response.text


async def test_an_unavailable_database_is_a_transient_problem(requester: Member) -> None:
    app = new_app("postgresql://po_app@127.0.0.1:1/po_api", db_pool_timeout=1)
    async with client_of(app) as client:
        response = await client.get(f"{PREFIX}/porfs", headers={"Authorization": f"Bearer {requester.token}"})
    assert _is_problem(response, 503)
    assert int(response.headers["Retry-After"]) > 0


async def test_an_exhausted_pool_is_a_transient_problem(requester: Member, urls: tuple[str, str]) -> None:
    app = new_app(urls[1], db_pool_size=1, db_max_overflow=0, db_pool_timeout=0.2)
    async with client_of(app) as client:
        member = Member(client, requester.user_id, requester.email, requester.token)
        async with app.state.database.engine.connect():
            response = await member.get("/porfs")
        assert _is_problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        await ok(member.get("/porfs"))
