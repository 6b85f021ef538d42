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
from support.organisations import Member, Tenant, new_tenant, ok
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
    # Statistics for this test: the rows of other tests have changed.
    await owner.execute("ANALYZE porfs")
    yield made
    await owner.execute("DELETE FROM porfs WHERE organisation_id = $1", tenant.organisation_id)
    await owner.execute("ANALYZE porfs")
    await owner.close()


async def _found(member: Member, **params: Any) -> list[str]:
    """The numbers, page by page."""
    return [item["number"] for item in await all_items(member, "/porfs", **params)]


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("question", ["lamp", "typewriter", "toner", "lamp typewriter", "PORF-2020-0012", "chair"])
async def test_every_page_holds_what_matches_in_its_order(archive: Archive, sort: str, question: str) -> None:
    expected = [
        row.number for row in sorted(ROWS, key=ORDERS[sort]) if all(word in row.words for word in question.split())
    ]
    assert await _found(archive.admin, q=question, sort=sort, limit=100) == expected


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
        # No index has the rows in this order.
        ({"q": "lamp", "sort": "total,-number"}, BASE, False),
    ],
)
async def test_the_way_depends_on_how_common_the_words_are(
    archive: Archive, params: dict[str, str], statements: int, *, looks: bool
) -> None:
    await ok(archive.admin.get("/users/me"))
    async with sent_to(archive.tenant.database) as sent:
        await ok(archive.admin.get("/porfs", params={"limit": "5", **params}))
    assert sum(one.is_statement for one in sent) == statements
    assert any("scanned" in one.sql for one in sent) is looks
