"""Files of requests, orders and comments: who uploads, sees and deletes them, and how often a content is stored."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.files.domain import MAX_FILE_BYTES, MAX_FILES, MAX_SUPPLIER_BYTES
from support import files
from support.files import PDF, upload, uploaded
from support.invariants import check
from support.locks import Row, in_this_order
from support.mail import allow_mail, deliver, mail_server, send_mails
from support.organisations import TestOrganisation, created, new_organisation, ok, perform, refused
from support.pages import all_items
from support.repetition import in_turns

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def shared(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> AsyncIterator[TestOrganisation]:
    organisation = await new_organisation(app, client)
    yield organisation
    await check(urls[0], organisation.organisation_id)


async def _stored(owner: asyncpg.Connection, organisation: TestOrganisation) -> int:
    count: int = await owner.fetchval(
        "SELECT count(*) FROM blobs WHERE organisation_id = $1", organisation.organisation_id
    )
    return count


async def test_a_file_is_uploaded_listed_and_downloaded(shared: TestOrganisation, owner: asyncpg.Connection) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    before = await _stored(owner, shared)
    added = await created(upload(shared.requester, path, "Angebot Größe 1.pdf", PDF))
    first = added.json()
    assert first == {
        "id": first["id"],
        "comment_id": None,
        "name": "Angebot Größe 1.pdf",
        "media_type": "application/pdf",
        "size": len(PDF),
        "digest": hashlib.sha256(PDF).hexdigest(),
        "visibility": "internal",
        "frozen_revision": None,
        "uploaded_by_id": shared.requester.user_id,
        "uploaded_by_name": "Rosa Requester",
        "created_at": first["created_at"],
    }
    second = await uploaded(shared.approver, path, "again.pdf")
    assert await _stored(owner, shared) == before + 1
    assert await all_items(shared.auditor, f"{path}/files", limit=1) == [first, second]
    location = added.headers["Location"].removeprefix("/api/v1")
    response = await ok(shared.auditor.get(location))
    assert response.content == PDF
    assert response.headers["content-type"] == "application/pdf"
    assert response.headers["content-length"] == str(len(PDF))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"Angebot Gr__e 1.pdf\"; filename*=UTF-8''Angebot%20Gr%C3%B6%C3%9Fe%201.pdf"
    )
    history = (await ok(shared.auditor.get(f"{path}/history"))).json()["items"]
    assert history[-2]["action"] == "porf.add_file"
    assert history[-2]["after"]["file_digest"] == first["digest"]


async def test_what_is_not_accepted_is_not_stored(shared: TestOrganisation, owner: asyncpg.Connection) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    before = await _stored(owner, shared)
    problem = await refused(upload(shared.requester, path, "x.pdf", files.EXE), 415, "file_type_refused")
    assert problem["errors"][0]["pointer"] == "/file"
    assert "PDF, PNG, JPEG, XLSX" in problem["errors"][0]["detail"]
    large = b"%PDF-" + bytes(MAX_FILE_BYTES)
    problem = await refused(upload(shared.requester, path, "x.pdf", large), 413, "file_too_large")
    assert problem["errors"] == [
        {"pointer": "/file", "code": "file_too_large", "detail": "A file has at most 20 MiB.", "location": "body"}
    ]
    much = b"%PDF-" + bytes(MAX_FILE_BYTES + 128 * 1024)
    await refused(upload(shared.requester, path, "x.pdf", much), 413, "payload_too_large")
    await refused(upload(shared.auditor, path, "x.pdf", PDF), 403, "missing_role")
    await refused(shared.requester.post(f"{path}/files", files={"other": ("x.pdf", PDF)}), 422, "validation_failed")
    assert await _stored(owner, shared) == before
    assert await all_items(shared.requester, f"{path}/files") == []


async def test_large_files_arrive_whole(shared: TestOrganisation) -> None:
    path = f"/porfs/{(await shared.draft()).json()['id']}"
    content = (b"%PDF-" + hashlib.sha256(b"po").digest() * 100_000)[:MAX_FILE_BYTES]
    file = await uploaded(shared.requester, path, "large.pdf", content)
    response = await ok(shared.requester.get(f"{path}/files/{file['id']}/content"))
    assert hashlib.sha256(response.content).hexdigest() == file["digest"]
    assert file["size"] == len(content)


async def test_files_are_those_of_visible_documents(shared: TestOrganisation, organisation: TestOrganisation) -> None:
    path = f"/porfs/{(await shared.draft()).json()['id']}"
    file = await uploaded(shared.requester, path)
    for member in (organisation.admin, shared.approver):
        for pending in (
            member.get(f"{path}/files"),
            member.get(f"{path}/files/{file['id']}/content"),
            member.delete(f"{path}/files/{file['id']}"),
            upload(member, path, "x.pdf", PDF),
        ):
            await refused(pending, 404, "porf_not_found")
    # A file of another document is none of this one.
    other = f"/porfs/{(await shared.draft()).json()['id']}"
    await refused(shared.requester.get(f"{other}/files/{file['id']}/content"), 404, "file_not_found")
    await refused(shared.requester.delete(f"{other}/files/{file['id']}"), 404, "file_not_found")


async def test_deleting_hides_a_file(shared: TestOrganisation) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    first, second = [await uploaded(shared.requester, path, f"{number}.pdf") for number in (1, 2)]
    await refused(shared.buyer.delete(f"{path}/files/{first['id']}"), 403, "not_uploader")
    await ok(shared.requester.delete(f"{path}/files/{first['id']}"), 204)
    await refused(shared.requester.delete(f"{path}/files/{first['id']}"), 404, "file_not_found")
    await refused(shared.requester.get(f"{path}/files/{first['id']}/content"), 404, "file_not_found")
    await ok(shared.admin.delete(f"{path}/files/{second['id']}"), 204)
    assert await all_items(shared.requester, f"{path}/files") == []
    history = (await ok(shared.auditor.get(f"{path}/history"))).json()["items"]
    assert [(item["action"], item["actor_id"]) for item in history[-2:]] == [
        ("porf.delete_file", shared.requester.user_id),
        ("porf.delete_file", shared.admin.user_id),
    ]
    assert history[-1]["before"]["file_name"] == "2.pdf"


async def test_a_repetition_with_its_key_uploads_once(shared: TestOrganisation) -> None:
    path, key = f"/porfs/{(await shared.draft()).json()['id']}", {"Idempotency-Key": "upload"}
    first = await created(upload(shared.requester, path, "a.pdf", PDF, headers=key))
    again = await created(upload(shared.requester, path, "a.pdf", PDF, headers=key))
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    await refused(upload(shared.requester, path, "a.pdf", PDF + b"\n", headers=key), 422, "idempotency_key_reused")


@in_turns
async def test_of_uploads_at_once_the_one_too_many_is_refused(
    shared: TestOrganisation, owner: asyncpg.Connection, turn: int
) -> None:
    porf_id = (await shared.draft()).json()["id"]
    file = await uploaded(shared.requester, f"/porfs/{porf_id}")
    await owner.execute(
        "INSERT INTO attachments (organisation_id, porf_id, name, media_type, digest, uploaded_by_id, created_at)"
        " SELECT organisation_id, porf_id, name, media_type, digest, uploaded_by_id, created_at"
        " FROM attachments, generate_series(3, $2) WHERE id = $1",
        file["id"],
        MAX_FILES,
    )
    members = (shared.requester, shared.admin)
    found = await asyncio.gather(*(upload(member, f"/porfs/{porf_id}", "x.pdf", PDF) for member in members))
    assert sorted(response.status_code for response in found) == [201, 409]
    assert [response.json()["code"] for response in found if response.status_code == 409] == ["too_many_files"]


async def test_comments_have_files(shared: TestOrganisation) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    comment = (await created(shared.approver.post(f"{path}/comments", json={"text": "See the offer"}))).json()
    file = await uploaded(shared.approver, path, comment_id=comment["id"])
    assert file["comment_id"] == comment["id"]
    assert await all_items(shared.requester, f"{path}/files") == [file]
    await ok(shared.requester.get(f"{path}/files/{file['id']}/content"))
    fields = {"comment_id": comment["id"]}
    await refused(upload(shared.requester, path, "x.pdf", PDF, **fields), 403, "not_author")
    other = f"/porfs/{(await shared.pending()).json()['id']}"
    await refused(upload(shared.approver, other, "x.pdf", PDF, **fields), 404, "comment_not_found")
    await ok(shared.admin.delete(f"{path}/comments/{comment['id']}", etag='"1"'), 204)
    await refused(upload(shared.approver, path, "x.pdf", PDF, **fields), 409, "comment_deleted")
    assert await all_items(shared.requester, f"{path}/files") == []
    await refused(shared.requester.get(f"{path}/files/{file['id']}/content"), 404, "file_not_found")


async def test_a_comment_that_is_deleted_meanwhile_gets_no_file(
    shared: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    path = f"/porfs/{(await shared.pending()).json()['id']}"
    comment = (await created(shared.approver.post(f"{path}/comments", json={"text": "See the offer"}))).json()
    deleted, added = await in_this_order(
        *(owner, urls[0], Row("porf_comments", shared.organisation_id, comment["id"])),
        lambda: shared.approver.delete(f"{path}/comments/{comment['id']}", etag='"1"'),
        lambda: upload(shared.approver, path, "x.pdf", PDF, comment_id=comment["id"]),
    )
    assert deleted.status_code == 204
    assert (added.status_code, added.json()["code"]) == (409, "comment_deleted")


async def test_a_file_that_goes_with_its_draft_meanwhile_is_not_found(
    shared: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    draft = await shared.draft()
    path = f"/porfs/{draft.json()['id']}"
    file = await uploaded(shared.requester, path)
    gone, deleted = await in_this_order(
        *(owner, urls[0], Row("attachments", shared.organisation_id, file["id"])),
        lambda: shared.requester.delete(path, etag=draft.headers["ETag"]),
        lambda: shared.requester.delete(f"{path}/files/{file['id']}"),
    )
    assert gone.status_code == 204
    assert (deleted.status_code, deleted.json()["code"]) == (404, "file_not_found")


async def test_a_draft_takes_its_files_with_it(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    draft = await organisation.draft()
    path, other = f"/porfs/{draft.json()['id']}", f"/porfs/{(await organisation.draft()).json()['id']}"
    await uploaded(organisation.requester, path, "only here.pdf", PDF + b"1")
    comment = (await created(organisation.requester.post(f"{path}/comments", json={"text": "Note"}))).json()
    await uploaded(organisation.requester, path, "of the comment.pdf", PDF + b"2", comment_id=comment["id"])
    for document in (path, other):
        kept = await uploaded(organisation.requester, document, "in both.pdf")
    await ok(organisation.requester.delete(path, etag=draft.headers["ETag"]), 204)
    assert await _stored(owner, organisation) == 1
    assert (await ok(organisation.requester.get(f"{other}/files/{kept['id']}/content"))).content == PDF


@in_turns
async def test_a_content_that_is_uploaded_while_its_last_draft_is_deleted_stays_at_once(
    shared: TestOrganisation, turn: int
) -> None:
    content, draft = PDF + b"race %d" % turn, await shared.draft()
    path, other = f"/porfs/{draft.json()['id']}", f"/porfs/{(await shared.draft()).json()['id']}"
    await uploaded(shared.requester, path, content=content)
    deleted, added = await asyncio.gather(
        shared.requester.delete(path, etag=draft.headers["ETag"]),
        upload(shared.admin, other, "b.pdf", content),
    )
    assert (deleted.status_code, added.status_code) == (204, 201)
    location = added.headers["Location"].removeprefix("/api/v1")
    assert (await ok(shared.admin.get(location))).content == content


async def test_files_for_the_supplier_are_fixed_by_the_issue_and_mailed(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    path = f"/purchase-orders/{order.json()['id']}"
    fields = {"visibility": "supplier"}
    drawing = await uploaded(organisation.buyer, path, "drawing.png", files.PNG, **fields)
    mail = await uploaded(organisation.buyer, path, "mail.eml", files.EML, **fields)
    await uploaded(organisation.requester, path, "internal.pdf")
    dropped = await uploaded(organisation.buyer, path, "dropped.pdf", PDF, **fields)
    await ok(organisation.buyer.delete(f"{path}/files/{dropped['id']}"), 204)
    await refused(upload(organisation.requester, path, "x.pdf", PDF, **fields), 403, "missing_role")
    comment = (await created(organisation.buyer.post(f"{path}/comments", json={"text": "As drawn"}))).json()
    of_comment = upload(organisation.buyer, path, "x.pdf", PDF, **fields, comment_id=comment["id"])
    assert (await refused(of_comment, 422, "validation_failed"))["errors"][0]["code"] == "ambiguous"
    issued = await ok(perform(organisation.buyer, order, "issue"))
    shown = {item["name"]: item["frozen_revision"] for item in await all_items(organisation.buyer, f"{path}/files")}
    assert shown == {"drawing.png": 1, "mail.eml": 1, "internal.pdf": None}
    await refused(upload(organisation.buyer, path, "late.pdf", PDF, **fields), 409, "files_frozen")
    await refused(organisation.admin.delete(f"{path}/files/{drawing['id']}"), 409, "files_frozen")
    await uploaded(organisation.buyer, path, "late but internal.pdf")
    await allow_mail(organisation)
    await organisation.change_supplier(email="orders@supplier.example")
    await deliver(organisation, issued.json()["id"], to=[])
    async with mail_server() as server:
        await send_mails(organisation, server.mailer())
        (received,) = server.received
    assert received.attachments[1:] == [
        ("drawing.png", "image/png", files.PNG),
        ("mail.eml", "application/octet-stream", files.EML),
    ]
    trail = (await ok(organisation.auditor.get("/audit-events?entity=delivery"))).json()["items"]
    sent = next(item for item in trail if item["action"] == "delivery.send")
    assert sent["after"]["file_digests"] == [drawing["digest"], mail["digest"]]


async def test_files_for_the_supplier_are_no_larger_than_a_mail_may_be(organisation: TestOrganisation) -> None:
    path = f"/purchase-orders/{(await organisation.ordered()).json()['id']}"
    fields = {"visibility": "supplier"}
    await uploaded(organisation.buyer, path, "a.pdf", PDF, **fields)
    rest = b"%PDF-" + bytes(MAX_SUPPLIER_BYTES - len(PDF) - 5)
    await refused(upload(organisation.buyer, path, "b.pdf", rest + b"1", **fields), 409, "supplier_files_too_large")
    await uploaded(organisation.buyer, path, "b.pdf", rest, **fields)
    await uploaded(organisation.buyer, path, "c.pdf", rest + b"1")


@in_turns
async def test_no_file_for_the_supplier_slips_past_the_issue_at_once(shared: TestOrganisation, turn: int) -> None:
    order = await shared.ordered()
    path = f"/purchase-orders/{order.json()['id']}"
    added, issued = await asyncio.gather(
        upload(shared.admin, path, "a.pdf", PDF, visibility="supplier"), perform(shared.buyer, order, "issue")
    )
    assert issued.status_code == 200
    found = await all_items(shared.buyer, f"{path}/files")
    if added.status_code == 201:
        assert [item["frozen_revision"] for item in found] == [1]
    else:
        assert added.json()["code"] == "files_frozen"
        assert found == []
