"""Both methods of search find the same rows, in any order, page by page, whatever the statistics are."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.core.permissions import Role
from po_api.db.database import libpq_url
from support.one_server import IS_DISTRIBUTED, plans_of_one_server
from support.organisations import LINE, Member, Tenant, TestOrganisation, created, new_tenant, ok
from support.pages import all_items
from support.statements import sent_to

COUNT = 4000
BASE = 2  # the check of the credentials, and the page
# One row in two has "lamp", only old ones have "typewriter", few "toner"; all totals are different.
# PostgreSQL believes statistics of words only if there are a hundred: hence the shelves.
_FILL = """
    INSERT INTO porfs (organisation_id, number, title, requester_id, net, total, created_at)
    SELECT $1, 'PORF-2020-' || lpad(n::text, 6, '0'),
        concat_ws(' ', 'desk', CASE WHEN n % 2 = 0 THEN 'lamp' END, CASE WHEN n <= $4 / 3 THEN 'typewriter' END,
            CASE WHEN n % 1000 = 7 THEN 'toner' END, 'shelf' || n % 200),
        CASE WHEN n % 40 = 0 THEN $2::bigint ELSE $3::bigint END, n * 7 % 4001, n * 7 % 4001,
        '2020-01-01'::timestamptz + n * interval '1 min'
    FROM generate_series(1, $4::integer) n
"""
# Lines in every third request; "cable" is as common as "lamp", but nowhere else.
_FILL_LINES = """
    INSERT INTO porf_lines (organisation_id, porf_id, position, description, sku, quantity, unit_price, net)
    SELECT organisation_id, id, position, concat_ws(' ', 'cable', 'box' || position, 'shelf' || id % 200),
        CASE WHEN n % 999 = 0 THEN 'XY-7' END, 1, 0, 0
    FROM (SELECT *, right(number, 6)::integer AS n FROM porfs WHERE organisation_id = $1) p,
        generate_series(1, 2) position
    WHERE n % 3 = 0
"""
TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"


@dataclass(frozen=True)
class Row:
    """A request by its serial number, as `_FILL` creates it."""

    n: int

    @property
    def number(self) -> str:
        return f"PORF-2020-{self.n:06}"

    @property
    def words(self) -> str:
        said = {"lamp": self.n % 2 == 0, "typewriter": self.n <= COUNT // 3, "toner": self.n % 1000 == 7}
        said |= {"cable": self.n % 3 == 0, "box2": self.n % 3 == 0, "xy-7": self.n % 999 == 0}
        return " ".join([self.number, *(word for word, is_there in said.items() if is_there)])


ROWS = [Row(n) for n in range(1, COUNT + 1)]
ORDERS: dict[str, Callable[[Row], Any]] = {
    "-created_at": lambda row: -row.n,
    "number": lambda row: row.n,
    "total": lambda row: row.n * 7 % 4001,
}


@dataclass(frozen=True)
class Archive:
    """`busy` is the requester of one in forty, `others` of the rest; the admin sees all."""

    tenant: Tenant
    busy: Member
    admin: Member


@pytest.fixture(scope="module")
async def archive(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> AsyncIterator[Archive]:
    tenant = await new_tenant(app, client)
    busy, others = await tenant.member(Role.REQUESTER), await tenant.member(Role.REQUESTER)
    made = Archive(tenant, busy, await tenant.member(Role.ADMIN))
    owner = await asyncpg.connect(libpq_url(urls[0]))
    await owner.execute(_FILL, tenant.organisation_id, busy.user_id, others.user_id, COUNT)
    await owner.execute(_FILL_LINES, tenant.organisation_id)
    # Statistics for this test: the rows of other tests have changed.
    await owner.execute("ANALYZE porfs, porf_lines")
    yield made
    await owner.execute("DELETE FROM porfs WHERE organisation_id = $1", tenant.organisation_id)
    await owner.execute("ANALYZE porfs, porf_lines")
    await owner.close()


async def _found(member: Member, **params: Any) -> list[str]:
    """The numbers, page by page."""
    return [item["number"] for item in await all_items(member, "/porfs", **params)]


@pytest.mark.heavy
@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize(
    "question",
    [
        *("lamp", "typewriter", "toner", "lamp typewriter", "PORF-2020-0012", "chair"),
        *("cable", "cable box2", "cable lamp", "toner cable", "xy-7", "cable xy-7", "cable 000012"),
    ],
)
async def test_every_page_holds_what_matches_in_its_order(archive: Archive, sort: str, question: str) -> None:
    expected = [
        row.number for row in sorted(ROWS, key=ORDERS[sort]) if all(word in row.words for word in question.split())
    ]
    assert await _found(archive.admin, q=question, sort=sort, limit=100) == expected


@pytest.mark.heavy
async def test_who_sees_few_requests_finds_all_of_theirs(archive: Archive) -> None:
    for question in ("lamp", "typewriter", "toner"):
        expected = [row.number for row in ROWS if row.n % 40 == 0 and question in row.words]
        assert await _found(archive.busy, q=question, sort="number", limit=7) == expected


async def test_a_search_can_be_narrowed(archive: Archive) -> None:
    narrow = {"created_at_lt": "2020-01-01T01:00:00Z", "status": "draft", "sort": "number", "limit": 9}
    assert await _found(archive.admin, q="lamp", **narrow) == [row.number for row in ROWS[1:59:2]]
    assert await _found(archive.admin, q="lamp", status="pending") == []


@pytest.mark.parametrize(
    ("params", "statements", "looks"),
    [
        # A scan in the order of the list finds the rows at once.
        ({"q": "lamp"}, BASE + 1, True),
        # As common, but at the end of the list: the index is needed.
        ({"q": "typewriter"}, BASE + 3, True),
        # All rows were scanned, so the index is not needed.
        ({"q": "typewriter", "created_at_gte": "2020-01-03T18:00:00Z"}, BASE + 2, True),
        ({"q": "toner"}, BASE + 1, False),
        ({"q": "cable"}, BASE + 1, True),
        ({"q": "cable lamp"}, BASE + 1, True),
        ({"q": "xy-7"}, BASE + 1, False),
        # No index has the rows in this order.
        ({"q": "lamp", "sort": "total,-number"}, BASE, False),
    ],
)
async def test_the_way_depends_on_how_common_the_words_are(
    archive: Archive, params: dict[str, str], statements: int, *, looks: bool
) -> None:
    if IS_DISTRIBUTED:  # the function of the index is executed first, whatever the words
        statements, looks = BASE + 1, False
    await ok(archive.admin.get("/users/me"))
    async with sent_to(archive.tenant.database) as sent:
        await ok(archive.admin.get("/porfs", params={"limit": "5", **params}))
    assert sum(one.is_statement for one in sent) == statements
    assert any("scanned" in one.sql for one in sent) is looks


@pytest.fixture
async def lamps(organisation: TestOrganisation) -> TestOrganisation:
    """Three requests; the second one has a laptop in its second line."""
    await organisation.draft(title="Desk", lines=[LINE])
    laptop = {"description": "Laptop, 14-inch, e-paper\nwith müsli bar", "sku": "LT-0815", "quantity": "1"}
    await organisation.draft(title="Hardware for Berlin", lines=[LINE, laptop | {"unit_price": "900"}])
    await organisation.draft(title="Berlin 100% wool_carpet", cost_centre="4711", lines=[])
    return organisation


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        # Ends of numbers, with and without what precedes them.
        ("000002", [2]),
        ("2026-000002", [2]),
        ("0002", [2]),
        ("02", [2]),
        ("porf-2026-000002", [2]),
        ("PORF 000002", [2]),
        ("2", []),
        ("3_00002", []),
        ("%2", []),
        # Words of lines: description and SKU, from their beginning, in any case.
        ("laptop", [2]),
        ("LAPT", [2]),
        ("lt-0815", [2]),
        ("0815", []),
        ("14-inch", [2]),
        ("müs", [2]),
        ("top", []),
        # Every word, wherever it is.
        ("laptop berlin", [2]),
        ("berlin laptop 000002", [2]),
        ("lamp laptop", [2]),
        ("berlin lamp", [2]),
        ("carpet laptop", []),
        ("lamp", [1, 2]),
        ("berlin", [2, 3]),
        ("berlin 000003", [3]),
        ("4711", [3]),
        ("&", []),
        ("laptop &", [2]),
        ("'lamp' | desk:*", [1, 2]),
    ],
)
async def test_a_request_is_found_by_its_lines_and_the_end_of_its_number(
    lamps: TestOrganisation, question: str, expected: list[int]
) -> None:
    year = (await ok(lamps.admin.get("/porfs"))).json()["items"][0]["number"][5:9]
    question = question.replace("2026", year)
    for sort in ("created_at", "total,number"):  # in the order of an index, and in another
        items = await all_items(lamps.admin, "/porfs", q=question, sort=sort)
        assert sorted(int(item["number"][-6:]) for item in items) == expected


async def test_a_search_follows_changes_of_lines(organisation: TestOrganisation) -> None:
    porf = await organisation.draft()
    path = f"/porfs/{porf.json()['id']}"
    line = f"{path}/lines/{porf.json()['lines'][0]['id']}"

    async def is_found(question: str) -> bool:
        return bool(await all_items(organisation.requester, "/porfs", q=question))

    changed = await ok(organisation.requester.patch(line, etag=porf.headers["ETag"], json={"description": "Chair"}))
    assert (await is_found("chair"), await is_found("lamp desk")) == (True, False)
    added = await created(
        organisation.requester.post(f"{path}/lines", etag=changed.headers["ETag"], json=LINE | {"sku": "L-7"})
    )
    assert await is_found("l-7 chair")
    await ok(organisation.requester.delete(line, etag=added.headers["ETag"]), 204)
    assert (await is_found("chair"), await is_found("lamp")) == (False, True)


@plans_of_one_server
@pytest.mark.parametrize(("table", "lines"), [("porfs", "porf_lines"), ("purchase_orders", "purchase_order_lines")])
async def test_words_are_looked_up_in_the_indexes(owner: asyncpg.Connection, table: str, lines: str) -> None:
    plan = await _plan(owner, table, 0, tenant="organisation_id IS DISTINCT FROM 0")  # which no other index can find
    assert f"Index Scan on ix_{table}_search" in plan, plan
    assert f"Index Scan on ix_{lines}_search" in plan, plan


@plans_of_one_server
async def test_ends_of_numbers_are_looked_up_in_an_index(archive: Archive, owner: asyncpg.Connection) -> None:
    plan = await _plan(owner, "porfs", archive.tenant.organisation_id)
    assert "ix_porfs_number_search" in plan, plan


async def _plan(owner: asyncpg.Connection, table: str, organisation_id: int, tenant: str = TENANT) -> str:
    """The plan of the statement of a search function, which alone may use these indexes."""
    source: str = await owner.fetchval("SELECT prosrc FROM pg_proc WHERE proname = $1", f"search_{table}")
    query = source.split("$search$")[1]
    values = {"$1": "search_query('laptop')", "$2": "'410000%'", "$3": "NULL::bigint[]", "organisation_id = $4": tenant}
    for name, value in values.items():
        query = query.replace(name, value)
    async with owner.transaction():
        await owner.execute("SET LOCAL enable_seqscan = off")
        await owner.execute(f"SET LOCAL app.organisation_id = '{organisation_id}'")
        return "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {query}"))
