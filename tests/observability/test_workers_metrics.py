"""The metrics of several workers are added up, also after one of them dies."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from support.applications import SECRET_KEY
from support.forked import po_api_with_new_workers
from support.metrics import Scrape, scraped, with_metrics
from support.polling import Deadline, wait_until
from support.server_processes import TIMEOUT, Environment, Server, environment_of, serving

pytestmark = pytest.mark.heavy

POOL = 3
REQUESTS = 30
# A route that only this test requests.
LIVE = {"route": "/health/live", "method": "GET", "status": "200"}


def test_what_workers_count_adds_up_whatever_becomes_of_them(
    urls: tuple[str, str], app: FastAPI, tmp_path: Path
) -> None:
    workers = {"WEB_CONCURRENCY": "2", "RATE_LIMIT_STORAGE_URI": "redis://127.0.0.1:1", "DB_POOL_SIZE": str(POOL)}
    own = {"DATABASE_URL": urls[1], "SECRET_KEY": SECRET_KEY, "TMPDIR": str(tmp_path)}
    environment = with_metrics(environment_of(tmp_path, **own, **workers))
    with serving(environment, tmp_path, main=po_api_with_new_workers) as server:
        _wait_for_both(environment)
        counted = _adds_up(server, environment)
        _survives_a_death(server, environment, counted)
        _answers_for_those_that_hang(server, environment)
        assert len(list(tmp_path.glob("po-api-metrics-*/*.db"))) > 2
    assert server.process.returncode == 0
    assert list(tmp_path.glob("po-api-metrics-*")) == []


def _wait_for_both(environment: Environment) -> None:
    both = 2 * POOL
    wait_until(lambda: scraped(environment).value("po_db_pool_capacity", pool="primary") == both, "the figures of both")


def _counted(found: Scrape) -> float:
    return found.value("po_http_request_duration_seconds_count", **LIVE) or 0


def _adds_up(server: Server, environment: Environment) -> float:
    for _ in range(REQUESTS):
        # On a new connection, which any of the workers may accept.
        assert httpx.get(f"{server.address}/health/live", timeout=TIMEOUT).status_code == 200
    deadline = Deadline("figures in which every request is counted")
    while _counted(found := scraped(environment)) < REQUESTS:  # counted after the response
        deadline.check()
    assert _counted(found) == REQUESTS
    assert found.value("po_http_request_duration_seconds_bucket", **LIVE, le="+Inf") == REQUESTS
    # The database was read once, not by each worker: otherwise a sample would occur twice, or have a worker's label.
    assert {label for _, labels in found.samples for label, _ in labels}.isdisjoint({"pid", "worker"})
    assert found.value("po_db_up") == 1
    return _counted(found)


def _survives_a_death(server: Server, environment: Environment, counted: float) -> None:
    """After a worker is replaced, its gauges are dropped and its counters kept."""
    first = server.workers()[0]
    first.kill()
    first.wait(TIMEOUT)
    wait_until(lambda: len(server.workers()) == 2, "a worker in place of the killed one")
    _wait_for_both(environment)
    assert _counted(scraped(environment)) >= counted


def _answers_for_those_that_hang(server: Server, environment: Environment) -> None:
    workers = server.workers()
    for worker in workers:
        worker.suspend()
    try:
        assert scraped(environment).value("po_db_up") == 1
    finally:
        for worker in workers:
            worker.resume()
