"""Authors of a request: raiser, requesters, submitters and editors do not decide on it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.approval_policies import publish_policy, rule, user
from support.organisations import LINE, Member, TestOrganisation, act, again, created, new_organisation, ok, refused
from support.repetition import in_turns

Write = Callable[[TestOrganisation, Member, httpx.Response], Awaitable[httpx.Response]]


async def _edit(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    path = f"/porfs/{porf.json()['id']}"
    return await ok(member.patch(path, etag=porf.headers["ETag"], json={"title": "Better lamps"}))


async def _add_line(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    await created(member.post(f"/porfs/{porf.json()['id']}/lines", etag=porf.headers["ETag"], json=LINE))
    return await again(member, porf)


def _line(porf: httpx.Response) -> str:
    return f"/porfs/{porf.json()['id']}/lines/{porf.json()['lines'][-1]['id']}"


async def _update_line(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    await ok(member.patch(_line(porf), etag=porf.headers["ETag"], json={"quantity": "11"}))
    return await again(member, porf)


async def _delete_line(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    await ok(member.delete(_line(porf), etag=porf.headers["ETag"]), 204)
    return await again(member, porf)


async def _submit(organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    return await act(organisation.requester, await act(member, porf, "submit"), "recall")


async def _be_requester(organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    given = await act(organisation.admin, porf, "reassign", requester_id=member.user_id)
    return await act(organisation.admin, given, "reassign", requester_id=organisation.requester.user_id)


WAYS: list[Write] = [_edit, _add_line, _update_line, _delete_line, _submit, _be_requester]
NAMES = ["edit", "add line", "update line", "delete line", "submit", "be the requester"]


async def _with_all_rights(organisation: TestOrganisation) -> Member:
    return await organisation.member(Role.ADMIN, Role.APPROVER, Role.REQUESTER)


async def _submitted(organisation: TestOrganisation, porf: httpx.Response) -> httpx.Response:
    return await act(organisation.requester, porf, "submit")


async def _assert_not_theirs_to_decide(member: Member, porf: httpx.Response) -> None:
    path = f"/porfs/{porf.json()['id']}"
    shown = await ok(member.get(path))
    for action in ("approve", "reject", "return"):
        assert shown.json()["allowed_actions"][action]["reason"] == "own_request"
        tried = member.post(f"{path}/{action}", etag=shown.headers["ETag"], json={"comment": "Because"})
        await refused(tried, 403, "own_request")
    assert porf.json()["id"] not in await _waiting_for(member)


async def _waiting_for(member: Member) -> list[int]:
    page = await ok(member.get("/porfs", params={"waiting_for_me": "true"}))
    return [item["id"] for item in page.json()["items"]]


@pytest.mark.heavy
async def test_who_raised_a_request_does_not_approve_it_as_a_colleague_s(organisation: TestOrganisation) -> None:
    raiser, colleague = await _with_all_rights(organisation), await organisation.member(Role.REQUESTER)
    draft = await created(raiser.post("/porfs", json={"title": "Mine", "lines": [LINE]}))
    given = await act(raiser, draft, "reassign", requester_id=colleague.user_id)
    porf = await act(raiser, given, "submit")
    await _assert_not_theirs_to_decide(raiser, porf)
    assert (await act(organisation.approver, porf, "approve")).json()["status"] == "approved"


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_who_has_written_a_request_does_not_decide_on_it(organisation: TestOrganisation, way: Write) -> None:
    member = await _with_all_rights(organisation)
    draft = await way(organisation, member, await organisation.draft(lines=[LINE, LINE]))
    porf = await _submitted(organisation, draft)
    await _assert_not_theirs_to_decide(member, porf)
    assert await _waiting_for(organisation.approver) == [porf.json()["id"]]
    assert (await act(organisation.approver, porf, "approve")).json()["status"] == "approved"


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_authors_approve_where_the_organisation_allows_it(
    app: FastAPI, client: httpx.AsyncClient, way: Write
) -> None:
    organisation = await new_organisation(app, client, allow_self_approval=True)
    member = await _with_all_rights(organisation)
    draft = await way(organisation, member, await organisation.draft(lines=[LINE, LINE]))
    porf = await _submitted(organisation, draft)
    assert (await act(member, porf, "approve")).json()["status"] == "approved"


async def test_authors_of_one_round_are_authors_of_the_next_ones(organisation: TestOrganisation) -> None:
    member = await _with_all_rights(organisation)
    porf = await _submitted(organisation, await _edit(organisation, member, await organisation.draft()))
    heir = await organisation.member(Role.REQUESTER)
    for action, who in (("reject", organisation.approver), ("revise", organisation.requester)):
        porf = await act(who, porf, action, comment="Again")
    porf = await act(organisation.admin, porf, "reassign", requester_id=heir.user_id)
    porf = await act(heir, await _edit(organisation, heir, porf), "submit")
    await _assert_not_theirs_to_decide(member, porf)
    porf = await act(organisation.buyer, await act(organisation.approver, porf, "approve"), "reopen")
    porf = await act(heir, porf, "submit")
    await _assert_not_theirs_to_decide(member, porf)
    porf = await act(heir, await act(organisation.approver, porf, "return", comment="Which?"), "submit")
    await _assert_not_theirs_to_decide(member, porf)


async def test_without_another_approver_an_author_cannot_have_it_submitted(organisation: TestOrganisation) -> None:
    user = await ok(organisation.admin.get(f"/users/{organisation.approver.user_id}"))
    path = f"/users/{organisation.approver.user_id}"
    await ok(organisation.admin.patch(path, etag=user.headers["ETag"], json={"roles": ["requester"]}))
    member = await _with_all_rights(organisation)
    draft = await organisation.draft()
    assert draft.json()["allowed_actions"]["submit"]["allowed"]
    edited = await again(organisation.requester, await _edit(organisation, member, draft))
    assert edited.json()["allowed_actions"]["submit"]["reason"] == "no_approver"
    submitting = organisation.requester.post(f"/porfs/{draft.json()['id']}/submit", etag=edited.headers["ETag"])
    await refused(submitting, 409, "no_approver")


async def test_the_only_approver_cannot_submit_what_they_would_have_to_approve(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for allowed in (False, True):
        organisation = await new_organisation(app, client, allow_self_approval=allowed)
        user = await ok(organisation.admin.get(f"/users/{organisation.approver.user_id}"))
        path = f"/users/{organisation.approver.user_id}/deactivate"
        await ok(organisation.admin.post(path, etag=user.headers["ETag"]))
        member, draft = await _with_all_rights(organisation), await organisation.draft()
        shown = await again(member, draft)
        assert shown.json()["allowed_actions"]["submit"]["reason"] == (None if allowed else "no_approver")
        submitting = member.post(f"/porfs/{draft.json()['id']}/submit", etag=shown.headers["ETag"])
        await (ok(submitting) if allowed else refused(submitting, 409, "no_approver"))
        if not allowed:
            porf = await _submitted(organisation, draft)
            assert (await act(member, porf, "approve")).json()["status"] == "approved"


async def _change_nothing(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    body = {"title": porf.json()["title"]}
    return await ok(member.patch(f"/porfs/{porf.json()['id']}", etag=porf.headers["ETag"], json=body))


async def _try(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    path, options = f"/porfs/{porf.json()['id']}", {"etag": porf.headers["ETag"]}
    await ok(member.post(f"{path}/submit", params={"dry_run": "true"}, **options))
    await refused(member.patch(path, json={"title": "", "lines": []}, **options), 422, "validation_failed")
    return porf


async def _reassign(organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    heir = await organisation.member(Role.REQUESTER)
    given = await act(member, porf, "reassign", requester_id=heir.user_id)
    return await act(member, given, "reassign", requester_id=organisation.requester.user_id)


async def _comment(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    await created(member.post(f"/porfs/{porf.json()['id']}/comments", json={"text": "Which lamps?"}))
    return porf


async def _copy(_organisation: TestOrganisation, member: Member, porf: httpx.Response) -> httpx.Response:
    await created(member.post(f"/porfs/{porf.json()['id']}/copy"))
    return porf


@pytest.mark.parametrize("deed", [_change_nothing, _try, _reassign, _comment, _copy])
async def test_who_has_written_nothing_of_it_is_no_author(organisation: TestOrganisation, deed: Write) -> None:
    member = await _with_all_rights(organisation)
    porf = await _submitted(organisation, await deed(organisation, member, await organisation.draft()))
    assert porf.json()["id"] in await _waiting_for(member)
    assert (await act(member, porf, "approve")).json()["status"] == "approved"


async def test_reopening_is_no_writing(organisation: TestOrganisation) -> None:
    member = await organisation.member(Role.BUYER, Role.APPROVER)
    porf = await _submitted(organisation, await act(member, await organisation.approved(), "reopen"))
    assert (await act(member, porf, "approve")).json()["status"] == "approved"


async def test_a_copy_has_its_own_authors(organisation: TestOrganisation) -> None:
    member, colleague = await _with_all_rights(organisation), await organisation.member(Role.REQUESTER, Role.BUYER)
    source = await created(member.post("/porfs", json={"title": "Mine", "lines": [LINE]}))
    copy: Any = await act(colleague, await created(colleague.post(f"/porfs/{source.json()['id']}/copy")), "submit")
    assert (await act(member, copy, "approve")).json()["status"] == "approved"


async def test_an_import_makes_its_sender_the_author(organisation: TestOrganisation) -> None:
    member = await _with_all_rights(organisation)
    file = ("lines.csv", b"description,quantity,unit_price\nLamp,1,2\n", "text/csv")
    draft = await created(member.post("/porfs/import", data={"title": "Lamps"}, files={"file": file}))
    given = await act(member, draft, "reassign", requester_id=organisation.requester.user_id)
    await _assert_not_theirs_to_decide(member, await _submitted(organisation, given))


async def _two_stages(app: FastAPI, client: httpx.AsyncClient, **settings: Any) -> tuple[TestOrganisation, Member]:
    """Max, who may also raise requests, and then another member approve."""
    organisation = await new_organisation(app, client, **settings)
    both = await organisation.member(Role.APPROVER, Role.REQUESTER, name="Max")
    await publish_policy(organisation.admin, rule(1, user(both)), rule(2, user(organisation.approver)))
    return organisation, both


async def test_who_has_approved_a_pending_request_does_not_become_its_requester(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation, max_ = await _two_stages(app, client)
    admin, approver = organisation.admin, organisation.approver
    porf = await act(max_, await organisation.pending(), "approve")
    heir = {"requester_id": max_.user_id}
    path = f"/porfs/{porf.json()['id']}"
    await refused(admin.post(f"{path}/reassign", etag="*", json=heir), 409, "requester_has_approved")
    other = await organisation.member(Role.REQUESTER)
    await ok(admin.post(f"{path}/reassign", etag="*", json={"requester_id": other.user_id}))
    # Once returned, the approval counts no more: Max may take the request over, and is asked no more.
    returned = await ok(approver.post(f"{path}/return", etag="*", json={"comment": "Whose is it?"}))
    given = await act(admin, returned, "reassign", **heir)
    await refused(max_.post(f"{path}/submit", etag=given.headers["ETag"]), 409, "no_approver")
    # What was approved by all stays approved.
    second = await act(approver, await act(max_, await organisation.pending(), "approve"), "approve")
    assert (await act(admin, second, "reassign", **heir)).json()["status"] == "approved"


async def test_approvals_of_a_new_requester_on_behalf_of_others_and_by_delegates_count_too(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation, max_ = await _two_stages(app, client)
    delegate = await organisation.member(Role.APPROVER, Role.REQUESTER)
    ends_at = (datetime.now(UTC) + timedelta(1)).isoformat()
    await created(max_.post("/approval-delegations", json={"delegate_id": delegate.user_id, "ends_at": ends_at}))
    porf = await act(delegate, await organisation.pending(), "approve")
    for member in (max_, delegate):
        body = {"requester_id": member.user_id}
        tried = organisation.admin.post(f"/porfs/{porf.json()['id']}/reassign", etag="*", json=body)
        await refused(tried, 409, "requester_has_approved")
    # Where authors may approve, so may a new requester have done.
    organisation, max_ = await _two_stages(app, client, allow_self_approval=True)
    porf = await act(max_, await organisation.pending(), "approve")
    await act(organisation.admin, porf, "reassign", requester_id=max_.user_id)


@in_turns
async def test_a_race_of_an_approval_with_the_reassignment_to_its_approver(
    app: FastAPI, client: httpx.AsyncClient, turn: int
) -> None:
    organisation, max_ = await _two_stages(app, client)
    path = f"/porfs/{(await organisation.pending()).json()['id']}"
    body = {"requester_id": max_.user_id}
    both = [max_.post(f"{path}/approve", etag="*"), organisation.admin.post(f"{path}/reassign", etag="*", json=body)]
    answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
    approved, reassigned = answers if turn % 2 else reversed(answers)
    outcome = (approved.json().get("code"), reassigned.json().get("code"))
    assert outcome in ((None, "requester_has_approved"), ("own_request", None))
