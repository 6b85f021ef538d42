"""Concurrent requests: consistent results, contiguous numbers, no deadlock, and every invariant afterwards."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import asyncpg
import httpx
import pytest

from po_api.core.permissions import Role
from po_api.db.database import libpq_url
from support.invariants import check
from support.locks import Row
from support.organisations import LINE, TestOrganisation, again, created, ok, perform, refused
from support.polling import until_blocked

pytestmark = pytest.mark.heavy

ROUNDS = 3


async def race(*pending: Coroutine[Any, Any, httpx.Response]) -> list[int]:
    """Run everything concurrently; returns the statuses in the order of the arguments."""
    return [answer.status_code for answer in await asyncio.gather(*pending)]


def take(porf: httpx.Response, quantity: str) -> list[dict[str, Any]]:
    return [{"line_id": porf.json()["lines"][0]["id"], "quantity": quantity}]


async def on_porf(organisation: TestOrganisation, porf: httpx.Response, action: str) -> httpx.Response:
    """The response to the buyer's action on the request of the response `porf`."""
    return await organisation.buyer.post(f"/porfs/{porf.json()['id']}/{action}", etag=porf.headers["ETag"])


def numbers(*orders: httpx.Response) -> list[int]:
    return sorted(int(order.json()["number"].rpartition("-")[2]) for order in orders)


# Numbers


async def test_fifty_issues_at_once_of_which_ten_fail_late_leave_no_gap(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    orders = [await organisation.ordered() for _ in range(50)]
    random.Random(7).shuffle(orders)
    dry, spoilt, good = orders[:5], orders[5:10], orders[10:]
    owner = await asyncpg.connect(libpq_url(urls[0]))
    organisation_id = organisation.organisation_id
    # Their sheets exist already: storing them fails after the numbers were taken.
    await owner.executemany(
        "INSERT INTO purchase_order_sheets"
        " (organisation_id, purchase_order_id, revision, template, timezone, sheet, created_at)"
        " VALUES ($1, $2, 1, 1, 'UTC', '', now())",
        [(organisation_id, order.json()["id"]) for order in spoilt],
    )
    by_order: dict[int, Any] = {order.json()["id"]: {} for order in orders}
    by_order |= {order.json()["id"]: {"params": {"dry_run": "true"}} for order in dry}
    random.Random(8).shuffle(orders)
    answers = await asyncio.gather(
        *(perform(organisation.buyer, order, "issue", **by_order[order.json()["id"]]) for order in orders)
    )
    outcome = {order.json()["id"]: answer for order, answer in zip(orders, answers, strict=True)}
    await owner.execute("DELETE FROM purchase_order_sheets WHERE organisation_id = $1 AND sheet = ''", organisation_id)
    await owner.close()

    assert {outcome[order.json()["id"]].json()["code"] for order in spoilt} == {"already_exists"}
    assert {outcome[order.json()["id"]].status_code for order in dry + good} == {200}
    assert numbers(*(outcome[order.json()["id"]] for order in good)) == list(range(1, 41))
    await check(urls[0], organisation_id)
    rest = await asyncio.gather(*(ok(perform(organisation.buyer, order, "issue")) for order in dry + spoilt))
    assert numbers(*rest) == list(range(41, 51))
    await check(urls[0], organisation_id)


async def test_callers_who_leave_while_their_orders_are_issued_leave_no_gap(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    orders = [await organisation.ordered() for _ in range(12)]
    tasks = [asyncio.create_task(perform(organisation.buyer, order, "issue")) for order in orders]
    # When the first is through, one has a number and works on its document, and the others wait for theirs.
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks[::2]:
        task.cancel()
    outcome = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(answer, asyncio.CancelledError) for answer in outcome)
    assert {answer.status_code for answer in outcome if isinstance(answer, httpx.Response)} == {200}
    await check(urls[0], organisation.organisation_id)
    for order in orders:
        now = await again(organisation.buyer, order)
        if now.json()["status"] == "draft":
            await ok(perform(organisation.buyer, now, "issue"))
    shown = [await again(organisation.buyer, order) for order in orders]
    assert numbers(*shown) == list(range(1, 13))
    await check(urls[0], organisation.organisation_id)
    pool: Any = organisation.database.engine.pool
    assert pool.checkedout() == 0


async def test_fifty_requests_raised_at_once_have_contiguous_numbers(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    raised = await asyncio.gather(*(organisation.draft() for _ in range(50)))
    assert numbers(*raised) == list(range(1, 51))
    await check(urls[0], organisation.organisation_id)


# Two at once


@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_of_two_conversions_of_6_from_10_one_wins_and_the_other_learns_what_is_left(
    organisation: TestOrganisation, turn: int, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved()
    answers = await asyncio.gather(*(organisation.convert(porf, lines=take(porf, "6")) for _ in range(2)))
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert (won.status_code, lost.status_code) == (201, 409)
    assert lost.json()["code"] == "quantity_exceeds_remaining"
    assert lost.json()["detail"] == "line 1: 4 left"
    assert [item["pointer"] for item in lost.json()["errors"]] == ["/lines/0/quantity"]
    now = await again(organisation.buyer, porf)
    assert now.json()["lines"][0]["remaining_quantity"] == "4"
    await check(urls[0], organisation.organisation_id)


async def test_twenty_conversions_of_1_from_10_take_ten(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    wanted = {"lines": take(porf, "1")}
    found = await race(*(organisation.buyer.post(path, etag="*", json=wanted) for _ in range(20)))
    assert Counter(found) == {201: 10, 409: 10}
    assert (await again(organisation.buyer, porf)).json()["status"] == "ordered"
    await check(urls[0], organisation.organisation_id)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("action", ["cancel", "reopen"])
async def test_a_request_is_either_converted_or_taken_away(
    organisation: TestOrganisation, urls: tuple[str, str], action: str, first: int
) -> None:
    porf = await organisation.approved()
    pending = [organisation.convert(porf), on_porf(organisation, porf, action)]
    found = await race(*pending[::-1] if first else pending)
    assert sorted(found) in ([200, 409], [201, 409])
    await check(urls[0], organisation.organisation_id)


@pytest.mark.parametrize("first", [0, 1])
async def test_a_request_is_closed_or_converted_but_not_both_unseen(
    organisation: TestOrganisation, urls: tuple[str, str], first: int
) -> None:
    porf = await organisation.approved()
    pending = [organisation.convert(porf, lines=take(porf, "4")), on_porf(organisation, porf, "close")]
    found = await race(*pending[::-1] if first else pending)
    # Converted first: what is to be closed has changed since it was seen (412). Closed first: nothing to order (409).
    assert sorted(found) in ([200, 409], [201, 412])
    await check(urls[0], organisation.organisation_id)


@pytest.mark.parametrize("first", [0, 1])
async def test_what_a_cancelled_order_gives_back_is_taken_once(
    organisation: TestOrganisation, urls: tuple[str, str], first: int
) -> None:
    order = await organisation.ordered()
    porf_id = order.json()["lines"][0]["porf_id"]
    convert = [organisation.buyer.post(f"/porfs/{porf_id}/purchase-orders", etag="*") for _ in range(3)]
    pending = [*convert, perform(organisation.buyer, order, "cancel")]
    found = await race(*pending[::-1] if first else pending)
    counted = Counter(found)
    assert counted[200] == 1
    assert counted[201] <= 1
    assert counted[201] + counted[409] == 3
    await check(urls[0], organisation.organisation_id)


@pytest.mark.parametrize(
    ("one", "other"),
    [("cancel", "cancel"), ("issue", "issue"), ("issue", "cancel"), ("cancel", "issue")],
)
async def test_a_draft_order_has_one_fate(
    organisation: TestOrganisation, urls: tuple[str, str], one: str, other: str
) -> None:
    for _ in range(ROUNDS):
        order = await organisation.ordered()
        found = sorted(await race(perform(organisation.buyer, order, one), perform(organisation.admin, order, other)))
        # The second request finds another status (409) or another version (412).
        assert found in ([200, 409], [200, 412])
    await check(urls[0], organisation.organisation_id)


@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_an_issued_order_is_closed_or_cancelled(
    organisation: TestOrganisation, urls: tuple[str, str], turn: int
) -> None:
    order = await organisation.issued()
    actions = ["close", "cancel", "close", "cancel"][turn % 2 :]
    found = Counter(await race(*(perform(organisation.buyer, order, action) for action in actions)))
    assert found == {200: 1, 409: len(actions) - 1}
    await check(urls[0], organisation.organisation_id)


async def test_a_draft_changed_while_it_is_issued_is_issued_as_it_was_seen_or_not_at_all(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    order = await organisation.ordered()
    path = f"/purchase-orders/{order.json()['id']}"
    change = organisation.buyer.patch(path, etag=order.headers["ETag"], json={"terms": "Other"})
    found = await race(perform(organisation.buyer, order, "issue"), change)
    assert sorted(found) in ([200, 409], [200, 412])
    await check(urls[0], organisation.organisation_id)


async def test_orders_that_share_requests_are_cancelled_at_once(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porfs = [await organisation.approved() for _ in range(3)]
    orders = []
    for turn in range(6):
        chosen = porfs[turn % 3 :] + porfs[: turn % 3]
        lines = [wanted for porf in chosen for wanted in take(porf, "1")]
        ids = [porf.json()["id"] for porf in chosen]
        orders.append(
            await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": ids, "lines": lines}))
        )
    assert set(await race(*(perform(organisation.buyer, order, "cancel") for order in orders))) == {200}
    assert {(await again(organisation.buyer, porf)).json()["status"] for porf in porfs} == {"approved"}
    await check(urls[0], organisation.organisation_id)


async def test_a_request_sent_five_times_with_one_key_is_done_once(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    options: dict[str, Any] = {"etag": "*", "headers": {"Idempotency-Key": "five"}, "json": {"lines": take(porf, "2")}}
    answers = await asyncio.gather(*(organisation.buyer.post(path, **options) for _ in range(5)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in made}) == 1
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(made) + len(waiting) == 5
    assert {answer.json()["code"] for answer in waiting} <= {"idempotency_key_in_flight"}
    repeated = await created(organisation.buyer.post(path, **options))
    assert repeated.content == made[0].content
    assert (await again(organisation.buyer, porf)).json()["lines"][0]["ordered_quantity"] == "2"
    await check(urls[0], organisation.organisation_id)


async def test_a_conversion_races_with_the_deactivation_of_the_supplier(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved()
    supplier = await ok(organisation.buyer.get(f"/suppliers/{organisation.supplier_id}"))
    away = organisation.admin.post(f"/suppliers/{organisation.supplier_id}/deactivate", etag=supplier.headers["ETag"])
    converted, deactivated = await race(organisation.convert(porf), away)
    assert deactivated == 200
    assert converted in (201, 409)
    await refused(
        organisation.convert(await organisation.approved(supplier_id=None), supplier_id=organisation.supplier_id),
        422,
        "unknown_supplier",
    )
    await check(urls[0], organisation.organisation_id)


# Everything at once


class Crowd:
    """Members who perform random actions on a few requests and their orders."""

    def __init__(self, organisation: TestOrganisation, porf_ids: list[int], seed: int) -> None:
        self.organisation = organisation
        self.porf_ids = porf_ids
        self.orders: list[int] = []
        self.random = random.Random(seed)
        self.outcome: Counter[tuple[str, int]] = Counter()

    async def act(self) -> None:
        choices = {"convert": 6, "combine": 4, "issue": 3, "cancel": 5, "close": 1, "edit": 1, "close_porf": 0.15}
        action = self.random.choices(list(choices), list(choices.values()))[0]
        work = getattr(self, f"_{action}", None)
        answer = await (self._order(action) if work is None else work())
        self.outcome[action, answer.status_code] += 1
        if answer.status_code == 201:
            self.orders.append(answer.json()["id"])

    async def _wanted(self, porf_id: int) -> tuple[str, list[dict[str, Any]]]:
        porf = await ok(self.organisation.buyer.get(f"/porfs/{porf_id}"))
        lines = self.random.sample(porf.json()["lines"], 2)
        quantities = [str(self.random.randint(1, 4)) for _ in lines]
        wanted = [{"line_id": line["id"], "quantity": some} for line, some in zip(lines, quantities, strict=True)]
        return porf.headers["ETag"], wanted

    async def _convert(self) -> httpx.Response:
        porf_id = self.random.choice(self.porf_ids)
        etag, lines = await self._wanted(porf_id)
        etag = self.random.choice([etag, "*"])
        return await self.organisation.buyer.post(f"/porfs/{porf_id}/purchase-orders", etag=etag, json={"lines": lines})

    async def _combine(self) -> httpx.Response:
        ids = self.random.sample(self.porf_ids, 3)
        lines = [wanted for porf_id in ids for wanted in (await self._wanted(porf_id))[1]]
        return await self.organisation.admin.post("/purchase-orders", json={"porf_ids": ids, "lines": lines})

    async def _close_porf(self) -> httpx.Response:
        return await self.organisation.buyer.post(f"/porfs/{self.random.choice(self.porf_ids)}/close", etag="*")

    async def _edit(self) -> httpx.Response:
        path = f"/purchase-orders/{self.random.choice(self.orders)}"
        return await self.organisation.admin.patch(path, etag="*", json={"terms": str(self.random.random())})

    async def _order(self, action: str) -> httpx.Response:
        path = f"/purchase-orders/{self.random.choice(self.orders)}"
        seen = await ok(self.organisation.buyer.get(path))
        etag = self.random.choice([seen.headers["ETag"], "*"])
        body = {"comment": "No longer needed"} if action == "cancel" else None
        return await self.organisation.buyer.post(f"{path}/{action}", etag=etag, json=body)


async def test_two_hundred_actions_at_once_end_in_order(organisation: TestOrganisation, urls: tuple[str, str]) -> None:
    lines = [LINE, {**LINE, "description": "Chair", "quantity": "25"}]
    porfs = [await organisation.approved(lines=lines) for _ in range(5)]
    crowd = Crowd(organisation, [porf.json()["id"] for porf in porfs], seed=20_261_122)
    for porf in porfs:
        crowd.orders.append((await created(organisation.convert(porf, lines=take(porf, "1")))).json()["id"])

    async def member() -> None:
        for _ in range(4):
            await crowd.act()

    await asyncio.gather(*(member() for _ in range(50)))
    assert sum(crowd.outcome.values()) == 200
    statuses = {status for _, status in crowd.outcome}
    assert {200, 201, 409} <= statuses <= {200, 201, 409, 412}, crowd.outcome
    await check(urls[0], organisation.organisation_id)


async def test_a_request_that_waits_does_not_hold_up_its_users_others(
    organisation: TestOrganisation, urls: tuple[str, str], owner: asyncpg.Connection
) -> None:
    porf = await organisation.approved()
    buyer = await organisation.member(Role.BUYER)
    async with owner.transaction():
        await Row("porfs", organisation.organisation_id, porf.json()["id"]).lock(owner)
        path = f"/porfs/{porf.json()['id']}/purchase-orders"
        # The first request of a session notes when it was used.
        waiting = asyncio.create_task(buyer.post(path, etag=porf.headers["ETag"]))
        await until_blocked(urls[0])
        await ok(buyer.get("/suppliers"))
        assert not waiting.done()
    await created(waiting)


async def test_settings_members_and_suppliers_change_while_orders_are_made(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    porf = await organisation.approved()
    path = f"/porfs/{porf.json()['id']}/purchase-orders"
    wanted = {"lines": take(porf, "1")}
    for turn in range(ROUNDS):
        changes = [
            member.patch(place, etag="*", json={field: f"Name {turn} {copy}"})
            for copy, member in enumerate((organisation.admin, organisation.buyer))
            for place, field in (
                (f"/users/{member.user_id}", "name"),
                (f"/suppliers/{organisation.supplier_id}", "address"),
            )
        ]
        changes += [
            organisation.admin.patch("/organisations/current", etag="*", json={"name": f"Name {turn} {copy}"})
            for copy in range(3)
        ]
        orders = [organisation.buyer.post(path, etag="*", json=wanted) for _ in range(3)]
        found = await race(*changes, *orders)
        assert found == [200] * len(changes) + [201] * 3
    await check(urls[0], organisation.organisation_id)
