"""OpenTelemetry traces, if an endpoint is configured: a span for each request, and one for each of its statements.

FastAPI's own spans are not used: they contain URLs with their query, and error messages with the values they quote.
The SDK and the exporter (the extra `tracing`) are only imported if there is an endpoint.
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
# An unreachable collector must not delay the shutdown of a process, which has thirty seconds for its requests.
EXPORT_SECONDS = 3

_PROPAGATOR = TraceContextTextMapPropagator()
_log = get_logger(__name__)
# None without an endpoint: callers check it before they begin a span.
tracer: Tracer | None = None


class Tracing:
    """The export of spans, from the start of a process to its shutdown."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider

    def shut_down(self) -> None:
        """Export the remaining spans and stop. Takes up to EXPORT_SECONDS if the collector does not respond."""
        global tracer  # noqa: PLW0603
        tracer = None
        self._provider.shutdown()


def start(endpoint: str | None, version: str) -> Tracing | None:
    """Start tracing if there is an endpoint and the packages are installed.

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
        _log.warning(
            "tracing_disabled", reason="OTEL_EXPORTER_OTLP_ENDPOINT requires the packages of the extra tracing"
        )
        return None
    _forward_log(logging.getLogger("opentelemetry"))
    resource = Resource.create({"service.name": SERVICE, "service.version": version})
    # Not the global one: spans of other libraries are not wanted.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer(SERVICE, version)
    return Tracing(provider)


class _ForwardHandler(logging.Handler):
    """Forwards the SDK's warnings to the application's log, without their arguments, which may contain data."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("span_export_failed", reason=str(record.msg))


def _forward_log(logger: logging.Logger) -> None:
    logger.propagate = False
    logger.handlers = [_ForwardHandler()]


class RequestSpan:
    """The span of a request, a child of the caller's if the request has a `traceparent` header (W3C)."""

    def __init__(self, tracer: Tracer, headers: Mapping[str, str], request_id: str) -> None:
        parent = _PROPAGATOR.extract({"traceparent": headers.get("traceparent", "")})
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
    """The span of a statement, a child of the request's."""
    assert tracer is not None
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation}
    return tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes)


def end(span: Span, error: BaseException | None) -> None:
    """End the span. An error is recorded by its type: messages quote values."""
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)
    span.end()
