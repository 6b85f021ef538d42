"""Requests and orders in other currencies: their amounts in the base currency, and what limits make of them."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from po_api.db.database import libpq_url
from support.clock import set_clock
from support.invariants import check
from support.organisations import (
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
from support.statements import sent_to

USD = {"2026-03-02": "0.9215", "2026-03-05": "0.9188"}
BASE = ("base_currency", "base_rate", "base_rate_date", "base_net", "base_total")


async def give_rates(company: TestOrganisation, rates: dict[str, str], currency: str = "USD") -> None:
    for day, rate in rates.items():
        body = {"currency": currency, "rate_date": day, "rate": rate, "confirm": True}
        answer = await company.admin.post("/exchange-rates", json=body)
        assert answer.is_success, answer.text


@pytest.fixture
async def company(app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> TestOrganisation:
    """An organisation with the rates of the specification, on 4 March 2026."""
    found = await new_organisation(app, client, currency="EUR", timezone="UTC")
    await give_rates(found, USD)
    set_clock(monkeypatch, "2026-03-04T12:00:00+00:00")
    return found


def line(price: str, quantity: str = "1", tax: str = "0") -> dict[str, str]:
    return {"description": "Lamp", "quantity": quantity, "unit_price": price, "tax_rate": tax}


def usd(price: str = "1234.56", **more: Any) -> dict[str, Any]:
    return {"currency": "USD", "lines": [line(price)], **more}


def base_of(shown: httpx.Response) -> tuple[Any, ...]:
    return tuple(shown.json()[name] for name in BASE)


async def reasons(member: Member, shown: httpx.Response, action: str) -> tuple[bool, str | None]:
    answer = (await again(member, shown)).json()["allowed_actions"][action]
    return answer["allowed"], answer["reason"]


async def waiting(member: Member) -> list[int]:
    return [item["id"] for item in (await ok(member.get("/porfs?waiting_for_me=true"))).json()["items"]]


async def test_a_submission_fixes_the_amounts_at_the_rate_of_its_day(
    company: TestOrganisation, monkeypatch: pytest.MonkeyPatch, urls: tuple[str, str]
) -> None:
    draft = await company.draft(**usd())
    assert base_of(draft) == (None,) * 5
    preview = await ok(company.requester.post(f"/porfs/{draft.json()['id']}/submit?dry_run=true", etag="*"))
    assert base_of(await again(company.requester, draft)) == (None,) * 5
    pending = await act(company.requester, draft, "submit")
    first = ("EUR", "0.9215", "2026-03-02", "1137.65", "1137.65")
    assert base_of(pending) == base_of(preview) == first
    assert (pending.json()["base_ceiling"], pending.json()["lines"][0]["base_net"]) == ("1137.65", "1137.65")
    # A correction of the rate changes nothing; neither does deleting it, which is refused.
    await give_rates(company, {"2026-03-02": "0.5"})
    assert base_of(await again(company.requester, pending)) == first
    rates = (await ok(company.admin.get("/exchange-rates?currency=USD&date=2026-03-04"))).json()["items"]
    assert [rate["rate"] for rate in rates] == ["0.5"]
    await refused(company.admin.delete(f"/exchange-rates/{rates[0]['id']}"), 409, "rate_in_use")
    # Recalled and submitted again later: the history has both.
    set_clock(monkeypatch, "2026-03-06T12:00:00+00:00")
    recalled = await act(company.requester, pending, "recall")
    assert (base_of(recalled), recalled.json()["base_ceiling"]) == ((None,) * 5, None)
    again_pending = await act(company.requester, recalled, "submit")
    assert base_of(again_pending) == ("EUR", "0.9188", "2026-03-05", "1134.31", "1134.31")
    history = (await ok(company.buyer.get(f"/porfs/{draft.json()['id']}/history"))).json()["items"]
    submitted = [item["after"] for item in history if item["action"] == "porf.submit"]
    assert [(item["base_total"], item["base_rate_date"]) for item in submitted] == [
        ("1137.65", "2026-03-02"),
        ("1134.31", "2026-03-05"),
    ]
    await ok(company.admin.delete(f"/exchange-rates/{rates[0]['id']}"), 204)
    await check(urls[0], company.organisation_id)


async def test_an_old_rate_is_none(company: TestOrganisation, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = await company.draft(**usd())
    path = f"/porfs/{draft.json()['id']}/submit"
    for moment, status in [("2026-03-12T23:59:59+00:00", 200), ("2026-03-13T00:00:00+00:00", 409)]:
        set_clock(monkeypatch, moment)
        answer = await ok(company.requester.post(f"{path}?dry_run=true", etag="*"), status)
        assert (await reasons(company.requester, draft, "submit"))[0] is (status == 200)
    problem = answer.json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("rate_missing", "/currency")
    assert await reasons(company.requester, draft, "submit") == (False, "rate_missing")
    (listed,) = (await ok(company.requester.get("/porfs"))).json()["items"]
    assert "submit" not in listed["allowed_actions"]
    # Neither before the first rate, nor for a currency without rates; documents in the base currency need none.
    set_clock(monkeypatch, "2026-03-01T12:00:00+00:00")
    await refused(company.requester.post(path, etag="*"), 409, "rate_missing")
    other = await company.draft(currency="CHF")
    await refused(company.requester.post(f"/porfs/{other.json()['id']}/submit", etag="*"), 409, "rate_missing")
    own = await company.pending(currency="EUR")
    assert base_of(own) == ("EUR", "1", "2026-03-01", own.json()["net"], own.json()["total"])
    assert own.json()["lines"][0]["base_net"] == own.json()["lines"][0]["net"]


@pytest.mark.parametrize(
    ("currency", "rate", "lines", "base_total", "of_lines"),
    [
        ("JPY", "0.006135", ["150001"], "920.26", ["920.26"]),
        ("KWD", "2.9876", ["12.345"], "36.88", ["36.88"]),
        ("USD", "0.9215", ["33.33"] * 3, "92.14", ["30.72", "30.71", "30.71"]),
        ("USD", "0.9", ["0.05"], "0.05", ["0.05"]),
    ],
)
async def test_amounts_are_rounded_half_up_and_lines_add_up(
    company: TestOrganisation, currency: str, rate: str, lines: list[str], base_total: str, of_lines: list[str]
) -> None:
    await give_rates(company, {"2026-03-03": rate}, currency)
    pending = await company.pending(currency=currency, lines=[line(price) for price in lines])
    shown = pending.json()
    assert (shown["base_net"], shown["base_total"]) == (base_total, base_total)
    assert [item["base_net"] for item in shown["lines"]] == of_lines


async def test_the_day_is_that_of_the_organisation(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    auckland = await new_organisation(app, client, currency="EUR", timezone="Pacific/Auckland")
    await give_rates(auckland, USD)
    set_clock(monkeypatch, "2026-03-04T11:30:00+00:00")
    pending = await auckland.pending(**usd())
    assert base_of(pending) == ("EUR", "0.9188", "2026-03-05", "1134.31", "1134.31")


async def test_limits_are_compared_with_the_amount_in_the_base_currency(company: TestOrganisation) -> None:
    enough = await company.member(Role.APPROVER, approval_limit="1137.65")
    less = await company.member(Role.APPROVER, approval_limit="1137.64")
    pending = await company.pending(**usd())
    assert (await waiting(enough), await waiting(less)) == ([pending.json()["id"]], [])
    assert (await again(company.admin, pending)).json()["approvers"]["count"] == 2
    problem = await refused(less.post(f"/porfs/{pending.json()['id']}/approve", etag="*"), 403, "over_approval_limit")
    assert problem["detail"] == ("the limit of 1137.64 EUR does not permit 1234.56 USD, which is 1137.65 EUR")
    assert await reasons(less, pending, "approve") == (False, "over_approval_limit")
    await act(enough, pending, "approve")


async def test_the_ceiling_includes_the_tolerance(app: FastAPI, client: httpx.AsyncClient) -> None:
    company = await new_organisation(app, client, currency="EUR", over_order_percent="10")
    day = "2026-03-02"
    settings = {"max_rate_age_days": 366}
    await ok(company.admin.patch("/organisations/current", etag="*", json=settings))
    await give_rates(company, {day: "0.9"})
    pending = await company.pending(currency="USD", lines=[line("100", "2")])
    assert (pending.json()["base_total"], pending.json()["base_ceiling"]) == ("180.00", "198.00")
    less = await company.member(Role.APPROVER, approval_limit="197.99")
    await refused(less.post(f"/porfs/{pending.json()['id']}/approve", etag="*"), 403, "over_approval_limit")


async def test_without_anybody_whose_limit_is_high_enough_nothing_is_submitted(company: TestOrganisation) -> None:
    await ok(company.admin.patch(f"/users/{company.approver.user_id}", etag="*", json={"approval_limit": "1137.64"}))
    draft = await company.draft(**usd())
    path = f"/porfs/{draft.json()['id']}/submit"
    problem = await refused(company.requester.post(path, etag="*"), 409, "no_approver")
    assert "1234.56 USD, which is 1137.65 EUR with a higher limit" in problem["detail"]
    await ok(company.admin.patch(f"/users/{company.approver.user_id}", etag="*", json={"approval_limit": "1137.65"}))
    await ok(company.requester.post(path, etag="*"))


async def test_another_currency_changes_no_price(company: TestOrganisation) -> None:
    draft = await company.draft(currency="KWD", lines=[line("12.3455", "3")])
    assert draft.json()["lines"][0]["net"] == "37.037"
    changed = await ok(company.requester.patch(f"/porfs/{draft.json()['id']}", etag="*", json={"currency": "EUR"}))
    (changed_line,) = changed.json()["lines"]
    assert (changed_line["unit_price"], changed_line["net"]) == ("12.3455", "37.04")
    assert base_of(changed) == (None,) * 5
    pending = await act(company.requester, changed, "submit")
    assert base_of(pending) == ("EUR", "1", "2026-03-04", "37.04", "37.04")


async def test_an_organisation_without_rates_works_as_before(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]
) -> None:
    company = await new_organisation(app, client, currency="EUR", timezone="UTC")
    limited = await company.member(Role.APPROVER, approval_limit="1000000")
    pending = await company.pending(**usd())
    assert (base_of(pending), pending.json()["base_ceiling"]) == ((None,) * 5, None)
    assert pending.json()["lines"][0]["base_net"] is None
    assert (await waiting(limited), await waiting(company.approver)) == ([], [pending.json()["id"]])
    path = f"/porfs/{pending.json()['id']}/approve"
    await refused(limited.post(path, etag="*"), 403, "limit_in_other_currency")
    assert await reasons(limited, pending, "approve") == (False, "limit_in_other_currency")
    # With rates, the amount is still not known, and above every limit.
    await give_rates(company, {"2020-01-01": "0.9"})
    problem = await refused(limited.post(path, etag="*"), 403, "over_approval_limit")
    assert problem["detail"].endswith("1234.56 USD, whose amount in EUR is not known")
    assert await reasons(limited, pending, "approve") == (False, "over_approval_limit")
    approved = await act(company.approver, pending, "approve")
    order = await created(company.convert(approved))
    assert (await reasons(company.buyer, order, "issue")) == (False, "rate_missing")
    problem = await refused(perform(company.buyer, order, "issue"), 409, "rate_missing")
    assert problem["errors"][0]["pointer"] == "/currency"
    await check(urls[0], company.organisation_id)


async def test_an_order_has_the_rate_of_its_issue(
    company: TestOrganisation, monkeypatch: pytest.MonkeyPatch, urls: tuple[str, str]
) -> None:
    lines = [line("33.33", tax="20")] * 3
    approved = await company.approved(currency="USD", lines=lines)
    mine = await company.member(Role.REQUESTER)
    body = {"title": "Mine", "supplier_id": company.supplier_id, **usd("10.00")}
    own = await act(mine, await created(mine.post("/porfs", json=body)), "submit")
    own = await act(company.approver, own, "approve")
    both = {"porf_ids": [approved.json()["id"], own.json()["id"]]}
    order = await created(company.buyer.post("/purchase-orders", json=both))
    assert base_of(order) == (None,) * 5
    set_clock(monkeypatch, "2026-03-06T12:00:00+00:00")
    # 109.99 and 129.99 at 0.9188.
    issued = await ok(perform(company.buyer, order, "issue"))
    assert base_of(issued) == ("EUR", "0.9188", "2026-03-05", "101.06", "119.43")
    of_lines = [item["base_net"] for item in issued.json()["lines"]]
    assert of_lines == ["30.63", "30.62", "30.62", "9.19"]
    # A requester sees the part of their own request only.
    part = await again(mine, issued)
    assert part.json()["is_partial"]
    assert base_of(part) == ("EUR", "0.9188", "2026-03-05", "9.19", "9.19")
    assert [item["base_net"] for item in part.json()["lines"]] == ["9.19"]
    (listed,) = (await ok(mine.get("/purchase-orders"))).json()["items"]
    assert listed["base_total"] == "9.19"
    path = f"/purchase-orders/{issued.json()['id']}/history"
    for member, expected in [(company.buyer, "119.43"), (mine, None)]:
        event = (await ok(member.get(path))).json()["items"][-1]
        assert (event["action"], event["after"].get("base_total")) == ("purchase_order.issue", expected)
    await give_rates(company, {"2026-03-05": "0.5"})
    await ok(perform(company.buyer, issued, "cancel"))
    assert base_of(await again(company.buyer, issued)) == base_of(issued)
    for kind in ("porfs", "purchase-orders"):
        exported = (await ok(company.buyer.get(f"/{kind}/export"))).text
        assert "base_total" in exported.partition("\n")[0]
    await check(urls[0], company.organisation_id)


async def test_another_currency_takes_no_further_statement(company: TestOrganisation) -> None:
    counts: dict[str, list[int]] = {}

    async def counted(name: str, pending: Any) -> httpx.Response:
        async with sent_to(company.database) as sent:
            answer: httpx.Response = await pending
        assert answer.is_success, answer.text
        counts.setdefault(name, []).append(sum(item.is_statement for item in sent))
        return answer

    for member in (company.requester, company.approver, company.buyer):
        await ok(member.get("/users/me"))
    for currency in ("EUR", "USD"):
        draft = await company.draft(currency=currency)
        path = f"/porfs/{draft.json()['id']}"
        pending = await counted("submit", company.requester.post(f"{path}/submit", etag=draft.headers["ETag"]))
        approved = await counted("approve", company.approver.post(f"{path}/approve", etag=pending.headers["ETag"]))
        order = await counted("convert", company.convert(approved))
        await counted("issue", perform(company.buyer, order, "issue"))
    assert all(own == other for own, other in counts.values())


async def _submitted_while(company: TestOrganisation, turn: int, change: Any) -> httpx.Response:
    """The response to a submission at the same time as a change."""
    draft = await company.draft(**usd("100.00"))
    both = [company.requester.post(f"/porfs/{draft.json()['id']}/submit", etag="*"), change]
    answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
    found: httpx.Response = answers[0 if turn % 2 else 1]
    return found


@pytest.mark.heavy
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.exhaustive)])
async def test_a_submission_has_one_rate_whatever_changes_meanwhile(
    company: TestOrganisation, urls: tuple[str, str], rounds: int
) -> None:
    for turn in range(rounds):
        await give_rates(company, {"2026-03-03": "0.5"})
        body = {"currency": "USD", "rate_date": "2026-03-03", "rate": "0.6", "confirm": True}
        answer = await _submitted_while(company, turn, company.admin.post("/exchange-rates", json=body))
        found = answer.json()
        assert (found["base_rate"], found["base_total"], found["base_ceiling"]) in {
            ("0.5", "50.00", "50.00"),
            ("0.6", "60.00", "60.00"),
        }
        # Of a rate that is deleted meanwhile, one of both comes first.
        day = (
            await ok(company.admin.get("/exchange-rates?currency=USD&rate_date_gte=2026-03-02&sort=rate_date"))
        ).json()
        newest = next(item for item in day["items"] if item["rate_date"] == "2026-03-03")
        deleted = await company.admin.delete(f"/exchange-rates/{newest['id']}")
        assert deleted.status_code == 409
        await give_rates(company, {"2026-03-04": "0.7"})
        (last,) = (await ok(company.admin.get("/exchange-rates?currency=USD&date=2026-03-04"))).json()["items"]
        answer = await _submitted_while(company, turn, company.admin.delete(f"/exchange-rates/{last['id']}"))
        is_kept = bool(
            (await ok(company.admin.get("/exchange-rates?rate_date_gte=2026-03-04&rate_date_lt=2026-03-05"))).json()[
                "items"
            ]
        )
        if answer.is_success:
            assert (answer.json()["base_rate"] == "0.7") is is_kept
            await act(company.requester, answer, "recall")
        else:
            assert (answer.status_code, answer.json()["code"], is_kept) == (409, "rate_missing", False)
        if is_kept:
            await ok(company.admin.delete(f"/exchange-rates/{last['id']}"), 204)
    await check(urls[0], company.organisation_id)


async def test_the_database_refuses_amounts_that_do_not_fit(company: TestOrganisation, urls: tuple[str, str]) -> None:
    other, own = await company.pending(**usd()), await company.pending(currency="EUR")
    owner = await asyncpg.connect(libpq_url(urls[0]))
    try:
        for porf, change in [
            (own, "base_rate = 2, base_net = 2 * net, base_total = 2 * total"),
            (own, "base_total = base_total + 1"),
            (own, "base_net = NULL"),
            (other, "base_total = base_total + 0.01"),
            (other, "total = total + 1, net = net + 1"),
        ]:
            with pytest.raises(asyncpg.CheckViolationError):
                await owner.execute(f"UPDATE porfs SET {change} WHERE id = $1", porf.json()["id"])
    finally:
        await owner.close()
