"""The samples of a scrape, parsed as by Prometheus."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from po_api.operations.databases import Connections
from po_api.operations.metrics.exposition import metrics_app
from po_api.settings import Settings
from support.applications import SECRET_KEY
from support.polling import DEADLINE_SECONDS
from support.server_processes import TIMEOUT, Environment, free_port

_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}


def with_metrics(environment: Environment, **variables: str) -> Environment:
    """The environment of a process that exposes its metrics."""
    return environment | {"METRICS_PORT": str(free_port())} | variables


@dataclass(frozen=True)
class Scrape:
    """Samples by their names and labels, and the names of all that can have samples."""

    text: str
    names: frozenset[str]
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float | None:
        """The sample with just these labels."""
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """All samples together that have these labels."""
        return sum(value for found, value in self.having(name, **labels) if found)

    def having(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        wanted = set(labels.items())
        for (sample, of_sample), value in self.samples.items():
            if sample == name and wanted <= of_sample:
                yield {"__name__": sample, **dict(of_sample)}, value


def read(text: str) -> Scrape:
    """The samples of a response; each must occur once."""
    names: set[str] = set()
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        names.update(f"{family.name}{suffix}" for suffix in _SUFFIXES.get(family.type, ("", "_total")))
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, key
            samples[key] = sample.value
    return Scrape(text, frozenset(names), samples)


def scrape(environment: Environment, **options: Any) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{environment['METRICS_PORT']}/metrics", timeout=TIMEOUT, **options)


def scraped(environment: Environment) -> Scrape:
    answer = scrape(environment)
    assert answer.status_code == 200, answer.text
    return read(answer.text)


@asynccontextmanager
async def metrics_of(
    url: str, *, counted: Collector | None = None, seconds: float = DEADLINE_SECONDS, **settings: Any
) -> AsyncIterator[Callable[[], Awaitable[Scrape]]]:
    """Scrapes of this process, with the metrics of a separate database, which have more time than on a server.

    What this process has counted, `REGISTRY`, is left out by default: after many tests, reading it takes seconds.
    """
    found = Connections(url, url, SECRET_KEY)
    app = metrics_app(
        Settings(_env_file=None, **settings), found, counted or CollectorRegistry(), database_seconds=seconds
    )
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):

        async def scraped() -> Scrape:
            answer = await client.get("/metrics")
            assert answer.status_code == 200, answer.text
            return read(answer.text)

        yield scraped
