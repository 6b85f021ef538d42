"""Three alerts with a real server: the rules fire with the metrics of a failure, and not with those before it.

promtool evaluates the rules with the scraped metrics, repeated for some minutes.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from po_api.operations.embedded.server import EmbeddedUrls, embedded_server
from support.clusters import connected
from support.command_line import CommandLine
from support.demo_data import copy_demo
from support.metrics import Scrape, scraped, with_metrics
from support.polling import Deadline
from support.server_processes import TIMEOUT, Environment, Server, environment_of, serving

pytestmark = pytest.mark.heavy

CALLERS = 12
SLOW_MS = 50
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"
_LOCKED_OUT = """
    SELECT count(*) FILTER (WHERE clock_timestamp() - query_start > $1 * interval '1 ms') FROM pg_stat_activity
    WHERE wait_event_type = 'Lock'
"""


@dataclass(frozen=True)
class Live:
    """A server with an embedded database, both in the directory `place`."""

    server: Server
    environment: Environment
    urls: EmbeddedUrls
    place: Path

    def scraped(self) -> Scrape:
        return scraped(self.environment)

    def judge(self, alert: str, *scrapes: Scrape, fires: bool) -> None:
        """Whether the alert fires if the scrapes are a minute apart, and the last one repeats for ten minutes."""
        series = [
            {
                "series": _series(name, labels),
                "values": _values([scrape.samples.get((name, labels), 0) for scrape in scrapes]),
            }
            for name, labels in scrapes[-1].samples
        ]
        firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        expected = [{"value": 1}] if fires else []
        question = {"expr": firing, "eval_time": "8m", "exp_samples": expected}
        test = {"interval": "1m", "input_series": series, "promql_expr_test": [question]}
        file = self.place / "live_test.yml"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
        done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _series(name: str, labels: frozenset[tuple[str, str]]) -> str:
    """A sample with the labels that Prometheus adds."""
    all_labels = {"job": "po-api", "instance": "live", **dict(labels)}
    return f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in all_labels.items())}}}"


def _values(values: list[float]) -> str:
    return " ".join([*map(str, values), f"{values[-1]}x10"])


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool is installed")
    place = tmp_path_factory.mktemp("live")
    environment = with_metrics(environment_of(place, DB_SLOW_QUERY_MS=str(SLOW_MS), DB_POOL_SIZE=str(CALLERS)))
    copy_demo(place / "data")
    with serving(environment, place, "--demo") as server, embedded_server(place / "data") as urls:
        yield Live(server, environment, urls, place)


@pytest.mark.exhaustive
def test_an_idle_server_fires_no_alert(live: Live) -> None:
    found = live.scraped()
    for alert in ("PoDatabaseSlowQueries", "PoPoolFull", "PoWalArchiveFailed"):
        live.judge(alert, found, found, fires=False)


async def test_statements_that_wait_are_slow_and_fill_the_pool(live: Live) -> None:
    token = next(line.split()[-1] for line in live.server.log.read_text().splitlines() if "access token" in line)
    headers = {"Authorization": f"Bearer {token}"}
    before = live.scraped()
    async with (
        httpx.AsyncClient(base_url=f"{live.server.address}/api/v1", headers=headers, timeout=TIMEOUT) as client,
        connected(live.urls.owner) as owner,
        connected(live.urls.superuser) as superuser,
    ):
        # As a migration gone wrong would.
        await owner.execute("BEGIN; LOCK TABLE porfs")
        requests = [asyncio.create_task(client.get("/porfs")) for _ in range(CALLERS)]
        deadline = Deadline(f"{CALLERS} statements that have waited for {SLOW_MS} ms")
        while await superuser.fetchval(_LOCKED_OUT, SLOW_MS) < CALLERS:
            deadline.check()
        meanwhile = await asyncio.to_thread(live.scraped)
        await owner.execute("ROLLBACK")
        assert {answer.status_code for answer in await asyncio.gather(*requests)} == {200}
    live.judge("PoPoolFull", meanwhile, meanwhile, fires=True)
    after = live.scraped()
    live.judge("PoDatabaseSlowQueries", before, after, fires=True)
    live.judge("PoPoolFull", after, after, fires=False)


async def test_an_archive_that_is_gone_is_noticed(live: Live) -> None:
    CommandLine(live.environment, live.place).backup()
    before = live.scraped()
    (archive,) = (live.place / "data" / "backups" / "wal").iterdir()
    archive.rename(archive.with_name("gone"))
    async with connected(live.urls.superuser) as superuser:
        await superuser.execute("CREATE TABLE written (); SELECT pg_switch_wal()")
        deadline = Deadline("a segment that could not be archived")
        while not (found := live.scraped()).value("po_wal_archive_failed_total"):
            deadline.check()
    live.judge("PoWalArchiveFailed", before, found, fires=True)
