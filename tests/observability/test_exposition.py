"""`/metrics` of a process: its address, its authentication, and the samples after requests."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import FastAPI

from po_api.observability.metrics import REGISTRY
from po_api.tables import metadata
from support.applications import CANARY, SECRET_KEY
from support.metrics import Scrape, metrics_of, read, scrape, with_metrics
from support.one_server import IS_DISTRIBUTED
from support.operations import operations
from support.organisations import LINE, TestOrganisation
from support.polling import Deadline
from support.server_processes import TIMEOUT, Environment, Server, environment_of, serving

pytestmark = pytest.mark.heavy

TOKEN = "scrapes-only-0123456789"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}

# What is one statement for several tables has no table's name. A distributed database gets one for each table.
COMBINED_WRITES = frozenset[str]() if IS_DISTRIBUTED else {"porfs.create", "porfs.submit"}
# operations.md; those of backups are test_alerts.py's to look after.
SPECIFIED = """
po_http_request_duration_seconds_bucket po_db_query_duration_seconds_bucket po_db_slow_queries_total po_db_errors_total
po_db_pool_capacity po_db_pool_checked_out po_db_pool_overflow po_db_pool_waiting po_db_pool_timeouts_total
po_migration_in_progress po_migration_failed po_migration_current_info po_wal_archive_failed_total
po_wal_archive_lag_seconds po_disk_free_bytes po_disk_size_bytes po_db_cache_hit_ratio po_db_connections
po_db_size_bytes po_worker_due po_worker_oldest_due_seconds po_worker_failed po_worker_runs_total
po_worker_run_duration_seconds_bucket po_worker_task_failures_total po_worker_task_last_success_timestamp_seconds
po_filing_problems_total po_mail_problems_total
""".split()
LABELS = {"route", "method", "status", "operation", "sqlstate_class", "pool", "state", "outcome", "directory", "le"}
LABELS |= {"revision", "expected", "work", "code", "reason"}


@pytest.fixture(scope="module")
def environment(urls: tuple[str, str], app: FastAPI, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    place = tmp_path_factory.mktemp("exposition")
    own = {"DATABASE_URL": urls[1], "SECRET_KEY": SECRET_KEY, "METRICS_TOKEN": TOKEN, "DB_SLOW_QUERY_MS": "1"}
    return with_metrics(environment_of(place, **own))


@pytest.fixture(scope="module")
def server(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(environment, tmp_path_factory.mktemp("exposition")) as running:
        yield running


def _scraped(environment: Environment) -> Scrape:
    answer = scrape(environment, headers=AUTHORIZED)
    assert answer.status_code == 200
    return read(answer.text)


async def _ask(server: Server, organisation: TestOrganisation) -> list[httpx.Response]:
    """Requests of many kinds."""
    as_requester = {"Authorization": f"Bearer {organisation.requester.token}"}
    async with httpx.AsyncClient(base_url=f"{server.address}/api/v1", headers=as_requester, timeout=TIMEOUT) as client:
        made = await client.post("/porfs", json={"title": "Lamps", "lines": [LINE]})
        path = f"/porfs/{made.json()['id']}"
        return [
            made,
            await client.get("/porfs"),
            await client.get("/porfs"),
            await client.get(path),
            await client.head(path),
            await client.request("PROPFIND", path),
            await client.request("TRACE", path),
            await client.get(f"/{CANARY}"),
            await client.get("/porfs/9999999999"),
            await client.post(f"{path}/submit", headers={"If-Match": made.headers["ETag"]}),
            await client.get("/porfs", headers={"Authorization": f"Bearer {CANARY}"}),
        ]


async def test_requests_are_counted_by_route_method_and_status(
    server: Server, environment: Environment, organisation: TestOrganisation
) -> None:
    before = _scraped(environment)
    answers = await _ask(server, organisation)
    assert {answer.status_code for answer in answers} >= {200, 201, 401, 404}
    after = before

    def more(**labels: str) -> float:
        name = "po_http_request_duration_seconds_count"
        return after.total(name, **labels) - before.total(name, **labels)

    deadline = Deadline("figures in which every request is counted")
    while more() < len(answers):  # a request is counted when its answer has been sent
        deadline.check()
        after = _scraped(environment)
    assert more() == len(answers)
    assert more(route="/api/v1/porfs", method="GET", status="200") == 2
    assert more(route="/api/v1/porfs", method="GET", status="401") == 1
    assert more(route="/api/v1/porfs/{porf_id}", method="GET", status="200") == 1
    assert more(route="/api/v1/porfs/{porf_id}", method="HEAD") == 1
    assert more(method="other") == 2
    assert more(route="unmatched", method="GET", status="404") == 1
    assert CANARY not in after.text


async def test_statements_have_the_names_of_their_questions(
    server: Server, environment: Environment, organisation: TestOrganisation
) -> None:
    await _ask(server, organisation)
    found = _scraped(environment)
    names = {labels["operation"] for labels, _ in found.having("po_db_query_duration_seconds_count")}
    assert names >= {"sessions.check", "porfs.list", "porfs.whole", *COMBINED_WRITES}
    # Names of queries, or names made of table and kind for statements of the ORM.
    kinds = {f"{table.name}.{kind}" for table in metadata.tables.values() for kind in ("select", "insert", "update")}
    kinds |= {"select", "insert", "update", "delete", "other", "connect", "alembic_version.select"}
    features = re.compile(r"(approvals|notifications|sessions|porfs|users|organisations|suppliers|tenant)\.[a-z_]+")
    assert {name for name in names - kinds if not features.fullmatch(name)} == set()


async def test_slow_statements_are_told_by_their_names_alone(
    server: Server, environment: Environment, organisation: TestOrganisation
) -> None:
    """Slow from a millisecond on, which connecting exceeds."""
    await _ask(server, organisation)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"slow_query"' in line]
    assert {line["statement"] for line in lines} >= {"connect"}
    for line in lines:
        assert line.keys() <= {"event", "statement", "duration_ms", "request_id", "level", "timestamp"}
        assert line["duration_ms"] >= 1
    assert any("request_id" in line for line in lines)
    assert _scraped(environment).value("po_db_slow_queries_total") == len(lines)


async def test_it_shows_all_that_is_specified_and_no_organisation(
    server: Server, environment: Environment, organisation: TestOrganisation
) -> None:
    await _ask(server, organisation)
    found = _scraped(environment)
    assert set(SPECIFIED) - found.names == set()
    assert {name for _, labels in found.samples for name, _ in labels} <= LABELS
    assert found.value("po_db_up") == 1
    assert found.value("po_db_pool_capacity", pool="primary") == 20
    assert found.value("po_migration_failed") == 0
    for name in ("po_db_size_bytes", "po_db_max_connections", "po_db_cache_hit_ratio"):
        assert (found.value(name) or 0) > 0, name
    for secret in (
        organisation.requester.token,
        organisation.requester.email,
        TOKEN,
        SECRET_KEY,
        str(organisation.organisation_id),
    ):
        values = {value for _, labels in found.samples for label, value in labels if label not in {"le", "status"}}
        assert not any(secret == value for value in values)
        assert len(secret) < 10 or secret not in found.text


def test_only_who_has_the_token_may_read_it(server: Server, environment: Environment) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
    ):
        refused = scrape(environment, headers=headers)
        assert (refused.status_code, refused.text) == (401, "")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert _is_safe(refused)
    shown = scrape(environment, headers=AUTHORIZED)
    assert shown.status_code == 200
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
    assert shown.headers["Content-Encoding"] == "gzip"
    assert _is_safe(shown)


def _is_safe(answer: httpx.Response) -> bool:
    return (
        answer.headers["X-Content-Type-Options"] == "nosniff"
        and answer.headers["Cache-Control"] == "no-store"
        and answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        and "server" not in answer.headers
    )


def test_there_is_nothing_else_at_its_address(server: Server, environment: Environment) -> None:
    address = f"http://127.0.0.1:{environment['METRICS_PORT']}"
    for path in ("/", "/docs", "/api/v1/porfs", "/metrics/more"):
        missing = httpx.get(f"{address}{path}", timeout=TIMEOUT)
        assert missing.status_code == 404
        assert _is_safe(missing)
    assert httpx.post(f"{address}/metrics", headers=AUTHORIZED, timeout=TIMEOUT).status_code == 405


def test_prometheus_may_request_openmetrics(server: Server, environment: Environment) -> None:
    accepted = AUTHORIZED | {"Accept": "application/openmetrics-text; version=1.0.0; q=0.5, text/plain; q=0.3"}
    shown = scrape(environment, headers=accepted)
    assert shown.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert shown.text.endswith("# EOF\n")


async def test_it_is_no_part_of_the_api(app: FastAPI, client: httpx.AsyncClient) -> None:
    assert (await client.get("/metrics")).status_code == 404
    assert (await client.get("/metrics", headers=AUTHORIZED)).status_code == 404
    assert [path for _, path, _ in operations(app) if "metrics" in path] == []


async def test_without_a_port_there_is_none(urls: tuple[str, str], app: FastAPI, tmp_path: Path) -> None:
    environment = environment_of(tmp_path, DATABASE_URL=urls[1], SECRET_KEY=SECRET_KEY)
    with serving(environment, tmp_path) as server:
        connections = psutil.Process(server.process.pid).net_connections("tcp")
        listening = {place.laddr.port for place in connections if place.status == psutil.CONN_LISTEN}
        assert listening == {int(environment["PORT"])}


async def test_a_database_that_is_away_or_hangs_holds_up_no_scrape() -> None:
    async with metrics_of("postgresql://po_app@127.0.0.1:1/po_api", counted=REGISTRY) as scraped:
        refusing = await scraped()
    assert refusing.value("po_db_up") == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://po_app@127.0.0.1:{silent.getsockname()[1]}/po_api"
        async with metrics_of(url, counted=REGISTRY, seconds=2) as scraped:
            hanging = await scraped()
    assert hanging.value("po_db_up") == 0
    for found in (refusing, hanging):
        assert (found.value("po_disk_free_bytes", directory="data") or 0) > 0
        assert "po_db_connections" not in found.names
        assert "po_http_request_duration_seconds_bucket" in found.names
