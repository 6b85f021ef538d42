"""The inbox: the steps that wait for a member, by role, group, name, delegation and escalation."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from support.approval_policies import group, publish_policy, rule, user
from support.one_server import plans_of_one_server
from support.organisations import LINE, Member, TestOrganisation, act, created, new_organisation, ok, refused
from support.polling import Deadline
from support.statements import plan_of, sent_to

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
    by_time = "state=waiting" not in query
    order = [(item["activated_at"] if by_time else None, item["step_id"]) for item in items]
    assert order == sorted(order)
    return items


async def _names(member: Member) -> Items:
    items = await _inbox(member)
    listed = (await ok(member.get("/porfs?waiting_for_me=true&limit=100"))).json()["items"]
    assert {item["porf"]["id"] for item in items} == {item["id"] for item in listed}
    return _shown(items)


async def _later(member: Member) -> Items:
    return _shown(await _inbox(member, "&state=waiting"))


def _shown(items: list[Json]) -> Items:
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


@pytest.mark.heavy
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
    assert await _later(people["Olga"]) == [(first, "Olga", None), (second, "Olga", None)]
    await ok(people["Olga"].post(f"/porfs/{first}/approve", etag="*"))
    await ok(people["Ivo"].post(f"/porfs/{first}/approve", etag="*"))
    assert await _names(people["Olga"]) == [default, (second, "Max", "Max"), (first, "Olga", None)]
    assert await _later(people["Olga"]) == [(second, "Olga", None)]
    await act(people["Ivo"], await ok(people["Ivo"].get(f"/porfs/{second}")), "reject", comment="No")
    assert await _names(people["Max"]) == [default]


async def test_what_comes_later_is_what_the_member_could_approve(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation, people = await _world(app, client)
    olga, max_ = people["Olga"], people["Max"]
    (default,) = _shown(await _inbox(olga))
    porf = (await organisation.pending()).json()["id"]
    added = {"user_id": people["Ivo"].user_id, "placement": "before"}
    await ok(organisation.admin.post(f"/porfs/{porf}/add-approver", etag="*", json=added))
    # What was active, and waits again; pools; those who are asked for others.
    assert (await _later(max_), await _names(max_)) == ([(porf, "Max", None)], [default])
    assert await _later(people["Ivo"]) == [(porf, "Board", None)]
    assert [item["activated_at"] is None for item in await _inbox(olga, "&state=waiting")] == [True]
    ends_at = (datetime.now(UTC) + timedelta(1)).isoformat()
    await created(max_.post("/approval-delegations", json={"delegate_id": olga.user_id, "ends_at": ends_at}))
    assert await _later(olga) == [(porf, "Max", "Max"), (porf, "Olga", None)]
    await ok(organisation.admin.patch(f"/users/{max_.user_id}", etag="*", json={"approval_limit": "1.00"}))
    assert (await _later(max_), await _later(olga)) == ([], [(porf, "Olga", None)])
    assert await _inbox(organisation.auditor, f"&state=waiting&waiting_for={olga.user_id}") == await _inbox(
        olga, "&state=waiting"
    )
    await refused(olga.get("/approvals?state=waiting&sort=activated_at"), 400, "invalid_sort")
    await refused(olga.get("/approvals?state=approved"), 422, "validation_failed")
    await ok(organisation.requester.post(f"/porfs/{porf}/recall", etag="*"))
    assert [await _later(each) for each in people.values()] == [[], [], []]


async def test_a_limit_permits_what_is_at_most_as_high(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await new_organisation(app, client)
    porfs = {
        price: (await organisation.pending(lines=[LINE | {"quantity": "1", "unit_price": price, "tax_rate": "0"}]))
        for price in ("0.99", "99.50", "99.51", "99999999999999.9999")
    }
    ids = [porf.json()["id"] for porf in porfs.values()]
    for limit, count in (("0.98", 0), ("0.99", 1), ("99.49", 1), ("99.50", 2), ("99.99", 3), (None, 4)):
        approver = await organisation.member(Role.APPROVER, approval_limit=limit)
        assert [porf for porf, *_ in await _names(approver)] == ids[:count], limit


# More steps of the role in one run than the list of requests looks at one by one.
_MANY = """
    INSERT INTO approval_steps (organisation_id, run_id, seq, stage, position, source, name, kind, pool_role,
        required_count, enforce_limit, comment_required, status, activated_at)
    SELECT organisation_id, id, 1, 1, 1 + n, 'default', 'one of many', 'pool', 'approver', 1, true, false, 'active',
        now()
    FROM approval_runs, generate_series(1, 1000) n WHERE organisation_id = $1 AND porf_id = $2
"""


async def test_the_list_of_what_waits_looks_at_requests_that_may_wait(
    app: FastAPI, client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    organisation = await new_organisation(app, client)
    line = LINE | {"quantity": "1", "tax_rate": "0"}
    low, _ = [
        (await organisation.pending(lines=[line | {"unit_price": price}])).json()["id"] for price in ("10.00", "99.00")
    ]
    approver = await organisation.member(Role.APPROVER, approval_limit="50.00")

    async def listed(query: str = "") -> tuple[list[int], list[list[int]]]:
        """The list, and the ids that its statement was given."""
        async with sent_to(organisation.database) as sent:
            items = (await ok(approver.get(f"/porfs?waiting_for_me=true{query}"))).json()["items"]
        given = [sorted(value) for each in sent for value in each.arguments if isinstance(value, list)]
        return [item["id"] for item in items], given

    assert await listed() == ([low], [[low]])
    # A search may add the ids that it has found: that depends on the database, and on how many rows have the word.
    found, given = await listed("&status=pending&sort=total&q=lamp")
    assert found == [low] in given
    await ok(organisation.admin.patch(f"/users/{approver.user_id}", etag="*", json={"approval_limit": "9.99"}))
    assert await listed() == ([], [[]])
    await ok(organisation.admin.patch(f"/users/{approver.user_id}", etag="*", json={"approval_limit": "50.00"}))
    # Where many may wait, the list is read in its own order.
    await owner.execute(_MANY, organisation.organisation_id, low)
    assert await listed() == ([low], [])
    await owner.execute(
        "DELETE FROM approval_steps WHERE organisation_id = $1 AND name = 'one of many'", organisation.organisation_id
    )


# Steps of a hundred other groups, and steps of the role that are above most limits.
_OTHERS = """
    WITH other_groups AS (
        INSERT INTO approval_groups (organisation_id, name, name_key)
        SELECT $1, 'other ' || n, 'other ' || n FROM generate_series(1, 100) n RETURNING id
    )
    INSERT INTO approval_steps (organisation_id, run_id, seq, stage, position, source, name, kind, pool_group_id,
        pool_role, required_count, enforce_limit, comment_required, status, activated_at, least_limit)
    SELECT r.organisation_id, r.id, 1, 1, 10 + n, 'default', 'other', 'pool', pool.id,
        CASE WHEN pool.id IS NULL THEN 'approver' END, 1, true, false, step.status, now(), 1000000
    FROM (SELECT organisation_id, id FROM approval_runs WHERE organisation_id = $1 LIMIT 1) r,
        (SELECT id FROM other_groups UNION ALL SELECT NULL FROM generate_series(1, 100)) pool,
        generate_series(1, 10) n, unnest(ARRAY['active', 'waiting']) step (status)
"""


@plans_of_one_server
async def test_the_first_page_is_one_query_that_finds_its_steps_by_indexes(
    app: FastAPI, client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    organisation, people = await _world(app, client)
    await organisation.pending()
    for state in ("active", "waiting"):
        async with sent_to(organisation.database) as sent:
            await ok(people["Ivo"].get(f"/approvals?limit=2&state={state}"))
        (inbox,) = (each for each in sent if "inbox_item" in each.sql)
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(_OTHERS, organisation.organisation_id)
        await owner.execute("ANALYZE approval_steps; SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {inbox.sql}", *inbox.arguments))
        await transaction.rollback()
        assert re.search(r"ix_approval_steps_open_roles on [^\n]*\n +Index Cond: [^\n]*least_limit <= ", plan), plan
        # Of few steps of a group, either index.
        of_groups = r"ix_approval_steps_(open_groups|organisation_id_pool_group_id)\b[^\n]*\n +Index Cond: [^\n]*= ANY"
        assert re.search(of_groups, plan), plan
        assert not re.search("Seq Scan on approval_(steps|slots)", plan), plan


@plans_of_one_server
async def test_the_place_of_a_member_is_found_by_its_step(app: FastAPI, client: httpx.AsyncClient) -> None:
    """Also before there are statistics: a member may have been asked in all requests."""
    organisation, people = await _world(app, client)
    porf = await organisation.pending()
    async with sent_to(organisation.database) as sent:
        for path in ("", "?waiting_for_me=true", f"/{porf.json()['id']}"):
            await ok(people["Max"].get(f"/porfs{path}"))
    plans = [await plan_of(organisation.database, each) for each in sent if "slot_status" in each.sql]
    assert len(plans) == 3
    for plan in plans:
        assert re.search(r"on approval_slots[^\n]*\n +Index Cond: [^\n]*step_id = ", plan), plan
        assert "ix_approval_slots_organisation_id_user_id" not in plan, plan
