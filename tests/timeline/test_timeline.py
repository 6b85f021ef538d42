"""Timelines: what happened, in its order, page by page, and only what the caller may see."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from support.files import uploaded
from support.mail import allow_mail, deliver, mail_server, send_mails
from support.organisations import Member, TestOrganisation, act, created, new_organisation, ok, perform, refused
from support.pages import all_items, pages

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def shared(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    return await new_organisation(app, client)


async def _ordered(organisation: TestOrganisation) -> tuple[str, str]:
    """The paths of a request with comments and a file, and of its order, which was issued."""
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    pending = await act(organisation.requester, draft, "submit")
    await created(organisation.approver.post(f"{path}/comments", json={"text": "Why ten?"}))
    await uploaded(organisation.requester, path)
    approved = await act(organisation.approver, pending, "approve", comment="Fine")
    order = await created(organisation.convert(approved))
    await ok(perform(organisation.buyer, order, "issue"))
    return path, f"/purchase-orders/{order.json()['id']}"


def _codes(entries: list[Json]) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["summary_code"]) for entry in entries]


async def test_a_timeline_has_what_happened_to_a_request(shared: TestOrganisation) -> None:
    path, order = await _ordered(shared)
    entries = await all_items(shared.requester, f"{path}/timeline")
    assert _codes(entries) == [
        ("event", "porf.created"),
        ("event", "porf.submitted"),
        ("comment", "porf.comment_added"),
        ("file", "porf.file_added"),
        ("decision", "porf.approved"),
        ("event", "porf.converted"),
        ("order", "purchase_order.issued"),
    ]
    assert entries[4]["actor"] == {"kind": "member", "id": shared.approver.user_id, "name": entries[4]["actor"]["name"]}
    assert entries[4]["data"] == {"round": 1, "comment": "Fine"}
    assert entries[2]["data"]["text"] == "Why ten?"
    assert entries[3]["data"]["name"] == "quote.pdf"
    issued = (await ok(shared.buyer.get(order))).json()
    assert entries[6]["data"] == {"purchase_order_id": issued["id"], "number": issued["number"]}
    backwards = await all_items(shared.requester, f"{path}/timeline", sort="-at", limit=3)
    assert backwards == entries[::-1]
    await refused(shared.requester.get(f"{path}/timeline?sort=id"), 400, "invalid_sort")
    cursor = (await ok(shared.requester.get(f"{path}/timeline?limit=1"))).json()["next_cursor"]
    await refused(shared.requester.get(f"{path}/timeline?sort=-at&cursor={cursor}"), 400, "invalid_cursor")


async def test_pages_join_while_a_comment_is_added(shared: TestOrganisation) -> None:
    path, _ = await _ordered(shared)
    before = await all_items(shared.buyer, f"{path}/timeline")
    found: list[Json] = []
    async for page in pages(shared.buyer, f"{path}/timeline", limit=2):
        found += page.json()["items"]
        if len(found) == 4:
            await created(shared.buyer.post(f"{path}/comments", json={"text": "Meanwhile"}))
    assert found[:-1] == before
    assert found[-1]["data"]["text"] == "Meanwhile"
    assert len({(entry["kind"], entry["id"]) for entry in found}) == len(found)


async def test_entries_at_the_same_time_are_on_one_page_each(shared: TestOrganisation, owner: Any) -> None:
    path, _ = await _ordered(shared)
    for number in range(3):
        await created(shared.buyer.post(f"{path}/comments", json={"text": f"{number}"}))
    porf_id = int(path.rpartition("/")[2])
    decided_at = await owner.fetchval("SELECT decided_at FROM porfs WHERE id = $1", porf_id)
    await owner.execute("UPDATE porf_comments SET created_at = $2 WHERE porf_id = $1", porf_id, decided_at)
    whole = (await ok(shared.buyer.get(f"{path}/timeline"))).json()["items"]
    for sort in ("at", "-at"):
        found = await all_items(shared.buyer, f"{path}/timeline", limit=1, sort=sort)
        assert found == (whole if sort == "at" else whole[::-1])


async def test_deliveries_are_for_those_who_see_them(organisation: TestOrganisation) -> None:
    _, path = await _ordered(organisation)
    await allow_mail(organisation)
    await organisation.change_supplier(email="orders@supplier.example")
    await deliver(organisation, int(path.rpartition("/")[2]))
    async with mail_server() as server:
        await send_mails(organisation, server.mailer())
    expected = [("event", "purchase_order.created"), ("event", "purchase_order.issued")]
    sent = [("delivery", "delivery.created"), ("delivery", "delivery.sent")]

    async def seen(member: Member) -> list[tuple[str, str]]:
        return _codes(await all_items(member, f"{path}/timeline", limit=2))

    assert await seen(organisation.auditor) == expected + sent
    assert await seen(organisation.requester) == expected
    assert await seen(organisation.approver) == expected


async def test_timelines_are_those_of_visible_documents(
    shared: TestOrganisation, organisation: TestOrganisation
) -> None:
    path, order = await _ordered(shared)
    await refused(organisation.admin.get(f"{path}/timeline"), 404, "porf_not_found")
    await refused(organisation.admin.get(f"{order}/timeline"), 404, "purchase_order_not_found")
    draft = f"/porfs/{(await shared.draft()).json()['id']}"
    await refused(shared.approver.get(f"{draft}/timeline"), 404, "porf_not_found")
