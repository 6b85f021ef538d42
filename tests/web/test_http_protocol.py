"""What a client may send before a request is accepted: sizes, numbers and times, over real connections."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from po_api.web import http_protocol
from support.applications import new_app, serving

GET = b"GET /health/live HTTP/1.1\r\nHost: test\r\n"
POST = b"POST /api/v1/porfs HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# More than the buffers of both sides hold, so that the server has to stop reading.
MUCH = 32 * 1024 * 1024


@pytest.fixture(scope="module")
def port(urls: tuple[str, str]) -> Iterator[int]:
    # An application of its own: connections of the common one belong to the event loop of the other tests.
    with serving(new_app(urls[1])) as address:
        yield int(address.rpartition(":")[2])


def _answers(port: int, *parts: bytes) -> bytes:
    """Everything that the server responds with until it closes the connection; read while the parts are being sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, ThreadPoolExecutor(1) as pool:
        received = pool.submit(_all_from, connection)
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        return received.result()


def _all_from(connection: socket.socket) -> bytes:
    answers = b""
    with suppress(ConnectionError):
        for received in iter(partial(connection.recv, 65536), b""):
            answers += received
    return answers


def _problem(answers: bytes) -> tuple[int, str]:
    """The status and the code of the only response, which is a complete problem."""
    head, _, body = answers.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"connection"] == b"close"
    assert int(fields[b"content-length"]) == len(body)
    problem = json.loads(body)
    assert problem["request_id"] == fields[b"x-request-id"].decode()
    assert problem["status"] == int(head.split()[1])
    return problem["status"], problem["code"]


def _endless(part: bytes) -> Iterator[bytes]:
    for _ in range(MUCH // len(part)):
        yield part


@pytest.mark.parametrize(
    ("start", "part", "expected"),
    [
        (b"GET /", b"x" * 65536, (414, "url_too_long")),
        (GET + b"X: ", b"x" * 65536, (431, "headers_too_large")),
        (GET, b"x" * 65536, (431, "headers_too_large")),
        (GET, b"x: y\r\n" * 10_000, (431, "headers_too_large")),
        (b"", b"\r\n" * 10_000, (431, "headers_too_large")),
        (CHUNKED + b"1;", b"x" * 65536, (431, "headers_too_large")),
        (CHUNKED + b"0\r\nX: ", b"x" * 65536, (431, "headers_too_large")),
    ],
    ids=["URL", "header", "header name", "headers", "empty lines", "chunk extension", "trailer"],
)
def test_what_never_ends_is_refused(
    port: int, start: bytes, part: bytes, expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.5)
    assert _problem(_answers(port, start, *_endless(part))) == expected


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (GET + b"A: b\r\n" * 98, 200),
        (GET + b"A: b\r\n" * 99, 431),
        (b"GET /health/live?" + b"x" * (16 * 1024 - 13) + b" HTTP/1.1\r\nHost: test\r\n", 400),
        (b"GET /health/live?" + b"x" * (16 * 1024 - 12) + b" HTTP/1.1\r\nHost: test\r\n", 414),
        (GET + b"A: " + b"b" * (64 * 1024 - len(GET) - 26), 200),
        (GET + b"A: " + b"b" * (64 * 1024 - len(GET) - 25), 431),
    ],
    ids=["100 headers", "101 headers", "URL of 16 KiB", "longer URL", "64 KiB", "more than 64 KiB"],
)
def test_the_limits_are_exact(port: int, sent: bytes, status: int) -> None:
    end = b"" if sent.endswith(b"\r\n") else b"\r\n"
    answers = _answers(port, sent + end + b"Connection: close\r\n\r\n")
    assert answers.split()[1] == str(status).encode()


def test_what_is_not_http_is_a_problem(port: int) -> None:
    for sent in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", GET + b"a b\r\n\r\n"):
        assert _problem(_answers(port, sent)) == (400, "bad_request")


def test_earlier_requests_of_the_connection_are_answered_first(port: int) -> None:
    for later in (b"\x16", GET + b"X: " + b"x" * 140_000):
        answers = _answers(port, GET + b"\r\n" + GET + b"\r\n" + later)
        assert (answers.count(b"HTTP/1.1 "), answers.count(b'{"status":"live"}')) == (2, 2)


@pytest.mark.parametrize("sent", [b"GET / HTT", GET, b"\r\n", POST + b"Content-Length: 9\r\n\r\n{", CHUNKED])
def test_what_arrives_too_slowly_is_refused(port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)
    assert _problem(_answers(port, sent)) == (408, "request_too_slow")


def test_a_large_body_is_read(port: int) -> None:
    body = b'{"title": "' + b"x" * 3_000_000 + b'"}'
    answers = _answers(port, POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    assert answers.split()[1] in {b"401", b"413"}


# Java's HttpClient sends it by default.
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"


def test_an_offer_to_upgrade_is_declined(port: int) -> None:
    answers = _answers(port, GET + UPGRADE + b"\r\n")
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answers


def test_a_body_behind_an_offer_to_upgrade_is_not_ignored(port: int) -> None:
    for length, body in ((b"Content-Length: 2", b"{}"), (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n")):
        assert _problem(_answers(port, POST + UPGRADE + length + b"\r\n\r\n" + body)) == (400, "bad_request")


def test_many_requests_at_once_do_not_hold_up_others(port: int) -> None:
    request = GET + b"\r\n"
    few = _answers(port, request * 16 + GET + b"Connection: close\r\n\r\n")
    assert few.count(b"HTTP/1.1 200 ") == 17
    # One is served, sixteen wait, and the rest is not parsed.
    assert _answers(port, request * 30).count(b"HTTP/1.1 200 ") == 17
    assert _answers(port, request * 100_000).count(b"HTTP/1.1 200 ") <= 17


def test_a_body_of_tiny_chunks_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "CHUNKS", 100)
    chunk = b"1\r\n \r\n"
    end = b"0\r\n\r\n"
    assert _problem(_answers(port, CHUNKED + chunk * 101 + end)) == (400, "bad_request")
    closing = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert _answers(port, closing + chunk * 99 + end).split()[1] != b"400"


def test_a_client_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "UNREAD_SECONDS", 1)
    has_ended = threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(MUCH // 65536):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        has_ended.set()

    with serving(application) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(address.rpartition(":")[2])))
        connection.sendall(GET + b"\r\n")
        # It waits until it can send more, or until the connection is closed.
        assert has_ended.wait(timeout=30)
