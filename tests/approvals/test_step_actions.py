"""Who is asked for approval is changed while a request is pending: added approvers, reassigned steps, overriding."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from support.approval_policies import publish_policy, rule, user
from support.invariants import check
from support.organisations import Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.repetition import in_turns

Json = dict[str, Any]


@dataclass(frozen=True)
class World:
    """An organisation in which Max, then Olga decide on every request; Ivo is another approver."""

    organisation: TestOrganisation
    urls: tuple[str, str]
    people: dict[str, Member]

    async def decide(self, name: str, porf: httpx.Response, action: str = "approve", **body: Any) -> httpx.Response:
        return await self.people[name].post(f"/porfs/{porf.json()['id']}/{action}", etag="*", json=body)

    async def add(self, member: Member, porf: httpx.Response, name: str, **body: Any) -> httpx.Response:
        json = {"user_id": self.people[name].user_id} | body
        return await member.post(f"/porfs/{porf.json()['id']}/add-approver", etag=porf.headers["ETag"], json=json)

    async def run(self, porf: httpx.Response) -> Json:
        shown: Json = (await ok(self.organisation.admin.get(f"/porfs/{porf.json()['id']}/approval"))).json()
        return shown

    async def steps(self, porf: httpx.Response) -> list[tuple[str, str]]:
        """The people of each step, and its status."""
        return [
            ("+".join(f"{each['name']}" for each in step["people"] if each["status"] != "vacant"), step["status"])
            for step in (await self.run(porf))["steps"]
        ]

    async def check(self) -> None:
        await check(self.urls[0], self.organisation.organisation_id)


@pytest.fixture(scope="module")
async def world(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> World:
    organisation = await new_organisation(app, client, allow_override=True)
    people = {name: await organisation.member(Role.APPROVER, name=name) for name in ("Max", "Olga", "Ivo")}
    first, second = (rule(n, user(people[name]), name=name) for n, name in ((1, "Max"), (2, "Olga")))
    await publish_policy(organisation.admin, first, second)
    return World(organisation, urls, people)


async def test_approvers_are_added_and_removed(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    cases: list[tuple[Member, str, list[tuple[str, str]]]] = [
        (organisation.requester, "before", [("Ivo", "active"), ("Max", "waiting"), ("Olga", "waiting")]),
        (world.people["Max"], "parallel", [("Max", "active"), ("Ivo", "active"), ("Olga", "waiting")]),
        (organisation.buyer, "after", [("Max", "active"), ("Ivo", "waiting"), ("Olga", "waiting")]),
    ]
    for member, placement, expected in cases:
        await ok(world.add(member, porf, "Ivo", placement=placement))
        assert await world.steps(porf) == expected, placement
        (added,) = (step for step in (await world.run(porf))["steps"] if step["source"] == "added")
        assert added["added_by_id"] == member.user_id
        path = f"/porfs/{porf.json()['id']}/remove-approver"
        other = organisation.buyer if member is not organisation.buyer else organisation.requester
        await refused(other.post(path, etag="*", json={"step_id": added["id"]}), 409, "step_not_removable")
        await ok(member.post(path, etag="*", json={"step_id": added["id"]}))
        await refused(member.post(path, etag="*", json={"step_id": added["id"]}), 409, "step_not_removable")
        draft = await ok(organisation.requester.post(f"/porfs/{porf.json()['id']}/recall", etag="*"))
        porf = await act(organisation.requester, draft, "submit")
    rule_step = (await world.run(porf))["steps"][0]["id"]
    path = f"/porfs/{porf.json()['id']}/remove-approver"
    for step_id, code in ((rule_step, "step_not_removable"), (rule_step + 10_000, "run_closed")):
        await refused(organisation.admin.post(path, etag="*", json={"step_id": step_id}), 409, code)
    await world.check()


async def test_an_added_approver_decides(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    await ok(world.decide("Max", porf))
    await ok(world.add(organisation.admin, porf, "Ivo", placement="before"))
    assert await world.steps(porf) == [("Max", "approved"), ("Ivo", "active"), ("Olga", "waiting")]
    await refused(world.decide("Olga", porf), 409, "not_your_turn")
    await ok(world.decide("Ivo", porf))
    assert (await ok(world.decide("Olga", porf))).json()["status"] == "approved"
    # The last open step was added: without it, everybody has approved.
    porf = await organisation.pending()
    await ok(world.decide("Max", porf))
    await ok(world.add(organisation.requester, porf, "Ivo", placement="after"))
    assert (await ok(world.decide("Olga", porf))).json()["status"] == "pending"
    (added,) = (step["id"] for step in (await world.run(porf))["steps"] if step["source"] == "added")
    path = f"/porfs/{porf.json()['id']}/remove-approver"
    approved = await ok(organisation.requester.post(path, etag="*", json={"step_id": added}))
    assert (approved.json()["status"], approved.json()["decided_at"] is None) == ("approved", False)
    assert (await world.run(porf))["steps"][-1]["skip_reason"] == "removed"
    await world.check()


async def test_who_may_add_whom(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    await refused(world.add(world.people["Ivo"], porf, "Ivo"), 403, "not_eligible")
    await refused(world.add(world.people["Olga"], porf, "Ivo"), 409, "not_your_turn")
    await refused(world.add(organisation.auditor, porf, "Ivo"), 403, "not_requester")
    path = f"/porfs/{porf.json()['id']}/add-approver"
    both = await organisation.member(Role.APPROVER, Role.REQUESTER)
    own = await _submitted_by(both)
    for member, request in ((organisation.buyer, porf), (both, own)):
        body = {"user_id": member.user_id}
        answer = await refused(
            organisation.admin.post(f"/porfs/{request.json()['id']}/add-approver", etag="*", json=body),
            422,
            "unknown_approver",
        )
        assert answer["errors"][0]["pointer"] == "/user_id"
    before = await world.run(porf)
    dry = organisation.admin.post(
        path, etag="*", json={"user_id": world.people["Ivo"].user_id}, params={"dry_run": "true"}
    )
    assert (await ok(dry)).json()["version"] == porf.json()["version"] + 1
    assert await world.run(porf) == before


async def _submitted_by(member: Member) -> httpx.Response:
    body = {"title": "Lamps", "lines": [{"description": "Lamp", "quantity": "1", "unit_price": "1"}]}
    return await act(member, await created(member.post("/porfs", json=body)), "submit")


async def test_steps_are_reassigned(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    first, second = (step["id"] for step in (await world.run(porf))["steps"])
    path = f"/porfs/{porf.json()['id']}/reassign-step"
    ids = {name: member.user_id for name, member in world.people.items()}
    body = {"step_id": first, "replaced_id": ids["Max"], "user_id": ids["Ivo"]}
    refusals: list[tuple[Json, int, str]] = [
        ({"replaced_id": ids["Olga"]}, 409, "step_not_reassignable"),
        ({"user_id": ids["Max"]}, 422, "unknown_approver"),
        ({"user_id": organisation.buyer.user_id}, 422, "unknown_approver"),
        ({"user_id": 2**40}, 422, "unknown_approver"),
        ({"step_id": first + 10_000}, 409, "run_closed"),
    ]
    for fields, status, code in refusals:
        await refused(organisation.admin.post(path, etag="*", json=body | fields), status, code)
    await refused(organisation.buyer.post(path, etag="*", json=body), 403, "missing_role")
    await ok(organisation.admin.post(path, etag="*", json=body))
    assert await world.steps(porf) == [("Ivo", "active"), ("Olga", "waiting")]
    people = {each["name"]: (each["origin"], each["status"]) for each in (await world.run(porf))["steps"][0]["people"]}
    assert people == {"Max": ("named", "vacant"), "Ivo": ("vacancy", "open")}
    await refused(world.decide("Max", porf), 403, "not_eligible")
    await ok(world.decide("Ivo", porf))
    await refused(organisation.admin.post(path, etag="*", json=body), 409, "step_not_reassignable")
    waiting = {"step_id": second, "replaced_id": ids["Olga"], "user_id": ids["Max"]}
    await ok(organisation.admin.post(path, etag="*", json=waiting))
    assert (await ok(world.decide("Max", porf))).json()["status"] == "approved"
    await world.check()


async def test_an_admin_overrides(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    path = f"/porfs/{porf.json()['id']}/override"
    reason = {"comment": "Max is ill, the delivery is urgent"}
    await refused(organisation.admin.post(path, etag="*"), 422, "comment_required")
    await refused(organisation.buyer.post(path, etag="*", json=reason), 403, "missing_role")
    await ok(world.decide("Max", porf))
    approved = await ok(organisation.admin.post(path, etag=porf.headers["ETag"], json=reason))
    assert (approved.json()["status"], approved.json()["decided_at"] is None) == ("approved", False)
    run = await world.run(porf)
    assert run["status"] == "approved"
    shown = [(step["source"], step["status"], step["skip_reason"]) for step in run["steps"]]
    assert shown == [
        ("rule", "approved", None),
        ("rule", "skipped", "override"),
        ("override", "approved", None),
    ]
    (decision,) = run["steps"][2]["decisions"]
    assert (decision["source"], decision["approver_id"], decision["comment"]) == (
        "override",
        organisation.admin.user_id,
        reason["comment"],
    )
    events = (await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}/history"))).json()["items"]
    assert (events[-1]["action"], events[-1]["after"]["skipped"]) == ("porf.override", ["Olga"])
    order = {"supplier_id": organisation.supplier_id}
    assert (
        await organisation.buyer.post(f"/porfs/{porf.json()['id']}/purchase-orders", etag="*", json=order)
    ).is_success
    # Never one's own.
    boss = await organisation.member(Role.ADMIN)
    own = await _submitted_by(boss)
    await refused(boss.post(f"/porfs/{own.json()['id']}/override", etag="*", json=reason), 403, "own_request")
    # By default, it is not allowed.
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"allow_override": False}))
    answer = await refused(
        organisation.admin.post(f"/porfs/{own.json()['id']}/override", etag="*", json=reason), 403, "override_disabled"
    )
    assert answer["title"]
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"allow_override": True}))
    await world.check()


@pytest.mark.heavy
async def test_a_request_has_so_many_added_approvers(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    for _ in range(50):
        await ok(world.add(organisation.requester, porf, "Ivo", placement="after"))
    added = next(step["id"] for step in (await world.run(porf))["steps"] if step["source"] == "added")
    path = f"/porfs/{porf.json()['id']}/remove-approver"
    await ok(organisation.requester.post(path, etag="*", json={"step_id": added}))
    await refused(world.add(organisation.admin, porf, "Ivo"), 409, "too_many_added_approvers")


@pytest.mark.parametrize("keeps_it", [True, False])
async def test_what_an_author_has_decided_for_another_is_not_carried(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str], keeps_it: bool
) -> None:
    organisation = await new_organisation(app, client)
    max_, ivo = [await organisation.member(Role.APPROVER, name=name) for name in ("Max", "Ivo")]
    dora = await organisation.member(Role.APPROVER, Role.REQUESTER, name="Dora")
    await publish_policy(organisation.admin, rule(1, user(max_)), rule(2, user(max_), name="Again"))
    ends_at = (utc_now() + timedelta(days=1)).isoformat()
    await created(max_.post("/approval-delegations", json={"delegate_id": dora.user_id, "ends_at": ends_at}))
    porf = await organisation.pending()
    path = f"/porfs/{porf.json()['id']}"
    body = {"user_id": ivo.user_id, "placement": "after"}
    await ok(organisation.requester.post(f"{path}/add-approver", etag="*", json=body))
    await ok(dora.post(f"{path}/approve", etag="*"))
    # While authors may decide, Dora becomes one after her decision for Max; then she is the requester, or not any more.
    settings = "/organisations/current"
    await ok(organisation.admin.patch(settings, etag="*", json={"allow_self_approval": True}))
    for requester in (dora,) if keeps_it else (dora, organisation.requester):
        await ok(organisation.admin.post(f"{path}/reassign", etag="*", json={"requester_id": requester.user_id}))
    await ok(organisation.admin.patch(settings, etag="*", json={"allow_self_approval": False}))
    (added,) = (
        step["id"]
        for step in (await ok(organisation.admin.get(f"{path}/approval"))).json()["steps"]
        if step["source"] == "added"
    )
    removed = await ok(organisation.admin.post(f"{path}/remove-approver", etag="*", json={"step_id": added}))
    assert removed.json()["status"] == "pending"
    assert (await ok(max_.post(f"{path}/approve", etag="*"))).json()["status"] == "approved"
    await check(urls[0], organisation.organisation_id)


async def test_nothing_changes_an_approval_that_is_over(world: World) -> None:
    organisation = world.organisation
    porf = await organisation.pending()
    await ok(world.decide("Max", porf))
    await ok(world.decide("Olga", porf))
    refusals = [(action, await _on_last_step(world, porf, action)) for action in _ON_STEPS]
    assert [(action, answer.json()["code"]) for action, answer in refusals] == [
        (action, "run_closed") for action in _ON_STEPS
    ]
    shown = (await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}"))).json()["allowed_actions"]
    assert [shown[action.replace("-", "_")]["reason"] for action in _ON_STEPS] == ["run_closed"] * len(_ON_STEPS)


_ON_STEPS = ("add-approver", "remove-approver", "reassign-step", "override")


async def _on_last_step(world: World, porf: httpx.Response, action: str) -> httpx.Response:
    """An admin's attempt to change who is asked in the last step, which asks Olga."""
    step_id = (await world.run(porf))["steps"][-1]["id"]
    ids = {name: member.user_id for name, member in world.people.items()}
    body: Json = {
        "add-approver": {"user_id": ids["Ivo"], "placement": "after"},
        "remove-approver": {"step_id": step_id},
        "reassign-step": {"step_id": step_id, "replaced_id": ids["Olga"], "user_id": ids["Ivo"]},
        "override": {"comment": "Urgent"},
    }[action]
    return await world.organisation.admin.post(f"/porfs/{porf.json()['id']}/{action}", etag="*", json=body)


# What has become of the request where the action was first, and of the approval after it.
_FIRST = {
    "add-approver": ("pending", None),
    "remove-approver": ("approved", "invalid_transition"),
    "reassign-step": ("pending", "not_eligible"),
    "override": ("approved", "invalid_transition"),
}


@pytest.mark.parametrize("action", _ON_STEPS)
@in_turns
async def test_who_is_asked_changes_before_the_last_approval_or_not_at_all(
    world: World, turn: int, action: str
) -> None:
    porf = await world.organisation.pending()
    await ok(world.decide("Max", porf))
    last = "Olga"
    if action == "remove-approver":
        last = "Ivo"
        await ok(world.add(world.organisation.admin, porf, last, placement="after"))
        await ok(world.decide("Olga", porf))
    both = [world.decide(last, porf), _on_last_step(world, porf, action)]
    approved, changed = await asyncio.gather(*(both if turn % 2 else reversed(both)))
    approved, changed = (approved, changed) if turn % 2 else (changed, approved)
    now = (await ok(world.organisation.requester.get(f"/porfs/{porf.json()['id']}"))).json()["status"]
    if changed.is_success:
        assert (now, approved.json().get("code")) == _FIRST[action]
    else:
        assert (now, approved.status_code, changed.json()["code"]) == ("approved", 200, "run_closed")
    await world.check()
