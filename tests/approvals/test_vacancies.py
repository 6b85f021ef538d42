"""Members leave, or may not decide any more, while requests wait for them: others take their places."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approvals.events import PeopleLost
from po_api.approvals.vacancies import organisations_with_vacancies
from po_api.core.permissions import Role
from po_api.db.listeners import ChangeWarning, Listeners
from po_api.db.query import connected
from po_api.porfs.approval_vacancies import fill_in
from support.approval_policies import group, publish_policy, rule, user
from support.invariants import check
from support.notifications import notifications_of, unread_kinds
from support.organisations import Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.repetition import in_turns

Json = dict[str, Any]


@dataclass(frozen=True)
class World:
    """An organisation in which Max is the requester's manager, Olga that of Max, and Ivo and Ina are a board."""

    organisation: TestOrganisation
    urls: tuple[str, str]
    people: dict[str, Member]
    board: int

    def __getitem__(self, name: str) -> Member:
        return self.people[name]

    async def demote(self, *names: str) -> None:
        for name in names:
            body = {"roles": ["requester"]}
            await ok(self.organisation.admin.patch(f"/users/{self[name].user_id}", etag="*", json=body))

    async def work(self, *, workers: int = 1, listeners: Listeners | None = None) -> int:
        """How many requests so many workers change."""
        organisation = self.organisation
        told = listeners or organisation.app.state.listeners
        work = (fill_in(organisation.database, told, organisation.organisation_id) for _ in range(workers))
        return sum(await asyncio.gather(*work))

    async def decide(self, name: str, porf: httpx.Response, **body: Any) -> httpx.Response:
        return await self[name].post(f"/porfs/{porf.json()['id']}/approve", etag=porf.headers["ETag"], json=body)

    async def status(self, porf: httpx.Response) -> str:
        return str((await ok(self.organisation.admin.get(f"/porfs/{porf.json()['id']}"))).json()["status"])

    async def steps(self, porf: httpx.Response) -> list[Json]:
        run = (await ok(self.organisation.admin.get(f"/porfs/{porf.json()['id']}/approval"))).json()
        return list(run["steps"])

    async def shown(self, porf: httpx.Response) -> list[tuple[str, str, int, str | None]]:
        """Of each step: its status, its people who count, how many have to approve, and the warning."""
        return [
            (
                step["status"],
                "+".join(each["name"] for each in step["people"] if each["status"] not in ("vacant", "closed")),
                step["required_count"],
                step["warning"],
            )
            for step in await self.steps(porf)
        ]

    async def events(self, porf: httpx.Response) -> list[Json]:
        history = (await ok(self.organisation.admin.get(f"/porfs/{porf.json()['id']}/history"))).json()["items"]
        return [event for event in history if event["action"] == "porf.vacate"]

    async def check(self) -> None:
        await check(self.urls[0], self.organisation.organisation_id)


@pytest.fixture
async def world(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> World:
    organisation = await new_organisation(app, client)
    admin, names = organisation.admin, ("Ada", "Bob", "Max", "Olga", "Ivo", "Ina")
    people = {name: await organisation.member(Role.APPROVER, name=name) for name in names}
    for member, manager in ((organisation.requester, "Max"), (people["Max"], "Olga")):
        body = {"manager_id": people[manager].user_id}
        await ok(admin.patch(f"/users/{member.user_id}", etag="*", json=body))
    board = {"name": "Board", "member_ids": [people[name].user_id for name in ("Ivo", "Ina")]}
    board_id = (await created(admin.post("/approval-groups", json=board))).json()["id"]
    return World(organisation, urls, people, board_id)


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["deactivated", "demoted", "has left"])
async def test_the_requesters_manager_takes_the_place_of_who_may_not_decide_any_more(world: World, way: str) -> None:
    organisation, ada = world.organisation, world["Ada"]
    await publish_policy(organisation.admin, rule(1, user(ada), on_empty="requester_manager"), rule(2, user(ada)))
    porf = await organisation.pending()
    match way:
        case "deactivated":
            await ok(organisation.admin.post(f"/users/{ada.user_id}/deactivate", etag="*"))
        case "demoted":
            await world.demote("Ada")
        case "has left":
            await ok(ada.post("/users/me/leave", etag="*"))
    # The change of the member is the member's alone.
    unchanged = (await ok(organisation.admin.get(f"/porfs/{porf.json()['id']}"))).json()
    assert unchanged["version"] == porf.json()["version"]
    async with connected(organisation.database.engine) as executor:
        assert organisation.organisation_id in await organisations_with_vacancies(executor)
    assert await world.work(workers=2) == 1
    assert await world.work() == 0
    first, second = await world.steps(porf)
    assert [(each["name"], each["origin"], each["status"]) for each in first["people"]] == [
        ("Ada", "named", "vacant"),
        ("Max", "vacancy", "open"),
    ]
    # The second rule says that its step waits.
    assert (first["warning"], second["warning"], second["status"]) == (None, "no_approver_left", "waiting")
    (event,) = await world.events(porf)
    after = {"user_ids": [ada.user_id], "asked_ids": [world["Max"].user_id], "short": ["R2"]}
    assert event["actor_kind"] == "system"
    assert event["after"].items() >= after.items()
    assert await unread_kinds(world["Max"]) == ["approval_needed"]
    assert "no_approver_left" in await unread_kinds(organisation.admin)
    # The content is the one that was submitted: the version of then is accepted.
    await ok(world.decide("Max", porf))
    path, body = f"/porfs/{porf.json()['id']}/reassign-step", {"step_id": second["id"], "replaced_id": ada.user_id}
    await ok(organisation.admin.post(path, etag="*", json=body | {"user_id": world["Bob"].user_id}))
    assert (await world.steps(porf))[1]["warning"] is None
    assert (await ok(world.decide("Bob", porf))).json()["status"] == "approved"
    await world.check()


@pytest.mark.heavy
async def test_others_take_the_place_only_where_too_few_are_left(world: World) -> None:
    """In each case, Ada and then Bob are asked; what is shown is that after Ada, and after both may not decide."""
    organisation, both = world.organisation, (user(world["Ada"]), user(world["Bob"]))
    short = "no_approver_left"
    cases: list[tuple[Json, list[tuple[str, str, int, str | None]]]] = [
        (
            {"required_count": 1, "on_empty": "requester_manager"},
            [("active", "Bob", 1, None), ("active", "Max", 1, None)],
        ),
        ({"on_empty": "requester_manager"}, [("active", "Bob+Max", 2, None), ("active", "Max", 1, None)]),
        (
            {"required_count": 2, "on_empty": "requester_manager"},
            [("active", "Bob+Max", 2, None), ("active", "Max+Olga", 2, None)],
        ),
        (
            {"required_count": 2, "on_empty": "group", "on_empty_group_id": world.board},
            [("active", "Bob+Ivo+Ina", 2, None), ("active", "Ivo+Ina", 2, None)],
        ),
        (
            {"required_count": 1, "on_empty": "group", "on_empty_group_id": world.board},
            [("active", "Bob", 1, None), ("active", "", 1, None)],
        ),
        ({"on_empty": "skip"}, [("active", "Bob", 1, None), ("skipped", "", 1, None)]),
        ({"on_empty": "block"}, [("active", "Bob", 2, short), ("active", "", 2, short)]),
    ]
    waiting: list[tuple[httpx.Response, list[tuple[str, str, int, str | None]]]] = []
    for fields, expected in cases:
        await publish_policy(organisation.admin, rule(1, *both, **fields), rule(2, user(world["Olga"])))
        waiting.append((await organisation.pending(), expected))
    for turn, name in enumerate(("Ada", "Bob")):
        await world.demote(name)
        assert await world.work() == len(cases)
        shown = [(await world.shown(porf))[0] for porf, _ in waiting]
        assert shown == [expected[turn] for _, expected in waiting]
    by_board, skipped = waiting[4][0], waiting[5][0]
    pool = (await world.steps(by_board))[0]
    assert (pool["kind"], pool["pool_group_name"], pool["enforce_limit"]) == ("pool", "Board", False)
    await ok(world.decide("Ina", by_board))
    # Without a step that is needed, the next stage begins.
    assert [step[0] for step in await world.shown(skipped)] == ["skipped", "active"]
    assert (await ok(world.decide("Olga", skipped))).json()["status"] == "approved"
    await world.check()


@pytest.mark.heavy
async def test_skipped_steps_approve_nothing(world: World) -> None:
    """What somebody has approved is approved without those who left; otherwise any approver has to decide."""
    organisation, ada, bob = world.organisation, world["Ada"], world["Bob"]
    await publish_policy(organisation.admin, rule(1, user(ada), user(bob), on_empty="skip"))
    decided, undecided, with_added = [await organisation.pending() for _ in range(3)]
    await ok(world.decide("Bob", decided))
    path = f"/porfs/{with_added.json()['id']}"
    await ok(organisation.requester.post(f"{path}/add-approver", etag="*", json={"user_id": world["Ivo"].user_id}))
    await world.demote("Ada", "Bob")
    assert await world.work() == 3
    assert [await world.status(porf) for porf in (decided, undecided, with_added)] == ["approved", "pending", "pending"]
    assert "decided" in await unread_kinds(organisation.requester)
    skipped, default = await world.steps(undecided)
    assert (skipped["status"], skipped["skip_reason"]) == ("skipped", "on_empty")
    assert (default["source"], default["status"], default["pool_role"]) == ("default", "active", "approver")
    assert "approval_needed" in await unread_kinds(world["Ina"])
    assert (await ok(world.decide("Ina", undecided))).json()["status"] == "approved"
    # Who has added the only approver left removes them.
    (added,) = (step["id"] for step in await world.steps(with_added) if step["source"] == "added")
    removed = await ok(organisation.requester.post(f"{path}/remove-approver", etag="*", json={"step_id": added}))
    assert removed.json()["status"] == "pending"
    assert (await ok(world.decide("Ina", with_added))).json()["status"] == "approved"
    await world.check()


@pytest.mark.heavy
async def test_places_of_steps_that_no_rule_asks_for_stay_vacant(world: World) -> None:
    organisation = world.organisation
    await publish_policy(organisation.admin, rule(1, group(world.board), required_count=1, on_empty="skip"))
    porf = await organisation.pending()
    path = f"/porfs/{porf.json()['id']}/add-approver"
    await ok(organisation.requester.post(path, etag="*", json={"user_id": world["Ada"].user_id, "placement": "after"}))
    # A pool shrinks.
    await world.demote("Ada", "Ivo")
    assert await world.work() == 1
    assert await world.shown(porf) == [("active", "", 1, None), ("waiting", "", 1, "no_approver_left")]
    (told,) = (item for item in await notifications_of(organisation.admin) if item["kind"] == "no_approver_left")
    assert (told["entity_id"], told["actor_id"]) == (porf.json()["id"], None)
    await world.check()


@pytest.mark.heavy
async def test_nobody_fills_two_places_of_a_step(world: World) -> None:
    """Max has decided for Bob: when Ada leaves, not he but his manager is asked. Bob's decision stands, without Bob."""
    organisation, bob = world.organisation, world["Bob"]
    both = {"required_count": 2, "on_empty": "requester_manager"}
    await publish_policy(organisation.admin, rule(1, user(world["Ada"]), user(bob), **both))
    porf = await organisation.pending()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"delegate_id": world["Max"].user_id, "ends_at": tomorrow}
    await created(bob.post("/approval-delegations", json=body))
    await ok(world.decide("Max", porf))
    await world.demote("Ada", "Bob")
    assert await world.work() == 1
    assert await world.shown(porf) == [("active", "Bob+Olga", 2, None)]
    assert (await ok(world.decide("Olga", porf))).json()["status"] == "approved"
    await world.check()


async def test_a_member_who_is_back_in_time_keeps_the_place(world: World) -> None:
    organisation, ada = world.organisation, world["Ada"]
    await publish_policy(organisation.admin, rule(1, user(ada), on_empty="requester_manager"))
    porf = await organisation.pending()
    await world.demote("Ada")
    await ok(organisation.admin.patch(f"/users/{ada.user_id}", etag="*", json={"roles": ["approver"]}))
    assert (await world.work(), await world.events(porf)) == (0, [])
    assert (await ok(world.decide("Ada", porf))).json()["status"] == "approved"


async def test_a_member_who_is_back_later_is_asked_once_more_by_an_admin(world: World) -> None:
    organisation, ada = world.organisation, world["Ada"]
    await publish_policy(organisation.admin, rule(1, user(ada)))
    porf = await organisation.pending()
    await world.demote("Ada")
    assert await world.work() == 1
    (step,) = await world.steps(porf)
    path = f"/porfs/{porf.json()['id']}/reassign-step"
    body = {"step_id": step["id"], "replaced_id": ada.user_id, "user_id": ada.user_id}
    await refused(organisation.admin.post(path, etag="*", json=body), 422, "unknown_approver")
    await ok(organisation.admin.patch(f"/users/{ada.user_id}", etag="*", json={"roles": ["approver"]}))
    await refused(world.decide("Ada", porf), 403, "not_eligible")
    await ok(organisation.admin.post(path, etag="*", json=body))
    assert await world.shown(porf) == [("active", "Ada", 1, None)]
    assert (await ok(world.decide("Ada", porf))).json()["status"] == "approved"
    await world.check()


async def test_work_that_fails_is_done_later_and_keeps_no_other_request_waiting(world: World) -> None:
    organisation = world.organisation
    await publish_policy(organisation.admin, rule(1, user(world["Ada"]), on_empty="requester_manager"))
    broken, other = await organisation.pending(), await organisation.pending()
    await world.demote("Ada")
    listeners = Listeners()

    async def fail(session: AsyncSession, event: PeopleLost) -> list[ChangeWarning]:
        if event.porf_id == broken.json()["id"]:
            raise RuntimeError("killed")
        return []

    listeners.add(PeopleLost, fail)
    with pytest.raises(ExceptionGroup):
        await world.work(listeners=listeners)
    assert [len(await world.events(porf)) for porf in (broken, other)] == [0, 1]
    assert await world.shown(broken) == [("active", "Ada", 1, None)]
    assert await world.work() == 1
    assert await world.shown(broken) == [("active", "Max", 1, None)]
    await world.check()


@in_turns
async def test_a_decision_comes_before_the_vacancy_or_after_it(world: World, turn: int) -> None:
    organisation = world.organisation
    both = rule(1, user(world["Ada"]), user(world["Bob"]), required_count=2, on_empty="requester_manager")
    await publish_policy(organisation.admin, both)
    porf = await organisation.pending()
    await world.demote("Ada")
    both_at_once = [world.work(), world.decide("Bob", porf), world.work()]
    await asyncio.gather(*(both_at_once if turn % 2 else reversed(both_at_once)))
    assert await world.shown(porf) == [("active", "Bob+Max", 2, None)]
    assert (await ok(world.decide("Max", porf))).json()["status"] == "approved"
    await world.check()


@in_turns
async def test_a_submission_at_the_same_time_asks_nobody_who_has_left(world: World, turn: int) -> None:
    """What it has read before the change is committed is corrected afterwards."""
    organisation = world.organisation
    await publish_policy(organisation.admin, rule(1, user(world["Ada"]), on_empty="requester_manager"))
    draft = await organisation.draft()
    both = [act(organisation.requester, draft, "submit"), world.demote("Ada")]
    await asyncio.gather(*(both if turn % 2 else reversed(both)))
    await world.work(workers=2)
    assert await world.shown(draft) == [("active", "Max", 1, None)]
    assert (await ok(world["Max"].post(f"/porfs/{draft.json()['id']}/approve", etag="*"))).json()[
        "status"
    ] == "approved"
    await world.check()


@pytest.mark.heavy
async def test_admins_are_told_if_not_even_any_approver_is_left(world: World) -> None:
    organisation, ada = world.organisation, world["Ada"]
    await publish_policy(organisation.admin, rule(1, user(ada), on_empty="skip"))
    porf = await organisation.pending()
    await ok(
        organisation.admin.patch(f"/users/{organisation.approver.user_id}", etag="*", json={"roles": ["requester"]})
    )
    await world.demote(*world.people)
    await ok(organisation.admin.post("/notifications/read-all", json={"before": "2999-01-01T00:00:00Z"}))
    assert await world.work() == 1
    assert await world.shown(porf) == [("skipped", "", 1, None), ("active", "", 1, None)]
    assert await unread_kinds(organisation.admin) == ["no_approver_left"]
    await world.check()
