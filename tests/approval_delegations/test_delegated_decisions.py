"""Decisions of delegates at exact moments, before and after the end of a delegation."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.approval_policies import publish_policy, rule
from support.clock import set_clock
from support.organisations import Member, TestOrganisation, created, new_organisation, ok, refused

START, LAST, END = "2026-07-01T00:00:00+00:00", "2026-07-14T23:59:59+00:00", "2026-07-15T00:00:00+00:00"


async def _world(app: FastAPI, client: httpx.AsyncClient) -> tuple[TestOrganisation, Member, Member]:
    """The requester's manager Max decides, within his limit; Dora has a lower one."""
    organisation = await new_organisation(app, client)
    max_ = await organisation.member(Role.APPROVER, name="Max", approval_limit="5000.00")
    dora = await organisation.member(Role.APPROVER, name="Dora", approval_limit="1000.00")
    manager = {"manager_id": max_.user_id}
    await ok(organisation.admin.patch(f"/users/{organisation.requester.user_id}", etag="*", json=manager))
    await publish_policy(organisation.admin, rule(1, "requester_manager", enforce_limit=True))
    return organisation, max_, dora


async def _pending(organisation: TestOrganisation, amount: str) -> str:
    line = {"description": "Server", "quantity": "1", "unit_price": amount, "tax_rate": "0"}
    return f"/porfs/{(await organisation.pending(lines=[line])).json()['id']}"


async def _delegate(delegator: Member, delegate: Member) -> None:
    body = {"delegate_id": delegate.user_id, "starts_at": START, "ends_at": END}
    await created(delegator.post("/approval-delegations", json=body))


async def test_a_delegate_decides_with_the_limit_and_in_the_time_of_the_delegator(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, "2026-06-30T23:59:59+00:00")
    organisation, max_, dora = await _world(app, client)
    await _delegate(max_, dora)
    within, again, above = [await _pending(organisation, amount) for amount in ("5000.00", "5000.00", "5000.01")]

    async def approve(porf: str) -> httpx.Response:
        return await dora.post(f"{porf}/approve", etag="*")

    async def inbox() -> list[tuple[str, str]]:
        items = (await ok(dora.get("/approvals"))).json()["items"]
        return [(f"/porfs/{item['porf']['id']}", item["on_behalf_of_name"]) for item in items]

    await refused(approve(within), 403, "not_eligible")
    assert await inbox() == []
    set_clock(monkeypatch, START)
    assert await inbox() == [(within, "Max"), (again, "Max")]
    set_clock(monkeypatch, LAST)
    assert await inbox() == [(within, "Max"), (again, "Max")]
    await refused(approve(above), 403, "over_approval_limit")
    assert (await ok(approve(within))).json()["status"] == "approved"
    run: dict[str, Any] = (await ok(dora.get(f"{within}/approval"))).json()
    (decision,) = run["steps"][0]["decisions"]
    shown = {name: decision[name] for name in ("approver_id", "on_behalf_of_id", "source")}
    assert shown == {"approver_id": dora.user_id, "on_behalf_of_id": max_.user_id, "source": "given"}
    # The request has it, too; the limit that counted is shown to the one whose it is.
    for member, limit in ((max_, {"amount": "5000.00", "currency": "GBP"}), (dora, None)):
        (decision,) = (await ok(member.get(within))).json()["decisions"]
        assert (decision["approver_name"], decision["on_behalf_of_id"]) == ("Dora", max_.user_id)
        assert (decision["on_behalf_of_name"], decision["approver_limit"]) == ("Max", limit)
    set_clock(monkeypatch, END)
    await refused(approve(again), 403, "not_eligible")
    assert await inbox() == []


async def test_a_requester_does_not_decide_their_own_request_for_another(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, START)
    organisation, max_, _ = await _world(app, client)
    both = {"roles": [Role.REQUESTER, Role.APPROVER]}
    await ok(organisation.admin.patch(f"/users/{organisation.requester.user_id}", etag="*", json=both))
    await _delegate(max_, organisation.requester)
    porf = await _pending(organisation, "10.00")
    await refused(organisation.requester.post(f"{porf}/approve", etag="*"), 403, "own_request")
