"""Time-outs: the responses, and the state of the pool afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from fastapi import FastAPI, Request, Response
from sqlalchemy import select, text, true

from po_api.core.permissions import Permission
from po_api.web.dependencies import session_of
from po_api.web.routing import ApiRoute, requires
from support.applications import client_of, new_app
from support.one_server import one_server
from support.organisations import Member, TestOrganisation, ok, refused
from support.polling import Deadline

pytestmark = pytest.mark.heavy

NEVER = {"db_statement_timeout_ms": 0, "db_lock_timeout_ms": 0, "db_transaction_timeout_ms": 0}
SOON = 500


@asynccontextmanager
async def limited(urls: tuple[str, str], member: Member, **settings: int) -> AsyncIterator[tuple[FastAPI, Member]]:
    """An application with three connections and only these time-outs, and the member as its client."""
    app = new_app(urls[1], **(NEVER | {"db_pool_size": 3, "db_max_overflow": 0} | settings))
    async with client_of(app) as client:
        yield app, replace(member, client=client)


@one_server("locks a table, which only the coordinator notices")
@pytest.mark.parametrize(
    ("setting", "milliseconds", "code"),
    [
        ("db_lock_timeout_ms", SOON, "busy"),
        ("db_statement_timeout_ms", SOON, "took_too_long"),
        # The server does not respond; the application's time-out applies.
        ("db_transaction_timeout_ms", 3 * SOON, "unavailable"),
    ],
)
async def test_requests_that_wait_too_long_get_503_with_retry_after(
    organisation: TestOrganisation,
    owner: asyncpg.Connection,
    urls: tuple[str, str],
    setting: str,
    milliseconds: int,
    code: str,
) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    async with limited(urls, organisation.requester, **{setting: milliseconds}) as (app, requester):
        change = {"etag": draft.headers["ETag"], "json": {"title": "Later"}}
        async with owner.transaction():
            await owner.execute("LOCK TABLE porfs IN ACCESS EXCLUSIVE MODE")
            # Reading waits in a transaction of the driver's, writing in one of SQLAlchemy's.
            pending = requester.get(path), requester.get("/porfs"), requester.patch(path, **change)
            for answer in await asyncio.gather(*pending):
                assert (answer.status_code, answer.json()["code"]) == (503, code)
                assert int(answer.headers["Retry-After"]) > 0
        await require_sound(app)
        assert (await ok(requester.get(path))).json()["title"] == draft.json()["title"]
        assert (await ok(requester.patch(path, **change))).json()["title"] == "Later"
        await require_sound(app)


async def require_sound(app: FastAPI) -> None:
    """No connection is checked out, and the pool's connections are usable."""
    engine = app.state.database.engine
    assert engine.pool.checkedout() == 0
    async with engine.connect() as connection:
        assert await connection.scalar(select(true()))


async def test_a_transaction_that_did_nothing_for_too_long_spoils_no_other(
    organisation: TestOrganisation, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    """PostgreSQL terminates the connection, which is only noticed with the next statement."""
    async with limited(urls, organisation.requester, db_idle_in_transaction_timeout_ms=SOON) as (app, requester):

        async def idle(request: Request) -> Response:
            session = session_of(request)
            pid = await session.scalar(text("SELECT pg_backend_pid()"))
            deadline = Deadline("the end of the idle connection")
            while await owner.fetchval("SELECT true FROM pg_stat_activity WHERE pid = $1", pid):
                deadline.check()
                await asyncio.sleep(0.01)
            await session.execute(text("SELECT 1"))
            return Response()

        route = ApiRoute("/api/v1/idle", idle, methods=["POST"], openapi_extra=requires(Permission.PORFS_READ))
        app.router.routes.append(route)
        for _ in range(2):
            await refused(requester.post("/idle"), 503, "unavailable")
            await require_sound(app)
            await ok(requester.get("/users/me"))
