"""Traces as a collector receives them: a span for the request and for each statement, without data of the request."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.applications import CANARY, SECRET_KEY, canary_answers
from support.forked import po_api_without_tracing
from support.metrics import scraped, with_metrics
from support.one_server import IS_DISTRIBUTED
from support.organisations import Member, new_organisation
from support.server_processes import TIMEOUT, Environment, Server, environment_of, serving

pytestmark = pytest.mark.heavy

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Collector:
    """The spans that it received."""

    address: str
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> Sequence[Any]:
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def resource(self) -> dict[str, str]:
        (first, *_) = ExportTraceServiceRequest.FromString(self.bodies[0]).resource_spans
        return _attributes(first.resource)


@contextmanager
def _collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.paths.append(self.path)
            collector.bodies.append(decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _attributes(of: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in of.attributes}


def _environment(urls: tuple[str, str], place: Path, endpoint: str) -> Environment:
    limits = {"RATE_LIMIT_PER_USER": "10000/minute", "RATE_LIMIT_PER_ADDRESS": "10000/minute"}
    own = {"DATABASE_URL": urls[1], "SECRET_KEY": SECRET_KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    # Would enable FastAPI's own telemetry.
    return environment_of(place, FASTAPI_OTEL_AUTO_CONFIGURE="true", **own, **limits)


@dataclass(frozen=True)
class Traced:
    """The requests of a process, and its log and spans after its end."""

    answers: list[httpx.Response]
    collector: Collector
    log: list[dict[str, Any]]
    metrics: str


@pytest.fixture(scope="module")
async def member(app: FastAPI, client: httpx.AsyncClient) -> Member:
    return (await new_organisation(app, client)).requester


@pytest.fixture(scope="module")
async def traced(urls: tuple[str, str], member: Member, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    place = tmp_path_factory.mktemp("tracing")
    with _collector() as collector:
        environment = with_metrics(_environment(urls, place, collector.address))
        with serving(environment, place) as server:
            async with httpx.AsyncClient(base_url=server.address, timeout=TIMEOUT) as client:
                there = Member(client, member.user_id, member.email, member.token)
                answers = [
                    await there.get("/porfs", headers={"traceparent": CALLER}),
                    await there.post("/porfs", json={"title": "Lamps"}, headers={"traceparent": CANARY}),
                    *(await canary_answers(there)),
                ]
            metrics = scraped(environment).text
        # Spans wait some seconds to be sent together: at the end none may be left behind.
        assert server.process.returncode == 0
    return Traced(answers, collector, _lines(server), metrics)


async def test_a_request_and_its_statements_are_one_trace_with_the_callers(traced: Traced) -> None:
    (listing,) = [span for span in traced.collector.spans() if span.parent_span_id.hex() == "b7ad6b7169203331"]
    assert listing.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert (listing.name, listing.kind) == ("GET /api/v1/porfs", listing.SPAN_KIND_SERVER)
    assert _attributes(listing) == {
        "http.request.method": "GET",
        "http.route": "/api/v1/porfs",
        "http.response.status_code": 200,
        "po_api.request_id": traced.answers[0].headers["X-Request-ID"],
    }
    statements = [span for span in traced.collector.spans() if span.parent_span_id == listing.span_id]
    assert {span.name for span in statements} >= {"sessions.check", "porfs.list"}
    for span in statements:
        assert span.trace_id == listing.trace_id
        assert listing.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert _attributes(span) == {"db.system.name": "postgresql", "db.operation.name": span.name}


async def test_each_request_has_a_span_whose_trace_is_in_its_log_line(traced: Traced) -> None:
    requests = {line["request_id"]: line for line in traced.log if line["event"] == "request_finished"}
    spans = {
        _attributes(span)["po_api.request_id"]: span
        for span in traced.collector.spans()
        if span.kind == span.SPAN_KIND_SERVER
    }
    assert requests.keys() == spans.keys()
    assert len(requests) > 50
    for request_id, span in spans.items():
        line, said = requests[request_id], _attributes(span)
        assert line["trace_id"] == span.trace_id.hex()
        assert (line["status"], line["method"]) == (said["http.response.status_code"], said["http.request.method"])


async def test_writing_is_traced_too(traced: Traced) -> None:
    made = traced.answers[1].headers["X-Request-ID"]
    (span,) = [found for found in traced.collector.spans() if _attributes(found).get("po_api.request_id") == made]
    assert span.parent_span_id == b""  # a new trace, since the header is invalid
    names = {found.name for found in traced.collector.spans() if found.parent_span_id == span.span_id}
    assert names >= {"sessions.check", "porfs.insert" if IS_DISTRIBUTED else "porfs.create"}


async def test_spans_contain_no_data_of_requests(traced: Traced, member: Member) -> None:
    told = b"".join(traced.collector.bodies).decode(errors="replace") + json.dumps(traced.log) + traced.metrics
    for secret in (CANARY, member.token, member.email, SECRET_KEY):
        assert secret not in told
    assert set(traced.collector.paths) == {"/v1/traces"}  # no logs and no metrics
    known = {"po_api.request_id", "http.request.method", "http.route", "http.response.status_code", "error.type"}
    known |= {"db.system.name", "db.operation.name"}
    for span in traced.collector.spans():
        assert _attributes(span).keys() <= known
        assert not span.events


async def test_the_service_has_a_name(traced: Traced) -> None:
    said = traced.collector.resource()
    assert said["service.name"] == "po-api"
    assert said["service.version"]


def test_a_collector_that_is_away_holds_nothing_up(urls: tuple[str, str], app: FastAPI, tmp_path: Path) -> None:
    with serving(_environment(urls, tmp_path, "http://127.0.0.1:1"), tmp_path) as server:
        assert server.is_ready()
    assert server.process.returncode == 0
    lines = _lines(server)
    assert {line["event"] for line in lines} == {"request_finished", "span_export_failed"}
    assert all("trace_id" in line for line in lines if line["event"] == "request_finished")


def test_missing_packages_are_logged_once(urls: tuple[str, str], app: FastAPI, tmp_path: Path) -> None:
    environment = _environment(urls, tmp_path, "http://127.0.0.1:1")
    with serving(environment, tmp_path, main=po_api_without_tracing) as server:
        assert server.is_ready()
    requests = [line for line in _lines(server) if line["event"] == "request_finished"]
    (warning,) = [line for line in _lines(server) if line["event"] != "request_finished"]
    assert requests
    assert not any("trace_id" in line for line in requests)
    assert warning["event"] == "tracing_disabled"
    assert warning["reason"] == "OTEL_EXPORTER_OTLP_ENDPOINT requires the packages of the extra tracing"


def _lines(server: Server) -> list[dict[str, Any]]:
    """The log of a process, read after its end: the line of a request follows its response."""
    return [json.loads(line) for line in server.log.read_text().splitlines()]
