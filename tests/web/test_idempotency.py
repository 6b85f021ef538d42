"""Idempotency keys: a repeated request gets the stored response, and changes nothing."""

import asyncio
from typing import Any

import asyncpg
import httpx

from support.locks import Row
from support.organisations import LINE, Member, TestOrganisation, act, created, ok, refused
from support.polling import until_blocked

BODY = {"title": "Once", "lines": [LINE]}


def _key(key: str) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": key}}


async def _count(member: Member) -> int:
    return len((await ok(member.get("/porfs"))).json()["items"])


def _same(first: httpx.Response, second: httpx.Response) -> bool:
    names = ("etag", "location", "content-type")
    return (first.status_code, first.content, [first.headers.get(name) for name in names]) == (
        second.status_code,
        second.content,
        [second.headers.get(name) for name in names],
    )


async def test_a_repeated_request_gets_the_first_answer(organisation: TestOrganisation) -> None:
    first = await created(organisation.requester.post("/porfs", json=BODY, **_key("a")))
    second = await created(organisation.requester.post("/porfs", json=BODY, **_key("a")))
    assert _same(first, second)
    assert first.headers["Location"] == f"/api/v1/porfs/{first.json()['id']}"
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert await _count(organisation.requester) == 1


async def test_the_answer_stays_the_first_one_when_the_state_moved_on(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path, options = f"/porfs/{draft.json()['id']}/submit", _key("s") | {"etag": draft.headers["ETag"]}
    first = await ok(organisation.requester.post(path, **options))
    await act(organisation.approver, first, "approve")
    second = await ok(organisation.requester.post(path, **options))
    assert _same(first, second)
    assert second.json()["status"] == "pending"


async def test_a_key_with_another_request_is_refused(organisation: TestOrganisation) -> None:
    await created(organisation.requester.post("/porfs", json=BODY, **_key("b")))
    other = organisation.requester.post("/porfs", json=BODY | {"title": "Other"}, **_key("b"))
    await refused(other, 422, "idempotency_key_reused")
    assert await _count(organisation.requester) == 1


async def test_keys_are_one_users_and_one_routes(organisation: TestOrganisation) -> None:
    first = await created(organisation.requester.post("/porfs", json=BODY, **_key("c")))
    await created(organisation.buyer.post("/porfs", json=BODY, **_key("c")))
    copy = await created(organisation.requester.post(f"/porfs/{first.json()['id']}/copy", **_key("c")))
    assert copy.json()["id"] != first.json()["id"]


async def test_of_concurrent_requests_one_is_executed_and_the_others_conflict_or_replay(
    organisation: TestOrganisation,
) -> None:
    answers = await asyncio.gather(*(organisation.requester.post("/porfs", json=BODY, **_key("d")) for _ in range(8)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert len([answer for answer in done if "Idempotent-Replayed" not in answer.headers]) == 1
    assert {answer.json()["id"] for answer in done} == {done[0].json()["id"]}
    others = [answer for answer in answers if answer not in done]
    assert {(answer.status_code, answer.json()["code"]) for answer in others} <= {(409, "idempotency_key_in_flight")}
    assert await _count(organisation.requester) == 1


async def test_a_request_whose_key_is_in_flight_is_refused(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    """The first one waits for a row that is locked here, so that it is in progress during the second."""
    draft = await organisation.draft()
    path, options = f"/porfs/{draft.json()['id']}/submit", _key("e") | {"etag": draft.headers["ETag"]}
    async with owner.transaction():
        await Row("porfs", organisation.organisation_id, draft.json()["id"]).lock(owner)
        first = asyncio.create_task(organisation.requester.post(path, **options))
        await until_blocked(urls[0])
        await refused(organisation.requester.post(path, **options), 409, "idempotency_key_in_flight")
    assert (await first).status_code == 200
    assert (await ok(organisation.requester.post(path, **options))).headers["Idempotent-Replayed"] == "true"


async def test_a_refused_request_is_evaluated_again(organisation: TestOrganisation) -> None:
    draft = await organisation.draft(lines=[])
    path, options = f"/porfs/{draft.json()['id']}", _key("f")
    await refused(organisation.requester.post(f"{path}/submit", etag=draft.headers["ETag"], **options), 422, "no_lines")
    line = await created(organisation.requester.post(f"{path}/lines", etag=draft.headers["ETag"], json=LINE))
    await ok(organisation.requester.post(f"{path}/submit", etag=line.headers["ETag"], **options))


async def test_a_key_has_1_to_255_characters(organisation: TestOrganisation) -> None:
    await created(organisation.requester.post("/porfs", json=BODY, **_key("k" * 255)))
    for wrong in ("k" * 256, ""):
        problem = await refused(
            organisation.requester.post("/porfs", json=BODY, **_key(wrong)), 422, "validation_failed"
        )
        assert problem["errors"][0]["pointer"] == "/Idempotency-Key"


async def test_a_key_of_any_characters_is_safe(organisation: TestOrganisation) -> None:
    key = {"headers": {"Idempotency-Key": "';--é\x7f".encode("latin-1")}}
    first = await created(organisation.requester.post("/porfs", json=BODY, **key))
    assert _same(first, await created(organisation.requester.post("/porfs", json=BODY, **key)))


async def test_a_dry_run_remembers_nothing(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path, options = f"/porfs/{draft.json()['id']}/submit", {"etag": draft.headers["ETag"]} | _key("g")
    dry = await ok(organisation.requester.post(path, params={"dry_run": "true"}, **options))
    assert dry.json()["status"] == "pending"
    assert (await ok(organisation.requester.get(f"/porfs/{draft.json()['id']}"))).json()["status"] == "draft"
    again = await ok(organisation.requester.post(path, params={"dry_run": "true"}, **options))
    assert "Idempotent-Replayed" not in again.headers
    real = await ok(organisation.requester.post(path, **options))
    assert "Idempotent-Replayed" not in real.headers


async def test_an_upload_is_recognised_by_its_content(organisation: TestOrganisation) -> None:
    async def upload(quantity: int, boundary: str) -> httpx.Response:
        files = {"file": ("l.csv", f"description,quantity,unit_price\nLamp,{quantity},1".encode())}
        headers = {"Idempotency-Key": "h", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return await organisation.requester.post("/porfs/import", files=files, data={"title": "Lamps"}, headers=headers)

    first = await created(upload(1, "one"))
    assert _same(first, await created(upload(1, "two")))
    await refused(upload(2, "three"), 422, "idempotency_key_reused")


async def test_without_the_permission_there_is_no_replay(organisation: TestOrganisation) -> None:
    await created(organisation.requester.post("/porfs", json=BODY, **_key("i")))
    member = await ok(organisation.admin.get(f"/users/{organisation.requester.user_id}"))
    await ok(
        organisation.admin.post(f"/users/{organisation.requester.user_id}/deactivate", etag=member.headers["ETag"])
    )
    await refused(organisation.requester.post("/porfs", json=BODY, **_key("i")), 401, "unauthenticated")
