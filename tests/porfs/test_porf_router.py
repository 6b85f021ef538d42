"""Requests over HTTP: created, read, changed, deleted, listed, commented."""

import itertools
import json
import unicodedata
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.organisations import LINE, Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.pages import as_listed, pages


def pointers(problem: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


def as_json(body: Any) -> dict[str, Any]:
    """The options of a request with this body, in ASCII, so that a lone surrogate can be sent."""
    return {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}}


async def numbers(member: Member, **params: Any) -> list[str]:
    """The numbers of the requests in the member's list, without prefix, year and zeros."""
    page = await ok(member.get("/porfs", params=params))
    return [item["number"].rpartition("-")[2].lstrip("0") for item in page.json()["items"]]


# Raising.


async def test_a_request_comes_back_as_it_was_sent(organisation: TestOrganisation) -> None:
    sent = LINE | {"sku": "L-1", "unit": "KGM", "discount_percent": "2.5", "needed_by": "2030-01-15"}
    body = {
        "title": "Lamps",
        "justification": "It is dark.\nVery.",
        "cost_centre": "4711",
        "needed_by": "2030-01-31",
        "currency": "JPY",
        "supplier_id": organisation.supplier_id,
        "lines": [sent],
    }
    porf = await created(organisation.requester.post("/porfs", json=body))
    assert porf.headers["Location"] == f"/api/v1/porfs/{porf.json()['id']}"
    shown = porf.json()
    assert {name: shown[name] for name in body if name != "lines"} == {n: v for n, v in body.items() if n != "lines"}
    (line,) = shown["lines"]
    assert {name: line[name] for name in sent} == sent | {"unit_price": "24.9"}
    assert (shown["status"], shown["version"], shown["approval_round"]) == ("draft", 1, 1)
    assert (shown["requester_name"], shown["supplier_name"]) == ("Rosa Requester", "Müller & Söhne GmbH")
    read = await ok(organisation.requester.get(f"/porfs/{shown['id']}"))
    assert (read.json(), read.headers["ETag"]) == (shown, porf.headers["ETag"])


async def test_a_title_is_enough_for_a_draft(organisation: TestOrganisation) -> None:
    porf = await created(organisation.requester.post("/porfs", json={"title": "x"}))
    shown = porf.json()
    assert (shown["currency"], shown["total"], shown["lines"], shown["taxes"]) == ("GBP", "0.00", [], [])


async def test_numbers_are_counted_per_organisation_and_a_refused_request_takes_none(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    await organisation.draft()
    await refused(organisation.requester.post("/porfs", json={"title": "x", "total": "1"}), 422, "total_mismatch")
    assert (await organisation.draft()).json()["number"].endswith("-000002")
    assert (await (await new_organisation(app, client)).draft()).json()["number"].endswith("-000001")


TEXTS = [
    "Lampe 💡 für 👩🏽‍💻",
    "مصباح مكتبي ١٢",
    "מנורת שולחן",
    "デスクランプ 书桌灯 탁상등",
    "=1+1 & <b>\"'\\",
    "a\u200db \u202ertl",
    "𝔘𝔫𝔦",
]


@pytest.mark.parametrize("text", TEXTS)
async def test_text_of_any_script_survives(organisation: TestOrganisation, text: str) -> None:
    fields = {"title": text, "justification": text, "cost_centre": text}
    lines = [LINE | {"description": text, "sku": text}]
    porf = await created(organisation.requester.post("/porfs", json={**fields, "lines": lines}))
    shown = (await ok(organisation.requester.get(f"/porfs/{porf.json()['id']}"))).json()
    found = [shown[name] for name in fields] + [shown["lines"][0][name] for name in ("description", "sku")]
    assert found == [unicodedata.normalize("NFC", text)] * 5
    listed = (await ok(organisation.requester.get("/porfs", params={"cost_centre": text}))).json()["items"]
    assert [item["title"] for item in listed] == found[:1]


async def test_decomposed_text_is_composed_and_outer_space_goes(organisation: TestOrganisation) -> None:
    porf = await created(organisation.requester.post("/porfs", json={"title": "  Bu\u0308ro "}))
    assert porf.json()["title"] == "Büro"


BAD_FIELDS: dict[str, list[Any]] = {
    "title": ["", "  ", "\n", "x" * 256, "a\x00b", "a\x85b", "a\nb", "\ud800", None, 5, []],
    "justification": ["", "x" * 5001, "a\x07b", "\udc00", 5],
    "cost_centre": ["", "x" * 101, "a\tb", "\x7f"],
    "needed_by": ["2026-13-01", "tomorrow", 20261231, "2026-12-31T10:00:00Z", "", True, "9999-12-31"],
    "currency": ["EURO", "eur", "XXX", "XAU", "ZZZ", "", 978],
    "supplier_id": [0, -1, 2**63, "one", 1.5, True, "1", [1]],
    "total": ["1e2", "-1", "1.00001", 298.8, "NaN"],
    "lines": [None, {}, "x", 1],
}


@pytest.mark.parametrize("field", BAD_FIELDS)
async def test_a_wrong_field_is_refused_with_its_pointer(organisation: TestOrganisation, field: str) -> None:
    for value in BAD_FIELDS[field]:
        answer = organisation.requester.post("/porfs", **as_json({"title": "x", field: value}))
        assert pointers(await refused(answer, 422, "validation_failed")) == [f"/{field}"], repr(value)
    assert await numbers(organisation.requester) == []


@pytest.mark.parametrize(
    "field", ["id", "number", "status", "requester_id", "version", "organisation_id", "approval_round", "net", "tax"]
)
async def test_what_the_server_decides_cannot_be_sent(organisation: TestOrganisation, field: str) -> None:
    porf = await organisation.draft()
    path = f"/porfs/{porf.json()['id']}"
    for attempt in (
        organisation.requester.post("/porfs", json={"title": "x", field: "approved"}),
        organisation.requester.patch(path, etag=porf.headers["ETag"], json={field: "approved"}),
    ):
        problem = await refused(attempt, 422, "validation_failed")
        assert [error["code"] for error in problem["errors"]] == ["unknown_field"]


@pytest.mark.parametrize(
    "body", ["{", "[]", '"x"', "null", "", "\xff", "[" * 100_000, '{"title": 1' + "0" * 5000 + "}"]
)
async def test_a_body_that_is_no_object_is_refused(organisation: TestOrganisation, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await organisation.requester.post("/porfs", content=body.encode("latin-1"), headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("member", ["approver", "auditor"])
async def test_who_may_not_raise_requests(organisation: TestOrganisation, member: str) -> None:
    await refused(getattr(organisation, member).post("/porfs", json={"title": "x"}), 403, "missing_role")


async def test_a_supplier_of_another_organisation_is_no_supplier(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    foreign = (await new_organisation(app, client)).supplier_id
    porf = await organisation.draft()
    answers = []
    for supplier_id in (foreign, 2**62):
        body = {"title": "x", "supplier_id": supplier_id}
        answers.append(await refused(organisation.requester.post("/porfs", json=body), 422, "unknown_supplier"))
        patch = organisation.requester.patch(
            f"/porfs/{porf.json()['id']}", etag=porf.headers["ETag"], json={"supplier_id": supplier_id}
        )
        answers.append(await refused(patch, 422, "unknown_supplier"))
    own = {"request_id", "instance"}
    first, *others = [{name: value for name, value in answer.items() if name not in own} for answer in answers]
    assert pointers(first) == ["/supplier_id"]
    assert others == [first] * 3


async def test_an_inactive_supplier_is_no_supplier(organisation: TestOrganisation) -> None:
    supplier = await ok(organisation.buyer.get(f"/suppliers/{organisation.supplier_id}"))
    await ok(
        organisation.buyer.post(f"/suppliers/{organisation.supplier_id}/deactivate", etag=supplier.headers["ETag"])
    )
    body = {"title": "x", "supplier_id": organisation.supplier_id}
    await refused(organisation.requester.post("/porfs", json=body), 422, "unknown_supplier")


async def test_a_repeated_key_raises_one_request(organisation: TestOrganisation) -> None:
    key = {"Idempotency-Key": "once"}
    first = await created(organisation.requester.post("/porfs", json={"title": "x"}, headers=key))
    again = await created(organisation.requester.post("/porfs", json={"title": "x"}, headers=key))
    assert (again.json(), again.headers["ETag"]) == (first.json(), first.headers["ETag"])
    await refused(
        organisation.requester.post("/porfs", json={"title": "y"}, headers=key), 422, "idempotency_key_reused"
    )
    assert await numbers(organisation.requester) == ["1"]


# Changing and deleting.


async def test_a_patch_changes_what_it_names_and_clears_what_is_null(organisation: TestOrganisation) -> None:
    porf = await organisation.draft(justification="x", cost_centre="4711", needed_by="2030-01-31")
    path = f"/porfs/{porf.json()['id']}"
    changed = await ok(
        organisation.requester.patch(path, etag=porf.headers["ETag"], json={"title": "Light", "cost_centre": None})
    )
    assert (changed.json()["title"], changed.json()["cost_centre"]) == ("Light", None)
    assert (changed.json()["justification"], changed.json()["version"]) == ("x", 2)
    nothing = {"justification": None, "needed_by": None, "supplier_id": None}
    cleared = await ok(organisation.requester.patch(path, etag=changed.headers["ETag"], json=nothing))
    assert {name: cleared.json()[name] for name in nothing} == nothing
    assert cleared.headers["ETag"].startswith('"3-')
    event = (await ok(organisation.requester.get(f"{path}/history"))).json()["items"][1]
    assert (event["before"], event["after"]) == (
        {"title": "Lamps", "cost_centre": "4711"},
        {"title": "Light", "cost_centre": None},
    )


@pytest.mark.parametrize("field", ["title", "currency"])
async def test_null_does_not_clear_what_a_request_needs(organisation: TestOrganisation, field: str) -> None:
    porf = await organisation.draft()
    patch = organisation.requester.patch(f"/porfs/{porf.json()['id']}", etag=porf.headers["ETag"], json={field: None})
    assert pointers(await refused(patch, 422, "validation_failed")) == [f"/{field}"]


async def test_a_patch_that_changes_nothing_makes_no_version(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    for same in ({}, {"title": "Lamps"}, {"currency": "GBP"}, {"cost_centre": None}):
        answer = await ok(
            organisation.requester.patch(f"/porfs/{porf.json()['id']}", etag=porf.headers["ETag"], json=same)
        )
        assert (answer.json(), answer.headers["ETag"]) == (porf.json(), porf.headers["ETag"])


async def test_a_merge_patch_may_be_called_one(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    headers = {"Content-Type": "application/merge-patch+json"}
    path = f"/porfs/{porf.json()['id']}"
    answer = organisation.requester.patch(
        path, etag=porf.headers["ETag"], content='{"title": "Light"}', headers=headers
    )
    assert (await ok(answer)).json()["title"] == "Light"


@pytest.mark.parametrize("status", ["pending", "approved", "ordered", "rejected", "cancelled", "closed"])
async def test_only_drafts_change(organisation: TestOrganisation, status: str) -> None:
    porf = await organisation.in_status(status)
    path, etag = f"/porfs/{porf.json()['id']}", porf.headers["ETag"]
    for attempt in (
        organisation.requester.patch(path, etag=etag, json={"title": "x"}),
        organisation.requester.delete(path, etag=etag),
    ):
        assert status in (await refused(attempt, 409, "invalid_transition"))["detail"]


@pytest.mark.parametrize(
    ("etag", "status", "code"),
    [
        (None, 428, "if_match_required"),
        ('"2"', 412, "stale_version"),
        ('"0", "2"', 412, "stale_version"),
        ('W/"2"', 412, "stale_version"),
        ("1", 400, "invalid_if_match"),
        ('"1', 400, "invalid_if_match"),
        ("", 400, "invalid_if_match"),
        ('"1",,"2"', 400, "invalid_if_match"),
    ],
)
async def test_a_change_names_the_version_it_is_about(
    organisation: TestOrganisation, etag: str | None, status: int, code: str
) -> None:
    path = f"/porfs/{(await organisation.draft()).json()['id']}"
    await refused(organisation.requester.patch(path, etag=etag, json={"title": "x"}), status, code)
    await refused(organisation.requester.delete(path, etag=etag), status, code)
    await refused(organisation.requester.post(f"{path}/submit", etag=etag), status, code)


async def test_any_version_or_one_of_several_can_be_named(organisation: TestOrganisation) -> None:
    path = f"/porfs/{(await organisation.draft()).json()['id']}"
    await ok(organisation.requester.patch(path, etag="*", json={"title": "a"}))
    await ok(organisation.requester.patch(path, etag='"1", "2"', json={"title": "b"}))


async def test_who_has_the_present_version_is_told_so(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path, tag = f"/porfs/{porf.json()['id']}", porf.headers["ETag"]
    same = await ok(organisation.requester.get(path, headers={"If-None-Match": tag}), 304)
    assert (same.content, same.headers["ETag"]) == (b"", tag)
    await ok(organisation.requester.patch(path, etag=tag, json={"title": "x"}))
    await ok(organisation.requester.get(path, headers={"If-None-Match": tag}))


async def test_a_deleted_draft_is_gone_and_its_number_with_it(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path = f"/porfs/{porf.json()['id']}"
    await created(organisation.requester.post(f"{path}/comments", json={"text": "Never mind"}))
    await ok(organisation.requester.delete(path, etag=porf.headers["ETag"]), 204)
    for gone in ("", "/lines", "/history", "/comments"):
        await refused(organisation.requester.get(f"{path}{gone}"), 404, "porf_not_found")
    assert (await organisation.draft()).json()["number"].endswith("-000002")


@pytest.mark.parametrize(("porf_id", "status"), [("0", 422), ("x", 422), (str(2**63), 422), (str(2**63 - 1), 404)])
async def test_an_id_that_is_none_is_refused(organisation: TestOrganisation, porf_id: str, status: int) -> None:
    answer = await organisation.requester.get(f"/porfs/{porf_id}")
    assert answer.status_code == status


# Lists.


async def test_each_role_sees_its_visible_requests(organisation: TestOrganisation) -> None:
    other = await organisation.member(Role.REQUESTER)
    await organisation.draft()
    await organisation.pending()
    await organisation.approved()
    foreign = await created(other.post("/porfs", json={"title": "Theirs", "lines": [LINE]}))
    recalled = await act(organisation.requester, await organisation.pending(), "recall")
    assert recalled.json()["number"].endswith("5")
    assert await numbers(organisation.requester) == ["5", "3", "2", "1"]
    assert await numbers(other) == ["4"]
    assert await numbers(organisation.approver) == ["5", "3", "2"]
    for member in (organisation.buyer, organisation.admin, organisation.auditor):
        assert await numbers(member) == ["5", "4", "3", "2", "1"]
    await refused(organisation.requester.get(f"/porfs/{foreign.json()['id']}"), 404, "porf_not_found")


@pytest.mark.heavy
async def test_the_inbox_is_exactly_what_can_be_approved(organisation: TestOrganisation) -> None:
    limited = await organisation.member(Role.APPROVER, approval_limit="298.80")
    both = await organisation.member(Role.REQUESTER, Role.APPROVER, name="Both")
    await created(both.post("/porfs", json={"title": "draft", "lines": [LINE]}))
    own = await created(both.post("/porfs", json={"title": "own", "lines": [LINE]}))
    await act(both, own, "submit")
    for status in ("draft", "pending", "approved", "rejected", "cancelled"):
        await organisation.in_status(status)
    await organisation.pending(currency="JPY")
    await organisation.pending(lines=[LINE, LINE])
    for member in (
        limited,
        both,
        organisation.approver,
        organisation.requester,
        organisation.admin,
        organisation.auditor,
    ):
        everything = (await ok(member.get("/porfs"))).json()["items"]
        inbox = (await ok(member.get("/porfs", params={"waiting_for_me": "true"}))).json()["items"]
        assert inbox == [item for item in everything if "approve" in item["allowed_actions"]]
    assert await numbers(limited, waiting_for_me="true") == ["4", "2"]
    assert await numbers(both, waiting_for_me="true") == ["9", "8", "4"]
    assert await numbers(organisation.approver, waiting_for_me="true") == ["9", "8", "4", "2"]


async def test_own_requests_are_in_the_inbox_where_the_organisation_allows_it(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await new_organisation(app, client, allow_self_approval=True)
    both = await organisation.member(Role.REQUESTER, Role.APPROVER)
    await act(both, await created(both.post("/porfs", json={"title": "own", "lines": [LINE]})), "submit")
    assert await numbers(both, waiting_for_me="true") == ["1"]


@pytest.mark.heavy
async def test_a_list_is_narrowed_by_each_filter(organisation: TestOrganisation) -> None:
    second = await created(organisation.buyer.post("/suppliers", json={"name": "Other"}))
    first = await organisation.draft(cost_centre="A", needed_by="2030-01-01")
    await organisation.draft(cost_centre="B", needed_by="2030-01-02", currency="JPY", supplier_id=second.json()["id"])
    await act(
        organisation.requester, await organisation.draft(cost_centre="C", currency="KWD", supplier_id=None), "submit"
    )
    await created(organisation.buyer.post("/porfs", json={"title": "Chairs"}))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"status": "pending"}, ["3"]),
        ({"status": ["pending", "draft"]}, ["4", "3", "2", "1"]),
        ({"status": "closed"}, []),
        ({"requester_id": organisation.buyer.user_id}, ["4"]),
        ({"requester_id": [organisation.buyer.user_id, organisation.requester.user_id]}, ["4", "3", "2", "1"]),
        ({"supplier_id": second.json()["id"]}, ["2"]),
        ({"supplier_id": 2**62}, []),
        ({"currency": ["JPY", "KWD"]}, ["3", "2"]),
        ({"cost_centre": ["A", "C"]}, ["3", "1"]),
        ({"needed_by_gte": "2030-01-01", "needed_by_lt": "2030-01-02"}, ["1"]),
        ({"needed_by_gte": "2030-01-02"}, ["2"]),
        ({"created_at_gte": first.json()["created_at"]}, ["4", "3", "2", "1"]),
        ({"created_at_lt": first.json()["created_at"]}, []),
        ({"updated_at_gte": "9999-12-31T23:59:59Z"}, []),
        ({"updated_at_lt": "9999-12-31T23:59:59+00:00", "status": "draft"}, ["4", "2", "1"]),
        ({"q": "lamps", "currency": "JPY"}, ["2"]),
    ]
    for params, expected in cases:
        assert await numbers(organisation.admin, **params) == expected, params


@pytest.mark.parametrize(
    "params",
    [
        {"status": "lost"},
        {"requester_id": "me"},
        {"currency": "eur"},
        {"created_at_gte": "2026-01-01"},
        {"created_at_gte": "2026-01-01T00:00:00"},
        {"needed_by_lt": "2026-01-01T00:00:00Z"},
        {"needed_by_lt": "0"},
        {"cost_centre": ""},
        {"q": ""},
        {"q": "a\x00b"},
        {"waiting_for_me": "perhaps"},
        {"limit": "0"},
        {"limit": "101"},
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(organisation: TestOrganisation, params: dict[str, str]) -> None:
    problem = await refused(organisation.requester.get("/porfs", params=params), 422, "validation_failed")
    assert problem["errors"][0]["location"] == "query"
    assert pointers(problem)[0].startswith(f"/{next(iter(params))}")


async def test_an_unknown_filter_is_refused(organisation: TestOrganisation) -> None:
    await refused(organisation.requester.get("/porfs", params={"state": "draft"}), 400, "unknown_parameter")


async def test_search_finds_beginnings_of_words_in_what_people_write(organisation: TestOrganisation) -> None:
    first = await organisation.draft(title="Büromöbel für Köln", justification="Old ones broke")
    await organisation.draft(title="デスクランプ", cost_centre="KST-4711")
    cases = {
        "büro": ["1"],
        "BÜROMÖBEL köln": ["1"],
        "möbel": [],
        "broke": ["1"],
        "kst-4711": ["2"],
        "デスク": ["2"],
        first.json()["number"]: ["1"],
        "büro デスク": [],
        "' OR 1=1 --": [],
        "a & | ! ( ) : * \\ <->": [],
        "💡": [],
        "%": [],
    }
    for question, expected in cases.items():
        assert await numbers(organisation.admin, q=question) == expected, question


async def test_search_stays_inside_the_organisation_and_what_one_may_see(
    organisation: TestOrganisation, app: FastAPI, client: httpx.AsyncClient
) -> None:
    await organisation.draft(title="Secret lamps")
    for outsider in (await organisation.member(Role.REQUESTER), (await new_organisation(app, client)).admin):
        assert await numbers(outsider, q="secret") == []


@pytest.mark.heavy
@pytest.mark.parametrize("sort", ["created_at", "number", "total", "updated_at", "-total,number", "number,-created_at"])
async def test_every_sort_gives_every_request_once_page_by_page(organisation: TestOrganisation, sort: str) -> None:
    for price in ("3", "1", "2", "1", "3"):
        await organisation.draft(lines=[LINE | {"unit_price": price}])
    keys = [part.lstrip("-") for part in sort.split(",")]
    everything = (await ok(organisation.requester.get("/porfs", params={"sort": sort}))).json()["items"]
    rows = [[float(item["total"]) if key == "total" else item[key] for key in keys] for item in everything]
    for before, after in itertools.pairwise(rows):
        for part, one, other in zip(sort.split(","), before, after, strict=True):
            if one != other:
                assert (one > other) is part.startswith("-")
                break
    paged = []
    async for page in pages(organisation.requester, "/porfs", sort=sort, limit="2"):
        paged += page.json()["items"]
        assert page.json()["has_more"] is ('rel="next"' in page.headers.get("Link", ""))
    assert paged == everything
    assert len(everything) == 5


@pytest.mark.parametrize("sort", ["title", "-", "number,number", "total;drop", "id"])
async def test_a_sort_that_is_not_offered_is_refused(organisation: TestOrganisation, sort: str) -> None:
    await refused(organisation.requester.get("/porfs", params={"sort": sort}), 400, "invalid_sort")


@pytest.mark.heavy
async def test_a_page_of_fifty_is_small(organisation: TestOrganisation) -> None:
    title = "Desk lamps for the new office"
    for _ in range(50):
        await organisation.pending(title=title, cost_centre="4711")
    page = await ok(organisation.admin.get("/porfs", headers={"Accept-Encoding": "identity"}))
    assert len(page.json()["items"]) == 50
    assert len(page.content) <= 25_000


async def test_a_summary_agrees_with_the_full_representation(organisation: TestOrganisation) -> None:
    for status in ("draft", "pending", "ordered"):
        await organisation.in_status(status)
    for summary in (await ok(organisation.buyer.get("/porfs"))).json()["items"]:
        whole = as_listed((await ok(organisation.buyer.get(f"/porfs/{summary['id']}"))).json())
        assert {name: whole[name] for name in summary} == summary
        assert not {"lines", "justification"} & summary.keys()


# Comments and history.


async def test_comments_are_kept_in_order_with_their_authors(organisation: TestOrganisation) -> None:
    path = f"/porfs/{(await organisation.pending()).json()['id']}/comments"
    for member, text in (
        (organisation.requester, "Please"),
        (organisation.approver, "Why?\n🤔"),
        (organisation.buyer, "مرحبا"),
    ):
        comment = await created(member.post(path, json={"text": text}))
        assert (comment.json()["author_id"], comment.json()["text"]) == (member.user_id, text)
    items = (await ok(organisation.auditor.get(path))).json()["items"]
    assert [item["text"] for item in items] == ["Please", "Why?\n🤔", "مرحبا"]
    assert items[0]["author_name"] == "Rosa Requester"
    page = await ok(organisation.auditor.get(path, params={"limit": "2", "sort": "-created_at"}))
    assert [item["text"] for item in page.json()["items"]] == ["مرحبا", "Why?\n🤔"]


async def test_an_auditor_reads_and_does_not_talk(organisation: TestOrganisation) -> None:
    path = f"/porfs/{(await organisation.pending()).json()['id']}/comments"
    await refused(organisation.auditor.post(path, json={"text": "Hm"}), 403, "missing_role")


@pytest.mark.parametrize("text", ["", " ", "x" * 5001, "a\x00b", "\ud83d", None, 5])
async def test_a_comment_must_be_readable_text(organisation: TestOrganisation, text: Any) -> None:
    path = f"/porfs/{(await organisation.draft()).json()['id']}/comments"
    problem = await refused(organisation.requester.post(path, **as_json({"text": text})), 422, "validation_failed")
    assert pointers(problem) == ["/text"]


async def test_what_one_cannot_see_one_cannot_talk_about(organisation: TestOrganisation) -> None:
    other = await organisation.member(Role.REQUESTER)
    path = f"/porfs/{(await organisation.draft()).json()['id']}"
    await refused(other.post(f"{path}/comments", json={"text": "x"}), 404, "porf_not_found")
    for part in ("comments", "history", "lines", "export"):
        await refused(other.get(f"{path}/{part}"), 404, "porf_not_found")


async def test_a_comment_is_added_once_per_key_and_changes_no_version(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path, key = f"/porfs/{porf.json()['id']}", {"Idempotency-Key": "c"}
    first = await created(organisation.requester.post(f"{path}/comments", json={"text": "x"}, headers=key))
    again = await created(organisation.requester.post(f"{path}/comments", json={"text": "x"}, headers=key))
    assert first.json() == again.json()
    assert len((await ok(organisation.requester.get(f"{path}/comments"))).json()["items"]) == 1
    assert (await ok(organisation.requester.get(path))).headers["ETag"] == porf.headers["ETag"]


async def test_history_is_paged_oldest_first(organisation: TestOrganisation) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/history"
    first = (await ok(organisation.auditor.get(path, params={"limit": "2"}))).json()
    rest = (await ok(organisation.auditor.get(path, params={"limit": "2", "cursor": first["next_cursor"]}))).json()
    found = [item["action"] for item in first["items"] + rest["items"]]
    assert found == ["porf.create", "porf.submit", "porf.approve"]
    assert rest["next_cursor"] is None
