"""Several hosts in DATABASE_URL: the one that accepts writes is used, also after a failover, without a restart."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from po_api.core.database_url import postgresql_url
from po_api.db.database import libpq_url
from support.applications import client_of, new_app
from support.clusters import Cluster, Standby, connected
from support.invariants import check
from support.organisations import LINE, TestOrganisation, new_organisation, ok, refused
from support.outage_clients import CALLERS, IMPATIENT, at_work, require_all

pytestmark = pytest.mark.heavy

NAME = "po_api"


@pytest.fixture(scope="module")
async def standby(primary: Cluster, standby: Standby) -> Standby:
    """A synchronous standby: it has everything that the primary has confirmed."""
    async with connected(primary.url("postgres", "postgres")) as administrator:
        await administrator.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await administrator.execute("SELECT pg_reload_conf()")
    return standby


@pytest.fixture
async def organisation(primary: Cluster, standby: Standby) -> AsyncIterator[TestOrganisation]:
    app = new_app(primary.url(NAME, "po_app"))
    async with client_of(app) as client:
        yield await new_organisation(app, client)


def all_of(*urls: str) -> str:
    """One URL for several servers, in SQLAlchemy's form."""
    places = [make_url(url) for url in urls]
    hosts = "&".join(f"host={place.query['host']}:{place.query['port']}" for place in places)
    return postgresql_url(f"postgresql://{places[0].username}@/{NAME}?{hosts}")


async def test_a_server_that_takes_no_writes_is_not_used(standby: Standby, organisation: TestOrganisation) -> None:
    app = new_app(standby.url(NAME, "po_app"))
    async with client_of(app) as client:
        member = replace(organisation.requester, client=client)
        await refused(member.get("/porfs"), 503, "unavailable")
        assert (await client.get("/health/ready")).status_code == 503


async def test_writes_on_a_standby_chosen_by_the_url_are_a_transient_error(
    standby: Standby, organisation: TestOrganisation
) -> None:
    app = new_app(f"{standby.url(NAME, 'po_app')}&target_session_attrs=any")
    async with client_of(app) as client:
        member = replace(organisation.requester, client=client)
        for _ in range(2):
            await refused(member.post("/porfs", json={"title": "x", "lines": [LINE]}), 503, "unavailable")
            # The check of a session that was not used for a minute writes, too.
            await refused(member.get("/users/me"), 503, "unavailable")
    pool: Any = app.state.database.engine.pool
    assert pool.checkedout() == 0


async def test_one_that_does_not_answer_is_waited_for_once(primary: Cluster, organisation: TestOrganisation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        place = make_url(primary.url(NAME, "po_app"))
        first = place.set(query={"host": "127.0.0.1", "port": str(silent.getsockname()[1])})
        app = new_app(all_of(first.render_as_string(), place.render_as_string()), db_pool_timeout=2)
        async with client_of(app) as client:
            member = replace(organisation.requester, client=client)
            await ok(member.get("/porfs"))
            await asyncio.gather(*(ok(member.get("/porfs")) for _ in range(8)))
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


async def test_a_promoted_standby_takes_over(
    primary: Cluster,
    standby: Standby,
    organisation: TestOrganisation,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """The last test of this module: the primary stays down."""
    app = new_app(all_of(standby.url(NAME, "po_app"), primary.url(NAME, "po_app")), **IMPATIENT)
    async with at_work(app, organisation.requester) as (client, log):
        administrator = await asyncpg.connect(libpq_url(standby.url("postgres", "postgres")))
        used = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'po-api'"
        assert await administrator.fetchval(used) == 0
        await asyncio.to_thread(primary.kill)
        await log.has_more(2 * CALLERS, 503)
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 503
        await asyncio.to_thread(standby.promote)
        promoted = time.monotonic()
        await log.has_more(1, 201)
        record_testsuite_property("seconds until the first write", time.monotonic() - promoted)
        assert await administrator.fetchval(used) > 0
        await administrator.close()
    record_testsuite_property("answers, slowest refusal", f"{dict(log.answers)}, {log.slowest_refusal:.2f} s")
    app = new_app(standby.url(NAME, "po_app"))
    async with client_of(app) as client:
        await require_all(log, replace(organisation.admin, client=client))
    await check(standby.url(NAME, "po_owner"))
