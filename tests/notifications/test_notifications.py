"""Notifications through the API: who is told of what, what is shown, and what is read."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from po_api.core.permissions import Role
from po_api.notifications.domain import MAX_RECIPIENTS
from support.approval_policies import group, publish_policy, rule, user
from support.mail import deliver, let_mail, mail_server, send_mails
from support.notifications import notifications_of, send_notifications, unread_kinds
from support.organisations import Member, TestOrganisation, act, again, created, ok, refused
from support.pages import all_items
from support.repetition import in_turns


async def _told(*members: Member) -> list[list[str]]:
    return [await unread_kinds(member) for member in members]


async def test_a_request_waits_for_all_who_may_approve_it_until_one_has_decided(
    organisation: TestOrganisation,
) -> None:
    requester, ivo = organisation.requester, organisation.approver
    ina, poor = await organisation.member(Role.APPROVER), await organisation.member(Role.APPROVER, approval_limit="1")
    draft = await organisation.draft()
    await ok(requester.post(f"/porfs/{draft.json()['id']}/submit?dry_run=true", etag=draft.headers["ETag"]))
    assert await _told(ivo, ina) == [[], []]
    pending = await act(requester, draft, "submit")
    assert await _told(requester, ivo, ina, poor, organisation.buyer) == [
        [],
        ["approval_needed"],
        ["approval_needed"],
        [],
        [],
    ]
    (shown,) = await notifications_of(ina)
    porf = pending.json()
    assert (
        shown.items() >= {"entity": "porf", "entity_id": porf["id"], "number": porf["number"], "title": "Lamps"}.items()
    )
    assert (shown["actor_id"], shown["actor_name"], shown["read_at"]) == (requester.user_id, "Rosa Requester", None)
    # Recalled and submitted again: it waits anew, and what there was before does not.
    pending = await act(requester, await act(requester, pending, "recall"), "submit")
    assert await _told(ivo, ina) == [["approval_needed"], ["approval_needed"]]
    approved = await act(ivo, pending, "approve")
    assert await _told(requester, ivo, ina) == [["decided"], [], []]
    assert [item["resolved_at"] is None for item in await notifications_of(ina)] == [False, False]
    (decided,) = await notifications_of(requester)
    assert (decided["data"]["decision"], decided["actor_id"]) == ("approved", ivo.user_id)
    assert approved.json()["status"] == "approved"


async def test_each_stage_asks_its_own_people(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    """One manager, then two of a board of three; whoever has decided is not asked any more, nor who is not needed."""
    rita, max_, admin = organisation.requester, organisation.approver, organisation.admin
    board = [await organisation.member(Role.APPROVER) for _ in range(3)]
    delegate = await organisation.member(Role.APPROVER)
    body = {"name": "Board", "member_ids": [member.user_id for member in board]}
    group_id = (await created(admin.post("/approval-groups", json=body))).json()["id"]
    await publish_policy(admin, rule(1, user(max_)), rule(2, group(group_id), required_count=2))
    await owner.execute(
        "INSERT INTO approval_delegations"
        " (organisation_id, delegator_id, delegate_id, created_by_id, starts_at, ends_at)"
        " VALUES ($1, $2, $3, $2, now() - interval '1 day', now() + interval '1 day')",
        *(organisation.organisation_id, max_.user_id, delegate.user_id),
    )
    pending = await organisation.pending()
    assert await _told(rita, max_, delegate, *board) == [[], ["approval_needed"], ["approval_needed"], [], [], []]
    pending = await act(max_, pending, "approve")
    assert await _told(rita, max_, delegate, *board) == [[], [], [], *[["approval_needed"]] * 3]
    pending = await act(board[0], pending, "approve")
    assert await _told(rita, *board) == [[], [], ["approval_needed"], ["approval_needed"]]
    approved = await act(board[1], pending, "approve")
    assert approved.json()["status"] == "approved"
    assert await _told(rita, max_, delegate, *board) == [["decided"], *[[]] * 5]
    assert [len(await notifications_of(member)) for member in (rita, max_, delegate, *board)] == [1] * 6


@pytest.mark.parametrize(("action", "decision"), [("reject", "rejected"), ("return", "returned"), ("cancel", None)])
async def test_every_end_of_the_wait_resolves_it(
    organisation: TestOrganisation, action: str, decision: str | None
) -> None:
    pending = await organisation.pending()
    who = organisation.buyer if action == "cancel" else organisation.approver
    await act(who, pending, action, comment="No")
    assert await _told(organisation.approver) == [[]]
    assert [item["data"]["decision"] for item in await notifications_of(organisation.requester)] == (
        [] if decision is None else [decision]
    )


async def test_a_comment_is_told_to_those_who_had_to_do_with_the_request(organisation: TestOrganisation) -> None:
    requester, approver, buyer, admin = (
        getattr(organisation, role) for role in ("requester", "approver", "buyer", "admin")
    )
    approved = await organisation.approved()
    path = f"/porfs/{approved.json()['id']}/comments"
    for member in (requester, approver, buyer, admin):
        await ok(member.post("/notifications/read-all", json={"before": "2999-01-01T00:00:00Z"}))
    await created(buyer.post(path, json={"text": "Which colour?"}))
    assert await _told(requester, approver, buyer, admin) == [["commented"], ["commented"], [], []]
    answer = (await created(requester.post(path, json={"text": "Red"}))).json()
    assert await _told(requester, approver, buyer) == [["commented"], ["commented"] * 2, ["commented"]]
    (shown,) = await notifications_of(buyer)
    assert shown["data"]["comment_id"] == answer["id"]


async def test_whoever_is_mentioned_is_told_so_once(organisation: TestOrganisation) -> None:
    """The approver has decided, too: of several reasons, the mention counts."""
    approved = await organisation.approved()
    approver, auditor, buyer = organisation.approver, organisation.auditor, organisation.buyer
    text = f"@[{approver.user_id}] and @[{buyer.user_id}], please look"
    path = f"/porfs/{approved.json()['id']}/comments"
    comment = (await created(buyer.post(path, json={"text": text}))).json()
    # What is edited tells only those who were not mentioned before.
    etag, edited = f'"{comment["version"]}"', {"text": f"{text} @[{auditor.user_id}]"}
    await ok(buyer.patch(f"{path}/{comment['id']}", etag=etag, json=edited))
    assert await _told(approver, auditor, organisation.buyer) == [["mentioned"], ["mentioned"], []]
    assert await _told(organisation.requester) == [["commented", "decided"]]


async def test_a_comment_that_is_withdrawn_is_not_told_any_more(organisation: TestOrganisation) -> None:
    requester, approver, buyer = organisation.requester, organisation.approver, organisation.buyer
    path = f"/porfs/{(await organisation.pending()).json()['id']}/comments"

    async def unread() -> list[int]:
        counts = [await ok(member.get("/notifications/count")) for member in (approver, buyer, requester)]
        return [count.json()["unread"] for count in counts]

    before = await unread()
    said = await created(organisation.admin.post(path, json={"text": f"@[{approver.user_id}] @[{buyer.user_id}] look"}))
    assert await unread() == [count + 1 for count in before]
    own = f"{path}/{said.json()['id']}"
    await ok(organisation.admin.patch(own, etag="*", json={"text": f"@[{approver.user_id}] look"}))
    assert await unread() == [before[0] + 1, before[1], before[2] + 1]
    await ok(organisation.admin.patch(own, etag="*", json={"text": f"@[{buyer.user_id}] look"}))
    assert await unread() == [before[0], before[1] + 1, before[2] + 1]
    await ok(organisation.admin.delete(own, etag="*"), 204)
    assert await unread() == before


async def test_orders_are_told_to_requesters_and_failed_mails_to_the_buyer(organisation: TestOrganisation) -> None:
    await let_mail(organisation)
    order = (await organisation.issued()).json()
    shown, _ = await notifications_of(organisation.requester)
    assert (shown["kind"], shown["entity"], shown["entity_id"]) == ("order_issued", "purchase_order", order["id"])
    assert (shown["number"], shown["title"]) == (order["number"], "Müller & Söhne GmbH")
    delivery = await deliver(organisation, order["id"])
    async with mail_server() as server:
        for _ in range(2):
            server.answers.append("550 No")
            await send_mails(organisation, server.mailer())
            await ok(organisation.buyer.post(f"/deliveries/{delivery['id']}/retry"))
    failed = await notifications_of(organisation.buyer)
    assert [item["kind"] for item in failed] == ["delivery_failed"] * 2
    data = {"delivery_id": delivery["id"], "error_code": "mail_refused"}
    assert all(item["actor_id"] is None and item["data"].items() >= data.items() for item in failed)


async def test_admins_are_told_once_of_requests_that_nobody_may_approve(organisation: TestOrganisation) -> None:
    second = await organisation.member(Role.ADMIN)
    pending = await organisation.pending()
    place = f"/users/{organisation.approver.user_id}"
    for change in ({"roles": ["requester"]}, {"name": "Rita"}):
        changed = await ok(organisation.admin.patch(place, etag="*", json=change))
        assert [warning["code"] for warning in changed.json()["warnings"]] == ["no_approver_left"]
    # The admin who did it was warned.
    assert await _told(organisation.admin, second) == [[], ["no_approver_left"]]
    await act(organisation.requester, await again(organisation.requester, pending), "recall")
    assert await _told(second) == [[]]


async def test_what_is_not_visible_any_more_is_not_shown(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    """Without the role approver there is nothing to decide; what a buyer sees stays."""
    both = await organisation.member(Role.APPROVER, Role.BUYER)
    other = await organisation.member(Role.APPROVER)
    pending = await organisation.pending()
    await created(both.post(f"/porfs/{pending.json()['id']}/comments", json={"text": "Hm"}))
    await created(other.post(f"/porfs/{pending.json()['id']}/comments", json={"text": "Hm"}))
    assert await _told(both, other) == [["commented", "approval_needed"], ["approval_needed"]]
    (needed,) = await notifications_of(other)
    for member, roles in ((both, ["buyer"]), (other, ["requester"])):
        await ok(organisation.admin.patch(f"/users/{member.user_id}", etag="*", json={"roles": roles}))
    assert await _told(both, other) == [["commented"], []]
    assert [(await ok(who.get("/notifications/count"))).json()["unread"] for who in (both, other)] == [1, 0]
    await refused(other.post(f"/notifications/{needed['id']}/read"), 404, "notification_not_found")
    # It goes with a draft that is deleted.
    draft = await organisation.draft()
    await created(organisation.buyer.post(f"/porfs/{draft.json()['id']}/comments", json={"text": "Hm"}))
    assert await _told(organisation.requester) == [["commented", "commented", "commented"]]
    await ok(organisation.requester.delete(f"/porfs/{draft.json()['id']}", etag=draft.headers["ETag"]), 204)
    assert await _told(organisation.requester) == [["commented", "commented"]]
    # A later version, which runs beside this one, has another kind.
    await owner.execute("UPDATE notifications SET kind = 'other' WHERE user_id = $1", organisation.requester.user_id)
    assert await _told(organisation.requester) == [[]]
    assert (await ok(organisation.requester.get("/notifications/count"))).json()["unread"] == 0


async def test_reading(organisation: TestOrganisation) -> None:
    approver = organisation.approver
    for _ in range(4):
        await organisation.pending()
    everything = await notifications_of(approver)
    assert await all_items(approver, "/notifications", limit=3) == everything
    assert [item["entity_id"] for item in everything] == sorted(
        (item["entity_id"] for item in everything), reverse=True
    )
    count = await ok(approver.get("/notifications/count"))
    assert count.json() == {"unread": 4}
    known = {"If-None-Match": count.headers["ETag"]}
    await ok(approver.get("/notifications/count", headers=known), 304)
    path, key = f"/notifications/{everything[3]['id']}/read", {"Idempotency-Key": "once"}
    assert (await ok(approver.post(f"{path}?dry_run=true"))).json()["read_at"] is not None
    read = (await ok(approver.post(path, headers=key))).json()
    assert (await ok(approver.post(path, headers=key))).headers["Idempotent-Replayed"] == "true"
    # Read again, it was read then.
    assert (await ok(approver.post(path))).json()["read_at"] == read["read_at"]
    assert (await ok(approver.get("/notifications/count", headers=known))).json() == {"unread": 3}
    before = {"before": everything[1]["created_at"]}
    assert (await ok(approver.post("/notifications/read-all", json=before))).json() == {"read": 2}
    assert await notifications_of(approver, unread="true") == everything[:1]
    assert len(await notifications_of(approver)) == 4
    await refused(organisation.admin.post(path), 404, "notification_not_found")


async def test_what_a_member_chooses(organisation: TestOrganisation) -> None:
    requester, path = organisation.requester, "/notification-preferences"
    shown = await ok(requester.get(path))
    assert shown.json()["approval_needed"] == {"in_app": True, "email": "now"}
    assert shown.json()["decided"] == {"in_app": True, "email": "digest"}
    hidden = {"decided": {"in_app": False}}
    changed = await ok(requester.patch(path, etag=shown.headers["ETag"], json=hidden))
    assert changed.json() == shown.json() | {"decided": {"in_app": False, "email": "digest"}}
    await refused(requester.patch(path, etag=shown.headers["ETag"], json=hidden), 412, "stale_version")
    await refused(requester.patch(path, json=hidden), 428, "if_match_required")
    # What is the same already changes nothing.
    same = await ok(requester.patch(path, etag=changed.headers["ETag"], json=hidden))
    assert same.headers["ETag"] == changed.headers["ETag"]
    always = {"approval_needed": {"in_app": False}}
    problem = await refused(requester.patch(path, etag="*", json=always), 422, "always_in_app")
    assert [error["pointer"] for error in problem["errors"]] == ["/approval_needed/in_app"]
    await organisation.approved()
    assert await notifications_of(requester) == []
    assert (await ok(requester.get("/notifications/count"))).json() == {"unread": 0}
    # It was there all the time, and each member has their own choice.
    await ok(requester.patch(path, etag="*", json={"decided": {"in_app": True}}))
    assert await _told(requester) == [["decided"]]
    assert (await ok(organisation.buyer.get(path))).json() == shown.json()


async def test_so_many_are_told_at_most(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO members (organisation_id, user_id, email, roles, joined_at)"
        " SELECT $1, 900000000 + n, 'many' || n || '@company.example', '{approver}', now()"
        " FROM generate_series(1, 1000) n",
        organisation.organisation_id,
    )
    pending = await organisation.pending()
    told = "SELECT count(*) FROM notifications WHERE organisation_id = $1"
    assert await owner.fetchval(told, organisation.organisation_id) == MAX_RECIPIENTS
    # All see it in their own list of what waits, which the first of them is one of.
    assert [
        item["id"] for item in (await ok(organisation.approver.get("/porfs?waiting_for_me=true"))).json()["items"]
    ] == [pending.json()["id"]]


@in_turns
async def test_decisions_at_once_are_told_once(
    organisation: TestOrganisation, owner: asyncpg.Connection, turn: int
) -> None:
    """While everybody marks everything as read."""
    approvers = [organisation.approver, *[await organisation.member(Role.APPROVER) for _ in range(2)]]
    pending = [await organisation.pending() for _ in range(3)]

    async def decide(member: Member, porf: Any) -> int:
        path = f"/porfs/{porf.json()['id']}/approve"
        return (await member.post(path, etag=porf.headers["ETag"])).status_code

    async def read(member: Member) -> int:
        body = {"before": "2999-01-01T00:00:00Z"}
        return (await member.post("/notifications/read-all", json=body)).status_code

    deciding = [decide(member, porf) for porf in pending for member in approvers]
    statuses = await asyncio.gather(*deciding, *map(read, approvers))
    assert sorted(statuses) == [200] * 6 + [409] * 6
    rows = await owner.fetch(
        "SELECT kind, count(*) AS all, count(resolved_at) AS resolved FROM notifications"
        " WHERE organisation_id = $1 GROUP BY kind ORDER BY kind",
        organisation.organisation_id,
    )
    assert [tuple(row) for row in rows] == [("approval_needed", 9, 9), ("decided", 3, 0)]


async def test_a_delegate_is_told_for_whom_they_decide_until_that_is_revoked(organisation: TestOrganisation) -> None:
    approver, buyer, admin = organisation.approver, organisation.buyer, organisation.admin
    await ok(admin.patch(f"/users/{approver.user_id}", etag="*", json={"name": "Max Manager"}))
    to_buyer = {"delegate_id": buyer.user_id, "starts_at": "2999-01-01T00:00:00Z", "ends_at": "2999-02-01T00:00:00Z"}
    await ok(approver.post("/approval-delegations?dry_run=true", json=to_buyer), 201)
    assert await _told(approver, buyer) == [[], []]
    delegation = (await created(approver.post("/approval-delegations", json=to_buyer))).json()
    assert await _told(approver, buyer) == [[], ["delegated_to_you"]]
    (shown,) = await notifications_of(buyer)
    about = {"entity": "approval_delegation", "entity_id": delegation["id"], "number": None, "title": "Max Manager"}
    assert shown.items() >= about.items()
    times = {name: to_buyer[name] for name in ("starts_at", "ends_at")}
    assert shown["data"].items() >= times.items()
    await ok(approver.post(f"/approval-delegations/{delegation['id']}/revoke"))
    assert await _told(buyer) == [[]]
    (shown,) = await notifications_of(buyer)
    assert shown["resolved_at"] is not None


async def test_a_mail_tells_of_a_delegation(organisation: TestOrganisation) -> None:
    await let_mail(organisation)
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"language": "de"}))
    body = {"delegate_id": organisation.buyer.user_id, "ends_at": _tomorrow()}
    await ok(organisation.admin.patch(f"/users/{organisation.approver.user_id}", etag="*", json={"name": "Max"}))
    await created(organisation.approver.post("/approval-delegations", json=body))
    async with mail_server() as server:
        await send_notifications(organisation, server.mailer(document_url="https://po.example/app"))
        (mail,) = server.received
    subject = "Max hat Ihnen Genehmigungen übertragen"
    assert (mail.recipients, str(mail.message["Subject"])) == ([organisation.buyer.email], subject)
    # There is no page about it.
    assert "https://" not in mail.text


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()
