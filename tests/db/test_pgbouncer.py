"""`DB_PGBOUNCER`: PgBouncer in transaction mode, where each transaction may use another server connection."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url

from po_api.app import create_app
from po_api.db.driver import socket_of
from po_api.operations.databases import Connections
from po_api.operations.embedded import server_user
from po_api.settings import Settings
from support.applications import SECRET_KEY, new_app
from support.disconnecting_clients import leave_nothing_behind
from support.metrics import metrics_of
from support.one_server import IS_DISTRIBUTED
from support.organisations import LINE, TestOrganisation, created, new_organisation, ok
from support.polling import Deadline

pytestmark = pytest.mark.heavy

# Far fewer than requests at once: they have to take turns.
SERVER_CONNECTIONS = 3
CALLERS = 24
# 200 are the two thousand requests that tests/resilience/test_overload.py has without it.
LEAVERS = int(os.environ.get("PO_TEST_PGBOUNCER_CALLERS", "40"))


@pytest.fixture(scope="module")
def bouncer(request: pytest.FixtureRequest, urls: tuple[str, str], tmp_path_factory: Any) -> Iterator[str]:
    """The URL of the application's role through a PgBouncer that the tests start."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("no PgBouncer is installed")
    if urls[0] == urls[1] or IS_DISTRIBUTED:
        pytest.skip("PgBouncer would have to sign in at the server of the given database")
    place: Path = tmp_path_factory.mktemp("pgbouncer")
    behind = make_url(urls[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (place / "users").write_text(f'"{behind.username}" ""\n')
    (place / "pgbouncer.ini").write_text(
        "[databases]\n"
        f"* = host={behind.query['host']} port={behind.query['port']}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {place}/users\n"
        f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 500\n"
        "query_wait_timeout = 5\nserver_login_retry = 1\n"
    )
    # It refuses to run as root, and the server's socket is open to the server's user alone.
    user = server_user.find(Path(__file__).parent)
    if user:
        server_user.admit(user.pw_uid, place / "pgbouncer.ini")
    process = subprocess.Popen(
        [program, "--quiet", str(place / "pgbouncer.ini")],
        stdin=subprocess.DEVNULL,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    deadline = Deadline("PgBouncer, which listens")
    while not _accepts(port):
        deadline.check()
        assert process.poll() is None
        time.sleep(0.02)
    yield behind.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    process.terminate()
    process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
async def app(bouncer: str, urls: tuple[str, str], settings: Settings, app: FastAPI) -> AsyncIterator[FastAPI]:
    values = settings.model_dump() | {"db_pgbouncer": True}
    made = create_app(Settings(_env_file=None, **values), Connections(urls[0], bouncer, SECRET_KEY))
    yield made
    await made.state.database.dispose()


@pytest.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def test_the_main_job_runs_through_it(organisation: TestOrganisation) -> None:
    for _ in range(3):
        order = await organisation.issued()
        document = await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
        assert document.content.startswith(b"%PDF")
    listed = (await ok(organisation.buyer.get("/purchase-orders?q=lamps&sort=-created_at&limit=2"))).json()
    assert (len(listed["items"]), listed["has_more"]) in {(2, True), (0, False)}


async def test_the_databases_metrics_are_read_through_it(bouncer: str, app: FastAPI) -> None:
    async with metrics_of(bouncer, db_pgbouncer=True) as scraped:
        for _ in range(2):
            found = await scraped()
            assert (found.value("po_db_up"), found.value("po_migration_failed")) == (1, 0)
            assert found.value("po_db_size_bytes")


@pytest.mark.parametrize("turns", [2, pytest.param(8, marks=pytest.mark.exhaustive)])
async def test_concurrent_clients_get_their_own_responses(app: FastAPI, client: httpx.AsyncClient, turns: int) -> None:
    """Prepared statements or tenant settings left on a connection would affect other requests."""
    casts = [await new_organisation(app, client) for _ in range(2)]
    drafts = [{(await organisation.draft()).json()["id"] for _ in range(3)} for organisation in casts]

    async def call(caller: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        organisation, own = casts[caller % 2], drafts[caller % 2]
        for turn in range(turns):
            listed = {item["id"] for item in (await ok(organisation.admin.get("/porfs?limit=100"))).json()["items"]}
            assert listed >= own
            assert not listed & drafts[1 - caller % 2]
            shown = (await ok(organisation.admin.get(f"/porfs/{min(own)}"))).json()
            assert shown["lines"][0]["description"] == LINE["description"]
            assert (await ok(organisation.admin.get("/users/me"))).json()["email"] == organisation.admin.email
            if turn % 4 == 0:
                await created(
                    organisation.requester.post("/porfs", json={"title": f"{caller}.{turn}", "lines": [LINE]})
                )
            seen["turns"] += 1
        return seen

    done = sum(await asyncio.gather(*(call(caller) for caller in range(CALLERS))), Counter())
    assert done["turns"] == turns * CALLERS
    pool: Any = app.state.database.engine.pool
    assert pool.checkedout() == 0


async def test_disconnecting_clients_leave_nothing_behind(
    app: FastAPI, client: httpx.AsyncClient, bouncer: str, urls: tuple[str, str]
) -> None:
    casts = [await new_organisation(app, client) for _ in range(4)]
    made = new_app(bouncer, db_pgbouncer=True, db_pool_size=12, db_pool_timeout=1, rate_limit_per_user="1000000/minute")
    await leave_nothing_behind(made, casts, urls[1], callers=LEAVERS)


async def test_connections_over_the_network_use_keepalive(app: FastAPI) -> None:
    """Otherwise the loss of the other end would not be detected."""
    async with app.state.database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        wire = socket_of(driver)
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
