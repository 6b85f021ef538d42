"""The number of statements of each endpoint, so that it does not grow unnoticed."""

from collections.abc import AsyncIterator, Awaitable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from support.applications import client_of, new_app
from support.approval_policies import publish_policy, rule
from support.one_server import one_server
from support.organisations import LINE, TestOrganisation, act, created, new_organisation, ok
from support.statements import sent_to

# A distributed database gets a statement for each table that is changed.
counts_of_one_server = one_server("counts the statements of changes")
# The session check, and one query for the page.
LIST = 2


class Counter:
    """Counts the statements that the application sends."""

    def __init__(self, app: FastAPI) -> None:
        self._database = app.state.database

    async def of(self, request: Awaitable[httpx.Response]) -> tuple[int, httpx.Response]:
        """The number of statements of a successful request, and its response."""
        statements, _, response = await self.round_trips(request)
        return statements, response

    async def round_trips(self, request: Awaitable[httpx.Response]) -> tuple[int, int, httpx.Response]:
        """The number of statements, the number of round trips (including BEGIN and COMMIT), and the response."""
        async with sent_to(self._database) as sent:
            response = await request
        assert response.is_success, response.text
        return sum(item.is_statement for item in sent), len(sent), response


@pytest.fixture(scope="module")
def counter(app: FastAPI) -> Counter:
    return Counter(app)


@pytest.fixture
async def seen(app: FastAPI, client: httpx.AsyncClient) -> AsyncIterator[TestOrganisation]:
    """An organisation with recently used sessions: their use is written once a minute, and not counted here."""
    organisation = await new_organisation(app, client)
    for member in (
        organisation.requester,
        organisation.approver,
        organisation.buyer,
        organisation.admin,
        organisation.auditor,
    ):
        await ok(member.get("/users/me"))
    yield organisation


async def test_a_list_takes_one_query_whatever_its_size(seen: TestOrganisation, counter: Counter) -> None:
    paths = ("/porfs", "/purchase-orders", "/suppliers", "/users", "/sessions", "/audit-events", "/webhook-endpoints")
    small = {path: (await counter.of(seen.admin.get(path)))[0] for path in paths}
    for number in range(3):
        await seen.ordered(lines=[])
        await created(seen.buyer.post("/suppliers", json={"name": f"Supplier {number}"}))
        await created(seen.admin.post("/webhook-endpoints", json={"url": "https://erp.example/hook"}))
        await seen.draft(lines=[LINE] * 20)
    large = {path: (await counter.of(seen.admin.get(path)))[0] for path in paths}
    # Accounts are read by a query of their own, for the times of the last sign-ins.
    assert small == large == dict.fromkeys(paths, LIST) | {"/users": LIST + 1}


async def test_filters_sorts_and_pages_take_no_further_query(seen: TestOrganisation, counter: Counter) -> None:
    for _ in range(3):
        await seen.pending()
    # What waits for the caller takes one more, which finds the steps that may ask them.
    for path, most in (("/porfs?status=pending", LIST), ("/porfs?waiting_for_me=true", LIST + 1)):
        first, page = await counter.of(seen.approver.get(f"{path}&limit=1&sort=total"))
        second, _ = await counter.of(seen.approver.get(page.links["next"]["url"].removeprefix("/api/v1")))
        assert (first, second) == (most, most)


async def test_reading_takes_so_many_statements_whatever_the_number_of_lines(
    seen: TestOrganisation, counter: Counter
) -> None:
    counts = []
    for lines in ([LINE], [LINE] * 30):
        draft = await seen.draft(lines=lines)
        path = f"/porfs/{draft.json()['id']}"
        counts.append(
            {
                name: (await counter.of(seen.requester.get(path + name)))[0]
                for name in ("", "/lines", "/history", "/comments")
            }
        )
    assert counts[0] == counts[1] == READING


async def test_a_read_takes_no_more_round_trips_than_its_tenant_needs(seen: TestOrganisation, counter: Counter) -> None:
    """The check of the credentials, and the transaction for row-level security, whose begin enters the tenant."""
    porf_id = (await seen.draft()).json()["id"]
    for path in ("/porfs", f"/porfs/{porf_id}", "/purchase-orders"):
        assert (await counter.round_trips(seen.buyer.get(path)))[:2] == (2, 4)
    assert (await counter.round_trips(seen.buyer.get("/state-machines/porf")))[:2] == (1, 1)


READING = {"": 2, "/lines": 3, "/history": 3, "/comments": 3}


@counts_of_one_server
@pytest.mark.heavy
async def test_the_main_job_takes_so_many_statements(seen: TestOrganisation, counter: Counter) -> None:
    """Creating, submitting, approving, converting, issuing: none grows with the number of lines."""
    counts = [await _main_job(seen, counter, lines) for lines in (1, 5, 40)]
    assert counts == [MAIN_JOB] * 3


# The session check is one of each.
MAIN_JOB = {
    "create": 4,
    "patch": 7,
    "add line": 9,
    "dry run": 8,
    "submit with a key": 11,
    "replay": 3,
    "submit": 8,
    "approve": 9,
    "convert": 8,
    "read order": 2,
    "issue": 7,
    "first document": 7,
    "document": 2,
    "cancel order": 10,
}


# The limits of performance.md, besides the check of the credentials.
AT_MOST = {"create": 4, "submit": 8, "approve": 8, "convert": 8, "issue": 8}


def test_the_main_job_takes_no_more_than_it_may() -> None:
    assert all(MAIN_JOB[step] - 1 <= most for step, most in AT_MOST.items())


async def _main_job(organisation: TestOrganisation, counter: Counter, lines: int) -> dict[str, int]:
    counts = {}
    body = {"title": "x", "supplier_id": organisation.supplier_id, "lines": [LINE] * lines}
    counts["create"], shown = await counter.of(organisation.requester.post("/porfs", json=body))
    path = f"/porfs/{shown.json()['id']}"
    etag = shown.headers["ETag"]
    counts["patch"], shown = await counter.of(organisation.requester.patch(path, etag=etag, json={"title": "y"}))
    etag = shown.headers["ETag"]
    counts["add line"], shown = await counter.of(organisation.requester.post(f"{path}/lines", etag=etag, json=LINE))
    etag = shown.headers["ETag"]
    counts["dry run"], _ = await counter.of(organisation.requester.post(f"{path}/submit?dry_run=true", etag=etag))
    key = {"Idempotency-Key": path}
    counts["submit with a key"], shown = await counter.of(
        organisation.requester.post(f"{path}/submit", etag=etag, headers=key)
    )
    counts["replay"], _ = await counter.of(organisation.requester.post(f"{path}/submit", etag=etag, headers=key))
    recalled = await act(organisation.requester, shown, "recall")
    counts["submit"], shown = await counter.of(
        organisation.requester.post(f"{path}/submit", etag=recalled.headers["ETag"])
    )
    counts["approve"], shown = await counter.of(
        organisation.approver.post(f"{path}/approve", etag=shown.headers["ETag"])
    )
    counts["convert"], order = await counter.of(
        organisation.buyer.post(f"{path}/purchase-orders", etag=shown.headers["ETag"])
    )
    order_path = f"/purchase-orders/{order.json()['id']}"
    counts["read order"], _ = await counter.of(organisation.buyer.get(order_path))
    counts["issue"], order = await counter.of(
        organisation.buyer.post(f"{order_path}/issue", etag=order.headers["ETag"])
    )
    counts["first document"], _ = await counter.of(organisation.buyer.get(f"{order_path}/document.pdf"))
    counts["document"], _ = await counter.of(organisation.buyer.get(f"{order_path}/document.pdf"))
    counts["cancel order"], _ = await counter.of(
        organisation.buyer.post(f"{order_path}/cancel", etag=order.headers["ETag"], json={"comment": "x"})
    )
    return counts


@counts_of_one_server
async def test_a_policy_takes_one_statement_more_whatever_its_size(seen: TestOrganisation, counter: Counter) -> None:
    """The people whom its rules may ask; the policy is read with the last run, and who was added. A preview takes one
    for these, too."""
    rules = [rule(1, "role_approver", required_count=1), rule(2, "team_lead", "manager_chain", on_empty="skip")]
    for policy in (rules[:1], rules * 10):
        await publish_policy(seen.admin, *policy)
        draft = await seen.draft(lines=[LINE] * 5)
        path = f"/porfs/{draft.json()['id']}"
        previewed, _ = await counter.of(seen.requester.get(f"{path}/approval-preview"))
        submitted, _ = await counter.of(seen.requester.post(f"{path}/submit", etag=draft.headers["ETag"]))
        assert (previewed, submitted) == (7, MAIN_JOB["submit"] + 1)
        assert submitted - 1 <= AT_MOST["submit"]


@counts_of_one_server
async def test_the_smaller_things_take_so_many_statements(seen: TestOrganisation, counter: Counter) -> None:
    assert await _smaller_things(seen, counter) == SMALLER_THINGS


SMALLER_THINGS = {
    "/users/me": 3,
    "/users/me/invitations": 2,
    "/users/{id}": 3,
    "/users/{id}/history": 4,
    "/organisations/current": 2,
    "/organisations/current/history": 2,
    "/organisations/{id}?include=users": 4,
    "/suppliers/{id}": 2,
    "/suppliers/{id}/history": 3,
    "/webhook-endpoints/{id}": 2,
    "/webhook-endpoints/{id}/deliveries": 3,
    "/webhook-endpoints/{id}/deliveries/{id}": 4,
    "/sessions/current": 2,
    "/state-machines/porf": 1,
    "add supplier": 3,
    "invite": 7,
    "comment": 6,
    "/notifications": 2,
    "/notifications/count": 2,
    "/notification-preferences": 2,
}


async def _smaller_things(organisation: TestOrganisation, counter: Counter) -> dict[str, int]:
    counts = {}
    admin = organisation.admin
    made = await created(admin.post("/webhook-endpoints", json={"url": "https://erp.example/hook"}))
    endpoint = f"/webhook-endpoints/{made.json()['id']}"
    ping = (await ok(admin.post(f"{endpoint}/test"), 202)).json()["id"]
    for name, place in {
        "/users/me": "/users/me",
        "/users/me/invitations": "/users/me/invitations",
        "/users/{id}": f"/users/{organisation.buyer.user_id}",
        "/users/{id}/history": f"/users/{organisation.buyer.user_id}/history",
        "/organisations/current": "/organisations/current",
        "/organisations/current/history": "/organisations/current/history",
        "/organisations/{id}?include=users": f"/organisations/{organisation.organisation_id}?include=users",
        "/suppliers/{id}": f"/suppliers/{organisation.supplier_id}",
        "/suppliers/{id}/history": f"/suppliers/{organisation.supplier_id}/history",
        "/webhook-endpoints/{id}": endpoint,
        "/webhook-endpoints/{id}/deliveries": f"{endpoint}/deliveries",
        "/webhook-endpoints/{id}/deliveries/{id}": f"{endpoint}/deliveries/{ping}",
        "/sessions/current": "/sessions/current",
        "/notifications": "/notifications",
        "/notifications/count": "/notifications/count",
        "/notification-preferences": "/notification-preferences",
        "/state-machines/porf": "/state-machines/porf",
    }.items():
        counts[name], _ = await counter.of(admin.get(place))
    counts["add supplier"], _ = await counter.of(admin.post("/suppliers", json={"name": "Other"}))
    counts["invite"], _ = await counter.of(admin.post("/invitations", json={"email": f"x{admin.user_id}@y.example"}))
    draft = await organisation.draft()
    counts["comment"], _ = await counter.of(admin.post(f"/porfs/{draft.json()['id']}/comments", json={"text": "x"}))
    return counts


async def test_the_longest_statements_stay_prepared(urls: tuple[str, str]) -> None:
    """Parsing and planning take PostgreSQL several times as long as reading one request."""
    app = new_app(urls[1], db_pool_size=1, db_max_overflow=0)
    async with client_of(app) as client:
        organisation = await new_organisation(app, client)
        path = f"/porfs/{(await organisation.draft()).json()['id']}"
        await ok(organisation.admin.get(path))
        async with app.state.database.engine.connect() as connection:
            kept = "SELECT max(length(statement)) FROM pg_prepared_statements"
            assert await connection.scalar(text(kept)) > 15 * 1024
