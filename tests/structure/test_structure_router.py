"""Cost centres, categories, teams and approval groups: written by admins, read by all, never deleted."""

import asyncio
from typing import Any

import httpx
import pytest

from support.organisations import Member, TestOrganisation, created, ok, refused
from support.pages import all_items

KINDS = ("cost-centres", "categories", "teams", "approval-groups")
HIERARCHIES = KINDS[:3]
CODED = KINDS[:2]


async def _add(who: Member, kind: str, key: str, **fields: Any) -> httpx.Response:
    return await created(who.post(f"/{kind}", json={**_named(kind, key), **fields}))


def _path(shown: httpx.Response) -> str:
    return shown.headers["Location"].removeprefix("/api/v1")


async def _patch(who: Member, shown: httpx.Response, **fields: Any) -> httpx.Response:
    return await who.patch(f"{_path(shown)}", etag=shown.headers["ETag"], json=fields)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_entry_is_created_read_changed_and_recorded(organisation: TestOrganisation, kind: str) -> None:
    admin, reader = organisation.admin, organisation.requester
    made = await _add(admin, kind, "Größe")
    shown = await ok(reader.get(_path(made)))
    assert (shown.json(), shown.headers["ETag"]) == (made.json(), made.headers["ETag"])
    changed = await ok(_patch(admin, made, name="Other"))
    assert (changed.json()["name"], changed.json()["version"]) == ("Other", 2)
    await refused(_patch(admin, made, name="Third"), 412, "stale_version")
    await refused(reader.patch(_path(made), etag="*", json={"name": "Mine"}), 403, "missing_role")
    gone = await ok(admin.post(f"{_path(made)}/deactivate", etag=changed.headers["ETag"]))
    back = await ok(admin.post(f"{_path(made)}/activate", etag=gone.headers["ETag"]))
    assert [gone.json()["is_active"], back.json()["is_active"], back.json()["version"]] == [False, True, 4]
    await refused(admin.delete(_path(made)), 405, "method_not_allowed")
    events = (await ok(organisation.auditor.get(f"{_path(made)}/history"))).json()["items"]
    entity = {"cost-centres": "cost_centre", "categories": "category", "teams": "team"}.get(kind, "approval_group")
    assert [event["action"] for event in events] == [
        f"{entity}.{verb}" for verb in ("create", "update", "deactivate", "activate")
    ]
    assert (events[1]["before"], events[1]["after"]) == ({"name": "Größe"}, {"name": "Other"})


@pytest.mark.parametrize("kind", KINDS)
async def test_keys_are_unique_while_active_and_compared_as_they_look(
    organisation: TestOrganisation, kind: str
) -> None:
    admin, taken = organisation.admin, {"cost-centres": "cost_centre_code", "categories": "category_code"}
    code = taken.get(kind, f"{kind[:-1].replace('-', '_')}_name") + "_taken"
    first = await _add(admin, kind, "Straße 1")
    body = {"name": "STRASSE  1", **({"code": "STRASSE  1"} if kind in CODED else {})}
    await refused(admin.post(f"/{kind}", json=body), 409, code)
    await ok(admin.post(f"{_path(first)}/deactivate", etag="*"))
    await created(admin.post(f"/{kind}", json=body))
    await refused(admin.post(f"{_path(first)}/activate", etag="*"), 409, code)
    answers = await asyncio.gather(*(admin.post(f"/{kind}", json=body | _named(kind, "Same")) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


def _named(kind: str, name: str) -> dict[str, str]:
    return {"name": name, **({"code": name} if kind in CODED else {})}


@pytest.mark.parametrize("kind", CODED)
async def test_codes_are_fixed(organisation: TestOrganisation, kind: str) -> None:
    made = await _add(organisation.admin, kind, "4711")
    problem = await refused(_patch(organisation.admin, made, code="4712"), 422, "validation_failed")
    assert problem["errors"][0]["code"] == "unknown_field"


@pytest.mark.parametrize("kind", HIERARCHIES)
async def test_a_hierarchy_has_no_cycles_and_ten_levels(organisation: TestOrganisation, kind: str) -> None:
    admin = organisation.admin
    chain = [await _add(admin, kind, "0")]
    for level in range(1, 10):
        chain.append(await _add(admin, kind, str(level), parent_id=chain[-1].json()["id"]))
    below = _named(kind, "eleventh") | {"parent_id": chain[-1].json()["id"]}
    await refused(admin.post(f"/{kind}", json=below), 409, "hierarchy_too_deep")
    for target in (0, 3, 9):
        await refused(_patch(admin, chain[0], parent_id=chain[target].json()["id"]), 409, "hierarchy_cycle")
    other = await _add(admin, kind, "other")
    leaf = await _add(admin, kind, "leaf", parent_id=other.json()["id"])
    # With all that is below it.
    await refused(_patch(admin, other, parent_id=chain[8].json()["id"]), 409, "hierarchy_too_deep")
    moved = await ok(_patch(admin, other, parent_id=chain[7].json()["id"]))
    assert moved.json()["parent_id"] == chain[7].json()["id"]
    foreign = await refused(_patch(admin, leaf, parent_id=10**15), 422, f"unknown_{_entity(kind)}")
    assert [error["pointer"] for error in foreign["errors"]] == ["/parent_id"]
    # Parents of active ones are active.
    await refused(admin.post(f"{_path(other)}/deactivate", etag="*"), 409, "active_children")
    await ok(admin.post(f"{_path(leaf)}/deactivate", etag="*"))
    await ok(admin.post(f"{_path(other)}/deactivate", etag="*"))
    await refused(admin.post(f"{_path(leaf)}/activate", etag="*"), 409, "inactive_parent")
    await refused(
        admin.post(f"/{kind}", json=_named(kind, "x") | {"parent_id": other.json()["id"]}),
        422,
        f"unknown_{_entity(kind)}",
    )
    assert (await ok(_patch(admin, chain[9], parent_id=None))).json()["parent_id"] is None


def _entity(kind: str) -> str:
    return {"cost-centres": "cost_centre", "categories": "category"}.get(kind, "team")


async def _opposite_moves(organisation: TestOrganisation, turns: int) -> None:
    admin = organisation.admin
    for turn in range(turns):
        one, two = [await _add(admin, "cost-centres", f"{turn}-{number}") for number in range(2)]
        answers = await asyncio.gather(
            _patch(admin, one, parent_id=two.json()["id"]),
            _patch(admin, two, parent_id=one.json()["id"]),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        (lost,) = [answer for answer in answers if answer.status_code == 409]
        assert lost.json()["code"] == "hierarchy_cycle"


async def test_of_two_opposite_moves_at_once_one_wins(organisation: TestOrganisation) -> None:
    await _opposite_moves(organisation, 3)


@pytest.mark.exhaustive
async def test_of_many_opposite_moves_one_of_two_wins(organisation: TestOrganisation) -> None:
    await _opposite_moves(organisation, 20)


async def test_a_parent_is_deactivated_or_gets_a_child(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    for turn in range(3):
        parent = await _add(admin, "teams", f"parent {turn}")
        body = {"name": f"child {turn}", "parent_id": parent.json()["id"]}
        answers = await asyncio.gather(
            admin.post("/teams", json=body), admin.post(f"{_path(parent)}/deactivate", etag=parent.headers["ETag"])
        )
        assert [answer.status_code for answer in answers] in ([201, 409], [422, 200])


async def test_lists_are_searched_filtered_and_sorted(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    top = await _add(admin, "cost-centres", "B", name="Facilities 100%", owner_id=organisation.buyer.user_id)
    await _add(admin, "cost-centres", "A", name="IT", parent_id=top.json()["id"])
    gone = await _add(admin, "cost-centres", "C", name="Zebra")
    await ok(admin.post(f"{_path(gone)}/deactivate", etag="*"))

    async def codes(**params: Any) -> str:
        items = await all_items(organisation.requester, "/cost-centres", limit=1, **params)
        return "".join(item["code"] for item in items)

    assert await codes() == "ABC"
    assert await codes(sort="-name") == "CAB"
    assert await codes(is_active="true") == "AB"
    assert await codes(parent_id=top.json()["id"]) == "A"
    assert (await codes(has_parent="false"), await codes(has_parent="true")) == ("BC", "A")
    assert (await codes(q="facil"), await codes(q="100%"), await codes(q="%"), await codes(q="a")) == (
        "B",
        "B",
        "B",
        "ABC",
    )
    assert await codes(code=["A", "C"]) == "AC"
    assert await codes(owner_id=organisation.buyer.user_id) == "B"
    assert (await codes(owner_is_active="true"), await codes(owner_is_active="false")) == ("B", "")
    await ok(admin.post(f"/users/{organisation.buyer.user_id}/deactivate", etag="*"))
    assert await codes(owner_is_active="false") == "B"
    # An owner who is not active any more may stay.
    kept = {"owner_id": organisation.buyer.user_id, "name": "Other"}
    assert (await ok(admin.patch(_path(top), etag="*", json=kept))).json()["name"] == "Other"
    shown = (await ok(admin.get(_path(top)))).json()
    assert (shown["owner_id"], shown["owner_is_active"]) == (organisation.buyer.user_id, False)


async def test_groups_have_members_that_are_active_when_they_are_added(organisation: TestOrganisation) -> None:
    admin, buyer, auditor = organisation.admin, organisation.buyer, organisation.auditor
    ids = sorted([buyer.user_id, organisation.approver.user_id])
    group = await _add(admin, "approval-groups", "IT board", member_ids=[*ids, ids[0]])
    assert sorted(member["id"] for member in group.json()["members"]) == ids
    await ok(admin.post(f"/users/{buyer.user_id}/deactivate", etag="*"))
    shown = (await ok(auditor.get(_path(group)))).json()
    active = {member["id"]: member["is_active"] for member in shown["members"]}
    assert active == {user_id: user_id != buyer.user_id for user_id in ids}
    # Who is in it already may stay.
    more = await ok(_patch(admin, group, member_ids=[*ids, admin.user_id]))
    assert more.json()["member_count"] == 3
    same = await ok(admin.patch(_path(group), etag="*", json={"member_ids": [*ids, admin.user_id]}))
    assert same.json()["version"] == more.json()["version"]
    fewer = await ok(admin.patch(_path(group), etag="*", json={"member_ids": [admin.user_id]}))
    assert [member["id"] for member in fewer.json()["members"]] == [admin.user_id]
    problem = await refused(admin.patch(_path(group), etag="*", json={"member_ids": ids}), 422, "unknown_member")
    assert [error["pointer"] for error in problem["errors"]] == ["/member_ids"]
    listed = (await ok(auditor.get("/approval-groups", params={"member_id": admin.user_id}))).json()["items"]
    assert [(item["name"], item["member_count"]) for item in listed] == [("IT board", 1)]
    assert (await ok(auditor.get("/approval-groups", params={"member_id": ids[0]}))).json()["items"] == []
    last = (await ok(auditor.get(f"{_path(group)}/history"))).json()["items"][-1]
    assert last["after"] == {"member_ids": [admin.user_id]}


async def test_who_leaves_is_in_no_group_and_comes_back_to_none(organisation: TestOrganisation) -> None:
    admin, buyer = organisation.admin, organisation.buyer
    group = await _add(admin, "approval-groups", "Board", member_ids=[buyer.user_id])
    await _add(admin, "teams", "Buying", lead_id=buyer.user_id)
    await ok(buyer.post("/users/me/leave", etag="*"))
    assert (await ok(admin.get(_path(group)))).json()["members"] == []
    assert (await ok(admin.get("/teams?lead_is_active=false"))).json()["items"][0]["lead_id"] == buyer.user_id
