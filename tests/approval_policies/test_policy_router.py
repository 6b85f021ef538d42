"""Policies through the API: drafts, rules, what is refused, publishing and retiring."""

import asyncio
from typing import Any

import httpx
import pytest

from support.approval_policies import Json, draft_policy, group, path_of, publish_policy, rule, user
from support.organisations import Member, TestOrganisation, created, new_organisation, ok, refused

POLICIES = "/approval-policies"


async def _group(organisation: TestOrganisation, *members: Member) -> int:
    body = {"name": "Board", "member_ids": [member.user_id for member in members]}
    group_id: int = (await created(organisation.admin.post("/approval-groups", json=body))).json()["id"]
    return group_id


def _pointers(problem: Json) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


async def test_a_draft_is_written_published_replaced_and_retired(organisation: TestOrganisation) -> None:
    admin, auditor = organisation.admin, organisation.auditor
    made = await created(admin.post(POLICIES, json={"carry": "never"}))
    path = path_of(made)
    assert (made.json()["status"], made.json()["version_no"], made.json()["rules"]) == ("draft", 1, [])
    assert made.json()["no_rule"] == "any_approver"

    body = rule(1, "role_approver", conditions={"total_gte": "1000.00"}, required_count=1)
    added = await created(admin.post(f"{path}/rules", etag=made.headers["ETag"], json=body))
    assert added.json()["conditions"] == {"total_gte": "1000.00"}
    assert (added.json()["position"], added.json()["on_empty"]) == (1, "block")
    assert (await ok(auditor.get(path_of(added)))).json() == added.json()
    await refused(admin.post(f"{path}/rules", etag=made.headers["ETag"], json=body), 412, "stale_version")
    second = await created(admin.post(f"{path}/rules", etag=added.headers["ETag"], json=body | {"name": "Second"}))
    assert second.json()["position"] == 2
    changed = await ok(admin.patch(path_of(second), etag=second.headers["ETag"], json={"stage": 2, "position": 7}))
    assert (changed.json()["stage"], changed.json()["position"], changed.json()["name"]) == (2, 7, "Second")
    gone = await ok(admin.delete(path_of(added), etag=changed.headers["ETag"]), 204)
    assert gone.content == b""
    await refused(admin.get(path_of(added)), 404, "approval_rule_not_found")
    await ok(admin.patch(path, etag="*", json={"no_rule": "refuse", "reapproval_percent": "5"}))
    shown = await ok(auditor.get(path))
    assert [each["name"] for each in shown.json()["rules"]] == ["Second"]
    assert (shown.json()["no_rule"], shown.json()["reapproval_percent"]) == ("refuse", "5")

    tried = await ok(admin.post(f"{path}/publish?dry_run=true", etag=shown.headers["ETag"]))
    assert tried.json()["status"] == "published"
    published = await ok(admin.post(f"{path}/publish", etag=shown.headers["ETag"]))
    assert (published.json()["published_by_id"], published.json()["open_runs"]) == (admin.user_id, 0)
    for refusal in (
        admin.patch(path, etag="*", json={"carry": "consecutive"}),
        admin.delete(path, etag="*"),
        admin.post(f"{path}/rules", etag="*", json=body),
        admin.patch(path_of(second), etag="*", json={"name": "Other"}),
        admin.delete(path_of(second), etag="*"),
        admin.post(f"{path}/publish", etag="*"),
    ):
        await refused(refusal, 409, "approval_policy_not_draft")

    copy = await created(admin.post(POLICIES, json={"from": published.json()["id"], "carry": "consecutive"}))
    assert (copy.json()["version_no"], copy.json()["no_rule"], copy.json()["carry"]) == (2, "refuse", "consecutive")
    assert [each["name"] for each in copy.json()["rules"]] == ["Second"]
    await refused(admin.post(POLICIES, json={}), 409, "approval_policy_draft_exists")
    await refused(admin.post(f"{path_of(copy)}/retire", etag="*"), 409, "approval_policy_not_published")
    await ok(admin.post(f"{path_of(copy)}/publish", etag=copy.headers["ETag"]))
    statuses = {item["version_no"]: item["status"] for item in (await ok(auditor.get(POLICIES))).json()["items"]}
    assert statuses == {1: "retired", 2: "published"}
    only = await ok(auditor.get(POLICIES, params={"status": "published"}))
    assert [item["version_no"] for item in only.json()["items"]] == [2]
    await ok(admin.post(f"{path_of(copy)}/retire", etag="*"))
    third = await created(admin.post(POLICIES, json={}))
    await ok(admin.delete(path_of(third), etag=third.headers["ETag"]), 204)

    events = (await ok(auditor.get(f"{path}/history"))).json()["items"]
    assert [event["action"].removeprefix("approval_policy.") for event in events] == [
        *("create", "add_rule", "add_rule", "update_rule", "delete_rule", "update", "publish", "retire")
    ]


async def test_only_admins_write_and_only_they_and_auditors_read(organisation: TestOrganisation) -> None:
    for member in (organisation.requester, organisation.approver, organisation.buyer):
        await refused(member.get(POLICIES), 403, "missing_role")
        await refused(member.post(POLICIES, json={}), 403, "missing_role")
    await refused(organisation.auditor.post(POLICIES, json={}), 403, "missing_role")


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"conditions": {"over_budget": True}}, "/conditions", "unknown_field"),
        ({"conditions": {"total_gte": 5}}, "/conditions/total_gte", "decimal_string"),
        ({"conditions": {"total_gte": "5.00", "total_lt": "5.00"}}, "/conditions", "empty_band"),
        ({"conditions": {"category_ids": []}}, "/conditions/category_ids", "too_short"),
        ({"approvers": []}, "/approvers", "too_short"),
        ({"approvers": [{"kind": "user"}]}, "/approvers/0/id", "missing"),
        ({"approvers": [{"kind": "requester_manager", "level": 2}]}, "/approvers/0", "unknown_field"),
        ({"approvers": [{"kind": "category_owner"}]}, "/approvers/0", "union_tag_invalid"),
        ({"required_count": 0}, "/required_count", "greater_than_equal"),
        ({"stage": 100}, "/stage", "less_than_equal"),
    ],
)
async def test_a_rule_that_is_not_understood_is_refused(
    organisation: TestOrganisation, fields: Json, pointer: str, code: str
) -> None:
    body = {"rules": [rule(1, "role_approver") | fields]}
    problem = await refused(organisation.admin.post(POLICIES, json=body), 422, "validation_failed")
    assert _pointers(problem) == [(f"/rules/0{pointer}", code)]


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"on_empty": "group"}, [("/on_empty_group_id", "missing")]),
        ({"escalate_after_hours": 5}, [("/escalate_to", "missing")]),
        ({"escalate_to": "manager"}, [("/escalate_to", "not_allowed")]),
        ({"escalate_after_hours": 5, "escalate_to": "group"}, [("/escalation_group_id", "missing")]),
        ({"required_count": 2, "approvers": "own"}, [("/required_count", "too_few_people")]),
        (
            {
                "conditions": {
                    "cost_centre_ids": [1],
                    "category_ids": [1],
                    "supplier_ids": [1],
                    "team_ids": [1],
                    "requester_ids": [10**15],
                },
                "approvers": [{"kind": "group", "id": 1}, {"kind": "user", "id": 10**15}],
                "on_empty": "group",
                "on_empty_group_id": 1,
            },
            [
                ("/conditions/cost_centre_ids/0", "unknown_cost_centre"),
                ("/conditions/category_ids/0", "unknown_category"),
                ("/conditions/supplier_ids/0", "unknown_supplier"),
                ("/conditions/team_ids/0", "unknown_team"),
                ("/conditions/requester_ids/0", "unknown_member"),
                ("/approvers/0/id", "unknown_approval_group"),
                ("/approvers/1/id", "unknown_member"),
                ("/on_empty_group_id", "unknown_approval_group"),
            ],
        ),
    ],
)
async def test_a_rule_that_contradicts_itself_or_names_what_there_is_not_is_refused(
    organisation: TestOrganisation, fields: Json, errors: list[tuple[str, str]]
) -> None:
    if fields.get("approvers") == "own":
        fields = fields | {"approvers": [user(organisation.approver)]}
    body = rule(1, "role_approver") | fields
    whole = await refused(organisation.admin.post(POLICIES, json={"rules": [body]}), 422, "invalid_rule")
    assert _pointers(whole) == [(f"/rules/0{pointer}", code) for pointer, code in errors]
    policy = await draft_policy(organisation.admin, rule(1, "role_approver"))
    path, rule_id = path_of(policy), policy.json()["rules"][0]["id"]
    for refusal in (
        organisation.admin.post(f"{path}/rules", etag="*", json=body),
        organisation.admin.patch(f"{path}/rules/{rule_id}", etag="*", json=fields),
    ):
        assert _pointers(await refused(refusal, 422, "invalid_rule")) == errors


async def test_what_another_organisation_has_is_unknown(organisation: TestOrganisation) -> None:
    other_organisation = await new_organisation(organisation.app, organisation.client)
    board = await _group(other_organisation, other_organisation.approver)
    body = {"rules": [rule(1, group(board), user(other_organisation.approver))]}
    problem = await refused(organisation.admin.post(POLICIES, json=body), 422, "invalid_rule")
    assert [code for _, code in _pointers(problem)] == ["unknown_approval_group", "unknown_member"]
    foreign = await draft_policy(other_organisation.admin, rule(1, "role_approver"))
    await refused(organisation.admin.get(path_of(foreign)), 404, "approval_policy_not_found")
    await refused(
        organisation.admin.post(POLICIES, json={"from": foreign.json()["id"]}), 404, "approval_policy_not_found"
    )


def _band(stage: int, low: str | None, high: str | None, **conditions: Any) -> Json:
    given = {"total_gte": low, "total_lt": high} | conditions
    return rule(stage, "role_approver", conditions={name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize(
    ("rules", "errors"),
    [
        ([], [("/rules", "no_rules")]),
        ([_band(1, None, "500.00"), _band(1, "500.00", None)], []),
        ([_band(1, None, "500.00"), _band(1, "500.01", None)], [("/rules/1/conditions/total_gte", "band_gap")]),
        ([_band(1, None, "500.00"), _band(1, "499.99", None)], [("/rules/1/conditions/total_gte", "band_overlap")]),
        ([_band(1, "500.00", None), _band(1, "100.00", "600.00")], [("/rules/0/conditions/total_gte", "band_overlap")]),
        # The same band twice, thresholds without an end, other conditions and other stages.
        ([_band(1, None, "500.00"), _band(1, None, "500.00")], []),
        ([_band(1, "100.00", None), _band(1, "500.00", None)], []),
        ([_band(1, None, "500.00"), _band(1, "900.00", None, currencies=["USD"])], []),
        ([_band(1, None, "500.00"), _band(2, "900.00", None)], []),
    ],
)
async def test_bands_of_a_stage_meet(
    organisation: TestOrganisation, rules: list[Json], errors: list[tuple[str, str]]
) -> None:
    policy = await draft_policy(organisation.admin, *rules)
    for query in ("?dry_run=true", ""):
        attempt = organisation.admin.post(f"{path_of(policy)}/publish{query}", etag=policy.headers["ETag"])
        if not errors:
            await ok(attempt)
            continue
        problem = await refused(attempt, 409, "unpublishable_policy")
        assert _pointers(problem) == errors
        assert {error["location"] for error in problem["errors"]} == {"policy"}


async def test_publishing_checks_again_what_the_rules_name(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    approver = await organisation.member()
    board, empty = await _group(organisation, organisation.approver), await _group_named(organisation, "Empty")
    centre = (await created(admin.post("/cost-centres", json={"code": "1", "name": "One"}))).json()["id"]
    policy = await draft_policy(
        admin,
        rule(1, user(organisation.approver), user(approver), conditions={"cost_centre_ids": [centre]}),
        rule(2, group(board), group(empty)),
    )
    await ok(admin.post(f"/cost-centres/{centre}/deactivate", etag="*"))
    await ok(admin.post(f"/users/{organisation.approver.user_id}/deactivate", etag="*"))
    problem = await refused(admin.post(f"{path_of(policy)}/publish", etag="*"), 409, "unpublishable_policy")
    assert _pointers(problem) == [
        ("/rules/0/conditions/cost_centre_ids/0", "unknown_cost_centre"),
        ("/rules/0/approvers/0/id", "unknown_member"),
        ("/rules/0/approvers/1/id", "not_an_approver"),
        ("/rules/1/approvers/0/id", "empty_group"),
        ("/rules/1/approvers/1/id", "empty_group"),
    ]
    # What a rule has already may stay while other attributes change.
    rule_id = policy.json()["rules"][0]["id"]
    await ok(admin.patch(f"{path_of(policy)}/rules/{rule_id}", etag="*", json={"name": "Other"}))


async def _group_named(organisation: TestOrganisation, name: str) -> int:
    group_id: int = (await created(organisation.admin.post("/approval-groups", json={"name": name}))).json()["id"]
    return group_id


async def test_a_policy_has_at_most_a_hundred_rules(organisation: TestOrganisation) -> None:
    policy = await draft_policy(organisation.admin, *(rule(1, "role_approver") for _ in range(100)))
    more = organisation.admin.post(f"{path_of(policy)}/rules", etag="*", json=rule(1, "role_approver"))
    await refused(more, 409, "too_many_rules")
    page = await ok(organisation.auditor.get(f"{path_of(policy)}/rules?limit=60"))
    rest = await ok(organisation.auditor.get(page.links["next"]["url"].removeprefix("/api/v1")))
    positions = [item["position"] for item in [*page.json()["items"], *rest.json()["items"]]]
    assert positions == list(range(1, 101))


async def test_of_several_publications_at_once_one_wins(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    await publish_policy(admin, rule(1, "role_approver"))
    draft = await draft_policy(admin, rule(1, "role_approver"))
    answers: list[httpx.Response] = await asyncio.gather(
        *(admin.post(f"{path_of(draft)}/publish", etag=draft.headers["ETag"]) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    items = (await ok(admin.get(POLICIES))).json()["items"]
    assert [item["status"] for item in items] == ["published", "retired"]
    drafts = await asyncio.gather(*(admin.post(POLICIES, json={}) for _ in range(3)))
    assert sorted(answer.status_code for answer in drafts) == [201, 409, 409]
