"""Actions on requests: the whole table of domain.md through the API, races, decisions, dry runs."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from po_api.approvals.models import ApprovalDecision
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from support.locks import Row
from support.organisations import LINE, Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.polling import until_blocked

STATUSES = ["draft", "pending", "approved", "partially_ordered", "ordered", "closed", "rejected", "cancelled"]
MEMBERS = ["requester", "approver", "buyer", "admin", "auditor"]
OPEN = set(STATUSES) - {"closed", "cancelled"}

# The table of domain.md: sources, target (None: unchanged), who, and the error of all others.
TABLE: dict[str, tuple[set[str], str | None, set[str], str]] = {
    "edit": ({"draft"}, None, {"requester", "admin"}, "not_requester"),
    "delete": ({"draft"}, None, {"requester", "admin"}, "not_requester"),
    "submit": ({"draft"}, "pending", {"requester", "admin"}, "not_requester"),
    "recall": ({"pending"}, "draft", {"requester"}, "not_requester"),
    "return": ({"pending"}, "draft", {"approver"}, "missing_role"),
    "approve": ({"pending"}, "approved", {"approver"}, "missing_role"),
    "reject": ({"pending"}, "rejected", {"approver"}, "missing_role"),
    "revise": ({"rejected"}, "draft", {"requester"}, "not_requester"),
    "cancel": ({"draft", "pending", "approved"}, "cancelled", {"buyer", "admin"}, "missing_role"),
    "reopen": ({"approved"}, "draft", {"buyer", "admin"}, "missing_role"),
    "convert": ({"approved", "partially_ordered", "ordered"}, "ordered", {"buyer", "admin"}, "missing_role"),
    "close": ({"approved", "partially_ordered", "ordered"}, "closed", {"buyer", "admin"}, "missing_role"),
    "reassign": (OPEN, None, {"admin"}, "missing_role"),
    "override": ({"pending"}, "approved", {"admin"}, "missing_role"),
    "add_approver": ({"draft", "pending"}, None, {"requester", "approver", "buyer", "admin"}, "not_requester"),
    "remove_approver": ({"draft", "pending"}, None, {"requester", "approver", "buyer", "admin"}, "not_requester"),
    "reassign_step": ({"pending"}, None, {"admin"}, "missing_role"),
    "copy": (set(STATUSES), None, {"requester", "buyer", "admin"}, "missing_role"),
}
ACTIONS = TABLE.keys()
ANSWERS = {
    **dict.fromkeys(("not_requester", "missing_role", "override_disabled"), 403),
    **dict.fromkeys(("invalid_transition", "nothing_left", "run_closed"), 409),
}
# They are about a step, of which there is none here; tests/approvals has those.
OF_STEPS = {"remove_approver", "reassign_step"}
ON_STEPS = OF_STEPS | {"add_approver", "override"}
# Never submitted, so not theirs to see.
UNSEEN = ("approver", "draft")
WITHOUT_DRY_RUN = {"edit", "delete"}
NOT_FOUND = (404, "porf_not_found")
INVISIBLE = {"convert": (403, "missing_role")}  # judged before anything is looked for, so it tells nothing
CREATING = {"copy", "convert"}


def expected_refusal(action: str, status: str, member: str) -> str | None:
    """The expected error code for an action of a member on the requester's request; None if it is allowed."""
    sources, _, who, otherwise = TABLE[action]
    if action == "cancel" and status in ("draft", "pending"):
        who = who | {"requester"}
    if member not in who:
        return otherwise
    if status not in sources:
        return "run_closed" if action in ON_STEPS else "invalid_transition"
    return {("convert", "ordered"): "nothing_left", ("override", "pending"): "override_disabled"}.get((action, status))


async def attempt(
    organisation: TestOrganisation, member: Member, porf: httpx.Response, action: str, **options: Any
) -> httpx.Response:
    """Perform the action on the request of the response `porf`, without checking the status."""
    path, etag = f"/porfs/{porf.json()['id']}", porf.headers["ETag"]
    match action:
        case "edit":
            return await member.patch(path, etag=etag, json={"title": "Other lamps"}, **options)
        case "delete":
            return await member.delete(path, etag=etag, **options)
        case "convert":
            return await member.post(f"{path}/purchase-orders", etag=etag, json={}, **options)
        case "copy":
            return await member.post(f"{path}/copy", **options)
        case "reassign":
            body = {"requester_id": organisation.buyer.user_id}
            return await member.post(f"{path}/reassign", etag=etag, json=body, **options)
        case "add_approver":
            body = {"user_id": organisation.approver.user_id}
            return await member.post(f"{path}/add-approver", etag=etag, json=body, **options)
        case "remove_approver":
            return await member.post(f"{path}/remove-approver", etag=etag, json={"step_id": 2**40}, **options)
        case "reassign_step":
            body = {"step_id": 2**40, "replaced_id": 1, "user_id": organisation.approver.user_id}
            return await member.post(f"{path}/reassign-step", etag=etag, json=body, **options)
    return await member.post(f"{path}/{action}", etag=etag, json={"comment": "Because"}, **options)


def outcome(response: httpx.Response) -> tuple[int, str | None]:
    """The status and, for a problem, its code."""
    return response.status_code, response.json()["code"] if response.is_error else None


def expected_outcome(action: str, refusal: str | None) -> tuple[int, str | None]:
    if refusal is not None:
        return ANSWERS[refusal], refusal
    if action in OF_STEPS:
        return 409, "run_closed"
    return {"delete": 204, "copy": 201, "convert": 201}.get(action, 200), None


async def state(organisation: TestOrganisation, porf: httpx.Response) -> tuple[Any, Any]:
    """The request and its history as the auditor sees them."""
    return (await ok(organisation.auditor.get(f"/porfs/{porf.json()['id']}"))).json(), await history(organisation, porf)


async def history(organisation: TestOrganisation, porf: httpx.Response) -> list[Any]:
    events: list[Any] = (await ok(organisation.auditor.get(f"/porfs/{porf.json()['id']}/history"))).json()["items"]
    return events


async def decisions(organisation: TestOrganisation, porf: httpx.Response) -> Sequence[ApprovalDecision]:
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        found = select(ApprovalDecision).where(ApprovalDecision.porf_id == porf.json()["id"])
        return (await session.scalars(found.order_by(ApprovalDecision.id))).all()


async def as_seen(member: Member, porf: httpx.Response) -> httpx.Response:
    return await ok(member.get(f"/porfs/{porf.json()['id']}"))


def reasons(porf: httpx.Response) -> dict[str, str | None]:
    return {action: answer["reason"] for action, answer in porf.json()["allowed_actions"].items()}


@pytest.mark.heavy
@pytest.mark.parametrize("status", STATUSES)
async def test_allowed_actions_and_responses_follow_the_table(organisation: TestOrganisation, status: str) -> None:
    porf = await organisation.in_status(status)
    before = await state(organisation, porf)
    for name in MEMBERS:
        if (name, status) == UNSEEN:
            continue
        member: Member = getattr(organisation, name)
        expected = {action: expected_refusal(action, status, name) for action in ACTIONS}
        seen = await as_seen(member, porf)
        assert reasons(seen) == expected, name
        assert all(told["allowed"] is (told["reason"] is None) for told in seen.json()["allowed_actions"].values())
        for action, refusal in expected.items():
            dry = refusal is None or name == "requester"
            if dry and action not in WITHOUT_DRY_RUN:
                tried = await attempt(organisation, member, seen, action, params={"dry_run": "true"})
                assert outcome(tried) == expected_outcome(action, refusal), (name, action)
            if refusal is not None:
                done = await attempt(organisation, member, seen, action)
                assert outcome(done) == expected_outcome(action, refusal), (name, action)
    assert await state(organisation, porf) == before


@pytest.mark.parametrize("action", sorted(ACTIONS - OF_STEPS))
async def test_an_allowed_action_leads_to_the_status_of_the_table(organisation: TestOrganisation, action: str) -> None:
    sources, target, _, _ = TABLE[action]
    for status, name in itertools.product(sorted(sources), MEMBERS):
        if expected_refusal(action, status, name) is not None or (name, status) == UNSEEN:
            continue
        porf = await organisation.in_status(status)
        before = await history(organisation, porf)
        done = await attempt(organisation, getattr(organisation, name), porf, action)
        assert outcome(done) == expected_outcome(action, None), (name, status)
        if action == "delete":
            await refused(organisation.admin.get(f"/porfs/{porf.json()['id']}"), *NOT_FOUND)
            continue
        after, events = await state(organisation, porf)
        assert after["status"] == (target or status)
        assert after["version"] == porf.json()["version"] + (action != "copy")
        event = {"edit": "porf.update"}.get(action, f"porf.{action}")
        assert [item["action"] for item in events[len(before) :]] == ([] if action == "copy" else [event])
        if action not in CREATING:
            assert done.headers["ETag"].startswith(f'"{after["version"]}-')
            assert done.json()["status"] == after["status"]


async def test_an_approver_does_not_see_a_draft_that_was_never_submitted(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    for action in ACTIONS:
        assert outcome(await attempt(organisation, organisation.approver, porf, action)) == INVISIBLE.get(
            action, NOT_FOUND
        ), action


@pytest.mark.parametrize("status", ["draft", "pending", "approved", "rejected", "cancelled"])
async def test_a_colleague_s_request_does_not_exist_for_a_requester(
    organisation: TestOrganisation, status: str
) -> None:
    colleague = await organisation.member(Role.REQUESTER)
    porf = await organisation.in_status(status)
    for action in ACTIONS:
        assert outcome(await attempt(organisation, colleague, porf, action)) == INVISIBLE.get(action, NOT_FOUND), action


async def test_the_published_machine_is_the_table(organisation: TestOrganisation) -> None:
    machine = (await ok(organisation.requester.get("/state-machines/porf"))).json()
    assert machine["statuses"] == STATUSES
    published = {row["action"]: (set(row["sources"]), row["target"]) for row in machine["transitions"]}
    # These follow from the quantities, and from the steps of the approval.
    derived = dict.fromkeys(("convert", "submit", "approve"))
    assert published == {
        action: (sources, derived.get(action, target)) for action, (sources, target, _, _) in TABLE.items()
    }


async def test_a_dry_run_shows_what_would_be_and_nothing_of_it_is(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path = f"/porfs/{porf.json()['id']}"
    before = await state(organisation, porf)
    shown = await ok(
        organisation.requester.post(f"{path}/submit", etag=porf.headers["ETag"], params={"dry_run": "true"})
    )
    assert (shown.json()["status"], shown.json()["version"]) == ("pending", 2)
    assert "ETag" not in shown.headers
    copy = await created(organisation.requester.post(f"{path}/copy", params={"dry_run": "true"}))
    assert "Location" not in copy.headers
    assert await state(organisation, porf) == before
    assert (await organisation.draft()).json()["number"].endswith("-000002")


async def test_a_key_of_a_dry_run_is_free_for_the_real_run(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path, key = f"/porfs/{porf.json()['id']}/submit", {"Idempotency-Key": "submit-once"}
    etag = porf.headers["ETag"]
    await ok(organisation.requester.post(path, etag=etag, params={"dry_run": "true"}, headers=key))
    done = await ok(organisation.requester.post(path, etag=etag, headers=key))
    assert (await as_seen(organisation.requester, porf)).json()["status"] == "pending"
    again = await ok(organisation.requester.post(path, etag=etag, headers=key))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.json(), again.headers["ETag"]) == (done.json(), done.headers["ETag"])


async def test_a_request_without_lines_is_not_submitted(organisation: TestOrganisation) -> None:
    porf = await organisation.draft(lines=[])
    assert reasons(porf)["submit"] == "no_lines"
    await refused(attempt(organisation, organisation.requester, porf, "submit"), 422, "no_lines")


@pytest.mark.parametrize("action", ["reject", "return"])
@pytest.mark.parametrize("body", [None, {}, {"comment": None}])
async def test_rejecting_and_returning_require_a_comment(
    organisation: TestOrganisation, action: str, body: Any
) -> None:
    porf = await organisation.pending()
    path, etag = f"/porfs/{porf.json()['id']}/{action}", porf.headers["ETag"]
    problem = await refused(organisation.approver.post(path, etag=etag, json=body), 422, "comment_required")
    assert [error["pointer"] for error in problem["errors"]] == ["/comment"]
    assert (await as_seen(organisation.approver, porf)).json()["status"] == "pending"


@pytest.mark.parametrize("comment", ["", "   ", "\n", "a\x00b", "x" * 5001])
async def test_an_empty_or_unreadable_comment_is_none(organisation: TestOrganisation, comment: str) -> None:
    porf = await organisation.pending()
    path, etag = f"/porfs/{porf.json()['id']}/reject", porf.headers["ETag"]
    problem = await refused(
        organisation.approver.post(path, etag=etag, json={"comment": comment}), 422, "validation_failed"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/comment"]


async def test_a_comment_on_any_other_action_becomes_a_comment_on_the_request(organisation: TestOrganisation) -> None:
    porf = await act(organisation.requester, await organisation.draft(), "submit", comment="Urgent 🚀")
    comments = await ok(organisation.auditor.get(f"/porfs/{porf.json()['id']}/comments"))
    assert [(item["author_name"], item["text"]) for item in comments.json()["items"]] == [
        ("Rosa Requester", "Urgent 🚀")
    ]


# Decisions and rounds.


async def test_each_decision_is_recorded_with_its_round_and_the_content_it_is_about(
    organisation: TestOrganisation,
) -> None:
    porf = await act(organisation.approver, await organisation.pending(), "return", comment="Which lamps?")
    porf = await act(organisation.approver, await act(organisation.requester, porf, "submit"), "reject", comment="No")
    porf = await act(organisation.requester, porf, "revise")
    assert (porf.json()["status"], porf.json()["approval_round"]) == ("draft", 2)
    porf = await edited(organisation.requester, porf, title="Better lamps")
    porf = await act(organisation.approver, await act(organisation.requester, porf, "submit"), "approve")
    porf = await act(organisation.buyer, porf, "reopen")
    assert (porf.json()["status"], porf.json()["approval_round"]) == ("draft", 3)
    porf = await act(organisation.approver, await act(organisation.requester, porf, "submit"), "approve")

    found = await decisions(organisation, porf)
    assert [(row.round, row.decision, row.comment) for row in found] == [
        (1, "returned", "Which lamps?"),
        (1, "rejected", "No"),
        (2, "approved", None),
        (3, "approved", None),
    ]
    assert {row.approver_id for row in found} == {organisation.approver.user_id}
    before, same, after, last = [row.content_hash for row in found]
    assert before == same != after == last


async def test_returning_and_recalling_keep_the_round(organisation: TestOrganisation) -> None:
    porf = await act(organisation.requester, await organisation.pending(), "recall")
    porf = await act(
        organisation.approver, await act(organisation.requester, porf, "submit"), "return", comment="Again"
    )
    assert (porf.json()["status"], porf.json()["approval_round"]) == ("draft", 1)


def times(porf: httpx.Response) -> tuple[bool, bool]:
    """Whether the request shows when it was submitted, and when decided."""
    return porf.json()["submitted_at"] is not None, porf.json()["decided_at"] is not None


@pytest.mark.parametrize("action", ["revise", "reopen"])
async def test_a_new_round_shows_no_times_of_the_one_before(organisation: TestOrganisation, action: str) -> None:
    source, member = {"revise": ("rejected", organisation.requester), "reopen": ("approved", organisation.buyer)}[
        action
    ]
    decided = await organisation.in_status(source)
    assert times(decided) == (True, True)
    draft = await act(member, decided, action)
    assert times(draft) == (False, False)
    (listed,) = (await ok(organisation.requester.get("/porfs"))).json()["items"]
    assert (listed["submitted_at"], listed["decided_at"]) == (None, None)
    pending = await act(organisation.requester, draft, "submit")
    assert times(pending) == (True, False)
    assert pending.json()["submitted_at"] > decided.json()["submitted_at"]
    approved = await act(organisation.approver, pending, "approve")
    assert times(approved) == (True, True)
    assert approved.json()["decided_at"] > decided.json()["decided_at"]
    actions = [event["action"] for event in await history(organisation, approved)]
    assert actions.count("porf.submit") == 2


async def test_a_draft_in_a_later_round_is_one_that_was_submitted(organisation: TestOrganisation) -> None:
    draft = await act(organisation.requester, await organisation.in_status("rejected"), "revise")
    assert reasons(draft)["delete"] == "was_submitted"
    await refused(attempt(organisation, organisation.requester, draft, "delete"), 409, "was_submitted")
    assert (await as_seen(organisation.approver, draft)).json()["status"] == "draft"
    cancelled = await act(organisation.requester, draft, "cancel")
    assert times(cancelled) == (False, False)
    assert (await as_seen(organisation.approver, cancelled)).json()["status"] == "cancelled"


async def test_a_draft_shows_its_submission_in_the_same_round(organisation: TestOrganisation) -> None:
    pending = await organisation.pending()
    recalled = await act(organisation.requester, pending, "recall")
    assert (recalled.json()["submitted_at"], recalled.json()["decided_at"]) == (pending.json()["submitted_at"], None)
    again_pending = await act(organisation.requester, recalled, "submit")
    returned = await act(organisation.approver, again_pending, "return", comment="Again")
    assert times(returned) == (True, False)


async def test_history_tells_who_did_what_in_order(organisation: TestOrganisation) -> None:
    porf = await organisation.pending()
    await act(organisation.approver, porf, "reject", comment="Too dear")
    events = await history(organisation, porf)
    assert [(event["action"], event["actor_id"]) for event in events] == [
        ("porf.create", organisation.requester.user_id),
        ("porf.submit", organisation.requester.user_id),
        ("porf.reject", organisation.approver.user_id),
    ]
    assert events[-1]["before"] == {"status": "pending", "approval_round": 1}
    assert events[-1]["after"] == {"status": "rejected", "approval_round": 1, "comment": "Too dear"}
    assert events[0]["actor_name"] == "Rosa Requester"
    assert all(event["request_id"] for event in events)


async def test_a_draft_that_was_submitted_once_stays_on_record(organisation: TestOrganisation) -> None:
    porf = await act(organisation.requester, await organisation.pending(), "recall")
    assert reasons(porf)["delete"] == "was_submitted"
    await refused(attempt(organisation, organisation.requester, porf, "delete"), 409, "was_submitted")


async def edited(member: Member, porf: httpx.Response, **fields: Any) -> httpx.Response:
    return await ok(member.patch(f"/porfs/{porf.json()['id']}", etag=porf.headers["ETag"], json=fields))


# Who may approve.


async def own_pending(organisation: TestOrganisation) -> tuple[Member, httpx.Response]:
    """A request of a requester who is also an approver."""
    both = await organisation.member(Role.REQUESTER, Role.APPROVER)
    porf = await created(both.post("/porfs", json={"title": "Mine", "lines": [LINE]}))
    return both, await act(both, porf, "submit")


@pytest.mark.parametrize("action", ["approve", "reject", "return"])
async def test_requesters_may_not_decide_on_their_own_requests(organisation: TestOrganisation, action: str) -> None:
    both, porf = await own_pending(organisation)
    assert reasons(porf)[action] == "own_request"
    await refused(attempt(organisation, both, porf, action), 403, "own_request")


async def test_the_organisation_can_allow_self_approval(organisation: TestOrganisation) -> None:
    both, porf = await own_pending(organisation)
    current = await ok(organisation.admin.get("/organisations/current"))
    etag = current.headers["ETag"]
    await ok(organisation.admin.patch("/organisations/current", etag=etag, json={"allow_self_approval": True}))
    assert (await act(both, await as_seen(both, porf), "approve")).json()["status"] == "approved"


@pytest.mark.parametrize(
    ("limit", "refusal"), [("298.80", None), ("298.79", "over_approval_limit"), ("0", "over_approval_limit")]
)
async def test_a_limit_includes_the_total_up_to_it(
    organisation: TestOrganisation, limit: str, refusal: str | None
) -> None:
    limited = await organisation.member(Role.APPROVER, approval_limit=limit)
    porf = await organisation.pending()  # of 298.80 GBP
    assert reasons(await as_seen(limited, porf))["approve"] == refusal
    answer = await attempt(organisation, limited, porf, "approve")
    assert outcome(answer) == ((403, refusal) if refusal else (200, None))


async def test_another_currency_needs_an_approver_without_a_limit(organisation: TestOrganisation) -> None:
    limited = await organisation.member(Role.APPROVER, approval_limit="1000000")
    porf = await organisation.pending(currency="JPY")
    await refused(attempt(organisation, limited, porf, "approve"), 403, "limit_in_other_currency")
    assert (await act(organisation.approver, porf, "approve")).json()["status"] == "approved"


async def without(organisation: TestOrganisation, member: Member) -> httpx.Response:
    """Deactivate the member."""
    user = await ok(organisation.admin.get(f"/users/{member.user_id}"))
    return await ok(organisation.admin.post(f"/users/{member.user_id}/deactivate", etag=user.headers["ETag"]))


async def changed(organisation: TestOrganisation, member: Member, **fields: Any) -> httpx.Response:
    user = await ok(organisation.admin.get(f"/users/{member.user_id}"))
    return await ok(organisation.admin.patch(f"/users/{member.user_id}", etag=user.headers["ETag"], json=fields))


@pytest.mark.parametrize("fields", [{"approval_limit": "298.79"}, {"roles": ["requester"]}])
async def test_submitting_requires_an_eligible_approver(organisation: TestOrganisation, fields: dict[str, Any]) -> None:
    await changed(organisation, organisation.approver, **fields)
    porf = await organisation.draft()
    assert reasons(porf)["submit"] == "no_approver"
    await refused(attempt(organisation, organisation.requester, porf, "submit"), 409, "no_approver")


async def why_no_approver(organisation: TestOrganisation, member: Member, porf: httpx.Response) -> str:
    """The detail of the refused submission, which is the same in a dry run."""
    shown = await as_seen(member, porf)
    assert reasons(shown)["submit"] == "no_approver"
    told = [
        await refused(attempt(organisation, member, shown, "submit", **options), 409, "no_approver")
        for options in ({}, {"params": {"dry_run": "true"}})
    ]
    assert told[0]["detail"] == told[1]["detail"]
    detail: str = told[0]["detail"]
    return detail


@pytest.mark.heavy
async def test_who_could_approve_with_a_higher_limit_is_told(organisation: TestOrganisation) -> None:
    await changed(organisation, organisation.approver, approval_limit="298.79", name="Amir")
    for limit, name in (("100", "Bea"), ("298.5", "Cleo")):
        await organisation.member(Role.APPROVER, approval_limit=limit, name=name)
    gone = await organisation.member(Role.APPROVER, approval_limit="298.79", name="Gone")
    await without(organisation, gone)
    await organisation.member(Role.BUYER, approval_limit="1000000", name="No approver")
    porf = await organisation.draft()  # of 298.80 GBP
    told = (
        "active approvers who could approve 298.80 GBP with a higher limit: 3{}; the highest of their limits is {} GBP"
    )
    assert await why_no_approver(organisation, organisation.requester, porf) == told.format("", "298.79")
    assert await why_no_approver(organisation, organisation.admin, porf) == told.format(" (Amir, Cleo, Bea)", "298.79")


async def test_who_could_approve_another_currency_is_told(organisation: TestOrganisation) -> None:
    await changed(organisation, organisation.approver, approval_limit="1000000")
    assert await why_no_approver(organisation, organisation.requester, await organisation.draft(currency="JPY")) == (
        "active approvers who could approve 299 JPY without a limit, which another currency requires: 1;"
        " the highest of their limits is 1000000 GBP"
    )


async def test_only_some_of_many_names_are_told(organisation: TestOrganisation) -> None:
    await changed(organisation, organisation.approver, approval_limit="0", name="Amir")
    for limit in range(1, 7):
        await organisation.member(Role.APPROVER, approval_limit=str(limit), name=f"A{limit}")
    detail = await why_no_approver(organisation, organisation.admin, await organisation.draft())
    assert ": 7 (A6, A5, A4, A3, A2 and 2 more); " in detail


async def test_that_there_is_no_approver_but_authors_is_told(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    both = await organisation.member(Role.ADMIN, Role.APPROVER, name="Both")
    await changed(organisation, organisation.approver, roles=["buyer"])
    porf = await edited(both, porf, title="Better lamps")
    for member in (organisation.requester, organisation.admin):
        told = await why_no_approver(organisation, member, porf)
        assert told == "active approvers: 1, all of whom are authors of the request"
    # Authors do not count among those who could approve with a higher limit.
    await organisation.member(Role.APPROVER, approval_limit="5")
    assert "higher limit: 1;" in await why_no_approver(organisation, organisation.requester, porf)


async def test_that_nobody_is_an_approver_is_told(organisation: TestOrganisation) -> None:
    await changed(organisation, organisation.approver, roles=["requester"])
    told = await why_no_approver(organisation, organisation.requester, await organisation.draft())
    assert told == "no active member has the role approver"


async def test_a_limited_approver_is_none_for_another_currency(organisation: TestOrganisation) -> None:
    await changed(organisation, organisation.approver, approval_limit="1000000")
    await refused(
        attempt(organisation, organisation.requester, await organisation.draft(currency="JPY"), "submit"),
        409,
        "no_approver",
    )


async def test_the_only_approver_cannot_submit_their_own_request(organisation: TestOrganisation) -> None:
    await without(organisation, organisation.approver)
    both = await organisation.member(Role.REQUESTER, Role.APPROVER)
    porf = await created(both.post("/porfs", json={"title": "Mine", "lines": [LINE]}))
    await refused(attempt(organisation, both, porf, "submit"), 409, "no_approver")


async def test_deactivating_the_last_approver_warns_of_what_is_left_waiting(organisation: TestOrganisation) -> None:
    porf, _ = await organisation.pending(), await organisation.draft()
    answer = await without(organisation, organisation.approver)
    (warning,) = answer.json()["warnings"]
    assert warning["code"] == "no_approver_left"
    assert warning["porfs"] == [{"id": porf.json()["id"], "number": porf.json()["number"]}]


async def test_deactivating_one_of_two_approvers_warns_of_nothing(organisation: TestOrganisation) -> None:
    other = await organisation.member(Role.APPROVER)
    await organisation.pending()
    assert (await without(organisation, other)).json()["warnings"] == []


# Reassigning, closing, copying.


async def test_the_request_of_a_deactivated_requester_can_be_decided_and_reassigned(
    organisation: TestOrganisation,
) -> None:
    porf, other = await organisation.pending(), await organisation.pending()
    await without(organisation, organisation.requester)
    assert (await act(organisation.approver, porf, "approve")).json()["status"] == "approved"
    heir = await organisation.member(Role.REQUESTER, name="Heir")
    given = await act(organisation.admin, other, "reassign", requester_id=heir.user_id)
    assert (given.json()["requester_id"], given.json()["requester_name"]) == (heir.user_id, "Heir")
    event = (await history(organisation, other))[-1]
    assert (event["before"], event["after"]) == (
        {"requester_id": organisation.requester.user_id},
        {"requester_id": heir.user_id},
    )
    assert (await act(heir, given, "recall")).json()["status"] == "draft"


async def test_an_approver_who_is_made_the_requester_may_not_approve_any_more(organisation: TestOrganisation) -> None:
    both = await organisation.member(Role.REQUESTER, Role.APPROVER)
    given = await act(organisation.admin, await organisation.pending(), "reassign", requester_id=both.user_id)
    await refused(attempt(organisation, both, given, "approve"), 403, "own_request")


async def test_a_request_is_given_to_those_only_who_may_raise_one(organisation: TestOrganisation, app: FastAPI) -> None:
    stranger = (await new_organisation(app, organisation.requester.client)).requester
    gone = await organisation.member(Role.REQUESTER)
    await without(organisation, gone)
    porf = await organisation.pending()
    path, etag = f"/porfs/{porf.json()['id']}/reassign", porf.headers["ETag"]
    answers = [
        await refused(
            organisation.admin.post(path, etag=etag, json={"requester_id": user_id}), 422, "unknown_requester"
        )
        for user_id in (
            stranger.user_id,
            gone.user_id,
            organisation.auditor.user_id,
            organisation.approver.user_id,
            2**62,
        )
    ]
    assert {(answer["detail"], str(answer["errors"])) for answer in answers} == {
        (answers[0]["detail"], str(answers[0]["errors"]))
    }
    assert answers[0]["errors"][0]["pointer"] == "/requester_id"


@pytest.mark.parametrize("roles", [["auditor"], ["approver"]])
async def test_who_may_raise_requests_no_more_cannot_go_on_with_theirs(
    organisation: TestOrganisation, roles: list[str]
) -> None:
    draft, pending = await organisation.draft(), await organisation.pending()
    rejected = await organisation.in_status("rejected")
    await changed(organisation, organisation.requester, roles=roles)
    tried = [(draft, "edit"), (draft, "delete"), (draft, "submit"), (draft, "cancel"), (pending, "recall")]
    for porf, action in [*tried, (pending, "cancel"), (rejected, "revise")]:
        assert reasons(await as_seen(organisation.requester, porf))[action] == "missing_role", action
        assert outcome(await attempt(organisation, organisation.requester, porf, action)) == (403, "missing_role"), (
            action
        )


@pytest.mark.heavy
async def test_closing_puts_what_is_left_into_the_closed_quantity(organisation: TestOrganisation) -> None:
    porf = await act(organisation.buyer, await organisation.in_status("partially_ordered"), "close")
    (line,) = porf.json()["lines"]
    assert (line["ordered_quantity"], line["closed_quantity"], line["remaining_quantity"]) == ("4", "6", "0")
    await refused(attempt(organisation, organisation.buyer, porf, "convert"), 409, "invalid_transition")


async def test_a_draft_with_an_inactive_supplier_is_not_submitted(organisation: TestOrganisation) -> None:
    porf, without_supplier = await organisation.draft(), await organisation.draft(supplier_id=None)
    await organisation.set_supplier(active=False)
    shown = await as_seen(organisation.requester, porf)
    assert reasons(shown)["submit"] == "supplier_inactive"
    await refused(attempt(organisation, organisation.requester, shown, "submit"), 409, "supplier_inactive")
    await act(organisation.requester, without_supplier, "submit")
    other = await created(organisation.buyer.post("/suppliers", json={"name": "Other"}))
    chosen = await edited(organisation.requester, shown, supplier_id=other.json()["id"])
    assert reasons(chosen)["submit"] is None
    await act(organisation.requester, chosen, "submit")


async def test_everything_but_submitting_and_converting_goes_on_with_an_inactive_supplier(
    organisation: TestOrganisation,
) -> None:
    porf = await organisation.pending()
    await organisation.set_supplier(active=False)
    porf = await act(organisation.approver, await as_seen(organisation.approver, porf), "approve")
    shown = await as_seen(organisation.buyer, porf)
    assert reasons(shown)["convert"] == "supplier_inactive"
    listed = (await ok(organisation.buyer.get("/porfs"))).json()["items"]
    assert ["convert" in item["allowed_actions"] for item in listed] == [False]
    for options in ({}, {"params": {"dry_run": "true"}}):
        refusing = attempt(organisation, organisation.buyer, shown, "convert", **options)
        await refused(refusing, 409, "supplier_inactive")
    await organisation.set_supplier(active=True)
    assert reasons(await as_seen(organisation.buyer, porf))["convert"] is None
    await organisation.set_supplier(active=False)
    assert (await act(organisation.buyer, shown, "reopen")).json()["status"] == "draft"


async def test_a_tolerance_does_not_make_a_request_convertible_that_is_ordered_entirely(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await new_organisation(app, client, over_order_percent="10")
    porf = await organisation.in_status("ordered")
    assert reasons(porf)["convert"] == "nothing_left"
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    line = {"line_id": porf.json()["lines"][0]["id"]}
    for lines in ([], [line], [{**line, "quantity": "1"}]):
        for params in ({}, {"dry_run": "true"}):
            converting = organisation.buyer.post(path, etag="*", json={"lines": lines}, params=params)
            await refused(converting, 409, "nothing_left")
    several = organisation.buyer.post("/purchase-orders", json={"porf_ids": [porf.json()["id"]]})
    await refused(several, 409, "nothing_left")


async def test_while_a_quantity_remains_converting_is_allowed_with_and_without_lines(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await new_organisation(app, client, over_order_percent="10")
    porf = await organisation.in_status("partially_ordered")  # 4 of 10
    assert reasons(porf)["convert"] is None
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    lines = [{"line_id": porf.json()["lines"][0]["id"], "quantity": "7"}]
    for body in ({}, {"lines": lines}):
        dry = organisation.buyer.post(path, etag=porf.headers["ETag"], json=body, params={"dry_run": "true"})
        await created(dry)
    await created(organisation.buyer.post(path, etag=porf.headers["ETag"], json={"lines": lines}))
    assert reasons(await as_seen(organisation.buyer, porf))["convert"] == "nothing_left"


async def test_a_cancelled_order_gives_its_quantities_back(organisation: TestOrganisation) -> None:
    order = await organisation.ordered()
    path = f"/purchase-orders/{order.json()['id']}/cancel"
    await ok(organisation.buyer.post(path, etag=order.headers["ETag"], json={"comment": "Wrong"}))
    (porf,) = (await ok(organisation.buyer.get("/porfs"))).json()["items"]
    assert porf["status"] == "approved"
    assert "reopen" in porf["allowed_actions"]


async def test_a_copy_is_a_new_draft_of_the_caller_with_the_same_content(organisation: TestOrganisation) -> None:
    fields = {"justification": "Dark", "cost_centre": "4711", "needed_by": "2030-01-31", "currency": "KWD"}
    lines = [LINE | {"sku": "L-1", "discount_percent": "5", "needed_by": "2030-01-15"}, LINE | {"unit": "HUR"}]
    source = await organisation.approved(**fields, lines=lines)
    copy = await created(organisation.buyer.post(f"/porfs/{source.json()['id']}/copy"))
    assert copy.headers["Location"] == f"/api/v1/porfs/{copy.json()['id']}"
    own = {"number", "status", "version", "requester_id", "requester_name", "submitted_at", "decided_at"}
    own |= {"id", "created_at", "updated_at", "allowed_actions", "lines", "decisions", "approvers"}
    for name in source.json().keys() - own:
        assert copy.json()[name] == source.json()[name], name
    for line, original in zip(copy.json()["lines"], source.json()["lines"], strict=True):
        assert line | {"id": 0} == original | {"id": 0}
    assert (copy.json()["status"], copy.json()["version"], copy.json()["approval_round"]) == ("draft", 1, 1)
    assert copy.json()["requester_id"] == organisation.buyer.user_id
    assert copy.json()["number"] != source.json()["number"]
    assert (await history(organisation, copy))[0]["after"]["copied_from"] == source.json()["id"]


async def test_a_copy_leaves_an_inactive_supplier_out(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    await organisation.set_supplier(active=False)
    copy = await created(organisation.requester.post(f"/porfs/{porf.json()['id']}/copy"))
    assert (copy.json()["supplier_id"], copy.json()["supplier_name"]) == (None, None)
    assert copy.json()["total"] == porf.json()["total"]


# Races.

ROUNDS = 10


async def race(organisation: TestOrganisation, porf: httpx.Response, *attempts: tuple[Member, str]) -> str:
    """Run both concurrently: one succeeds, the other's problem names the resulting status, which is returned."""
    before, decided = await state(organisation, porf), len(await decisions(organisation, porf))
    answers = await asyncio.gather(*(attempt(organisation, member, porf, action) for member, action in attempts))
    after, events = await state(organisation, porf)
    (won,) = [action for (_, action), answer in zip(attempts, answers, strict=True) if answer.status_code == 200]
    (lost,) = [answer for answer in answers if answer.status_code != 200]
    assert outcome(lost) == (409, "invalid_transition")
    assert after["status"] in lost.json()["detail"]
    assert after["version"] == before[0]["version"] + 1
    assert [event["action"] for event in events[len(before[1]) :]] == [f"porf.{won}"]
    assert len(await decisions(organisation, porf)) == decided + (won == "approve")
    return won


@pytest.mark.heavy
async def test_of_two_submits_at_once_one_wins(organisation: TestOrganisation) -> None:
    for _ in range(ROUNDS):
        await race(
            organisation,
            await organisation.draft(),
            (organisation.requester, "submit"),
            (organisation.requester, "submit"),
        )


@pytest.mark.heavy
async def test_of_two_approvers_at_once_one_decides(organisation: TestOrganisation) -> None:
    other = await organisation.member(Role.APPROVER)
    for _ in range(ROUNDS):
        await race(organisation, await organisation.pending(), (organisation.approver, "approve"), (other, "approve"))


@pytest.mark.heavy
async def test_approving_and_recalling_at_once_have_one_outcome(organisation: TestOrganisation) -> None:
    for turn in range(ROUNDS):
        both = [(organisation.approver, "approve"), (organisation.requester, "recall")]
        await race(organisation, await organisation.pending(), *(both if turn % 2 else reversed(both)))


async def test_an_approval_of_what_was_seen_before_an_edit_is_refused(organisation: TestOrganisation) -> None:
    pending = await organisation.pending()
    draft = await act(organisation.requester, pending, "recall")
    await act(organisation.requester, await edited(organisation.requester, draft, title="Something else"), "submit")
    await refused(attempt(organisation, organisation.approver, pending, "approve"), 412, "stale_version")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (None, "approver_inactive"),
        ({"roles": ["requester"]}, "missing_role"),
        ({"approval_limit": "1"}, "over_approval_limit"),
    ],
)
async def test_rights_lost_between_load_and_decision_are_lost(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str], fields: Any, code: str
) -> None:
    porf = await organisation.pending()
    # Seen just now: the approval then writes nothing to its session, for which a deactivation would wait.
    await ok(organisation.approver.get("/users/me"))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        async with owner.transaction():
            await Row("porfs", organisation.organisation_id, porf.json()["id"]).lock(owner)
            approval = group.create_task(attempt(organisation, organisation.approver, porf, "approve"))
            await until_blocked(urls[0])
            await (
                without(organisation, organisation.approver)
                if fields is None
                else changed(organisation, organisation.approver, **fields)
            )
        answer = await approval
    assert outcome(answer) == (403, code)
    assert (await as_seen(organisation.admin, porf)).json()["status"] == "pending"
    assert await decisions(organisation, porf) == []
