"""Who has decided on a request and who is asked, in its representation."""

from typing import Any

import asyncpg
import httpx
import pytest

from po_api.core.permissions import Role, Scope
from support.organisations import Member, TestOrganisation, act, again, created, ok, refused


async def _seen(reader: Member, porf: httpx.Response) -> dict[str, Any]:
    shown: dict[str, Any] = (await again(reader, porf)).json()
    return shown


async def _set(organisation: TestOrganisation, member: Member, **values: Any) -> None:
    await ok(organisation.admin.patch(f"/users/{member.user_id}", etag="*", json=values))


async def test_an_approved_request_says_who_approved_it_and_when(organisation: TestOrganisation) -> None:
    await _set(organisation, organisation.approver, name="Ada")
    approved = await act(organisation.approver, await organisation.pending(), "approve", comment="Fine")
    for reader in (organisation.requester, organisation.approver, organisation.buyer, organisation.auditor):
        shown = await _seen(reader, approved)
        (decision,) = shown["decisions"]
        copied = {name: decision[name] for name in ("decision", "approver_id", "approver_name", "comment")}
        assert copied == {
            "decision": "approved",
            "approver_id": organisation.approver.user_id,
            "approver_name": "Ada",
            "comment": "Fine",
        }
        assert decision["decided_at"] == shown["decided_at"]
        assert shown["approvers"] is None


@pytest.mark.parametrize("limit", [None, "298.80", "1000000.00"])
async def test_the_limit_is_that_of_the_decision_and_shown_to_those_who_see_limits(
    organisation: TestOrganisation, limit: str | None
) -> None:
    approver = await organisation.member(Role.APPROVER, approval_limit=limit)
    approved = await act(approver, await organisation.pending(), "approve")
    await _set(organisation, approver, approval_limit="1.00")
    for reader in (organisation.admin, organisation.auditor, approver):
        (decision,) = (await _seen(reader, approved))["decisions"]
        assert decision["approver_limit"] == {"amount": limit, "currency": "GBP"}
    for reader in (organisation.requester, organisation.buyer, organisation.approver):
        (decision,) = (await _seen(reader, approved))["decisions"]
        assert decision["approver_limit"] is None


async def test_a_decision_of_the_version_before_has_no_limit(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    approved = await organisation.approved()
    await owner.execute(
        "UPDATE approval_decisions SET approver_limit = NULL, limit_currency = NULL WHERE porf_id = $1",
        approved.json()["id"],
    )
    (decision,) = (await _seen(organisation.admin, approved))["decisions"]
    assert decision["approver_limit"] is None


async def test_the_decisions_are_those_of_the_round_the_latest_first(organisation: TestOrganisation) -> None:
    porf = await organisation.pending()
    assert porf.json()["decisions"] == []
    returned = await act(organisation.approver, porf, "return", comment="Which lamps?")
    again_pending = await act(organisation.requester, await again(organisation.requester, returned), "submit")
    rejected = await act(organisation.approver, again_pending, "reject", comment="No budget")
    found = [(item["decision"], item["comment"]) for item in rejected.json()["decisions"]]
    assert found == [("rejected", "No budget"), ("returned", "Which lamps?")]
    revised = await act(organisation.requester, await again(organisation.requester, rejected), "revise")
    assert revised.json()["decisions"] == []
    approved = await act(organisation.approver, await act(organisation.requester, revised, "submit"), "approve")
    assert [item["decision"] for item in approved.json()["decisions"]] == ["approved"]
    reopened = await act(organisation.buyer, await again(organisation.buyer, approved), "reopen")
    assert reopened.json()["decisions"] == []


@pytest.mark.heavy
async def test_decisions_are_bounded(organisation: TestOrganisation) -> None:
    porf = await organisation.pending()
    for turn in range(21):
        returned = await act(
            organisation.approver, await again(organisation.approver, porf), "return", comment=str(turn)
        )
        porf = await act(organisation.requester, returned, "submit")
    assert [item["comment"] for item in porf.json()["decisions"]] == [str(turn) for turn in range(20, 0, -1)]


async def test_a_pending_request_says_who_is_asked(organisation: TestOrganisation) -> None:
    await _set(organisation, organisation.approver, name="Zora")
    able = await organisation.member(Role.APPROVER, approval_limit="298.80", name="Ada")
    await organisation.member(Role.APPROVER, approval_limit="298.79", name="Low")
    left = await organisation.member(Role.APPROVER, name="Left")
    await ok(organisation.admin.post(f"/users/{left.user_id}/deactivate", etag="*"))
    pending = await organisation.pending()
    asked = [{"id": able.user_id, "name": "Ada"}, {"id": organisation.approver.user_id, "name": "Zora"}]
    for reader in (organisation.admin, organisation.auditor):
        assert (await _seen(reader, pending))["approvers"] == {"count": 2, "members": asked}
    for reader in (organisation.requester, organisation.approver, organisation.buyer):
        assert (await _seen(reader, pending))["approvers"] == {"count": 2, "members": None}
    for member in (able, organisation.approver):
        await ok(member.post(f"/porfs/{pending.json()['id']}/approve?dry_run=true", etag="*"))
    await _set(organisation, able, approval_limit="1.00")
    assert (await _seen(organisation.admin, pending))["approvers"] == {"count": 1, "members": asked[1:]}


async def test_authors_and_other_currencies_are_counted_as_they_are_refused(organisation: TestOrganisation) -> None:
    author = await organisation.member(Role.APPROVER, Role.REQUESTER)
    limited = await organisation.member(Role.APPROVER, approval_limit="1000000.00")
    draft = await created(
        author.post(
            "/porfs",
            json={"title": "x", "currency": "EUR", "lines": [{"description": "x", "quantity": "1", "unit_price": "1"}]},
        )
    )
    pending = await act(author, draft, "submit")
    (asked,) = (await _seen(organisation.admin, pending))["approvers"]["members"]
    assert asked["id"] == organisation.approver.user_id
    await refused(author.post(f"/porfs/{pending.json()['id']}/approve", etag="*"), 403, "own_request")
    await refused(limited.post(f"/porfs/{pending.json()['id']}/approve", etag="*"), 403, "limit_in_other_currency")


async def test_nobody_is_asked_unless_the_request_is_pending(organisation: TestOrganisation) -> None:
    for status in ("draft", "approved", "rejected", "cancelled", "ordered", "closed"):
        shown = await organisation.in_status(status)
        assert (await _seen(organisation.admin, shown))["approvers"] is None


async def test_nobody_may_be_left_to_ask(organisation: TestOrganisation) -> None:
    pending = await organisation.pending()
    await ok(organisation.admin.post(f"/users/{organisation.approver.user_id}/deactivate", etag="*"))
    assert (await _seen(organisation.admin, pending))["approvers"] == {"count": 0, "members": []}
    assert (await _seen(organisation.requester, pending))["approvers"] == {"count": 0, "members": None}


async def test_names_are_bounded_the_count_is_not(organisation: TestOrganisation) -> None:
    for number in range(25):
        await organisation.member(Role.APPROVER, name=f"A{number:02}")
    asked = (await _seen(organisation.admin, await organisation.pending()))["approvers"]
    assert asked["count"] == 26
    assert [item["name"] for item in asked["members"]] == [f"A{number:02}" for number in range(20)]


async def test_a_key_shows_rights_only_with_the_scope_for_them(organisation: TestOrganisation) -> None:
    pending, approved = await organisation.pending(), await organisation.approved()
    for scopes, shows in (([Scope.PORFS_READ], False), ([Scope.PORFS_READ, Scope.USERS_READ], True)):
        body = {"name": "Script", "scopes": scopes}
        key = (await created(organisation.admin.post("/api-keys", json=body))).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        asked = (await ok(organisation.admin.get(f"/porfs/{pending.json()['id']}", headers=headers))).json()[
            "approvers"
        ]
        assert (asked["count"], asked["members"] is not None) == (1, shows)
        shown = await ok(organisation.admin.get(f"/porfs/{approved.json()['id']}", headers=headers))
        assert (shown.json()["decisions"][0]["approver_limit"] is not None) is shows


async def test_lists_do_not_have_it(organisation: TestOrganisation) -> None:
    await organisation.pending()
    (item,) = (await ok(organisation.admin.get("/porfs"))).json()["items"]
    assert not {"decisions", "approvers"} & item.keys()
