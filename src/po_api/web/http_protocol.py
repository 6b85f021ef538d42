"""Uvicorn's HTTP protocol with limits on what it reads: without them, an endless header holds up all other requests.

Uvicorn has no such limits with httptools, and its h11 takes several times the processor time of each request. The parts
of it that are used here are not documented: tests/web/test_http_protocol.py fails when a version changes them.
"""

import asyncio
import socket
from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from po_api.core.errors import AppError, BadRequest
from po_api.observability.logging import get_logger
from po_api.web.errors import problem_response
from po_api.web.middleware import SAFE_HEADERS, new_request_id

# Also of everything else around a body: chunks' extensions and trailers.
HEAD_BYTES = 64 * 1024
URL_BYTES = 16 * 1024
HEADERS = 100
HEAD_SECONDS = 10
# The least part of a body in each HEAD_SECONDS: 1 kB/s.
BODY_BYTES = HEAD_SECONDS * 1000
# Chunks of one body, the empty last one included: a client that sends single bytes as chunks would keep the event loop
# busy with little traffic.
CHUNKS = 100_000
# Requests that wait for the response to an earlier one of their connection. Browsers and most libraries send none.
PIPELINED = 16
# A client that reads nothing of its responses for this time is disconnected.
UNREAD_SECONDS = 60
# A client that is still sending has this time to read why its request was refused, and may send as much meanwhile.
LINGER_SECONDS = 2
LINGER_BYTES = 1024 * 1024

_log = get_logger(__name__)


class UrlTooLong(AppError):
    """The URL has more than 16 KiB; send fewer or shorter query parameters."""

    status = 414
    code = "url_too_long"
    title = "URL too long"
    page = "/docs/limits"


class HeadersTooLarge(AppError):
    """The request has more than 100 header fields, or more than 64 KiB of them."""

    status = 431
    code = "headers_too_large"
    title = "Request header fields too large"
    page = "/docs/limits"


class TooSlow(AppError):
    """The request's header fields took more than 10 seconds to arrive, or its body arrived at less than 1 kB/s."""

    status = 408
    code = "request_too_slow"
    title = "Request arrived too slowly"
    page = "/docs/limits"


def limit_unread(listener: socket.socket) -> None:
    """Let the system close the accepted connections whose clients do not read.

    The protocol cannot measure it: the buffers of the system hold megabytes, which a slow client reads for minutes.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; it includes the time in which the client's buffer is full
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1000))


class LimitedProtocol(HttpToolsProtocol):
    """A connection of one client. A request beyond the limits gets a problem, and the connection is closed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.url = b""
        # Bytes that the parser has got since it last made something of them.
        self._pending = 0
        self._body_bytes = self._chunks = 0
        self._is_in_message = self._is_in_head = self._is_refused = False
        self._problem: AppError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        # A connection without a request is closed like one that is kept alive.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        if self._is_refused:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        while data and not self._is_refused:
            room = HEAD_BYTES - self._pending
            if room == 0:
                self._refuse(UrlTooLong() if len(self.url) > URL_BYTES else HeadersTooLarge())
                break
            piece, data = data[:room], data[room:]
            self._pending += len(piece)
            super().data_received(piece)
        if self._is_refused:
            self._discard(data)
        # Most requests have arrived completely, and need no timer.
        if (self._is_in_message or self._pending) and self._deadline is None and not self._is_refused:
            self._set_deadline(HEAD_SECONDS)

    def _discard(self, data: bytes) -> None:
        self._pending += len(data)
        if self._pending > LINGER_BYTES and not self.transport.is_closing():
            self.transport.pause_reading()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._problem or BadRequest("the request is not valid HTTP/1.1"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_message = self._is_in_head = True

    def on_headers_complete(self) -> None:
        if len(self.url) > URL_BYTES:
            self._problem = UrlTooLong()
        elif len(self.headers) > HEADERS:
            self._problem = HeadersTooLarge()
        elif len(self.pipeline) >= PIPELINED:
            self._problem = BadRequest(f"more than {PIPELINED} requests of the connection wait for a response")
        elif self.parser.should_upgrade() and self._has_body():
            self._problem = BadRequest("connections are not upgraded: send the request without the header Upgrade")
        if self._problem is not None:
            raise ValueError  # the parser stops, and send_400_response is called
        self._pending = 0
        self._is_in_head = False
        self._set_deadline(None)
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser takes all that follows for the other protocol

    def _has_body(self) -> bool:
        """Whether the head announces a body. After an offer to upgrade, the parser would skip it."""
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > CHUNKS:
            self._problem = BadRequest(f"the body has more than {CHUNKS} chunks; send larger ones")
            raise ValueError

    def on_message_complete(self) -> None:
        self._pending = self._body_bytes = self._chunks = 0
        self._is_in_message = False
        self._set_deadline(None)
        super().on_message_complete()

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._check_progress)

    def _check_progress(self) -> None:
        if self._is_in_body and (self._body_bytes >= BODY_BYTES or self._is_held_up):
            self._body_bytes = 0
            self._set_deadline(HEAD_SECONDS)
        else:
            self._refuse(TooSlow())

    @property
    def _is_in_body(self) -> bool:
        return self._is_in_message and not self._is_in_head

    @property
    def _is_held_up(self) -> bool:
        """Whether the client cannot send its body, because the application does not read it."""
        return self.flow.read_paused or self.cycle.waiting_for_100_continue

    def _refuse(self, error: AppError) -> None:
        """Respond with the problem and close, after the responses to earlier requests of the connection."""
        self._is_refused = True
        self._set_deadline(None)
        _log.info("request_refused", status=error.status, code=error.code)
        if self.cycle is None or self.cycle.response_complete:
            self._respond(error)
        elif not self._is_in_body:
            self.cycle.keep_alive = False
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.close()
            else:
                self._respond(error)

    def _respond(self, error: AppError) -> None:
        self.transport.write(_response(error, self.server_state.default_headers))
        if self.transport.can_write_eof():
            # To close at once would discard the response at a client that has not read it yet.
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()


def _response(error: AppError, default_headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    request_id = new_request_id()
    response = problem_response(Request({"type": "http", "state": {"request_id": request_id}}), error)
    headers = [*default_headers, *response.raw_headers, *SAFE_HEADERS]
    headers += [(b"x-request-id", request_id.encode()), (b"connection", b"close")]
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
