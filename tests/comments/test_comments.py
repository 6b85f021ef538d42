"""Comments on requests and orders: mentions, editing, deleting, and what a requester sees of a combined order."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.comments.domain import EDIT_TIME, mentions_of
from po_api.comments.events import CommentAdded, CommentEdited
from po_api.core.permissions import Role
from po_api.db.listeners import ChangeWarning, Listeners
from support.files import uploaded
from support.locks import Row, in_this_order
from support.notifications import notifications_of
from support.organisations import LINE, Member, TestOrganisation, created, new_organisation, ok, refused
from support.pages import all_items

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def shared(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    return await new_organisation(app, client)


@pytest.fixture
def heard(app: FastAPI) -> Iterator[list[CommentAdded | CommentEdited]]:
    """The events of comments, as features above hear them."""
    events: list[CommentAdded | CommentEdited] = []

    async def listen(_session: AsyncSession, event: CommentAdded | CommentEdited) -> list[ChangeWarning]:
        events.append(event)
        return []

    before, listeners = app.state.listeners, Listeners()
    listeners.add(CommentAdded, listen)
    listeners.add(CommentEdited, listen)
    app.state.listeners = listeners
    yield events
    app.state.listeners = before


async def _comment(member: Member, path: str, text: str) -> Json:
    found: Json = (await created(member.post(f"{path}/comments", json={"text": text}))).json()
    return found


async def _age(owner: asyncpg.Connection, comment: Json, by: timedelta) -> None:
    created_at = datetime.fromisoformat(comment["created_at"]) - by
    await owner.execute("UPDATE porf_comments SET created_at = $2 WHERE id = $1", comment["id"], created_at)


def test_mentions_are_ids_in_brackets() -> None:
    assert mentions_of("@[7], @[12] and @[7]; not @7, [7], @[a], @[] or mail@[7]x") == [7, 12]
    assert mentions_of(f"@[{'9' * 19}] @[{'9' * 20}]") == [int("9" * 19)]


async def test_comments_mention_who_may_see_the_document(
    shared: TestOrganisation, heard: list[CommentAdded | CommentEdited]
) -> None:
    porf_id = (await shared.pending()).json()["id"]
    path = f"/porfs/{porf_id}"
    mentioned = [shared.approver.user_id, shared.auditor.user_id]
    text = f"@[{mentioned[0]}] please look, @[{mentioned[1]}] @[{mentioned[0]}]"
    comment = await _comment(shared.requester, path, text)
    assert [item["id"] for item in comment["mentions"]] == sorted(mentioned)
    assert comment["text"] == text
    assert await all_items(shared.approver, f"{path}/comments") == [comment]
    (event,) = heard
    assert isinstance(event, CommentAdded)
    assert (event.entity, event.entity_id, event.comment_id) == ("porf", porf_id, comment["id"])
    assert event.mentioned == mentioned
    assert event.actor.user_id == shared.requester.user_id


async def test_nobody_learns_who_exists_by_mentioning(
    shared: TestOrganisation, organisation: TestOrganisation, heard: list[CommentAdded | CommentEdited]
) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    bob, inactive = await shared.member(Role.REQUESTER), await shared.member(Role.APPROVER)
    etag = (await ok(shared.admin.get(f"/users/{inactive.user_id}"))).headers["ETag"]
    await ok(shared.admin.post(f"/users/{inactive.user_id}/deactivate", etag=etag))
    refusals = []
    for user_id in (bob.user_id, inactive.user_id, organisation.admin.user_id, 10**18, int("9" * 19)):
        body = {"text": f"@[{shared.buyer.user_id}] @[{user_id}]"}
        response = await shared.requester.post(f"{path}/comments", json=body)
        request_id = response.headers["x-request-id"]
        refusals.append((response.status_code, response.text.replace(request_id, "")))
    assert len(set(refusals)) == 1
    problem = await refused(shared.requester.post(f"{path}/comments", json=body), 422, "cannot_mention")
    assert problem["errors"] == [
        {"location": "body", "pointer": "/text", "code": "cannot_mention", "detail": "Member cannot be mentioned"}
    ]
    many = " ".join(f"@[{number}]" for number in range(1, 52))
    await refused(shared.requester.post(f"{path}/comments", json={"text": many}), 422, "too_many_mentions")
    assert await all_items(shared.requester, f"{path}/comments") == []
    assert heard == []


async def test_visibility_of_a_draft_decides_about_mentions(shared: TestOrganisation) -> None:
    path = f"/porfs/{(await shared.draft()).json()['id']}"
    await _comment(shared.requester, path, f"@[{shared.buyer.user_id}] @[{shared.requester.user_id}]")
    body = {"text": f"@[{shared.approver.user_id}]"}
    await refused(shared.requester.post(f"{path}/comments", json=body), 422, "cannot_mention")


async def test_authors_edit_their_new_comments(
    shared: TestOrganisation, owner: asyncpg.Connection, heard: list[CommentAdded | CommentEdited]
) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    comment = await _comment(shared.requester, path, f"@[{shared.buyer.user_id}] one")
    place = f"{path}/comments/{comment['id']}"
    body = {"text": f"@[{shared.approver.user_id}] @[{shared.buyer.user_id}] two"}
    await refused(shared.requester.patch(place, json=body), 428, "if_match_required")
    await refused(shared.approver.patch(place, etag='"1"', json=body), 403, "not_author")
    await refused(shared.admin.patch(place, etag='"1"', json=body), 403, "not_author")
    edited = await ok(shared.requester.patch(place, etag='"1"', json=body))
    assert edited.json()["version"] == 2
    assert edited.json()["edited_at"] is not None
    assert [item["id"] for item in edited.json()["mentions"]] == sorted([shared.approver.user_id, shared.buyer.user_id])
    assert isinstance(heard[-1], CommentEdited)
    assert heard[-1].mentioned == [shared.approver.user_id]
    again = await ok(shared.requester.patch(place, etag=edited.headers["ETag"], json=body))
    assert again.json() == edited.json()
    await refused(shared.requester.patch(place, etag='"1"', json={"text": "x"}), 412, "stale_version")
    # The texts before are for those who read the audit trail.
    for member, texts in ((shared.auditor, [comment["text"], body["text"]]), (shared.requester, [None, None])):
        event = (await ok(member.get(f"{path}/history"))).json()["items"][-1]
        assert event["action"] == "porf.edit_comment"
        assert [event["before"].get("text"), event["after"].get("text")] == texts
        assert event["before"]["comment_id"] == comment["id"]
    await _age(owner, comment, EDIT_TIME)
    for pending in (shared.requester.patch(place, etag='"2"', json=body), shared.requester.delete(place, etag='"2"')):
        await refused(pending, 409, "comment_final")


async def test_a_deleted_comment_is_shown_without_its_text(shared: TestOrganisation, owner: asyncpg.Connection) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    first = await _comment(shared.requester, path, f"@[{shared.buyer.user_id}] secret 1")
    second = await _comment(shared.requester, path, "secret 2")
    await _age(owner, second, EDIT_TIME)
    places = [f"{path}/comments/{comment['id']}" for comment in (first, second)]
    await refused(shared.approver.delete(places[0], etag='"1"'), 403, "not_author")
    await ok(shared.requester.delete(places[0], etag='"1"'), 204)
    await ok(shared.admin.delete(places[1], etag='"1"'), 204)
    for pending in (
        shared.requester.delete(places[0], etag='"2"'),
        shared.requester.patch(places[0], etag='"2"', json={"text": "x"}),
    ):
        await refused(pending, 409, "comment_deleted")
    found = await all_items(shared.buyer, f"{path}/comments")
    assert [(item["text"], item["mentions"], item["deleted_at"] is None) for item in found] == [("", [], False)] * 2
    assert "secret" not in (await ok(shared.buyer.get(f"{path}/history"))).text
    assert "secret" not in (await ok(shared.buyer.get(f"{path}/timeline"))).text
    assert "secret 2" in (await ok(shared.auditor.get(f"{path}/history"))).text


async def test_an_edit_and_a_deletion_at_once_are_one_after_the_other(shared: TestOrganisation) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    place = f"{path}/comments/{(await _comment(shared.requester, path, 'one'))['id']}"
    edited, deleted = await asyncio.gather(
        shared.requester.patch(place, etag='"1"', json={"text": "two"}), shared.admin.delete(place, etag='"1"')
    )
    assert (edited.status_code, deleted.status_code) in {(200, 412), (409, 204), (412, 204)}


async def test_comments_on_a_draft_that_is_deleted_meanwhile(
    shared: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    draft = await shared.draft()
    path = f"/porfs/{draft.json()['id']}"
    comment = await _comment(shared.requester, path, "one")
    deleted, edited, added = await in_this_order(
        *(owner, urls[0], Row("porf_comments", shared.organisation_id, comment["id"])),
        lambda: shared.requester.delete(path, etag=draft.headers["ETag"]),
        lambda: shared.requester.patch(f"{path}/comments/{comment['id']}", etag='"1"', json={"text": "two"}),
        lambda: shared.requester.post(f"{path}/comments", json={"text": "three"}),
    )
    assert deleted.status_code == 204
    assert (edited.status_code, edited.json()["code"]) == (404, "comment_not_found")
    assert (added.status_code, added.json()["code"]) == (404, "porf_not_found")


async def test_orders_have_comments(shared: TestOrganisation, heard: list[CommentAdded | CommentEdited]) -> None:
    order = await shared.ordered()
    path = f"/purchase-orders/{order.json()['id']}"
    comment = await _comment(shared.requester, path, f"When? @[{shared.buyer.user_id}] @[{shared.requester.user_id}]")
    assert heard[0].entity == "purchase_order"
    answer = await _comment(shared.buyer, path, "Tomorrow")
    assert await all_items(shared.requester, f"{path}/comments") == [comment, answer]
    edited = await ok(shared.buyer.patch(f"{path}/comments/{answer['id']}", etag='"1"', json={"text": "Today"}))
    assert edited.json()["text"] == "Today"
    await ok(shared.buyer.delete(f"{path}/comments/{answer['id']}", etag='"2"'), 204)
    await refused(shared.auditor.post(f"{path}/comments", json={"text": "x"}), 403, "missing_role")
    bob = await shared.member(Role.REQUESTER)
    await refused(bob.post(f"{path}/comments", json={"text": "x"}), 404, "purchase_order_not_found")
    await refused(shared.buyer.post(f"{path}/comments", json={"text": f"@[{bob.user_id}]"}), 422, "cannot_mention")
    # A comment on another document is none of this one.
    other = f"/purchase-orders/{(await shared.ordered()).json()['id']}"
    place = f"{other}/comments/{comment['id']}"
    await refused(shared.requester.patch(place, etag='"1"', json={"text": "x"}), 404, "comment_not_found")


async def test_requesters_of_a_part_of_an_order_see_what_concerns_them(shared: TestOrganisation) -> None:
    bob = await shared.member(Role.REQUESTER)
    porfs = []
    for member in (shared.requester, bob):
        body = {"title": "Lamps", "supplier_id": shared.supplier_id, "lines": [LINE]}
        draft = await created(member.post("/porfs", json=body))
        place = f"/porfs/{draft.json()['id']}"
        submitted = await ok(member.post(f"{place}/submit", etag=draft.headers["ETag"], json={}))
        porfs.append(
            (await ok(shared.approver.post(f"{place}/approve", etag=submitted.headers["ETag"], json={}))).json()
        )
    order = await created(shared.buyer.post("/purchase-orders", json={"porf_ids": [porf["id"] for porf in porfs]}))
    path = f"/purchase-orders/{order.json()['id']}"
    own = await _comment(bob, path, "Mine")
    await _comment(shared.buyer, path, "About the lines of Rosa")
    to_bob = await _comment(shared.buyer, path, f"@[{bob.user_id}] yours")
    hidden = await uploaded(shared.buyer, path, "of rosa.pdf")
    shown = [await uploaded(shared.buyer, path, "to bob.pdf", comment_id=to_bob["id"]), await uploaded(bob, path)]
    assert await all_items(bob, f"{path}/comments") == [own, to_bob]
    assert await all_items(bob, f"{path}/files") == shown
    await refused(bob.get(f"{path}/files/{hidden['id']}/content"), 404, "file_not_found")
    await refused(bob.delete(f"{path}/files/{hidden['id']}"), 404, "file_not_found")
    kinds = [entry["kind"] for entry in await all_items(bob, f"{path}/timeline") if entry["kind"] != "event"]
    assert kinds == ["comment", "comment", "file", "file"]
    told = [item["kind"] for item in await notifications_of(bob) if item["entity"] == "purchase_order"]
    assert told == ["mentioned"]
    for listed in ("history", "timeline"):
        assert "rosa" not in (await ok(bob.get(f"{path}/{listed}"))).text.lower()
    assert len(await all_items(shared.auditor, f"{path}/comments")) == 3
