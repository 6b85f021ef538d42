"""Traces for whoever set an endpoint for them: one span for a request, one for each of its statements.

They are our own few: what FastAPI offers tells addresses with all that stands in their query, and errors with all
that they quote. What sends them (`pip install po-api[tracing]`) is imported if there is an endpoint.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from po_api.observability.logging import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE = "po-api"
# A collector that is away must not hold up the end of a process, which has thirty seconds for its requests.
EXPORT_SECONDS = 3

_CALLERS = TraceContextTextMapPropagator()
_log = get_logger(__name__)
# None as long as nobody wants traces: whoever is about to begin a span looks here first.
tracer: Tracer | None = None


class Tracing:
    """The way to the collector, from a process's start to its end."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider

    def shut_down(self) -> None:
        """Send what has not been sent yet, and stop. It takes some seconds if the collector is away."""
        global tracer  # noqa: PLW0603
        tracer = None
        self._provider.shutdown()


def start(endpoint: str | None, version: str) -> Tracing | None:
    """Begin to trace, if there is somewhere to send spans to and the packages for that are there.

    The other OTEL_… variables (headers, sampler, resource) are the SDK's, which reads them from the environment.
    """
    global tracer  # noqa: PLW0603
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning("tracing_is_off", reason="OTEL_EXPORTER_OTLP_ENDPOINT takes: pip install po-api[tracing]")
        return None
    _hear(logging.getLogger("opentelemetry"))
    resource = Resource.create({"service.name": SERVICE, "service.version": version})
    # Not the global one: what other libraries would tell of a request is not wanted.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer(SERVICE, version)
    return Tracing(provider)


class _Heard(logging.Handler):
    """Passes on what the SDK complains of to the application's log: its words, not what it puts in."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("spans_not_sent", reason=str(record.msg))


def _hear(logger: logging.Logger) -> None:
    logger.propagate = False
    logger.handlers = [_Heard()]


class RequestSpan:
    """The span of a request, under the caller's own if that sent a `traceparent` (W3C)."""

    def __init__(self, tracer: Tracer, headers: Mapping[str, str], request_id: str) -> None:
        parent = _CALLERS.extract({"traceparent": headers.get("traceparent", "")})
        self._span = tracer.start_span("request", parent, SpanKind.SERVER, attributes={"po_api.request_id": request_id})
        self._token = context.attach(trace.set_span_in_context(self._span))

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def end(self, route: str, method: str, status: int) -> None:
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        if status == 0 or status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)


def begin_statement(operation: str) -> Span:
    """The span of a statement, under the request's."""
    assert tracer is not None
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation}
    return tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes)


def end(span: Span, error: BaseException | None) -> None:
    """Errors are told by their kind: their messages quote values."""
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)
    span.end()
