"""Safe requests on a streaming standby: their results, and the use of the primary when it is not usable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text, true

from po_api.app import create_app
from po_api.db.database import Database, libpq_url
from po_api.db.query import ORGANISATION_ID, Query
from po_api.db.replica import executor as executors
from po_api.db.replica import status as replicas
from po_api.db.replica.executor import ReplicaExecutor
from po_api.db.replica.status import Replica, Trouble
from po_api.operations.databases import Connections
from po_api.porfs.models import Porf
from po_api.settings import Settings
from support.clusters import Cluster, Standby
from support.organisations import LINE, Member, TestOrganisation, created, new_organisation, ok
from support.polling import Deadline, until
from support.statements import Sent, sent_through, sent_to
from support.tenant_tables import TENANT_SETTING

pytestmark = pytest.mark.heavy

NAME = "po_api"
CHECK, PAGE = ["SELECT"], ["BEGIN", "SELECT", "COMMIT"]


class _Probe(NamedTuple):
    answers: bool


class _Title(NamedTuple):
    title: str


PROBE = Query("test.probe", select(true().label("answers")), _Probe)
TITLES = Query("test.titles", select(Porf.title).where(Porf.organisation_id == ORGANISATION_ID), _Title)
PAUSES = executors.PAUSES
SECRET_KEY = "replica-test-0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def app_on(primary: Cluster, replica_url: str | None, settings: Settings) -> AsyncIterator[FastAPI]:
    values = settings.model_dump() | {"database_url": primary.url(NAME, "po_app"), "database_replica_url": replica_url}
    app = create_app(
        Settings(_env_file=None, **values),
        Connections(primary.url(NAME, "po_owner"), primary.url(NAME, "po_app"), SECRET_KEY),
    )
    try:
        yield app
    finally:
        await app.state.database.dispose()


@asynccontextmanager
async def client_on(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture(scope="module")
async def app(primary: Cluster, standby: Standby, settings: Settings) -> AsyncIterator[FastAPI]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(replicas, "CONNECT_SECONDS", 60)  # the machine may be busy with other tests
        async with app_on(primary, standby.url(NAME, "po_app"), settings) as made:
            yield made


@pytest.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_on(app) as made:
        yield made


@pytest.fixture
async def administrator(standby: Standby) -> AsyncIterator[asyncpg.Connection]:
    """A superuser on the standby."""
    connection = await asyncpg.connect(libpq_url(standby.url("postgres", "postgres")))
    yield connection
    await connection.close()


@pytest.fixture
def replica(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Replica:
    """The application's replica, retried at once after a failure, and waited for longer than in production.

    On a busy machine it may be behind for a second, by what the primary's own processes write to the log.
    """
    monkeypatch.setattr(replicas, "AVOID_SECONDS", 0)
    monkeypatch.setattr(executors, "PAUSES", (*PAUSES, *[PAUSES[-1]] * 1_000))
    found: Replica = app.state.database.replica
    return found


async def caught_up(database: Database, standby: asyncpg.Connection) -> None:
    """Wait until the standby has replayed all that the primary has written."""
    async with database.engine.connect() as connection:
        position = await connection.scalar(text("SELECT pg_current_wal_lsn()::text"))
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
    await until(lambda: standby.fetchval(replayed), f"a standby that has replayed {position}")


@pytest.fixture
async def organisation(
    app: FastAPI, client: httpx.AsyncClient, replica: Replica, administrator: asyncpg.Connection
) -> TestOrganisation:
    """An organisation whose sessions have been used, on a standby that has caught up and is in use."""
    made = await new_organisation(app, client)
    for member in (made.requester, made.approver, made.buyer, made.admin, made.auditor):
        await ok(member.get("/users/me"))

    async def is_in_use() -> bool:
        await caught_up(app.state.database, administrator)
        await ok(made.requester.get("/users/me"))
        return replica.trouble is None

    await until(is_in_use, "a standby in use")
    return made


def kinds(sent: list[Sent]) -> list[str]:
    """The kinds of statements, all of which read; repeated polls of a standby that is behind are not counted."""
    looks = "SELECT WHERE pg_is_in_recovery()"
    first_words = [item.sql.split()[0] for item in sent if not item.sql.startswith(looks)]
    return ["SELECT" if word == "WITH" else word for word in first_words]


class Trips:
    """The statements that requests send to each server."""

    def __init__(self, app: FastAPI) -> None:
        self._database: Database = app.state.database

    async def of(self, request: Any) -> tuple[list[Sent], list[Sent]]:
        assert self._database.replica is not None
        async with sent_to(self._database) as to_primary, sent_through(self._database.replica.engine) as to_standby:
            response = await request
        assert response.is_success, response.text
        return to_primary, to_standby


async def test_safe_requests_read_on_the_standby_after_one_check_on_the_primary(
    app: FastAPI, organisation: TestOrganisation, administrator: asyncpg.Connection
) -> None:
    draft = await organisation.draft()
    await caught_up(app.state.database, administrator)
    trips = Trips(app)
    porf = f"/porfs/{draft.json()['id']}"
    for path in ("/porfs", "/suppliers", "/purchase-orders", porf, "/users/me", "/users", "/organisations/current"):
        await ok(organisation.requester.get(path))  # the driver then knows the types of the columns
        to_primary, to_standby = await trips.of(organisation.requester.get(path))
        assert kinds(to_primary) == CHECK, path
        assert "pg_current_wal_lsn" in to_primary[0].sql
        # The same round trips as without a replica: the tenant and the look at the log go with BEGIN.
        queries = PAGE if "/users" not in path else [*PAGE[:-1], "SELECT", PAGE[-1]]  # accounts are read separately
        assert kinds(to_standby) == queries, path


async def test_whatever_changes_something_stays_on_the_primary(app: FastAPI, organisation: TestOrganisation) -> None:
    to_primary, to_standby = await Trips(app).of(
        organisation.requester.post("/porfs", json={"title": "x", "lines": [LINE]})
    )
    assert to_standby == []
    assert not any("wal_lsn" in item.sql for item in to_primary)


async def test_without_a_replica_the_log_position_is_not_read(
    primary: Cluster, organisation: TestOrganisation, settings: Settings
) -> None:
    async with app_on(primary, None, settings) as app, client_on(app) as client:
        member = Member(client, 0, "", organisation.requester.token)
        for path, expected in (("/state-machines/porf", CHECK), ("/porfs", CHECK + PAGE)):
            async with sent_to(app.state.database) as sent:
                await ok(member.get(path))
            assert kinds(sent) == expected
            assert not any("wal" in item.sql for item in sent)


async def test_the_tenant_is_entered_on_the_standby_too(
    app: FastAPI, client: httpx.AsyncClient, organisation: TestOrganisation
) -> None:
    other = await new_organisation(app, client)
    own, foreign = await organisation.draft(), await other.draft()
    for _ in range(5):
        for member, seen, unseen in ((organisation.admin, own, foreign), (other.admin, foreign, own)):
            listed = {item["id"] for item in (await ok(member.get("/porfs"))).json()["items"]}
            assert listed == {seen.json()["id"]}
            await ok(member.get(f"/porfs/{unseen.json()['id']}"), 404)


@pytest.mark.parametrize("commits", ["on", "off"])
async def test_all_clients_read_committed_writes_whatever_the_standby_has_replayed(
    app: FastAPI,
    primary: Cluster,
    standby: Standby,
    settings: Settings,
    organisation: TestOrganisation,
    administrator: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    commits: str,
) -> None:
    """With two applications, whose pools are independent as in two processes."""
    monkeypatch.setattr(executors, "PAUSES", PAUSES)
    owner = await asyncpg.connect(libpq_url(primary.url("postgres", "postgres")))
    await owner.execute(f"ALTER ROLE po_app SET synchronous_commit = {commits}")
    read_on = set()
    try:
        async with (
            app_on(primary, standby.url(NAME, "po_app"), settings) as one,
            app_on(primary, standby.url(NAME, "po_app"), settings) as two,
            client_on(one) as writing,
            client_on(two) as reading,
        ):
            requester = Member(writing, 0, "", organisation.requester.token)
            elsewhere = [
                Member(reading, 0, "", who.token)
                for who in (organisation.requester, organisation.buyer, organisation.auditor)
            ]
            for turn in range(24):
                if turn % 6 == 3:
                    await administrator.execute("SELECT pg_wal_replay_pause()")
                if turn % 6 == 5:
                    await administrator.execute("SELECT pg_wal_replay_resume()")
                    await caught_up(two.state.database, administrator)
                draft = await created(requester.post("/porfs", json={"title": str(turn), "lines": [LINE]}))
                shown = await asyncio.gather(*(who.get(f"/porfs/{draft.json()['id']}") for who in elsewhere))
                assert [answer.status_code for answer in shown] == [200] * 3, turn
                read_on.add(two.state.database.replica.trouble)
    finally:
        await administrator.execute("SELECT pg_wal_replay_resume()")
        await owner.execute("ALTER ROLE po_app RESET synchronous_commit")
        await owner.close()
    assert Trouble.BEHIND in read_on
    # With synchronous_commit off, WAL is sent to the standby late: the test does not wait for it.
    assert None in read_on or commits == "off"


async def test_a_revoked_session_ends_at_once_even_if_the_standby_has_not_replayed_it(
    organisation: TestOrganisation, administrator: asyncpg.Connection
) -> None:
    await administrator.execute("SELECT pg_wal_replay_pause()")
    try:
        await ok(organisation.auditor.delete("/sessions/current"), 204)
        await ok(organisation.auditor.get("/porfs"), 401)
    finally:
        await administrator.execute("SELECT pg_wal_replay_resume()")


async def test_a_conflict_with_what_it_replays_is_answered_by_the_primary(
    app: FastAPI, primary: Cluster, organisation: TestOrganisation, replica: Replica, administrator: asyncpg.Connection
) -> None:
    """The standby cancels a transaction that conflicts with a lock on the primary, for instance that of a migration."""
    draft, own = await organisation.draft(title="Conflict"), {"organisation_id": organisation.organisation_id}
    await caught_up(app.state.database, administrator)
    executor = ReplicaExecutor(app.state.database.engine, replica)
    await executor.credentials.row(PROBE)
    await executor.enter_tenant(organisation.organisation_id)
    async with sent_through(replica.engine) as to_standby:
        assert [row.title for row in await executor.rows(TITLES, **own)] == ["Conflict"]
    assert kinds(to_standby) == PAGE[:2]
    in_transaction = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert await administrator.fetchval(in_transaction) == 1

    owner = await asyncpg.connect(libpq_url(primary.url(NAME, "po_owner")))
    async with owner.transaction():
        await owner.execute("LOCK TABLE porfs IN ACCESS EXCLUSIVE MODE")
    await owner.close()
    deadline = Deadline("the end of the transaction on the standby")
    while await administrator.fetchval(in_transaction):
        deadline.check()
        await asyncio.sleep(0.01)

    async with sent_to(app.state.database) as to_primary:
        assert [row.title for row in await executor.rows(TITLES, **own)] == ["Conflict"]
        await executor.close()
    assert kinds(to_primary) == PAGE
    assert replica.trouble in {Trouble.INTERRUPTED, Trouble.UNREACHABLE}
    assert (await ok(organisation.requester.get("/porfs"))).json()["items"][0]["id"] == draft.json()["id"]
    assert replica.trouble is None


async def test_connections_that_the_standby_ends_are_replaced(
    organisation: TestOrganisation, replica: Replica, administrator: asyncpg.Connection
) -> None:
    for _ in range(3):
        await asyncio.gather(*(ok(organisation.requester.get("/porfs")) for _ in range(10)))
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'po-api'"
        assert len(await administrator.fetch(ended)) > 0
        await asyncio.gather(*(ok(organisation.requester.get("/porfs")) for _ in range(10)))
    await ok(organisation.requester.get("/porfs"))
    assert replica.trouble is None


async def test_a_standby_may_stop_and_start_again(
    app: FastAPI, client: httpx.AsyncClient, organisation: TestOrganisation, replica: Replica, standby: Standby
) -> None:
    async def ready() -> Any:
        response = await client.get("/health/ready")
        assert (response.status_code, response.json()["status"]) == (200, "ready")
        return response.json()["replica"]

    assert await ready() == {"status": "in_use", "reason": None}
    standby.stop()
    answers = await asyncio.gather(*(organisation.requester.get("/porfs") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert replica.trouble is not None
    assert await ready() == {"status": "not_in_use", "reason": "unreachable"}
    await ok(organisation.requester.post("/porfs", json={"title": "Meanwhile", "lines": [LINE]}), 201)
    standby.start()
    administrator = await asyncpg.connect(libpq_url(standby.url("postgres", "postgres")))
    await caught_up(app.state.database, administrator)
    await administrator.close()
    _, to_standby = await Trips(app).of(organisation.requester.get("/porfs"))
    assert kinds(to_standby) == PAGE
    assert await ready() == {"status": "in_use", "reason": None}


async def test_after_a_failure_it_is_not_used_for_a_while(
    app: FastAPI, organisation: TestOrganisation, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "AVOID_SECONDS", 3600)
    replica.failed(Trouble.BEHIND)
    for _ in range(3):
        to_primary, to_standby = await Trips(app).of(organisation.requester.get("/porfs"))
        assert (kinds(to_primary), to_standby) == (CHECK + PAGE, [])
    monkeypatch.setattr(replicas, "AVOID_SECONDS", 0)
    replica.failed(Trouble.BEHIND)
    _, to_standby = await Trips(app).of(organisation.requester.get("/porfs"))
    assert kinds(to_standby) == PAGE
    assert replica.trouble is None


@pytest.mark.parametrize("wrong", ["primary", "owner", "other database", "other server"])
async def test_a_server_that_is_not_a_replica_is_not_used(
    primary: Cluster, standby: Standby, cluster: Cluster, settings: Settings, organisation: TestOrganisation, wrong: str
) -> None:
    """Another server may have another organisation with the same id."""
    url = {
        "primary": primary.url(NAME, "po_app"),
        "owner": standby.url(NAME, "po_owner"),
        "other database": standby.url("postgres", "po_app"),
        "other server": cluster.url(NAME, "po_app"),
    }[wrong]
    draft = await organisation.draft()
    async with app_on(primary, url, settings) as app, client_on(app) as client:
        member = Member(client, 0, "", organisation.requester.token)
        assert [item["id"] for item in (await ok(member.get("/porfs"))).json()["items"]] == [draft.json()["id"]]
        ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["replica"] == {"status": "not_in_use", "reason": "not_a_replica"}


async def test_requests_that_are_cancelled_leave_no_connection_and_no_tenant_behind(
    app: FastAPI, client: httpx.AsyncClient, organisation: TestOrganisation, replica: Replica
) -> None:
    for steps in range(0, 60, 2):
        request = asyncio.create_task(organisation.requester.get("/porfs"))
        for _ in range(steps):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        for engine in (app.state.database.engine, replica.engine):
            pool: Any = engine.pool
            assert pool.checkedout() == 0, (steps, engine is replica.engine)
            async with engine.connect() as connection:
                assert await connection.scalar(text(f"SELECT current_setting('{TENANT_SETTING}', true)")) in (None, "")
