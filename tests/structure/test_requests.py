"""Requests and orders name cost centres and categories; the text of a request and its cost centre are in step."""

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from po_api.db.database import enter_tenant
from po_api.porfs.models import Porf
from support.organisations import LINE, Member, TestOrganisation, act, again, created, new_organisation, ok, refused
from support.pages import all_items


async def _cost_centre(organisation: TestOrganisation, code: str, **fields: Any) -> int:
    body = {"code": code, "name": code, **fields}
    made = await created(organisation.admin.post("/cost-centres", json=body))
    entry_id: int = made.json()["id"]
    return entry_id


async def _category(organisation: TestOrganisation, code: str) -> int:
    made = await created(organisation.admin.post("/categories", json={"code": code, "name": code}))
    entry_id: int = made.json()["id"]
    return entry_id


async def _deactivate(organisation: TestOrganisation, path: str) -> None:
    await ok(organisation.admin.post(f"{path}/deactivate", etag="*"))


def _named(porf: httpx.Response) -> tuple[str | None, int | None]:
    return porf.json()["cost_centre"], porf.json()["cost_centre_id"]


async def _patch(who: Member, porf: httpx.Response, **fields: Any) -> httpx.Response:
    return await who.patch(f"/porfs/{porf.json()['id']}", etag="*", json=fields)


async def test_the_text_and_the_cost_centre_of_a_request_are_in_step(organisation: TestOrganisation) -> None:
    requester = organisation.requester
    one, two = await _cost_centre(organisation, "KST 1"), await _cost_centre(organisation, "KST 2")
    by_id = await organisation.draft(cost_centre_id=one)
    assert _named(by_id) == ("KST 1", one)
    assert _named(await organisation.draft(cost_centre="kst 1")) == ("kst 1", one)
    assert _named(await organisation.draft(cost_centre="kst 1", cost_centre_id=one)) == ("kst 1", one)
    assert _named(await organisation.draft(cost_centre="elsewhere")) == ("elsewhere", None)
    body = {"title": "T", "cost_centre": "KST 2", "cost_centre_id": one}
    await refused(requester.post("/porfs", json=body), 422, "cost_centre_mismatch")

    assert _named(await ok(_patch(requester, by_id, cost_centre="KST 2"))) == ("KST 2", two)
    assert _named(await ok(_patch(requester, by_id, cost_centre="elsewhere"))) == ("elsewhere", None)
    assert _named(await ok(_patch(requester, by_id, cost_centre_id=one))) == ("KST 1", one)
    await refused(_patch(requester, by_id, cost_centre_id=one, cost_centre="KST 2"), 422, "cost_centre_mismatch")
    assert _named(await ok(_patch(requester, by_id, cost_centre_id=None))) == (None, None)
    assert _named(await ok(_patch(requester, by_id, cost_centre_id=two, cost_centre="KST 2"))) == ("KST 2", two)
    assert _named(await ok(_patch(requester, by_id, cost_centre=None))) == (None, None)

    last = await ok(_patch(requester, by_id, cost_centre_id=two))
    await _deactivate(organisation, f"/cost-centres/{two}")
    # What a draft has already may stay, also if it is sent again.
    assert _named(await ok(_patch(requester, last, cost_centre_id=two, title="Other"))) == ("KST 2", two)
    for wrong in (two, 10**15):
        problem = await refused(
            requester.post("/porfs", json={"title": "T", "cost_centre_id": wrong}), 422, "unknown_cost_centre"
        )
        assert [error["pointer"] for error in problem["errors"]] == ["/cost_centre_id"]
    assert _named(await created(requester.post(f"/porfs/{last.json()['id']}/copy"))) == (None, None)


async def test_a_request_that_names_none_has_the_members_default(organisation: TestOrganisation) -> None:
    admin, requester = organisation.admin, organisation.requester
    default, other = await _cost_centre(organisation, "1"), await _cost_centre(organisation, "2")
    without = await organisation.draft()
    own = {"default_cost_centre_id": default}
    await ok(requester.patch(f"/users/{requester.user_id}", etag="*", json=own))
    assert _named(await organisation.draft()) == ("1", default)
    assert _named(await organisation.draft(cost_centre="elsewhere")) == ("elsewhere", None)
    assert _named(await organisation.draft(cost_centre_id=other)) == ("2", other)
    # A copy is one of the content.
    assert _named(await created(requester.post(f"/porfs/{without.json()['id']}/copy"))) == (None, None)
    await ok(admin.post(f"/cost-centres/{default}/deactivate", etag="*"))
    assert _named(await organisation.draft()) == (None, None)


async def test_what_the_version_before_has_written_is_looked_up_at_submission(organisation: TestOrganisation) -> None:
    one, two = await _cost_centre(organisation, "1"), await _cost_centre(organisation, "2")
    expected = {"2": two, "elsewhere": None}
    for text, cost_centre_id in expected.items():
        draft = await organisation.draft(cost_centre_id=one)
        async with organisation.database.sessions.begin() as session:
            await enter_tenant(session, organisation.organisation_id)
            own = (Porf.organisation_id == organisation.organisation_id, Porf.id == draft.json()["id"])
            await session.execute(update(Porf).where(*own).values(cost_centre=text))
        pending = await act(organisation.requester, draft, "submit")
        assert _named(pending) == (text, cost_centre_id)


@pytest.mark.heavy
async def test_lines_have_categories_and_cost_centres_down_to_the_order(organisation: TestOrganisation) -> None:
    requester = organisation.requester
    header, own = await _cost_centre(organisation, "100"), await _cost_centre(organisation, "200")
    category = await _category(organisation, "IT")
    lines = [LINE, LINE | {"category_id": category, "cost_centre_id": own}]
    draft = await organisation.draft(cost_centre_id=header, lines=lines)
    assert [(line["category_id"], line["cost_centre_id"]) for line in draft.json()["lines"]] == [
        (None, None),
        (category, own),
    ]
    copy = await created(requester.post(f"/porfs/{draft.json()['id']}/copy"))
    assert copy.json()["lines"][1]["category_id"] == category
    approved = await act(organisation.approver, await act(requester, draft, "submit"), "approve")
    order = await created(organisation.convert(approved))
    assert order.json()["cost_centres"] == ["100", "200"]
    assert [(line["category_id"], line["cost_centre"], line["cost_centre_id"]) for line in order.json()["lines"]] == [
        (None, "100", header),
        (category, "200", own),
    ]

    for path, shown in (("/porfs", draft), ("/purchase-orders", order)):
        for params in ({"category_id": category}, {"cost_centre_id": own}, {"cost_centre_id": [header, 10**15]}):
            found = [item["id"] for item in await all_items(organisation.buyer, path, **params)]
            expected = (
                [shown.json()["id"]]
                if path == "/purchase-orders"
                else sorted([draft.json()["id"], copy.json()["id"]], reverse=True)
            )
            assert found == expected, (path, params)
        assert await all_items(organisation.buyer, path, category_id=10**15) == []
    both = {"category_id": category, "cost_centre_id": header}
    assert len(await all_items(organisation.buyer, "/porfs", limit=1, **both)) == 2
    counted = (await ok(organisation.buyer.get("/porfs/counts", params={"group_by": "status", **both}))).json()
    assert counted["count"] == 2


async def test_a_line_names_active_ones_only(organisation: TestOrganisation) -> None:
    requester = organisation.requester
    category, cost_centre = await _category(organisation, "IT"), await _cost_centre(organisation, "1")
    draft = await organisation.draft(lines=[LINE | {"category_id": category}])
    await _deactivate(organisation, f"/categories/{category}")
    path = f"/porfs/{draft.json()['id']}/lines"
    line_id = draft.json()["lines"][0]["id"]
    body = {"title": "T", "lines": [LINE, LINE | {"category_id": category}, LINE | {"category_id": 10**15}]}
    problem = await refused(requester.post("/porfs", json=body), 422, "unknown_category")
    assert [error["pointer"] for error in problem["errors"]] == ["/lines/1/category_id", "/lines/2/category_id"]
    problem = await refused(
        requester.post(path, etag="*", json=LINE | {"cost_centre_id": 10**15}), 422, "unknown_cost_centre"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/cost_centre_id"]
    # It may stay.
    kept = {"category_id": category, "cost_centre_id": cost_centre}
    changed = await ok(requester.patch(f"{path}/{line_id}", etag="*", json=kept))
    assert changed.json().items() >= kept.items()
    await ok(requester.patch(f"{path}/{line_id}", etag="*", json={"category_id": None}))
    await refused(
        requester.patch(f"{path}/{line_id}", etag="*", json={"category_id": category}), 422, "unknown_category"
    )
    assert (await again(requester, draft)).json()["lines"][0]["cost_centre_id"] == cost_centre


@pytest.mark.parametrize("field", ["category_id", "cost_centre_id"])
async def test_entries_of_another_organisation_are_unknown(organisation: TestOrganisation, field: str) -> None:
    other_organisation = await new_organisation(organisation.app, organisation.client)
    add = _category if field == "category_id" else _cost_centre
    theirs = await add(other_organisation, "theirs")
    body = {"title": "T", "lines": [LINE | {field: theirs}]}
    await refused(organisation.requester.post("/porfs", json=body), 422, f"unknown_{field.removesuffix('_id')}")
    assert await all_items(organisation.requester, "/porfs", **{field: theirs}) == []


async def test_files_of_lines_have_codes(organisation: TestOrganisation) -> None:
    requester = organisation.requester
    category, cost_centre = await _category(organisation, "IT-HW"), await _cost_centre(organisation, "4711")
    inactive = await _category(organisation, "OLD")
    await _deactivate(organisation, f"/categories/{inactive}")

    async def send(*rows: str) -> httpx.Response:
        content = "\n".join(["description,quantity,unit_price,Category,Cost centre", *rows]).encode()
        return await requester.post("/porfs/import", data={"title": "Imported"}, files={"file": ("lines.csv", content)})

    made = await created(send("Lamp,1,2,it-hw,4711", "Chair,1,2,,"))
    assert [(line["category_id"], line["cost_centre_id"]) for line in made.json()["lines"]] == [
        (category, cost_centre),
        (None, None),
    ]
    problem = await refused(send("Lamp,1,2,IT-HW,", "Lamp,1,2,OLD,", "Lamp,1,2,,4712"), 422, "import_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/rows/3/category", "unknown_category"),
        ("/rows/4/cost_centre", "unknown_cost_centre"),
    ]
    # What was exported can be imported.
    file = await ok(requester.get(f"/porfs/{made.json()['id']}/export"))
    assert '"IT-HW","4711"' in file.content.decode("utf-8-sig").splitlines()[1]
    again_made = await created(
        requester.post("/porfs/import", data={"title": "Again"}, files={"file": ("lines.csv", file.content)})
    )
    assert again_made.json()["lines"][0]["category_id"] == category
