"""Approvals by the steps of a policy, through the API: stages, votes, carried decisions, refusals, races."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.database import libpq_url
from support.approval_policies import group, path_of, publish_policy, rule
from support.invariants import check
from support.organisations import Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.repetition import in_turns

Json = dict[str, Any]


@dataclass(frozen=True)
class World:
    """An organisation (base EUR) with the policy P1: R1 the requester's manager; R2 from 1,000.00 the owner of the cost
    centre; R3 one of the IT board for IT from 500.00, in the same stage; R4 from 10,000.00 two of the group Finance."""

    organisation: TestOrganisation
    urls: tuple[str, str]
    people: dict[str, Member]
    policy: Json
    centre_id: int
    own_centre_id: int
    it_id: int

    async def draft(self, *amounts: str, it: Sequence[str] = (), **fields: Any) -> httpx.Response:
        """A draft of the requester with a line for each amount, and for each of IT; without tax."""
        lines = [
            *({"description": "Chair", "quantity": "1", "unit_price": amount} for amount in amounts),
            *({"description": "PC", "quantity": "1", "unit_price": each, "category_id": self.it_id} for each in it),
        ]
        body = {"title": "Office", "lines": lines, "cost_centre_id": self.centre_id} | fields
        return await created(self.organisation.requester.post("/porfs", json=body))

    async def submitted(self, *amounts: str, it: Sequence[str] = (), **fields: Any) -> httpx.Response:
        draft = await self.draft(*amounts, it=it, **fields)
        return await act(self.organisation.requester, draft, "submit")

    async def decide(self, name: str, porf: httpx.Response, action: str = "approve", **body: Any) -> httpx.Response:
        """The response to a decision, on the version that the response `porf` shows."""
        path = f"/porfs/{porf.json()['id']}/{action}"
        return await self.people[name].post(path, etag=porf.headers["ETag"], json=body)

    async def approval(self, porf: httpx.Response) -> Json:
        shown: Json = (await ok(self.organisation.admin.get(f"/porfs/{porf.json()['id']}/approval"))).json()
        return shown

    async def steps(self, porf: httpx.Response) -> dict[str, str]:
        """The status of each step of the last run, by its name."""
        return {step["name"]: step["status"] for step in (await self.approval(porf))["steps"]}

    async def decisions(self, porf: httpx.Response) -> list[tuple[str, str, str]]:
        """Step, name of the approver and source of each decision of the last run."""
        run = await self.approval(porf)
        return [
            (step["name"], given["approver_name"], given["source"])
            for step in run["steps"]
            for given in step["decisions"]
        ]


NAMES = ("Max", "Olga", "Ivo", "Ina", "Fay", "Fred", "Finn")


async def _new_world(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str], **policy: Any) -> World:
    organisation = await new_organisation(app, client, currency="EUR")
    admin, requester = organisation.admin, organisation.requester
    people = {name: await organisation.member(Role.APPROVER, name=name) for name in NAMES}
    await ok(admin.patch(f"/users/{requester.user_id}", etag="*", json={"manager_id": people["Max"].user_id}))
    await ok(admin.patch(f"/users/{requester.user_id}", etag="*", json={"roles": ["requester", "approver"]}))

    async def centre(code: str, owner: Member) -> int:
        body = {"code": code, "name": code, "owner_id": owner.user_id}
        return int((await created(admin.post("/cost-centres", json=body))).json()["id"])

    async def board(name: str, *members: str) -> int:
        body = {"name": name, "member_ids": [people[member].user_id for member in members]}
        return int((await created(admin.post("/approval-groups", json=body))).json()["id"])

    it = await created(admin.post("/categories", json={"code": "IT", "name": "IT"}))
    board_id, finance_id = await board("IT board", "Ivo", "Ina"), await board("Finance", "Fay", "Fred", "Finn")
    of_it = {"category_ids": [it.json()["id"]], "amount_basis": "matching_lines", "total_gte": "500.00"}
    published = await publish_policy(
        admin,
        rule(1, "requester_manager", name="R1"),
        rule(2, "cost_centre_owner", name="R2", conditions={"total_gte": "1000.00"}),
        rule(2, group(board_id), name="R3", position=2, required_count=1, conditions=of_it),
        rule(3, group(finance_id), name="R4", required_count=2, conditions={"total_gte": "10000.00"}),
        **policy,
    )
    return World(
        organisation, urls, people, published, await centre("CC-10", people["Olga"]), await centre("CC-20", requester),
        it.json()["id"],
    )  # fmt: skip


@pytest.fixture(scope="module")
async def world(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> World:
    return await _new_world(app, client, urls)


async def test_bands_and_matching_lines(world: World) -> None:
    today = utc_now().date()
    rate = {"currency": "USD", "rate_date": str(today - timedelta(days=1)), "rate": "0.9215"}
    await created(world.organisation.admin.post("/exchange-rates", json=rate))
    expected: list[tuple[tuple[str, ...], tuple[str, ...], Json, list[str]]] = [
        (("999.99",), (), {}, ["R1"]),
        (("1000.00",), (), {}, ["R1", "R2"]),
        (("10000.00",), (), {}, ["R1", "R2", "R4"]),
        (("10852.00",), (), {"currency": "USD"}, ["R1", "R2", "R4"]),
        (("10851.00",), (), {"currency": "USD"}, ["R1", "R2"]),
        (("400.00",), ("450.00",), {}, ["R1"]),
        (("400.00",), ("300.00", "200.00"), {}, ["R1", "R3"]),
    ]
    for amounts, it, fields, steps in expected:
        porf = await world.submitted(*amounts, it=it, **fields)
        assert await world.steps(porf) == {name: "active" if name == "R1" else "waiting" for name in steps}, amounts


async def test_stages_and_votes(world: World) -> None:
    porf = await world.submitted("11400.00", it=["600.00"])
    waiting = {name: await _waiting(member) for name, member in world.people.items()}
    assert [name for name, ids in waiting.items() if porf.json()["id"] in ids] == ["Max"]
    await refused(world.decide("Ivo", porf), 409, "not_your_turn")
    await refused(world.decide("Finn", porf, "reject", comment="No"), 409, "not_your_turn")
    pending = await ok(world.decide("Max", porf))
    assert (pending.json()["status"], pending.json()["decided_at"]) == ("pending", None)
    assert await world.steps(porf) == {"R1": "approved", "R2": "active", "R3": "active", "R4": "waiting"}
    await refused(world.decide("Max", pending), 409, "already_decided")
    # Parallel approvers name the version that they have seen, from the submission on.
    for name in ("Olga", "Ina"):
        await ok(world.decide(name, porf))
    await refused(world.decide("Ivo", porf), 409, "already_decided")
    assert (await ok(world.decide("Fay", porf))).json()["status"] == "pending"
    await refused(world.decide("Fay", porf), 409, "already_decided")
    approved = await ok(world.decide("Fred", porf))
    assert (approved.json()["status"], approved.json()["version"]) == ("approved", porf.json()["version"] + 5)
    assert approved.json()["decided_at"] is not None
    await refused(world.decide("Finn", porf), 409, "invalid_transition")
    assert await world.decisions(porf) == [
        ("R1", "Max", "given"),
        ("R2", "Olga", "given"),
        ("R3", "Ina", "given"),
        ("R4", "Fay", "given"),
        ("R4", "Fred", "given"),
    ]
    events = (await ok(world.organisation.admin.get(f"/porfs/{porf.json()['id']}/history"))).json()["items"]
    named = [event["after"]["steps"] for event in events if event["action"] == "porf.approve"]
    assert named == [["R1"], ["R2"], ["R3"], ["R4"], ["R4"]]
    body = {"supplier_id": world.organisation.supplier_id}
    await created(world.organisation.buyer.post(f"/porfs/{porf.json()['id']}/purchase-orders", etag="*", json=body))
    await check(world.urls[0], world.organisation.organisation_id)


async def _waiting(member: Member) -> list[int]:
    """The requests that wait for the member, which are those that they may approve."""
    listed = (await ok(member.get("/porfs?waiting_for_me=true&limit=100"))).json()["items"]
    assert all("approve" in item["allowed_actions"] for item in listed)
    everything = (await ok(member.get("/porfs?limit=100"))).json()["items"]
    assert [item["id"] for item in listed] == [
        item["id"] for item in everything if "approve" in item["allowed_actions"]
    ]
    return [item["id"] for item in listed]


async def test_refusals(world: World) -> None:
    organisation = world.organisation
    porf = await world.submitted("1500.00")
    run = await world.approval(porf)
    first, second = (step["id"] for step in run["steps"])
    assert (run["policy_id"], run["status"], run["submitted_version"]) == (
        world.policy["id"],
        "open",
        porf.json()["version"],
    )
    assert porf.json()["approvers"]["count"] == 1
    await refused(world.decide("Finn", porf), 403, "not_eligible")
    await refused(organisation.approver.post(f"/porfs/{porf.json()['id']}/approve", etag="*"), 403, "not_eligible")
    await refused(organisation.requester.post(f"/porfs/{porf.json()['id']}/approve", etag="*"), 403, "own_request")
    await refused(world.decide("Max", porf, step_id=second), 403, "not_eligible")
    await refused(world.decide("Max", porf, step_id=second + 1000), 409, "run_closed")
    draft = await act(organisation.requester, porf, "recall")
    again = await act(organisation.requester, draft, "submit")
    await refused(world.decide("Max", again, step_id=first), 409, "run_closed")
    await refused(world.decide("Max", porf), 412, "stale_version")
    runs = (await ok(organisation.requester.get(f"/porfs/{porf.json()['id']}/approval-runs"))).json()["items"]
    assert [(run["run_no"], run["status"]) for run in runs] == [(2, "open"), (1, "recalled")]
    rejected = await ok(world.decide("Max", again, "reject", comment="No budget"))
    assert (rejected.json()["status"], await world.steps(porf)) == ("rejected", {"R1": "rejected", "R2": "cancelled"})
    never = await world.draft("1.00")
    await refused(organisation.requester.get(f"/porfs/{never.json()['id']}/approval"), 404, "approval_not_found")
    # The rows of an approval stay what they were.
    of_porf = f"WHERE organisation_id = {organisation.organisation_id} AND porf_id = {porf.json()['id']}"
    await _refused_to_application(world, f"UPDATE approval_runs SET base_total = 1 {of_porf}", "permission denied")
    await _refused_to_application(world, f"DELETE FROM approval_decisions {of_porf}", "permission denied")
    own = (
        "INSERT INTO approval_decisions (organisation_id, porf_id, round, approver_id, principal_id, requester_id,"
        " decision, content_hash, decided_at, run_id, step_id, source, self_allowed) SELECT organisation_id, porf_id,"
        f" round, {organisation.requester.user_id}, principal_id, requester_id, 'approved', content_hash, now(),"
        f" run_id, step_id, source, self_allowed FROM approval_decisions {of_porf} RETURNING id"
    )
    await _refused_to_application(world, own, "ck_approval_decisions_requester_id")


async def _refused_to_application(world: World, statement: str, reason: str) -> None:
    connection = await asyncpg.connect(libpq_url(world.urls[1]))
    try:
        async with connection.transaction():
            await connection.execute("SELECT enter_tenant($1)", str(world.organisation.organisation_id))
            with pytest.raises(asyncpg.PostgresError, match=reason):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_neighbours_collapse(world: World) -> None:
    admin, requester = world.organisation.admin, world.organisation.requester
    olga, manager = world.people["Olga"].user_id, world.people["Max"].user_id
    await ok(admin.patch(f"/users/{requester.user_id}", etag="*", json={"manager_id": olga}))
    porf = await world.submitted("1500.00")
    approved = await ok(world.decide("Olga", porf))
    await ok(admin.patch(f"/users/{requester.user_id}", etag="*", json={"manager_id": manager}))
    assert (approved.json()["status"], approved.json()["version"]) == ("approved", porf.json()["version"] + 1)
    assert await world.decisions(porf) == [("R1", "Olga", "given"), ("R2", "Olga", "carried")]
    given, carried = (step["decisions"][0] for step in (await world.approval(porf))["steps"])
    assert carried["carried_from_id"] == given["id"]
    assert [step["people"][0]["status"] for step in (await world.approval(porf))["steps"]] == ["approved", "carried"]


async def test_an_own_cost_centre_blocks(world: World) -> None:
    porf = await world.draft("1500.00", cost_centre_id=world.own_centre_id)
    answer = await refused(
        world.organisation.requester.post(f"/porfs/{porf.json()['id']}/submit", etag="*"), 409, "no_approver"
    )
    assert "R2" in answer["detail"]


async def test_open_runs_keep_their_version_of_the_rules(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]
) -> None:
    world = await _new_world(app, client, urls)
    admin = world.organisation.admin
    before = await world.submitted("700.00")
    copy = await created(admin.post("/approval-policies", json={"from": world.policy["id"]}))
    path = f"/approval-policies/{copy.json()['id']}"
    rules = (await ok(admin.get(f"{path}/rules"))).json()["items"]
    (second,) = (item["id"] for item in rules if item["name"] == "R2")
    changed = {"conditions": {"total_gte": "500.00"}}
    await ok(admin.patch(f"{path}/rules/{second}", etag=copy.headers["ETag"], json=changed))
    await ok(admin.post(f"{path}/publish", etag="*"))
    assert (await ok(world.decide("Max", before))).json()["status"] == "approved"
    assert (await world.approval(before))["policy_version_no"] == 1
    after = await world.submitted("700.00")
    assert ((await world.approval(after))["policy_version_no"], len(await world.steps(after))) == (2, 2)
    # Who loses the role is asked no more.
    await ok(admin.patch(f"/users/{world.people['Max'].user_id}", etag="*", json={"roles": ["auditor"]}))
    await refused(world.decide("Max", after), 403, "missing_role")


@pytest.mark.heavy
async def test_approvals_stand_for_a_new_submission_within_the_tolerance(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]
) -> None:
    world = await _new_world(app, client, urls, reapproval_percent="5", reapproval_amount="100.00")
    porf = await world.submitted("2000.00")
    porf = await ok(world.decide("Max", porf))

    async def resubmitted(porf: httpx.Response, price: str, **header: Any) -> httpx.Response:
        draft = await ok(world.decide("Olga", porf, "return", comment="Dear"))
        path, line = f"/porfs/{porf.json()['id']}", porf.json()["lines"][0]["id"]
        requester = world.organisation.requester
        draft = await ok(
            requester.patch(f"{path}/lines/{line}", etag=draft.headers["ETag"], json={"unit_price": price})
        )
        if header:
            draft = await ok(requester.patch(path, etag=draft.headers["ETag"], json=header))
        return await ok(requester.post(f"{path}/submit", etag=draft.headers["ETag"]))

    for price in ("2080.00", "2100.00"):
        porf = await resubmitted(porf, price)
        assert await world.decisions(porf) == [("R1", "Max", "carried")], price
        assert await world.steps(porf) == {"R1": "approved", "R2": "active"}
    # Not of the last run, but of the one in which Max has decided.
    porf = await resubmitted(porf, "2100.01")
    assert await world.steps(porf) == {"R1": "active", "R2": "waiting"}
    porf = await ok(world.decide("Max", porf))
    # Nothing else may differ.
    porf = await resubmitted(porf, "2100.01", title="Home")
    assert await world.steps(porf) == {"R1": "active", "R2": "waiting"}
    porf = await ok(world.decide("Max", porf))
    porf = await ok(world.decide("Olga", porf))
    assert porf.json()["status"] == "approved"
    await check(world.urls[0], world.organisation.organisation_id)


@in_turns
async def test_races(world: World, turn: int) -> None:
    porf = await world.submitted("11400.00", it=["600.00"])
    await ok(world.decide("Max", porf))
    codes = await _at_once(world, porf, "Ivo", "Ina")
    assert codes == ["200", "already_decided"]
    await ok(world.decide("Olga", porf))
    codes = await _at_once(world, porf, "Fay", "Fred", "Finn")
    assert codes == ["200", "200", "invalid_transition"]
    assert len(await world.decisions(porf)) == 5
    # An approval and a recall: one of them.
    other = await world.submitted("1.00")
    requester, path = world.organisation.requester, f"/porfs/{other.json()['id']}"
    both = [world.decide("Max", other), requester.post(f"{path}/recall", etag=other.headers["ETag"])]
    answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    # Two submissions.
    draft = await world.draft("1.00")
    path = f"/porfs/{draft.json()['id']}"
    answers = await asyncio.gather(*(requester.post(f"{path}/submit", etag="*") for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len((await ok(requester.get(f"{path}/approval-runs"))).json()["items"]) == 1
    await check(world.urls[0], world.organisation.organisation_id)


@in_turns
async def test_a_decision_at_the_end_of_a_delegation_or_of_a_policy(world: World, turn: int) -> None:
    admin, porf = world.organisation.admin, await world.submitted("2000.00")
    version = (await world.approval(porf))["policy_version_no"]
    copy = await created(admin.post("/approval-policies", json={"from": world.policy["id"]}))
    publish = admin.post(f"{path_of(copy)}/publish", etag=copy.headers["ETag"])
    both = [world.decide("Max", porf), publish]
    await asyncio.gather(*(ok(each) for each in (both if turn % 2 else reversed(both))))
    assert (await world.approval(porf))["policy_version_no"] == version
    body = {"delegate_id": world.people["Fred"].user_id, "ends_at": (utc_now() + timedelta(days=1)).isoformat()}
    delegation = (await created(world.people["Olga"].post("/approval-delegations", json=body))).json()
    revoke = world.people["Olga"].post(f"/approval-delegations/{delegation['id']}/revoke")
    both = [world.decide("Fred", porf), revoke]
    answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
    decided, revoked = answers if turn % 2 else reversed(answers)
    assert revoked.status_code == 200
    assert (decided.status_code, decided.json().get("code")) in ((200, None), (403, "not_eligible"))
    assert (await world.steps(porf))["R2"] == ("approved" if decided.is_success else "active")
    await check(world.urls[0], world.organisation.organisation_id)


async def _at_once(world: World, porf: httpx.Response, *names: str) -> list[str]:
    answers = await asyncio.gather(*(world.decide(name, porf) for name in names))
    return sorted("200" if answer.status_code == 200 else str(answer.json()["code"]) for answer in answers)


async def _run_statuses(organisation: TestOrganisation, porf: httpx.Response) -> list[tuple[int, str]]:
    runs = await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}/approval-runs"))
    return [(run["run_no"], run["status"]) for run in runs.json()["items"]]


async def test_what_the_version_before_leaves_gets_its_run(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    approver, requester = organisation.approver, organisation.requester
    # Recalled by it, so that its run is open.
    recalled = await organisation.pending()
    await owner.execute("UPDATE porfs SET status = 'draft' WHERE id = $1", recalled.json()["id"])
    # Submitted by it, without a run.
    porf = await organisation.pending()
    porf_id = porf.json()["id"]
    await owner.execute(
        "DELETE FROM approval_steps WHERE run_id IN (SELECT id FROM approval_runs WHERE porf_id = $1)", porf_id
    )
    await owner.execute("DELETE FROM approval_runs WHERE porf_id = $1", porf_id)
    assert [item["id"] for item in (await ok(approver.get("/porfs?waiting_for_me=true"))).json()["items"]] == [porf_id]
    assert (await ok(approver.get(f"/porfs/{porf_id}"))).json()["approvers"]["count"] == 1
    assert (await act(approver, porf, "approve")).json()["status"] == "approved"
    assert await _run_statuses(organisation, porf) == [(1, "approved")]
    await created(organisation.buyer.post(f"/porfs/{porf_id}/purchase-orders", etag="*", json={}))
    # Recalled and submitted again by it, so that the run of the first submission is open.
    porf = await organisation.pending()
    later = datetime.fromisoformat(porf.json()["submitted_at"]) + timedelta(seconds=1)
    await owner.execute(
        "UPDATE porfs SET submitted_at = $2, version = version + 2 WHERE id = $1", porf.json()["id"], later
    )
    await refused(approver.post(f"/porfs/{porf.json()['id']}/approve", etag=porf.headers["ETag"]), 412, "stale_version")
    shown = await ok(approver.get(f"/porfs/{porf.json()['id']}"))
    assert (await act(approver, shown, "approve")).json()["status"] == "approved"
    assert await _run_statuses(organisation, porf) == [(2, "approved"), (1, "recalled")]
    # Approved by it, and reopened.
    porf = await organisation.pending()
    await owner.execute(
        "INSERT INTO approval_decisions (organisation_id, porf_id, round, approver_id, decision, content_hash,"
        " hash_version, decided_at) SELECT organisation_id, porf_id, round, $2, 'approved', content_hash, hash_version,"
        " now() FROM approval_runs WHERE porf_id = $1",
        *(porf.json()["id"], approver.user_id),
    )
    await owner.execute("UPDATE porfs SET status = 'approved', decided_at = now() WHERE id = $1", porf.json()["id"])
    dry = {"dry_run": "true"}
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    await created(organisation.buyer.post(path, etag="*", json={}, params=dry))
    draft = await ok(organisation.buyer.post(f"/porfs/{porf.json()['id']}/reopen", etag="*", json={}))
    await act(requester, draft, "submit")
    assert await _run_statuses(organisation, porf) == [(2, "open"), (1, "recalled")]
