"""Liveness and readiness: for load balancers, without a token."""

from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.engine import make_url

from po_api.operations.revisions import head_revision
from po_api.operations.schema import StaleSchema
from po_api.settings import Settings
from support.applications import application_on, client_of, new_app
from support.one_server import IS_DISTRIBUTED


@pytest.fixture
async def client(own_urls: tuple[str, str], settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API on a database of its own: the work of thousands of organisations takes seconds to count."""
    async with application_on(own_urls, settings) as made, client_of(made) as client:
        yield client


async def test_it_lives_and_is_ready(client: httpx.AsyncClient, urls: tuple[str, str]) -> None:
    assert (await client.get("/health/live")).json() == {"status": "live"}
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    shown = ready.json()
    shown.pop("warnings")  # in a database that is given, other tests leave work behind, which no worker does
    assert shown == {
        "status": "ready",
        "reasons": [],
        "database": "reachable",
        "wal_archive": "not_failing",
        "revision": head_revision(),
        "expected_revision": head_revision(),
        "row_level_security": "active" if urls[0] != urls[1] else "inactive",
        "distribution": "by_organisation" if IS_DISTRIBUTED else "none",
        "replica": None,
    }


async def test_with_the_tables_owner_row_level_security_is_reported_as_inactive(
    own_urls: tuple[str, str],
) -> None:
    async with client_of(new_app(own_urls[0])) as client:
        ready = (await client.get("/health/ready")).json()
    assert (ready["status"], ready["row_level_security"]) == ("ready", "inactive")


async def test_with_the_database_away_it_lives_and_is_not_ready() -> None:
    async with client_of(new_app("postgresql://po_app@127.0.0.1:1/po_api", db_pool_timeout=1)) as client:
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert (ready.json()["status"], ready.json()["database"]) == ("not_ready", "unreachable")
    assert ready.headers["Cache-Control"] == "no-store"


async def test_on_a_schema_of_another_version_it_is_not_ready_and_does_not_start(urls: tuple[str, str]) -> None:
    app = new_app(make_url(urls[1]).set(database="postgres").render_as_string(hide_password=False))
    async with client_of(app) as client:
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert (ready.json()["database"], ready.json()["revision"]) == ("reachable", None)
        with pytest.raises(StaleSchema, match=f"revision none, this version needs {head_revision()}"):
            await app.router.lifespan_context(app).__aenter__()
