"""The load: a number of connections, each with one request in progress, with every latency measured.

Requests are prepared bytes; a connection follows a script, a generator that is sent each response and yields the next
request. No client library is used: the CPU time of the load generator is taken from PostgreSQL's core.
"""

import asyncio
import re
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import uvloop

from benchmarks.processes import App

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ETAG = re.compile(rb"etag: *([^\r]+)", re.IGNORECASE)
_ID = re.compile(rb'\{"id":(\d+)')
_GRACE_SECONDS = 30
_SAMPLES = 5


class Request(NamedTuple):
    """The bytes of a request, its label in the report, and the expected status."""

    payload: bytes
    label: str
    status: int = 200


class Response(NamedTuple):
    """The response to a request."""

    status: int
    head: bytes
    body: bytes

    @property
    def etag(self) -> str:
        match = _ETAG.search(self.head)
        return match[1].decode() if match else ""

    @property
    def id(self) -> int:
        match = _ID.match(self.body)
        return int(match[1]) if match else 0


Script = Generator[Request, Response, None]
# The script of the n-th connection.
Scripts = Callable[[int], Script]


@dataclass
class Outcome:
    """The result of a load; `latencies` are seconds by the requests' labels."""

    seconds: float = 0.0
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    samples: list[str] = field(default_factory=list)
    unexpected: int = 0

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())


class _Connection(asyncio.Protocol):
    """One connection; if the server closes it, a request in progress is counted as broken."""

    def __init__(self, script: Script, outcome: Outcome, until: float, done: asyncio.Future[None]) -> None:
        self._script = script
        self._outcome = outcome
        self._until = until
        self._done = done
        self._buffer = bytearray()
        self._head_end = 0
        self._end = 0
        self._request: Request | None = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._send(next(self._script))

    def _send(self, request: Request) -> None:
        self._request = request
        self._sent = time.perf_counter()
        self._transport.write(request.payload)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._end:
            self._head_end = self._buffer.find(b"\r\n\r\n")
            if self._head_end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, self._head_end)
            self._end = self._head_end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= self._end:
            self._finish()

    def _finish(self) -> None:
        now = time.perf_counter()
        assert self._request is not None
        head, body = bytes(self._buffer[: self._head_end]), bytes(self._buffer[self._head_end + 4 : self._end])
        response = Response(int(head[9:12]), head, body)
        self._buffer.clear()
        self._end = 0
        self._note(self._request, response, now - self._sent)
        self._request = None
        if now >= self._until:
            self._close()
        else:
            self._send(self._script.send(response))

    def _note(self, request: Request, response: Response, seconds: float) -> None:
        outcome = self._outcome
        outcome.latencies[request.label].append(seconds)
        outcome.statuses[response.status] += 1
        if response.status != request.status:
            outcome.unexpected += 1
            if len(outcome.samples) < _SAMPLES:
                outcome.samples.append(f"{request.label}: {response.status} {response.body[:300].decode()}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request is not None:
            self._outcome.broken += 1
        self._close()

    def _close(self) -> None:
        self._script.close()
        self._transport.close()
        if not self._done.done():
            self._done.set_result(None)


async def _run(port: int, scripts: Sequence[Script], seconds: float) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    started = time.perf_counter()
    futures = []
    for script in scripts:
        done: asyncio.Future[None] = loop.create_future()
        futures.append(done)
        until = started + seconds
        await loop.create_connection(
            lambda script=script, until=until, done=done: _Connection(script, outcome, until, done),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
    _, late = await asyncio.wait(futures, timeout=seconds + _GRACE_SECONDS)
    outcome.broken += len(late)
    outcome.seconds = time.perf_counter() - started
    return outcome


def generate(port: int, scripts: Scripts, *, connections: int, seconds: float) -> Outcome:
    """Run the scripts on this number of connections for this time; each completes its request in progress."""
    return uvloop.run(_run(port, [scripts(number) for number in range(connections)], seconds))


def follow(app: App, script: Script) -> Iterator[Request]:
    """Run the script, one request after the response to the previous one."""
    with suppress(StopIteration):
        request = next(script)
        while True:
            response = require(app, request)
            yield request
            request = script.send(response)


def require(app: App, request: Request) -> Response:
    """The expected response to a request; exits at another one."""
    response = ask(app.port, request)
    if response.status != request.status:
        raise SystemExit(f"{app.name}, {request.label}: {response.status} {response.body.decode()}")
    return response


def ask(port: int, request: Request) -> Response:
    """Send one request; returns its response."""
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request.payload)
        while True:
            received += connection.recv(65536)
            head, separator, body = received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if separator and len(body) >= (int(length[1]) if length else 0):
                return Response(int(head[9:12]), head, body)
