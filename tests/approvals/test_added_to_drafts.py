"""Approvers who are added to a draft: its previews and submissions ask them, too."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.approval_policies import publish_policy, rule, user
from support.invariants import check
from support.organisations import Member, TestOrganisation, act, again, new_organisation, ok, refused

Json = dict[str, Any]
# Of each step its source and people, in the order in which they are decided.
Steps = list[tuple[str, str]]


async def _add(member: Member, draft: httpx.Response, added: Member, **body: Any) -> httpx.Response:
    path = f"/porfs/{draft.json()['id']}/add-approver"
    return await member.post(path, etag="*", json={"user_id": added.user_id} | body)


async def _remove(member: Member, draft: httpx.Response, **body: Any) -> httpx.Response:
    return await member.post(f"/porfs/{draft.json()['id']}/remove-approver", etag="*", json=body)


def _steps(shown: Json) -> Steps:
    return [(step["source"], "+".join(person["name"] for person in step["people"])) for step in shown["steps"]]


async def _preview(organisation: TestOrganisation, draft: httpx.Response) -> Json:
    shown: Json = (await ok(organisation.requester.get(f"/porfs/{draft.json()['id']}/approval-preview"))).json()
    return shown


async def _run(organisation: TestOrganisation, porf: httpx.Response) -> Json:
    shown: Json = (await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}/approval"))).json()
    return shown


@pytest.fixture
async def people(organisation: TestOrganisation) -> dict[str, Member]:
    names = ("Max", "Olga", "Ivo", "Ina", "Uwe")
    found = {name: await organisation.member(Role.APPROVER, name=name) for name in names}
    first, second = (rule(n, user(found[name]), name=name) for n, name in ((1, "Max"), (2, "Olga")))
    await publish_policy(organisation.admin, first, second)
    return found


@pytest.mark.heavy
async def test_a_submission_asks_who_was_added(
    organisation: TestOrganisation, people: dict[str, Member], urls: tuple[str, str]
) -> None:
    requester, admin = organisation.requester, organisation.admin
    draft = await organisation.draft()
    await ok(_add(requester, draft, people["Ivo"], placement="before"))
    await ok(_add(organisation.buyer, draft, people["Ina"], placement="parallel"))
    await ok(_add(admin, draft, people["Uwe"], placement="after"))
    expected = [("added", "Ivo"), ("rule", "Max"), ("added", "Ina"), ("added", "Uwe"), ("rule", "Olga")]
    preview = await _preview(organisation, draft)
    added_by = [None, requester.user_id, None, organisation.buyer.user_id, admin.user_id]
    assert _steps(preview) == expected
    assert {step["added_by_id"] for step in preview["steps"]} == {*added_by}
    pending = await act(requester, await again(requester, draft), "submit")
    run = await _run(organisation, pending)
    assert _steps(run) == expected
    assert [step["added_by_id"] for step in run["steps"]] == [step["added_by_id"] for step in preview["steps"]]
    assert [step["status"] for step in run["steps"]] == ["active", *["waiting"] * 4]
    await refused(people["Max"].post(f"/porfs/{draft.json()['id']}/approve", etag="*"), 409, "not_your_turn")
    # They are asked again, unless they are removed before.
    await act(requester, pending, "recall")
    assert _steps(await _preview(organisation, draft)) == expected
    await ok(_remove(requester, draft, user_id=people["Ivo"].user_id))
    pending = await act(requester, await again(requester, draft), "submit")
    assert _steps(await _run(organisation, pending)) == expected[1:]
    for name in ("Max", "Ina", "Uwe", "Olga"):
        pending = await act(people[name], pending, "approve")
    assert pending.json()["status"] == "approved"
    await check(urls[0], organisation.organisation_id)


async def test_who_may_add_and_remove_whom(organisation: TestOrganisation, people: dict[str, Member]) -> None:
    requester, admin, buyer = organisation.requester, organisation.admin, organisation.buyer
    draft = await organisation.draft()
    etag = (await ok(_add(requester, draft, people["Ivo"]))).headers["ETag"]
    assert etag != draft.headers["ETag"]
    path = f"/porfs/{draft.json()['id']}/add-approver"
    body = {"user_id": people["Ina"].user_id}
    await refused(requester.post(path, etag=draft.headers["ETag"], json=body), 412, "stale_version")
    await ok(requester.post(f"{path}?dry_run=true", etag=etag, json=body))
    for unknown in (people["Ivo"], buyer, requester):
        problem = await refused(_add(requester, draft, unknown), 422, "unknown_approver")
        assert problem["errors"][0]["pointer"] == "/user_id"
    await refused(_add(organisation.auditor, draft, people["Ina"]), 403, "not_requester")
    await refused(_remove(buyer, draft, user_id=people["Ivo"].user_id), 409, "step_not_removable")
    await refused(_remove(requester, draft, user_id=people["Ina"].user_id), 409, "step_not_removable")
    await refused(_remove(requester, draft, step_id=1), 409, "run_closed")
    for wrong in ({}, {"step_id": 1, "user_id": 1}):
        await refused(_remove(requester, draft, **wrong), 422, "validation_failed")
    events = (await ok(admin.get(f"/porfs/{draft.json()['id']}/history"))).json()["items"]
    shown = {"user_id": people["Ivo"].user_id, "placement": "parallel"}
    assert (events[-1]["action"], events[-1]["after"]) == ("porf.add_approver", shown)
    await ok(_remove(admin, draft, user_id=people["Ivo"].user_id))
    assert _steps(await _preview(organisation, draft)) == [("rule", "Max"), ("rule", "Olga")]
    # With the draft, those who were added to it are deleted.
    await ok(_add(requester, draft, people["Ivo"]))
    await ok(requester.delete(f"/porfs/{draft.json()['id']}", etag="*"), 204)


async def test_nobody_is_asked_in_vain(organisation: TestOrganisation, people: dict[str, Member]) -> None:
    requester, admin, ivo = organisation.requester, organisation.admin, people["Ivo"]
    draft = await organisation.draft()
    await ok(_add(requester, draft, ivo))
    await ok(admin.post(f"/users/{ivo.user_id}/deactivate", etag="*"))
    (warning,) = (await _preview(organisation, draft))["warnings"]
    assert (warning["code"], '"Ivo"' in warning["detail"]) == ("no_approver", True)
    path = f"/porfs/{draft.json()['id']}/submit"
    problem = await refused(requester.post(path, etag="*"), 409, "no_approver")
    assert problem["detail"] == warning["detail"]
    await ok(_remove(requester, draft, user_id=ivo.user_id))
    assert (await ok(requester.post(path, etag="*"))).json()["status"] == "pending"


async def test_without_a_rule_that_applies(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await new_organisation(app, client)
    requester, ivo = organisation.requester, await organisation.member(Role.APPROVER, name="Ivo")
    draft = await organisation.draft()
    await ok(_add(requester, draft, ivo, placement="after"))
    assert _steps(await _preview(organisation, draft)) == [("default", ""), ("added", "Ivo")]
    pending = await act(requester, await again(requester, draft), "submit")
    approved = await act(organisation.approver, pending, "approve")
    assert approved.json()["status"] == "pending"
    assert (await act(ivo, approved, "approve")).json()["status"] == "approved"
    # Where nobody would decide, they do.
    large = rule(1, user(organisation.approver), conditions={"total_gte": "1000000.00"})
    await publish_policy(organisation.admin, large, no_rule="auto_approve")
    draft = await organisation.draft()
    await ok(_add(requester, draft, ivo))
    preview = await _preview(organisation, draft)
    assert (_steps(preview), preview["warnings"]) == ([("added", "Ivo")], [])
    pending = await act(requester, await again(requester, draft), "submit")
    assert (await act(ivo, pending, "approve")).json()["status"] == "approved"
