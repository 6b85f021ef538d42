"""Steps that are not decided in time: reminders and escalations by the worker."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approvals.events import ReminderDue, StepEscalated
from po_api.core.permissions import Role
from po_api.db.listeners import ChangeWarning, Listeners
from po_api.db.query import connected
from po_api.listeners import all_listeners
from po_api.porfs.approval_timers import organisations_with_due_timers, run_in
from support.approval_policies import group, publish_policy, rule, user
from support.clock import set_clock
from support.invariants import check
from support.notifications import unread_kinds
from support.organisations import Member, TestOrganisation, created, new_organisation, ok, refused
from support.polling import Deadline

Json = dict[str, Any]


@dataclass(frozen=True)
class World:
    """An organisation in which Max, whose manager is Olga, decides first, then the board, which is Ivo."""

    organisation: TestOrganisation
    people: dict[str, Member]
    happened: list[ReminderDue | StepEscalated]
    listeners: Listeners
    board: int

    async def work(self, *, workers: int = 1) -> list[ReminderDue | StepEscalated]:
        """What so many workers do at once until nothing is due."""
        before = len(self.happened)
        await asyncio.gather(*(self._work() for _ in range(workers)))
        return self.happened[before:]

    async def _work(self) -> None:
        deadline = Deadline("no due timer")
        while await run_in(self.organisation.database, self.listeners, self.organisation.organisation_id):
            deadline.check()

    async def timers(self, porf: httpx.Response) -> list[Json]:
        run = (await ok(self.organisation.admin.get(f"/porfs/{porf.json()['id']}/approval"))).json()
        return [timer for step in run["steps"] for timer in step["timers"]]


@pytest.fixture
async def world(app: FastAPI, client: httpx.AsyncClient) -> World:
    organisation = await new_organisation(app, client)
    admin = organisation.admin
    people = {name: await organisation.member(Role.APPROVER, name=name) for name in ("Max", "Olga", "Ivo")}
    await ok(admin.patch(f"/users/{people['Max'].user_id}", etag="*", json={"manager_id": people["Olga"].user_id}))
    body = {"name": "Board", "member_ids": [people["Ivo"].user_id]}
    board = (await created(admin.post("/approval-groups", json=body))).json()["id"]
    late = {"remind_after_hours": 48, "escalate_after_hours": 96}
    await publish_policy(
        admin,
        rule(1, user(people["Max"]), **late, escalate_to="manager"),
        rule(2, group(board), required_count=1, escalate_after_hours=1, escalate_to="group", escalation_group_id=board),
    )
    happened: list[ReminderDue | StepEscalated] = []

    async def note(session: AsyncSession, event: ReminderDue | StepEscalated) -> list[ChangeWarning]:
        happened.append(event)
        return []

    listeners = all_listeners()
    listeners.add(ReminderDue, note)
    listeners.add(StepEscalated, note)
    return World(organisation, people, happened, listeners, board)


@pytest.mark.heavy
async def test_one_reminder_whatever_the_number_of_workers(
    world: World, urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, "2026-05-04T08:00:00+00:00")
    porf = await world.organisation.pending()
    assert [(timer["kind"], timer["due_at"]) for timer in await world.timers(porf)] == [
        ("remind", "2026-05-06T08:00:00Z"),
        ("escalate", "2026-05-08T08:00:00Z"),
    ]
    set_clock(monkeypatch, "2026-05-06T07:59:00+00:00")
    assert await world.work() == []
    set_clock(monkeypatch, "2026-05-06T08:00:00+00:00")
    async with connected(world.organisation.database.engine) as executor:
        assert world.organisation.organisation_id in await organisations_with_due_timers(executor)
    (reminder,) = await world.work(workers=2)
    assert isinstance(reminder, ReminderDue)
    assert (reminder.porf_id, reminder.n) == (porf.json()["id"], 1)
    assert await unread_kinds(world.people["Max"]) == ["approval_reminder", "approval_needed"]
    set_clock(monkeypatch, "2026-05-06T08:01:00+00:00")
    assert await world.work() == []
    # A worker that was down for longer: one reminder, and the next 48 hours after it.
    set_clock(monkeypatch, "2026-05-07T12:00:00+00:00")
    path = f"/porfs/{porf.json()['id']}/approve"
    await ok(world.people["Max"].post(path, etag="*"))
    assert [timer["kind"] for timer in await world.timers(porf)] == ["escalate"]
    await ok(world.people["Ivo"].post(path, etag="*"))
    set_clock(monkeypatch, "2026-05-08T08:00:00+00:00")
    assert (await world.work(), await world.timers(porf)) == ([], [])
    await check(urls[0], world.organisation.organisation_id)


async def test_at_most_five_reminders_each_after_the_last_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, "2026-05-04T08:00:00+00:00")
    await world.organisation.pending()
    moments = ("05-12T00", "05-13T23", "05-14T00", "05-16T00", "05-18T00", "05-20T00", "05-30T00")
    counts = []
    for moment in moments:
        set_clock(monkeypatch, f"2026-{moment}:00:00+00:00")
        counts.append([event.n for event in await world.work() if isinstance(event, ReminderDue)])
    assert counts == [[1], [], [2], [3], [4], [5], []]


@pytest.mark.heavy
async def test_an_escalation_asks_the_manager_too(
    world: World, urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, "2026-05-04T08:00:00+00:00")
    porf, other = await world.organisation.pending(), await world.organisation.pending()
    path = f"/porfs/{porf.json()['id']}/approve"
    await refused(world.people["Olga"].post(path, etag="*"), 403, "not_eligible")
    set_clock(monkeypatch, "2026-05-08T08:00:00+00:00")
    escalated = [event for event in await world.work(workers=2) if isinstance(event, StepEscalated)]
    assert sorted(event.porf_id for event in escalated) == sorted([porf.json()["id"], other.json()["id"]])
    assert {tuple(event.user_ids) for event in escalated} == {(world.people["Olga"].user_id,)}
    events = (await ok(world.organisation.admin.get(f"/porfs/{porf.json()['id']}/history"))).json()["items"]
    assert [event["actor_kind"] for event in events if event["action"] == "porf.escalate"] == ["system"]
    # Both may decide, one of them does.
    shown = (await ok(world.organisation.admin.get(f"/porfs/{porf.json()['id']}/approval"))).json()
    assert [each["origin"] for each in shown["steps"][0]["people"]] == ["named", "escalated"]
    await ok(world.people["Olga"].post(path, etag=porf.headers["ETag"]))
    await refused(world.people["Max"].post(path, etag="*"), 409, "already_decided")
    await ok(world.people["Max"].post(f"/porfs/{other.json()['id']}/approve", etag="*"))
    set_clock(monkeypatch, "2026-05-30T08:00:00+00:00")
    # Who is asked already is not asked once more.
    assert [event for event in await world.work() if isinstance(event, StepEscalated)] == []
    await check(urls[0], world.organisation.organisation_id)


@pytest.mark.heavy
async def test_a_pool_escalates_to_the_managers_of_its_members(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the active members, as far as they are approvers and not in the pool themselves."""
    organisation, admin = world.organisation, world.organisation.admin
    board = [world.people["Ivo"], *[await organisation.member(Role.APPROVER) for _ in range(3)]]
    managers = [world.people["Max"], board[0], organisation.buyer, await organisation.member(Role.APPROVER)]
    for member, manager in zip(board, managers, strict=True):
        await ok(admin.patch(f"/users/{member.user_id}", etag="*", json={"manager_id": manager.user_id}))
    place = f"/approval-groups/{world.board}"
    await ok(admin.patch(place, etag="*", json={"member_ids": [member.user_id for member in board]}))
    await ok(admin.post(f"/users/{board[3].user_id}/deactivate", etag="*"))
    late = {"required_count": 1, "escalate_after_hours": 24, "escalate_to": "manager"}
    await publish_policy(admin, rule(1, group(world.board), **late), rule(1, "role_approver", **late))
    set_clock(monkeypatch, "2026-05-04T08:00:00+00:00")
    porf = await organisation.pending()
    set_clock(monkeypatch, "2026-05-05T08:00:00+00:00")
    # All approvers are asked by the second step already.
    (escalated,) = await world.work(workers=2)
    assert isinstance(escalated, StepEscalated)
    assert escalated.user_ids == [world.people["Max"].user_id]
    path = f"/porfs/{porf.json()['id']}/approve"
    assert (await ok(world.people["Max"].post(path, etag="*"))).json()["status"] == "approved"
