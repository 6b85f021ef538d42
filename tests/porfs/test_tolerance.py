"""The tolerance for orders is part of what is approved: approvers see it, and their limits include it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from po_api.core.currencies import minor_units
from po_api.core.money import cut_quantity
from po_api.core.permissions import Role
from po_api.porfs.maximum import maximum_total
from support.invariants import check_connection
from support.organisations import (
    LINE,
    Member,
    TestOrganisation,
    act,
    again,
    created,
    new_organisation,
    ok,
    perform,
    refused,
)
from support.pages import as_listed
from support.repetition import part_of

HUNDRED = {"description": "Desk", "quantity": "10", "unit_price": "10"}


async def tolerant(app: FastAPI, client: httpx.AsyncClient, percent: str, **settings: Any) -> TestOrganisation:
    return await new_organisation(app, client, over_order_percent=Decimal(percent), **settings)


async def set_tolerance(organisation: TestOrganisation, percent: str) -> None:
    body = {"over_order_percent": percent}
    await ok(organisation.admin.patch("/organisations/current", etag="*", json=body))


async def without(organisation: TestOrganisation, approver: Member) -> None:
    await ok(organisation.admin.post(f"/users/{approver.user_id}/deactivate", etag="*"))


def tolerance(porf: httpx.Response) -> tuple[str, str, str]:
    """The total, the tolerance, and what can be ordered at most."""
    shown = porf.json()
    return shown["total"], shown["over_order_percent"], shown["maximum_total"]


async def waiting(approver: Member) -> list[int]:
    return [item["id"] for item in (await ok(approver.get("/porfs?waiting_for_me=true"))).json()["items"]]


@pytest.mark.parametrize(
    ("percent", "limit", "is_enough"),
    [
        ("999", "100", False),
        ("999", "1098.99", False),
        ("999", "1099", True),
        ("10", "109.99", False),
        ("10", "110", True),
        ("0", "99.99", False),
        ("0", "100", True),
        ("0.0001", "100", True),  # 10 and the tolerance are 10.00001, cut to 10.0000
    ],
)
async def test_a_limit_is_compared_with_what_can_be_ordered_at_most(
    app: FastAPI, client: httpx.AsyncClient, percent: str, limit: str, is_enough: bool
) -> None:
    organisation = await tolerant(app, client, percent)
    approver = await organisation.member(Role.APPROVER, approval_limit=limit)
    porf = await organisation.pending(lines=[HUNDRED])
    seen = (await ok(approver.get(f"/porfs/{porf.json()['id']}"))).json()
    (listed,) = (await ok(approver.get("/porfs"))).json()["items"]
    assert listed["allowed_actions"] == as_listed(seen)["allowed_actions"]
    reasons = {seen["allowed_actions"][action]["reason"] for action in ("approve", "return")}
    assert reasons == {None if is_enough else "over_approval_limit"}
    assert seen["allowed_actions"]["reject"]["allowed"]
    assert await waiting(approver) == ([porf.json()["id"]] if is_enough else [])
    path = f"/porfs/{porf.json()['id']}/approve"
    if is_enough:
        approved = await act(approver, porf, "approve")
        quantity = f"{cut_quantity(Decimal(10) * (100 + Decimal(percent)) / 100):f}"
        line = {"line_id": porf.json()["lines"][0]["id"], "quantity": quantity}
        order = await created(organisation.convert(approved, lines=[line]))
        assert Decimal(order.json()["total"]) <= Decimal(limit)
    else:
        problem = await refused(approver.post(path, etag=porf.headers["ETag"]), 403, "over_approval_limit")
        assert seen["maximum_total"] in problem["detail"]


async def test_only_who_could_approve_all_that_can_be_ordered_makes_a_draft_submittable(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await tolerant(app, client, "10")
    limited = await organisation.member(Role.APPROVER, approval_limit="109.99", name="Lou Limited")
    await without(organisation, organisation.approver)
    draft = await organisation.draft(lines=[HUNDRED])
    assert draft.json()["allowed_actions"]["submit"]["reason"] == "no_approver"
    submit = organisation.requester.post(f"/porfs/{draft.json()['id']}/submit", etag=draft.headers["ETag"])
    problem = await refused(submit, 409, "no_approver")
    assert problem["detail"] == (
        "active approvers who could approve 110.00 GBP (the total of 100.00 with the tolerance of 10 %)"
        " with a higher limit: 1; the highest of their limits is 109.99 GBP"
    )
    await ok(organisation.admin.patch(f"/users/{limited.user_id}", etag="*", json={"approval_limit": "110.00"}))
    await act(organisation.requester, await again(organisation.requester, draft), "submit")
    changed = organisation.admin.patch(f"/users/{limited.user_id}", etag="*", json={"approval_limit": "109.99"})
    warnings = (await ok(changed)).json()["warnings"]
    assert [warning["code"] for warning in warnings] == ["no_approver_left"]


async def test_a_draft_follows_the_setting_and_a_submission_fixes_it(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await tolerant(app, client, "0")
    await organisation.member(Role.APPROVER, approval_limit="100")
    await without(organisation, organisation.approver)
    draft = await organisation.draft(lines=[HUNDRED])
    assert tolerance(draft) == ("100.00", "0", "100.00")
    await set_tolerance(organisation, "12.5")
    shown = await again(organisation.requester, draft)
    assert tolerance(shown) == ("100.00", "12.5", "112.50")
    assert shown.json()["allowed_actions"]["submit"]["reason"] == "no_approver"
    (listed,) = (await ok(organisation.requester.get("/porfs"))).json()["items"]
    assert listed["allowed_actions"] == as_listed(shown.json())["allowed_actions"]
    await set_tolerance(organisation, "0")
    pending = await act(organisation.requester, shown, "submit")
    await set_tolerance(organisation, "50")
    assert tolerance(await again(organisation.requester, pending)) == ("100.00", "0", "100.00")


async def test_another_setting_neither_widens_an_approval_nor_breaks_it(
    app: FastAPI, client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    organisation = await tolerant(app, client, "10")
    approver = await organisation.member(Role.APPROVER, approval_limit="110")
    for percent, quantity in (("0", "11"), ("999", "11")):
        pending = await organisation.pending(lines=[HUNDRED])
        await set_tolerance(organisation, percent)
        porf = await act(approver, pending, "approve")
        assert tolerance(porf) == ("100.00", "10", "110.00")
        line_id = porf.json()["lines"][0]["id"]
        too_much = organisation.convert(porf, lines=[{"line_id": line_id, "quantity": "11.0001"}])
        await refused(too_much, 409, "quantity_exceeds_remaining")
        order = await created(organisation.convert(porf, lines=[{"line_id": line_id, "quantity": quantity}]))
        assert order.json()["total"] == "110.00"
        await set_tolerance(organisation, "10")
        await ok(perform(organisation.buyer, order, "issue"))
    await check_connection(owner, organisation.organisation_id)


async def test_another_submission_takes_the_present_setting(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await tolerant(app, client, "10")
    porf = await organisation.approved(lines=[HUNDRED])
    await set_tolerance(organisation, "20")
    draft = await act(organisation.buyer, porf, "reopen")
    assert tolerance(draft) == ("100.00", "20", "120.00")
    pending = await act(organisation.requester, draft, "submit")
    recalled = await act(organisation.requester, pending, "recall")
    await set_tolerance(organisation, "0")
    porf = await act(organisation.approver, await act(organisation.requester, recalled, "submit"), "approve")
    assert tolerance(porf) == ("100.00", "0", "100.00")
    line = {"line_id": porf.json()["lines"][0]["id"], "quantity": "10.0001"}
    await refused(organisation.convert(porf, lines=[line]), 409, "quantity_exceeds_remaining")


async def test_a_tolerance_that_is_not_the_approved_one_is_not_ordered(
    app: FastAPI, client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    organisation = await tolerant(app, client, "10")
    porf = await organisation.approved(lines=[HUNDRED])
    await owner.execute("UPDATE porf_lines SET over_order_percent = 999 WHERE porf_id = $1", porf.json()["id"])
    await refused(organisation.convert(porf), 409, "approval_mismatch")


async def test_a_request_that_the_version_before_submitted_is_compared_by_its_lines(
    app: FastAPI, client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    organisation = await tolerant(app, client, "10")
    approver = await organisation.member(Role.APPROVER, approval_limit="109.99")
    porf = await organisation.pending(lines=[HUNDRED])
    await owner.execute(
        "UPDATE porfs SET over_order_percent = NULL, maximum_total = NULL WHERE id = $1", porf.json()["id"]
    )
    await set_tolerance(organisation, "0")
    assert tolerance(await again(approver, porf)) == ("100.00", "10", "110.00")
    assert await waiting(approver) == []
    approve = approver.post(f"/porfs/{porf.json()['id']}/approve", etag=porf.headers["ETag"])
    await refused(approve, 403, "over_approval_limit")


# The amount in Python and in SQL.


@dataclass(frozen=True)
class Line:
    """A line, of which the amount is computed in Python."""

    quantity: Decimal
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal
    over_order_percent: Decimal


def decimals(largest: str) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(0), Decimal(largest), places=4)


lines = st.lists(
    st.fixed_dictionaries(
        {
            "quantity": decimals("1000000").filter(bool),
            "unit_price": decimals("1000000") | st.decimals(0, 1, places=2),
            "discount_percent": decimals("100"),
            "tax_rate": st.sampled_from([Decimal(0), Decimal(7), Decimal("7.7"), Decimal(20)]),
        }
    ),
    max_size=4,
)


@pytest.mark.heavy
@settings(max_examples=part_of(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=lines,
    percent=st.sampled_from([Decimal(0), Decimal("0.0001"), Decimal(10), Decimal("33.3333"), Decimal("999.9999")]),
    currency=st.sampled_from(["EUR", "JPY", "TND"]),
    tax_rounding=st.sampled_from(["line", "document"]),
)
@example(
    lines=[
        {"quantity": Decimal(1), "unit_price": Decimal("0.05"), "discount_percent": Decimal(0), "tax_rate": Decimal(20)}
    ]
    * 3,
    percent=Decimal(10),
    currency="EUR",
    tax_rounding="line",
)
async def test_the_amount_is_the_same_in_python_and_sql(
    organisation: TestOrganisation,
    owner: asyncpg.Connection,
    lines: list[dict[str, Decimal]],
    percent: Decimal,
    currency: str,
    tax_rounding: str,
) -> None:
    await owner.execute(
        "UPDATE organisations SET over_order_percent = $2, tax_rounding = $3 WHERE id = $1",
        *(organisation.organisation_id, percent, tax_rounding),
    )
    body = [{name: f"{value:f}" for name, value in line.items()} | {"description": "x"} for line in lines]
    draft = await organisation.draft(lines=body, currency=currency)
    expected = maximum_total(
        [Line(**line, over_order_percent=percent) for line in lines], currency=currency, tax_rounding=tax_rounding
    )
    shown = f"{expected:.{minor_units(currency)}f}"
    assert draft.json()["maximum_total"] == shown
    if not lines:
        return
    pending = await act(organisation.requester, draft, "submit")
    assert pending.json()["maximum_total"] == shown
    await owner.execute("UPDATE porfs SET maximum_total = NULL WHERE id = $1", draft.json()["id"])
    assert (await again(organisation.buyer, draft)).json()["maximum_total"] == shown


async def test_the_amount_is_what_an_order_of_all_that_is_allowed_costs(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    organisation = await tolerant(app, client, "33.3333", tax_rounding="line")
    porf = await organisation.approved(lines=[LINE | {"quantity": "0.7"}, LINE | {"discount_percent": "3.3"}])
    quantities = ["0.9333", "13.3333"]
    wanted = [
        {"line_id": line["id"], "quantity": quantity}
        for line, quantity in zip(porf.json()["lines"], quantities, strict=True)
    ]
    order = await created(organisation.convert(porf, lines=wanted))
    assert order.json()["total"] == porf.json()["maximum_total"]
