"""The policies of docs/approvals.md: each body is published, and asks the people whom the page says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from po_api.core.permissions import Role
from support.approval_policies import Json, path_of
from support.organisations import TestOrganisation, created, ok

_PAGE = Path(__file__).parents[2] / "docs" / "approvals.md"
_POLICY = re.compile(r"^### (.+?)\n.*?```json\n(.+?)```", re.MULTILINE | re.DOTALL)

# By heading: the amount of the request, fields of its line and of the request, and for each step its people or pool.
_EXPECTED: dict[str, list[tuple[str, Json, Json, list[list[str]]]]] = {
    "Two bands": [("999.99", {}, {}, [["Max"]]), ("1000.00", {}, {}, [["Max"], ["Finance"]])],
    "Owner of the cost centre": [
        ("1.00", {}, {"cost_centre_id": 31}, [["Olga"]]),
        ("1.00", {}, {}, [["Max"]]),
    ],
    "Two of three": [("1.00", {}, {}, [["Finance"]])],
    "Chain of managers": [("500.00", {}, {}, [["Max"]]), ("500.01", {}, {}, [["Max", "Olga"]])],
    "First qualified manager": [("500.00", {}, {}, [["Max"]]), ("500.01", {}, {}, [["Olga"]])],
    "IT by category": [
        ("499.99", {"category_id": 21}, {}, [["Max"]]),
        ("500.00", {"category_id": 21}, {}, [["Max"], ["IT board"]]),
        ("500.00", {}, {}, [["Max"]]),
    ],
    "New suppliers": [
        ("1.00", {}, {"supplier_id": 41}, [["Ada"]]),
        ("1.00", {}, {"supplier_id": None}, [["approver"]]),
    ],
    "Foreign currencies": [
        ("1.00", {}, {"currency": "USD"}, [["Finance"]]),
        ("5000.00", {}, {"currency": "EUR"}, [["approver"]]),
    ],
    "Team lead, small amounts at once": [("49.99", {}, {}, []), ("50.00", {}, {}, [["Olga"]])],
    "Three bands, with a second pair of eyes at the top": [
        ("999.99", {}, {}, [["Max"]]),
        ("1000.00", {}, {"cost_centre_id": 31}, [["Olga"], ["Olga"]]),
        ("10000.00", {}, {}, [["Max", "Olga"]]),
    ],
}


async def _example(organisation: TestOrganisation) -> dict[int, int]:
    """The people and entries of the page: their ids, by those of the page. The team's lead is Olga."""
    admin, requester = organisation.admin, organisation.requester
    ids: dict[int, int] = {41: organisation.supplier_id}
    for number, name, limit in ((1, "Max", "500.00"), (2, "Olga", None), (3, "Ada", None)):
        member = await organisation.member(Role.APPROVER, name=name, approval_limit=limit)
        ids[number] = member.user_id
    await ok(admin.patch(f"/users/{requester.user_id}", etag="*", json={"manager_id": ids[1]}))
    await ok(admin.patch(f"/users/{ids[1]}", etag="*", json={"manager_id": ids[2]}))
    everybody = [ids[1], ids[2], ids[3]]
    for number, path, body in (
        (11, "/approval-groups", {"name": "IT board", "member_ids": everybody}),
        (12, "/approval-groups", {"name": "Finance", "member_ids": everybody}),
        (21, "/categories", {"code": "IT", "name": "IT"}),
        (31, "/cost-centres", {"code": "Office", "name": "Office", "owner_id": ids[2]}),
        (51, "/teams", {"name": "Design", "lead_id": ids[2]}),
    ):
        ids[number] = (await created(admin.post(path, json=body))).json()["id"]
    await ok(admin.patch(f"/users/{requester.user_id}", etag="*", json={"team_id": ids[51]}))
    return ids


def _with_ids(value: Any, ids: dict[int, int], name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _with_ids(item, ids, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_ids(item, ids, name) for item in value]
    is_id = name.endswith(("id", "ids")) and isinstance(value, int)
    return ids[value] if is_id else value


@pytest.mark.heavy
async def test_the_usual_policies_are_published_and_ask_whom_the_page_says(organisation: TestOrganisation) -> None:
    found = {heading: json.loads(body) for heading, body in _POLICY.findall(_PAGE.read_text())}
    assert found.keys() == _EXPECTED.keys()
    ids, admin = await _example(organisation), organisation.admin
    drafts: dict[str, int] = {}
    for heading, body in found.items():
        policy = await created(admin.post("/approval-policies", json=_with_ids(body, ids)))
        await ok(admin.post(f"{path_of(policy)}/publish", etag=policy.headers["ETag"]))
        for amount, line, fields, expected in _EXPECTED[heading]:
            named = _with_ids({"lines": [{"description": "X", "quantity": "1", "unit_price": amount, **line}]}, ids)
            request = {"currency": "GBP", **_with_ids(fields, ids), **named}
            key = json.dumps(request, sort_keys=True)
            if key not in drafts:
                drafts[key] = (await organisation.draft(**request)).json()["id"]
            preview = (await ok(organisation.requester.get(f"/porfs/{drafts[key]}/approval-preview"))).json()
            asked = [
                [person["name"] for person in step["people"]] or [step["pool_group_name"] or step["pool_role"]]
                for step in preview["steps"]
            ]
            assert asked == expected, (heading, amount)
