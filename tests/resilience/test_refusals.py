"""A PostgreSQL that refuses connections or statements for a while: 503 with Retry-After, for reads and writes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from asyncpg import exceptions

from support.applications import client_of, new_app
from support.clusters import Cluster
from support.migrations import Fresh, migrated_database
from support.organisations import Member, new_organisation
from support.refusing_server import refusing

CLASSES = ("08", "53", "57", "58")
TRANSIENT = sorted(
    sqlstate
    for error in vars(exceptions).values()
    if (sqlstate := getattr(error, "sqlstate", None)) is not None and sqlstate.startswith(CLASSES)
)
# A policy that every statement on requests evaluates.
_REFUSALS = """
    CREATE TABLE refusals (sqlstate text NOT NULL, message text NOT NULL DEFAULT 'not now');
    GRANT SELECT ON refusals TO po_app;
    CREATE FUNCTION refuse() RETURNS bool LANGUAGE plpgsql AS $$
        DECLARE refusal refusals;
        BEGIN
            SELECT * INTO refusal FROM refusals;
            IF FOUND THEN RAISE EXCEPTION USING ERRCODE = refusal.sqlstate, MESSAGE = refusal.message; END IF;
            RETURN true;
        END $$;
    CREATE POLICY refusals ON porfs AS RESTRICTIVE USING (refuse()) WITH CHECK (refuse());
"""


async def _reads_and_writes(member: Member) -> list[tuple[int, str, str | None]]:
    """The status, code and Retry-After of some requests."""
    responses = [
        await member.get("/porfs"),
        await member.post("/porfs", json={"title": "Lamps"}),
        await member.get("/porfs/1"),
    ]
    return [(each.status_code, each.json().get("code"), each.headers.get("Retry-After")) for each in responses]


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster) as made:
        yield made


@pytest.fixture
async def member(database: Fresh) -> AsyncIterator[Member]:
    app = new_app(database.app)
    async with client_of(app) as client:
        requester = (await new_organisation(app, client)).requester
        assert (await requester.post("/porfs", json={"title": "First"})).json()["id"] == 1
        yield requester


async def test_a_server_that_refuses_connections(member: Member) -> None:
    for sqlstate in TRANSIENT:
        async with refusing(sqlstate) as url, client_of(new_app(url)) as client:
            code = "took_too_long" if sqlstate == "57014" else "unavailable"
            assert await _reads_and_writes(replace(member, client=client)) == [(503, code, "5")] * 3, sqlstate


async def test_a_server_with_too_many_connections(member: Member, database: Fresh) -> None:
    await database.fetch(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    async with client_of(new_app(database.app)) as client:
        assert await _reads_and_writes(replace(member, client=client)) == [(503, "unavailable", "5")] * 3


async def test_a_server_that_refuses_statements(member: Member, database: Fresh) -> None:
    await database.connection.execute(_REFUSALS)
    for sqlstate in TRANSIENT:
        await database.fetch("INSERT INTO refusals VALUES ($1)", sqlstate)
        code = "took_too_long" if sqlstate == "57014" else "unavailable"
        assert await _reads_and_writes(member) == [(503, code, "5")] * 3, sqlstate
        await database.fetch("DELETE FROM refusals")
        assert [status for status, _, _ in await _reads_and_writes(member)] == [200, 201, 200]


async def test_a_distributed_database_that_loses_a_server(member: Member, database: Fresh) -> None:
    await database.connection.execute(_REFUSALS)
    before = "failure on connection marked as essential: worker1:5432"
    for lost in (before, "could not commit transaction for shard 102174 on at least one active node"):
        await database.fetch("INSERT INTO refusals VALUES ('XX000', $1)", lost)
        assert await _reads_and_writes(member) == [(503, "unavailable", "5")] * 3
        await database.fetch("DELETE FROM refusals")
