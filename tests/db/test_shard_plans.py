"""A distributed database keeps the plans of large statements; here one server stands for it, with views for shards."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import ColumnElement, Integer, select
from sqlalchemy.ext.compiler import compiles

from po_api.db.query import ORGANISATION_ID, PlanCacheMode, Query, connected
from po_api.organisations.models import Organisation
from po_api.settings import Settings
from support.applications import application_on, client_of
from support.clusters import Cluster
from support.migrations import Fresh, migrated_database
from support.organisations import LINE, TestOrganisation, act, new_organisation, ok
from support.statements import sent_to
from support.tenant_tables import TENANT_TABLES

CONVERSION = Path(__file__).parents[2] / "deploy" / "citus" / "convert.sql"
FUNCTION = re.findall(r"\$definition\$(.*?)\$definition\$", CONVERSION.read_text(), re.DOTALL)[0]
SHARDED = [table.name for table in TENANT_TABLES] + ["organisations"]
# The tables and the function of Citus that it reads: there is one shard of each table.
CATALOGUE = """
    CREATE TABLE pg_dist_partition (logicalrelid regclass);
    CREATE FUNCTION get_shard_id_for_distribution_column(regclass, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1';
    GRANT SELECT ON pg_dist_partition TO po_app;
"""


@pytest.fixture(scope="module")
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster) as made:
        await made.connection.execute(CATALOGUE + FUNCTION)
        for name in SHARDED:
            await made.connection.execute(
                f"INSERT INTO pg_dist_partition VALUES ('{name}');"
                f"CREATE VIEW {name}_1 WITH (security_invoker) AS SELECT * FROM {name};"
                f"GRANT SELECT ON {name}_1 TO po_app"
            )
        yield made


@pytest.fixture(scope="module")
async def distributed(database: Fresh, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application that takes its database for a distributed one that keeps plans."""
    async with application_on((database.owner, database.app), settings) as app:
        app.state.database.engine.update_execution_options(is_distributed=True, keeps_plans=True)
        yield app


@pytest.fixture
async def organisation(distributed: FastAPI) -> AsyncIterator[TestOrganisation]:
    async with client_of(distributed) as client:
        yield await new_organisation(distributed, client)


@pytest.mark.heavy
async def test_large_statements_are_prepared_and_show_the_same(organisation: TestOrganisation) -> None:
    """Drafts, approvals and orders are answered in the transaction that has written them."""
    lines = [LINE, LINE | {"description": 'It\'s 50 % \\ "off"', "quantity": "3"}]
    options = organisation.database.engine.update_execution_options
    async with sent_to(organisation.database) as sent:
        approved = await organisation.approved(lines=lines, supplier_id=organisation.supplier_id)
        draft = (await organisation.convert(approved)).raise_for_status()
        order = await ok(
            organisation.buyer.post(f"/purchase-orders/{draft.json()['id']}/issue", etag=draft.headers["ETag"])
        )
        paths = ("/porfs", f"/porfs/{approved.json()['id']}", f"/purchase-orders/{order.json()['id']}", "/suppliers")
        prepared = [(await ok(organisation.buyer.get(path))).json() for path in paths]
        filtered = (await ok(organisation.buyer.get("/porfs?status=partially_ordered&status=ordered"))).json()
    called = [item for item in sent if "run_prepared(" in item.sql]
    # The five steps show what they have written, and most of them read facts; then what is read.
    assert len(called) >= 12
    assert all("organisation_id" not in item.sql.partition("', '")[0] for item in called)
    options(keeps_plans=False)
    try:
        assert [(await ok(organisation.buyer.get(path))).json() for path in paths] == prepared
    finally:
        options(keeps_plans=True)
    assert filtered["items"] == prepared[0]["items"] != []
    assert prepared[1]["lines"][1]["description"] == lines[1]["description"]


async def test_each_organisation_sees_its_own_rows(distributed: FastAPI, organisation: TestOrganisation) -> None:
    """One session of the server executes a prepared statement for one organisation after the other."""
    async with client_of(distributed) as client:
        other = await new_organisation(distributed, client)
        for mine in (organisation, other):
            await act(mine.requester, await mine.draft(), "submit")
        for mine, another in ((organisation, other), (other, organisation)) * 2:
            (porf,) = (await ok(mine.buyer.get("/porfs"))).json()["items"]
            await ok(mine.buyer.get(f"/porfs/{porf['id']}"))
            assert (await another.buyer.get(f"/porfs/{porf['id']}")).status_code == 404


class _Counted(ColumnElement[int]):
    """A column that counts how often it is compiled."""

    type = Integer()
    compiled = 0


@compiles(_Counted)
def _compile(element: _Counted, *_: Any, **__: Any) -> str:
    element.compiled += 1
    return "1"


class _Found(NamedTuple):
    number: int


async def test_new_connections_do_not_compile_a_statement_again(
    distributed: FastAPI, organisation: TestOrganisation
) -> None:
    """Twenty connections of a new process, each of which compiled the statements of an approval, took five seconds."""
    counted, mine = _Counted(), organisation.organisation_id
    statement = select(counted.label("number")).where(Organisation.id == ORGANISATION_ID)
    query = Query("test.counted", statement, _Found)
    all_have_connections = asyncio.Barrier(5)

    async def number() -> _Found | None:
        async with connected(distributed.state.database.engine) as executor:
            await executor.enter_tenant(mine, plan_cache_mode=PlanCacheMode.GENERIC)
            await all_have_connections.wait()
            return await executor.row(query, organisation_id=mine)

    assert await asyncio.gather(*(number() for _ in range(5))) == [(1,)] * 5
    assert counted.compiled == 2  # as it is, and for the shards


@pytest.fixture
async def session(database: Fresh) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the application's role."""
    connection = await asyncpg.connect(database.app)
    yield connection
    await connection.close()


async def test_a_session_keeps_so_many_statements(session: asyncpg.Connection) -> None:
    for n in range(160):
        call = f"SELECT * FROM run_prepared(1, 'po_{n}', 'SELECT $1::int + {n}', ARRAY[$1]) AS found(sum int)"
        assert await session.fetchval(call, "5") == 5 + n
    kept = await session.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'po\\_%'")
    assert kept == 150
    assert await session.fetchval("SELECT * FROM run_prepared(1, 'po_0', 'SELECT 7', NULL) AS found(n int)") == 7


async def test_a_table_that_other_servers_have_is_refused(session: asyncpg.Connection) -> None:
    """Its copies there are empty."""
    with pytest.raises(asyncpg.RaiseError, match="is not on this server"):
        await session.fetch(
            "SELECT * FROM run_prepared(1, 'po_x', 'SELECT id FROM shard_.users', NULL) AS f(id bigint)"
        )
