"""The inbox: the steps that wait for a member, by role, group, name, delegation and escalation."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.approval_policies import group, publish_policy, rule, user
from support.organisations import Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.polling import Deadline

Json = dict[str, Any]
# Of each item the request, the step, and for whom.
Items = list[tuple[int, str, str | None]]


async def _inbox(member: Member, query: str = "") -> list[Json]:
    """All items, page by page of two; they are those of the list of requests."""
    items: list[Json] = []
    path: str | None = f"/approvals?limit=2{query}"
    deadline = Deadline("the last page")
    while path is not None:
        deadline.check()
        page = (await ok(member.get(path))).json()
        items += page["items"]
        cursor = page["next_cursor"]
        path = None if cursor is None else f"/approvals?limit=2{query}&cursor={cursor}"
    assert [item["activated_at"] for item in items] == sorted(item["activated_at"] for item in items)
    return items


async def _names(member: Member) -> Items:
    items = await _inbox(member)
    listed = (await ok(member.get("/porfs?waiting_for_me=true&limit=100"))).json()["items"]
    assert {item["porf"]["id"] for item in items} == {item["id"] for item in listed}
    return [(item["porf"]["id"], item["step_name"], item["on_behalf_of_name"]) for item in items]


async def _world(app: FastAPI, client: httpx.AsyncClient) -> tuple[TestOrganisation, dict[str, Member]]:
    """Before the policy there is a request of any approver; with it, Max and the board decide at once, then Olga."""
    organisation = await new_organisation(app, client)
    people = {name: await organisation.member(Role.APPROVER, name=name) for name in ("Max", "Olga", "Ivo")}
    body = {"name": "Board", "member_ids": [people["Ivo"].user_id]}
    board = (await created(organisation.admin.post("/approval-groups", json=body))).json()["id"]
    await organisation.pending()
    await publish_policy(
        organisation.admin,
        rule(1, user(people["Max"]), name="Max", enforce_limit=True),
        rule(1, group(board), name="Board", position=2, required_count=1),
        rule(2, user(people["Olga"]), name="Olga"),
    )
    return organisation, people


async def test_the_inbox_has_what_the_member_may_approve(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation, people = await _world(app, client)
    admin = organisation.admin
    (any_approver,) = (item["id"] for item in (await ok(admin.get("/porfs"))).json()["items"])
    first, second = [(await organisation.pending()).json()["id"] for _ in range(2)]
    default = (any_approver, "any approver", None)
    of_max: Items = [default, (first, "Max", None), (second, "Max", None)]
    of_ivo: Items = [default, (first, "Board", None), (second, "Board", None)]
    expected: dict[str, Items] = {"Max": of_max, "Ivo": of_ivo, "Olga": [default]}
    for name, items in expected.items():
        assert await _names(people[name]) == items, name
    for other in (organisation.requester, organisation.buyer, admin, organisation.auditor):
        assert await _names(other) == []
    (item, *_) = await _inbox(people["Max"])
    shown = (await ok(admin.get(f"/porfs/{any_approver}"))).json()
    same = ("id", "number", "title", "requester_id", "requester_name", "currency", "total", "base_total", "version")
    assert {name: item["porf"][name] for name in same} == {name: shown[name] for name in same}
    # For another: admins and auditors only.
    query = f"&waiting_for={people['Max'].user_id}"
    assert await _inbox(admin, query) == await _inbox(people["Max"]) == await _inbox(people["Max"], query)
    await refused(organisation.buyer.get(f"/approvals?waiting_for={people['Max'].user_id}"), 403, "missing_role")
    # A limit, a delegation, a decision.
    await ok(admin.patch(f"/users/{people['Max'].user_id}", etag="*", json={"approval_limit": "1.00"}))
    assert await _names(people["Max"]) == []
    await ok(admin.patch(f"/users/{people['Max'].user_id}", etag="*", json={"approval_limit": None}))
    ends_at = (datetime.now(UTC) + timedelta(1)).isoformat()
    body = {"delegate_id": people["Olga"].user_id, "ends_at": ends_at}
    await created(people["Max"].post("/approval-delegations", json=body))
    assert await _names(people["Olga"]) == [default, (first, "Max", "Max"), (second, "Max", "Max")]
    await ok(people["Olga"].post(f"/porfs/{first}/approve", etag="*"))
    await ok(people["Ivo"].post(f"/porfs/{first}/approve", etag="*"))
    assert await _names(people["Olga"]) == [default, (second, "Max", "Max"), (first, "Olga", None)]
    await act(people["Ivo"], await ok(people["Ivo"].get(f"/porfs/{second}")), "reject", comment="No")
    assert await _names(people["Max"]) == [default]
