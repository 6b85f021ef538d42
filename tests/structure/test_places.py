"""Where members belong: team, manager and default cost centre."""

import asyncio
from typing import Any

import httpx
import pytest

from po_api.core.permissions import Role
from support.organisations import Member, TestOrganisation, created, ok, refused


async def _patch(who: Member, user_id: int, **fields: Any) -> httpx.Response:
    return await who.patch(f"/users/{user_id}", etag="*", json=fields)


async def _add(organisation: TestOrganisation, kind: str, **fields: Any) -> int:
    made = await created(organisation.admin.post(f"/{kind}", json={"name": "Design", **fields}))
    entry_id: int = made.json()["id"]
    return entry_id


async def test_admins_place_members_and_lists_find_them(organisation: TestOrganisation) -> None:
    admin, requester, buyer = organisation.admin, organisation.requester, organisation.buyer
    team = await _add(organisation, "teams")
    cost_centre = await _add(organisation, "cost-centres", code="3100")
    place = {"team_id": team, "manager_id": buyer.user_id, "default_cost_centre_id": cost_centre}
    changed = await ok(_patch(admin, requester.user_id, **place))
    assert changed.json().items() >= place.items()
    assert (await ok(requester.get("/users/me"))).json().items() >= place.items()

    async def found(**params: Any) -> list[int]:
        return [item["id"] for item in (await ok(requester.get("/users", params=params))).json()["items"]]

    assert await found(team_id=team) == await found(manager_id=buyer.user_id) == [requester.user_id]
    assert await found(manager_is_active="true") == [requester.user_id]
    await refused(_patch(requester, requester.user_id, team_id=None), 403, "missing_role")
    cleared = await ok(_patch(requester, requester.user_id, default_cost_centre_id=None))
    assert cleared.json()["default_cost_centre_id"] is None
    events = (await ok(admin.get(f"/users/{requester.user_id}/history"))).json()["items"]
    assert events[-2]["after"] == place


async def test_a_deactivated_manager_owner_and_lead_is_reported(organisation: TestOrganisation) -> None:
    admin, buyer = organisation.admin, organisation.buyer
    await _add(organisation, "teams", lead_id=buyer.user_id)
    await _add(organisation, "cost-centres", code="1", owner_id=buyer.user_id)
    await _add(organisation, "cost-centres", code="2", owner_id=buyer.user_id)
    await ok(_patch(admin, organisation.requester.user_id, manager_id=buyer.user_id))
    gone = await ok(admin.post(f"/users/{buyer.user_id}/deactivate", etag="*"))
    assert {notice["code"]: notice["detail"] for notice in gone.json()["warnings"]} == {
        "inactive_manager": "active members with this manager: 1",
        "inactive_owner": "active cost centres of this owner: 2",
        "inactive_lead": "active teams with this lead: 1",
    }
    listed = (await ok(admin.get("/users?manager_is_active=false"))).json()["items"]
    assert [item["id"] for item in listed] == [organisation.requester.user_id]
    assert (await ok(admin.post(f"/users/{buyer.user_id}/activate", etag="*"))).json()["warnings"] == []


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("team_id", "unknown_team"),
        ("manager_id", "unknown_manager"),
        ("default_cost_centre_id", "unknown_cost_centre"),
    ],
)
async def test_only_active_ones_of_the_organisation_are_taken(
    organisation: TestOrganisation, field: str, code: str
) -> None:
    admin, requester = organisation.admin, organisation.requester
    kind = {"team_id": "teams", "default_cost_centre_id": "cost-centres"}.get(field, "users")
    if kind == "users":
        inactive = organisation.auditor.user_id
    else:
        inactive = await _add(organisation, kind, **({"code": "1"} if kind == "cost-centres" else {}))
    await ok(admin.post(f"/{kind}/{inactive}/deactivate", etag="*"))
    for wrong in (inactive, 10**15):
        problem = await refused(_patch(admin, requester.user_id, **{field: wrong}), 422, code)
        assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]


async def test_managers_form_no_cycle(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    one, two, three = organisation.requester, organisation.buyer, organisation.approver
    await refused(_patch(admin, one.user_id, manager_id=one.user_id), 409, "manager_cycle")
    await ok(_patch(admin, one.user_id, manager_id=two.user_id))
    await ok(_patch(admin, two.user_id, manager_id=three.user_id))
    await refused(_patch(admin, three.user_id, manager_id=one.user_id), 409, "manager_cycle")
    # The present manager may be kept with another change, and exchanged.
    await ok(_patch(admin, one.user_id, manager_id=two.user_id, name="Other"))
    await ok(_patch(admin, one.user_id, manager_id=three.user_id))
    # Who approves follows from it: nobody gives themselves another manager or team.
    await refused(_patch(admin, admin.user_id, manager_id=one.user_id), 403, "own_rights")


async def _opposite_managers(organisation: TestOrganisation, turns: int) -> None:
    admin = organisation.admin
    one, two = [(await organisation.member(Role.REQUESTER)).user_id for _ in range(2)]
    for _ in range(turns):
        answers = await asyncio.gather(
            _patch(admin, one, manager_id=two),
            _patch(admin, two, manager_id=one),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        for user_id in (one, two):
            await ok(_patch(admin, user_id, manager_id=None))


async def test_of_two_opposite_managers_at_once_one_wins(organisation: TestOrganisation) -> None:
    await _opposite_managers(organisation, 3)


@pytest.mark.exhaustive
async def test_of_many_opposite_managers_one_of_two_wins(organisation: TestOrganisation) -> None:
    await _opposite_managers(organisation, 20)
