"""Delegations through the API: who may add, see and revoke them, and for which time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.approval_delegations.domain import MOST_DELEGATIONS
from po_api.core.permissions import Role
from support.organisations import Member, TestOrganisation, created, new_organisation, ok, refused
from support.pages import all_items

PATH = "/approval-delegations"
NOW = datetime.now(UTC).replace(microsecond=0)


def _in(days: float) -> str:
    return (NOW + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def to(delegate: Member, **fields: Any) -> dict[str, Any]:
    return {"delegate_id": delegate.user_id, "ends_at": _in(14)} | fields


@pytest.fixture
async def company(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    return await new_organisation(app, client)


async def test_an_approver_delegates_and_revokes(company: TestOrganisation) -> None:
    dora = await company.member(Role.APPROVER, name="Dora")
    added = await created(company.approver.post(PATH, json=to(dora, starts_at=_in(1), reason="holiday")))
    shown = added.json()
    assert shown | to(dora, starts_at=_in(1), reason="holiday", delegate_name="Dora") == shown
    assert (shown["delegator_id"], shown["revoked_at"]) == (company.approver.user_id, None)
    path = f"{PATH}/{shown['id']}"
    assert added.headers["Location"].endswith(path)
    for reader in (company.approver, dora, company.admin, company.auditor):
        assert (await ok(reader.get(path))).json() == shown
        assert [item["id"] for item in await all_items(reader, PATH)] == [shown["id"]]
    await refused(company.requester.get(path), 404, "delegation_not_found")
    assert await all_items(company.requester, PATH) == []
    await refused(dora.post(f"{path}/revoke"), 403, "missing_role")
    await ok(company.approver.post(f"{path}/revoke?dry_run=true"))
    assert (await ok(company.approver.post(f"{path}/revoke"))).json()["revoked_at"] is not None
    await refused(company.admin.post(f"{path}/revoke"), 409, "delegation_ended")
    events = await all_items(company.admin, "/audit-events", entity="approval_delegation", sort="created_at")
    assert [(event["action"], event["actor_id"]) for event in events] == [
        ("approval_delegation.add", company.approver.user_id),
        ("approval_delegation.revoke", company.approver.user_id),
    ]


async def test_a_delegation_to_somebody_who_may_not_decide_has_a_warning(company: TestOrganisation) -> None:
    """It has no effect until they may, as the holder of a right that is granted while the delegator is away."""
    member, admin = await company.member(Role.REQUESTER), company.admin
    path = f"{PATH}/{(await created(company.approver.post(PATH, json=to(member)))).json()['id']}"

    async def warning() -> str | None:
        (listed,) = await all_items(company.approver, PATH)
        shown = (await ok(company.approver.get(path))).json()
        assert listed == shown
        found: str | None = shown["warning"]
        return found

    assert await warning() == "delegate_may_not_decide"
    await ok(admin.patch(f"/users/{member.user_id}", etag="*", json={"roles": [Role.APPROVER]}))
    assert await warning() is None
    await ok(admin.post(f"/users/{member.user_id}/deactivate", etag="*"))
    assert await warning() == "delegate_may_not_decide"
    await ok(company.approver.post(f"{path}/revoke"))
    assert await warning() is None


async def test_admins_delegate_for_approvers_and_nobody_else_does(company: TestOrganisation) -> None:
    for_approver = to(company.buyer, delegator_id=company.approver.user_id)
    shown = (await created(company.admin.post(PATH, json=for_approver))).json()
    assert (shown["delegator_id"], shown["created_by_id"]) == (company.approver.user_id, company.admin.user_id)
    other = await company.member(Role.APPROVER)
    for member in (other, company.buyer, company.requester, company.auditor):
        await refused(member.post(PATH, json=for_approver), 403, "missing_role")
    # Nor do admins give themselves the rights and the limit of others.
    boss = await company.member(Role.ADMIN, Role.APPROVER)
    await refused(boss.post(PATH, json=to(boss, delegator_id=company.approver.user_id)), 403, "own_rights")
    # An admin who does not approve has nothing to delegate.
    await refused(company.admin.post(PATH, json=to(company.buyer)), 422, "unknown_delegator")


async def test_what_a_delegation_may_not_be(company: TestOrganisation, app: FastAPI, client: httpx.AsyncClient) -> None:
    foreign = await new_organisation(app, client)
    former = await company.member(Role.APPROVER)
    await ok(company.admin.post(f"/users/{former.user_id}/deactivate", etag="*"))
    for body, code, pointer in (
        (to(company.approver), "unknown_delegate", "/delegate_id"),
        (to(company.auditor), "unknown_delegate", "/delegate_id"),
        (to(former), "unknown_delegate", "/delegate_id"),
        (to(foreign.approver), "unknown_delegate", "/delegate_id"),
        (to(company.buyer, ends_at=_in(-1), starts_at=_in(-2)), "invalid_delegation_period", "/ends_at"),
        (to(company.buyer, starts_at=_in(14)), "invalid_delegation_period", "/ends_at"),
        (to(company.buyer, starts_at=_in(0), ends_at=_in(366.1)), "invalid_delegation_period", "/ends_at"),
        (to(company.buyer, ends_at="2026-07-01T00:00:00"), "validation_failed", "/ends_at"),
    ):
        problem = await refused(company.approver.post(PATH, json=body), 422, code)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    unknown = to(company.buyer, delegator_id=former.user_id)
    await refused(company.admin.post(PATH, json=unknown), 422, "unknown_delegator")
    assert await all_items(company.admin, PATH) == []
    await created(company.approver.post(PATH, json=to(company.buyer, starts_at=_in(0), ends_at=_in(366))))
    # As late as times go.
    last = to(company.buyer, starts_at="9999-12-30T00:00:00Z", ends_at="9999-12-31T23:00:00Z")
    await created(company.approver.post(PATH, json=last))


async def test_delegations_are_found_by_people_and_time(company: TestOrganisation) -> None:
    dora = await company.member(Role.APPROVER)
    for start, end, delegate in ((0, 2, dora), (2, 4, dora), (2, 5, company.buyer)):
        await created(company.approver.post(PATH, json=to(delegate, starts_at=_in(start), ends_at=_in(end))))
    revoked = await created(company.approver.post(PATH, json=to(company.requester, ends_at=_in(9))))
    await ok(company.approver.post(f"{PATH}/{revoked.json()['id']}/revoke"))

    async def ends(**query: Any) -> list[str]:
        items = await all_items(company.admin, PATH, limit=1, sort="starts_at", **query)
        return [item["ends_at"] for item in items]

    # Half-open: the end of one is the start of the next.
    assert await ends(active_at=_in(2), delegate_id=dora.user_id) == [_in(4)]
    assert sorted(await ends(active_at=_in(3))) == [_in(4), _in(5)]
    assert await ends(active_at=_in(5)) == []
    assert await ends(delegate_id=company.buyer.user_id, delegator_id=company.approver.user_id) == [_in(5)]
    assert len(await ends(starts_at_lt=_in(2), starts_at_gte=_in(0))) == 2


async def test_the_number_of_delegations_is_bounded_also_at_once(company: TestOrganisation) -> None:
    body = to(company.buyer)
    for _ in range(MOST_DELEGATIONS - 1):
        await created(company.approver.post(PATH, json=body))
    answers = await asyncio.gather(*(company.approver.post(PATH, json=body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    open_ones = await all_items(company.approver, PATH)
    await ok(company.approver.post(f"{PATH}/{open_ones[0]['id']}/revoke"))
    await created(company.approver.post(PATH, json=body))
