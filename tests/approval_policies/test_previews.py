"""Previews and simulations: who would have to approve, with the figures of whole requests."""

import asyncio
from random import Random
from typing import Any

import asyncpg
import httpx
import pytest

from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.database import libpq_url
from support.approval_policies import Json, draft_policy, group, publish_policy, rule, user
from support.organisations import Member, TestOrganisation, act, created, new_organisation, ok, refused


def _line(amount: str, **fields: Any) -> Json:
    return {"description": "Thing", "quantity": "1", "unit_price": amount, **fields}


async def _preview(organisation: TestOrganisation, porf_id: int) -> Json:
    shown: Json = (await ok(organisation.requester.get(f"/porfs/{porf_id}/approval-preview"))).json()
    return shown


def _asked(plan: Json) -> list[tuple[int, str, list[str]]]:
    """The stage, the rule, and the people or the pool of each step."""
    return [
        (
            step["stage"],
            step["name"],
            [person["name"] for person in step["people"]] or [step["pool_group_name"] or step["pool_role"]],
        )
        for step in plan["steps"]
    ]


async def _with_people(organisation: TestOrganisation) -> Json:
    """A manager and an owner of a cost centre, a category below another one, and a group."""
    admin = organisation.admin
    manager = await organisation.member(Role.APPROVER, name="Max Manager")
    owner = await organisation.member(Role.APPROVER, name="Olga Owner")
    await ok(admin.patch(f"/users/{organisation.requester.user_id}", etag="*", json={"manager_id": manager.user_id}))
    centre = await created(
        admin.post("/cost-centres", json={"code": "CC-10", "name": "Office", "owner_id": owner.user_id})
    )
    it = await created(admin.post("/categories", json={"code": "IT", "name": "IT"}))
    laptops = await created(
        admin.post("/categories", json={"code": "L", "name": "Laptops", "parent_id": it.json()["id"]})
    )
    board = await created(
        admin.post("/approval-groups", json={"name": "IT board", "member_ids": [manager.user_id, owner.user_id]})
    )
    return {
        "manager": manager,
        "owner": owner,
        "centre": centre.json()["id"],
        "it": it.json()["id"],
        "laptops": laptops.json()["id"],
        "board": board.json()["id"],
    }


@pytest.mark.heavy
async def test_a_preview_names_the_people_of_each_step(organisation: TestOrganisation) -> None:
    known = await _with_people(organisation)
    no_policy = await organisation.draft()
    assert _asked(await _preview(organisation, no_policy.json()["id"])) == [(1, "any approver", ["approver"])]
    policy = await publish_policy(
        organisation.admin,
        rule(1, "requester_manager"),
        rule(2, "cost_centre_owner", conditions={"total_gte": "1000.00"}),
        rule(
            3,
            group(known["board"]),
            required_count=1,
            conditions={"category_ids": [known["it"]], "total_gte": "500.00", "amount_basis": "matching_lines"},
        ),
        rule(4, user(known["owner"]), conditions={"supplier_is_new": True}),
    )
    lines = [
        _line("300.00", category_id=known["it"]),
        _line("200.00", category_id=known["laptops"]),
        _line("499.99", tax_rate="0"),
    ]
    draft = await organisation.draft(lines=lines, cost_centre_id=known["centre"])
    plan = await _preview(organisation, draft.json()["id"])
    assert (plan["policy_id"], plan["policy_version_no"], plan["warnings"]) == (policy["id"], 1, [])
    expected = [(1, "R1", ["Max Manager"]), (3, "R3", ["IT board"]), (4, "R4", ["Olga Owner"])]
    assert _asked(plan) == expected
    larger = await organisation.draft(lines=[*lines, _line("0.01")], cost_centre_id=known["centre"])
    plan = await _preview(organisation, larger.json()["id"])
    assert _asked(plan) == [expected[0], (2, "R2", ["Olga Owner"]), *expected[1:]]
    # With a policy, a draft that nobody could decide is shown with the reason.
    await ok(organisation.admin.patch(f"/cost-centres/{known['centre']}", etag="*", json={"owner_id": None}))
    plan = await _preview(organisation, larger.json()["id"])
    assert [warning["code"] for warning in plan["warnings"]] == ["no_approver"]
    assert '"R2"' in plan["warnings"][0]["detail"]
    # A supplier with an issued order is not new.
    await ok(organisation.admin.post(f"/approval-policies/{policy['id']}/retire", etag="*"))
    await organisation.issued()
    copy = await created(organisation.admin.post("/approval-policies", json={"from": policy["id"]}))
    path = f"/approval-policies/{copy.json()['id']}/simulate"
    simulated = await ok(organisation.admin.post(path, json={"porf_id": draft.json()["id"]}))
    assert _asked(simulated.json()) == [expected[0], (3, "R3", ["IT board"])]


async def _refuses_unknown_ids(admin: Member, path: str, body: Json, rival: TestOrganisation) -> None:
    """Ids of others and of nothing are refused as by the creation of a request, with the same pointers."""
    line = body["lines"][0]
    centre, category = [
        (await created(rival.admin.post(kind, json={"code": "X", "name": "X"}))).json()["id"]
        for kind in ("/cost-centres", "/categories")
    ]
    for number in (centre, 10**9):
        lines = [line, line | {"cost_centre_id": number}]
        for values, pointer in (
            ({"cost_centre_id": number}, "/cost_centre_id"),
            ({"lines": lines}, "/lines/1/cost_centre_id"),
        ):
            answer = await refused(admin.post(path, json=body | values), 422, "unknown_cost_centre")
            assert [error["pointer"] for error in answer["errors"]] == [pointer]
    for number in (category, 10**9):
        answer = await refused(
            admin.post(path, json=body | {"lines": [line | {"category_id": number}]}), 422, "unknown_category"
        )
        assert [error["pointer"] for error in answer["errors"]] == ["/lines/0/category_id"]
    for number in (rival.supplier_id, 10**9):
        answer = await refused(admin.post(path, json=body | {"supplier_id": number}), 422, "unknown_supplier")
        assert [error["pointer"] for error in answer["errors"]] == ["/supplier_id"]


async def test_a_simulation_of_a_request_that_does_not_exist(organisation: TestOrganisation) -> None:
    known = await _with_people(organisation)
    admin = organisation.admin
    policy = await draft_policy(
        admin,
        rule(1, "requester_manager", enforce_limit=True),
        rule(2, "cost_centre_owner", conditions={"cost_centre_ids": [known["centre"]]}),
        rule(3, user(known["owner"]), conditions={"currencies": ["USD"], "total_gte": "1000.00"}),
    )
    path = f"/approval-policies/{policy.json()['id']}/simulate"
    body = {
        "requester_id": organisation.requester.user_id,
        "cost_centre_id": known["centre"],
        "lines": [{"quantity": "10", "unit_price": "99.99", "tax_rate": "0"}],
    }
    plan = (await ok(admin.post(path, json=body))).json()
    assert (_asked(plan), plan["warnings"]) == ([(1, "R1", ["Max Manager"]), (2, "R2", ["Olga Owner"])], [])
    unknown = (await ok(admin.post(path, json=body | {"currency": "USD"}))).json()
    assert [step["name"] for step in unknown["steps"]] == ["R1", "R2", "R3"]
    assert [warning["code"] for warning in unknown["warnings"]] == ["unknown_amount"]
    rate = {"currency": "USD", "rate_date": f"{utc_now():%Y-%m-%d}", "rate": "1.00009"}
    assert (await admin.post("/exchange-rates", json=rate)).is_success
    plan = (await ok(admin.post(path, json=body | {"currency": "USD"}))).json()
    assert [step["name"] for step in plan["steps"]] == ["R1", "R2"]
    await ok(admin.patch(f"/users/{known['manager'].user_id}", etag="*", json={"approval_limit": "999.89"}))
    limited = (await ok(admin.post(path, json=body))).json()
    assert [warning["code"] for warning in limited["warnings"]] == ["limits_too_low"]
    # Nothing was written, and nothing of others can be simulated.
    assert (await ok(organisation.auditor.get(f"/approval-policies/{policy.json()['id']}"))).json() == policy.json()
    rival = await new_organisation(organisation.app, organisation.client)
    draft = await rival.draft()
    await refused(admin.post(path, json={"porf_id": draft.json()["id"]}), 404, "porf_not_found")
    foreign = {"requester_id": rival.requester.user_id}
    await refused(admin.post(path, json=body | foreign), 422, "unknown_requester")
    await refused(admin.post(path, json={"porf_id": 1, "currency": "USD"}), 422, "validation_failed")
    await _refuses_unknown_ids(admin, path, body, rival)
    await refused(rival.admin.post(path, json=body), 404, "approval_policy_not_found")
    await refused(organisation.auditor.post(path, json=body), 403, "missing_role")


async def test_a_preview_takes_the_rate_of_now_and_looks_for_an_approver(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    rate = {"currency": "USD", "rate_date": f"{utc_now():%Y-%m-%d}", "rate": "0.5"}
    await created(admin.post("/exchange-rates", json=rate))
    await publish_policy(admin, rule(1, user(organisation.approver), conditions={"total_gte": "1000.00"}))
    shown = []
    for amount in ("1999.98", "2000.00"):
        draft = await organisation.draft(lines=[_line(amount)], currency="USD")
        plan = await _preview(organisation, draft.json()["id"])
        shown.append(([step["name"] for step in plan["steps"]], plan["warnings"]))
    assert shown == [(["any approver"], []), (["R1"], [])]
    await ok(admin.patch(f"/users/{organisation.approver.user_id}", etag="*", json={"approval_limit": "1.00"}))
    small = await organisation.draft(lines=[_line("999.00")])
    (warning,) = (await _preview(organisation, small.json()["id"]))["warnings"]
    assert (warning["code"], "1.00" in warning["detail"]) == ("no_approver", True)
    await refused(organisation.requester.post(f"/porfs/{small.json()['id']}/submit", etag="*"), 409, "no_approver")


async def test_a_preview_shows_what_an_earlier_submission_has_got(organisation: TestOrganisation) -> None:
    known, admin = await _with_people(organisation), organisation.admin
    policy = await publish_policy(
        admin, rule(1, "requester_manager"), rule(2, "cost_centre_owner"), reapproval_percent="5"
    )
    lines = [_line("100.00")]
    pending = await act(
        organisation.requester, await organisation.draft(lines=lines, cost_centre_id=known["centre"]), "submit"
    )
    approved = await act(known["manager"], pending, "approve")
    draft = await act(known["owner"], approved, "return", comment="Why?")
    porf_id = draft.json()["id"]

    def carried(plan: Json) -> list[tuple[str, list[str], bool]]:
        return [
            (step["name"], [each["approver_name"] for each in step["carried"]], step["is_approved"])
            for step in plan["steps"]
        ]

    expected = [("R1", ["Max Manager"], True), ("R2", [], False)]
    assert carried(await _preview(organisation, porf_id)) == expected
    simulate = f"/approval-policies/{policy['id']}/simulate"
    assert carried((await ok(admin.post(simulate, json={"porf_id": porf_id}))).json()) == expected
    # The rules of another version are others; and it may not cost much more.
    copy = (await created(admin.post("/approval-policies", json={"from": policy["id"]}))).json()["id"]
    nothing: list[tuple[str, list[str], bool]] = [("R1", [], False), ("R2", [], False)]
    simulated = await ok(admin.post(f"/approval-policies/{copy}/simulate", json={"porf_id": porf_id}))
    assert carried(simulated.json()) == nothing
    path = f"/porfs/{porf_id}/lines/{draft.json()['lines'][0]['id']}"
    for price, shown in (("105.00", expected), ("105.01", nothing)):
        await ok(organisation.requester.patch(path, etag="*", json={"unit_price": price}))
        assert carried(await _preview(organisation, porf_id)) == shown


async def test_a_submission_is_refused_or_approved_where_nobody_decides(organisation: TestOrganisation) -> None:
    admin, requester = organisation.admin, organisation.requester
    own = {"code": "CC-10", "name": "Own", "owner_id": requester.user_id}
    centre = (await created(admin.post("/cost-centres", json=own))).json()["id"]
    rules = [rule(1, "cost_centre_owner", conditions={"total_gte": "1000.00"}, name="Owner")]
    await publish_policy(admin, *rules, no_rule="auto_approve")
    large = await organisation.draft(lines=[_line("1500.00")], cost_centre_id=centre)
    etag, path = large.headers["ETag"], f"/porfs/{large.json()['id']}"
    problem = await refused(requester.post(f"{path}/submit", etag=etag), 409, "no_approver")
    assert '"Owner"' in problem["detail"]
    small = await organisation.draft(lines=[_line("999.99")])
    preview = await _preview(organisation, small.json()["id"])
    assert ([warning["code"] for warning in preview["warnings"]], preview["steps"]) == (["no_decision"], [])
    approved = await act(requester, small, "submit")
    assert (approved.json()["status"], approved.json()["decided_at"]) == ("approved", approved.json()["submitted_at"])
    # Skipped steps approve nothing: any approver decides.
    await publish_policy(admin, *(each | {"on_empty": "skip"} for each in rules), no_rule="refuse")
    plan = await _preview(organisation, large.json()["id"])
    assert [(step["name"], step["is_skipped"]) for step in plan["steps"]] == [("Owner", True), ("any approver", False)]
    pending = await act(requester, large, "submit")
    assert (await act(organisation.approver, pending, "approve")).json()["status"] == "approved"
    none = await organisation.draft(lines=[_line("1.00")])
    await refused(requester.post(f"/porfs/{none.json()['id']}/submit", etag="*"), 409, "no_approver")


_RUNS = """
SELECT r.porf_id, r.run_no, s.stage, s.rule_id, s.name, s.status = 'approved', ARRAY(
    SELECT user_id FROM approval_slots WHERE organisation_id = $1 AND step_id = s.id ORDER BY user_id
) AS people, ARRAY(
    SELECT carried_from_id FROM approval_decisions d
    WHERE organisation_id = $1 AND step_id = s.id AND d.decided_at = r.opened_at ORDER BY 1
) AS carried
FROM approval_runs r JOIN approval_steps s ON s.organisation_id = r.organisation_id AND s.run_id = r.id
WHERE r.organisation_id = $1 ORDER BY r.porf_id, r.run_no, s.stage, s.position
"""


def _random_request(random: Random, organisation: TestOrganisation, known: Json) -> Json:
    """A request with amounts at or near a bound."""
    lines = []
    for _ in range(random.randint(1, 3)):
        amount = random.choice(["0.00", "150.00", "499.99", "500.00", "999.99", "1000.00", "4200.00"])
        fields = {"category_id": known["it"], "cost_centre_id": known["centre"]}
        lines.append(_line(amount, **{name: value for name, value in fields.items() if random.random() < 0.5}))
    return {"lines": lines, "supplier_id": random.choice([organisation.supplier_id, None])}


def _planned(preview: Json) -> list[tuple[object, ...]]:
    """What `_RUNS` has of each step."""
    return [
        (
            *(step[name] for name in ("stage", "rule_id", "name", "is_approved")),
            sorted(person["user_id"] for person in step["people"]),
            sorted(carried["decision_id"] for carried in step["carried"]),
        )
        for step in preview["steps"]
    ]


async def _submit_random_drafts(organisation: TestOrganisation, url: str, count: int) -> None:
    """Each twice, some with an added approver: in between some approve, it comes back, and in some cases costs more."""
    known, random = await _with_people(organisation), Random(11)
    await publish_policy(
        organisation.admin,
        rule(1, "requester_manager", conditions={"total_gte": "500.00"}),
        rule(2, "cost_centre_owner", conditions={"total_gte": "1000.00"}, on_empty="requester_manager"),
        rule(2, user(known["owner"]), group(known["board"]), conditions={"category_ids": [known["it"]]}),
        rule(3, group(known["board"]), required_count=2, conditions={"supplier_is_new": True}),
        reapproval_percent="5",
    )
    turns, previews, carried = asyncio.Semaphore(8), {}, 0
    requester = organisation.requester

    async def submit(draft: httpx.Response, run_no: int) -> httpx.Response:
        nonlocal carried
        preview = await _preview(organisation, draft.json()["id"])
        previews[draft.json()["id"], run_no] = _planned(preview)
        carried += sum(len(step["carried"]) for step in preview["steps"])
        return await act(requester, draft, "submit")

    async def submit_twice(request: Json, placement: str | None, factor: str | None, approving: list[Member]) -> None:
        async with turns:
            draft = await organisation.draft(**request)
            path = f"/porfs/{draft.json()['id']}"
            if placement is not None:
                added = {"user_id": known["owner"].user_id, "placement": placement}
                draft = await ok(requester.post(f"{path}/add-approver", etag="*", json=added))
            pending = await submit(draft, 1)
            for member in approving:
                await member.post(f"{path}/approve", etag="*")
            if (await requester.post(f"{path}/recall", etag="*")).is_error:
                return  # approved
            line = pending.json()["lines"][0]
            if factor is not None:
                quantity = {"quantity": factor}
                await ok(requester.patch(f"{path}/lines/{line['id']}", etag="*", json=quantity))
            await submit(await ok(requester.get(path)), 2)

    def approving() -> list[Member]:
        return random.sample([known["manager"], known["owner"], known["manager"]], random.randint(0, 2))

    chosen = [
        (
            _random_request(random, organisation, known),
            random.choice([None, None, "before", "parallel", "after"]),
            random.choice([None, "1.01", "1.2"]),
            approving(),
        )
        for _ in range(count)
    ]
    await asyncio.gather(*(submit_twice(*each) for each in chosen))
    connection = await asyncpg.connect(libpq_url(url))
    rows = await connection.fetch(_RUNS, organisation.organisation_id)
    await connection.close()
    runs: dict[tuple[int, int], list[tuple[object, ...]]] = {}
    for porf_id, run_no, *step in rows:
        runs.setdefault((porf_id, run_no), []).append(tuple(step))
    first = {key for key in runs if key[1] == 1}
    assert (len(first), carried > 0) == (count, True)
    for key in runs.keys() - first:
        assert previews[key] == runs[key], key
    # Later decisions have closed steps of the first runs.
    planned = {key: [step[:3] + step[4:] for step in previews[key]] for key in first}
    assert planned == {key: [step[:3] + step[4:] for step in runs[key]] for key in first}


@pytest.mark.heavy
@pytest.mark.parametrize(
    "drafts",
    [
        30,
        pytest.param(60, marks=pytest.mark.exhaustive),
        pytest.param(200, marks=[pytest.mark.exhaustive, pytest.mark.thorough]),
    ],
)
async def test_submissions_ask_whom_their_previews_have_named(
    organisation: TestOrganisation, urls: tuple[str, str], drafts: int
) -> None:
    await _submit_random_drafts(organisation, urls[0], drafts)
