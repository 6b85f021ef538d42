"""For every request: an id, a log line, metrics, safe headers, a body limit, and problems instead of tracebacks."""

import asyncio
import random
import re
import time
from collections.abc import Iterable, Iterator
from functools import cache

import structlog
from prometheus_client import Histogram
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from po_api.core.errors import PayloadTooLarge
from po_api.observability import metrics, tracing
from po_api.observability.logging import get_logger
from po_api.web.errors import from_exception, problem_response, unavailable

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
# Sent over TLS only, as browsers require (RFC 6797); preload lists require two years.
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
# Clients must not be able to create label values: all other methods count as one, and so do unknown paths.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
NO_ROUTE = "unmatched"
_log = get_logger("po_api.access")


class RequestContext:
    """Assigns the request id, adds headers, measures and logs the result, and responds 500 to unhandled exceptions."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        span = None
        if tracing.tracer is not None:
            span = tracing.RequestSpan(tracing.tracer, headers, request_id)
            structlog.contextvars.bind_contextvars(trace_id=span.trace_id)
        started = time.perf_counter()
        status = 0
        method = scope["method"] if scope["method"] in _METHODS else OTHER_METHOD
        if method == "HEAD":  # as GET; the server omits the body
            scope = {**scope, "method": "GET"}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(message["headers"], scope, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if status:
                raise  # the response has begun
            await problem_response(Request(scope), from_exception(error))(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # Only the server cancels requests, at the end of its graceful shutdown.
            if not status:
                await problem_response(Request(scope), unavailable())(scope, receive, send_with_headers)
            raise
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None)
            key = (route or NO_ROUTE, method, status)
            _histogram(*key).observe(seconds)
            _log.info(
                "request_finished",
                method=method,
                route=route,
                status=status,
                duration_ms=int(seconds * 10_000) / 10,
                user_id=state.get("user_id"),
            )
            if span is not None:
                span.end(*key)


@cache
def _histogram(route: str, method: str, status: int) -> Histogram:
    return metrics.HTTP_REQUESTS.labels(route, method, status)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """96 random bits. They are no secret, so that they need no system call."""
    return f"{random.getrandbits(96):024x}"


def _headers(own: Iterable[tuple[bytes, bytes]], scope: Scope, request_id: str) -> Iterator[tuple[bytes, bytes]]:
    """The headers of every response, besides its own."""
    named = {name for name, _ in own}
    yield b"x-request-id", request_id.encode()
    yield from (header for header in SAFE_HEADERS if header[0] not in named)
    if scope["scheme"] == "https":
        yield _STRICT_TRANSPORT
    limits = scope["state"].get("rate_limit")
    if isinstance(limits, dict):
        yield from ((name.lower().encode(), value.encode()) for name, value in limits.items())


class BodyLimit:
    """Refuses a body over the limit: at once by its Content-Length, else as soon as more was received.

    Requests to the paths `uploads` have a limit of their own.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, uploads: re.Pattern[str] | None = None, max_upload_bytes: int = 0
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._uploads = uploads
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._limit(scope)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            raise PayloadTooLarge
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise PayloadTooLarge
            return message

        await self._app(scope, limited_receive, send)

    def _limit(self, scope: Scope) -> int:
        is_upload = self._uploads is not None and self._uploads.fullmatch(scope["path"]) is not None
        return self._max_upload_bytes if is_upload else self._max_bytes
