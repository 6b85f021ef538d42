"""Requests to the endpoints of webhooks: no redirects, no proxies, and only to addresses that are permitted.

A name is resolved here, for each attempt, and the connection is made to the address that was checked: a name that
stands for another address a moment later (DNS rebinding) leads nowhere else. TLS verifies the name as usual.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpcore
import httpx

from po_api.core.text import printable
from po_api.webhooks.domain import ATTEMPT_SECONDS, SHOWN_BYTES, SendingError
from po_api.webhooks.networks import Destinations

# Returns the addresses that a name stands for. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# Threads of their own: the names of endpoints are foreign, and their servers may be slow on purpose. More than attempts
# at a time: looking up a name may go on after the end of its attempt.
_RESOLVERS = 64


# Of an answer, with its header; what is longer is cut. Parsing keeps the event loop busy, and an answer may have any
# number of interim responses (1xx) before it.
_MAX_ANSWER_BYTES = 128 * 1024


class NotSent(Exception):
    """There was no answer."""

    def __init__(self, error: SendingError) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Answer:
    """The answer of a receiver; `body` is the beginning of its body as text."""

    status: int
    retry_after: str | None = None
    body: str = ""


class _LimitedStream(httpcore.AsyncNetworkStream):
    """A stream from which a limited number of bytes is read. Raises httpcore.ReadError for more."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = _MAX_ANSWER_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if not self._left:
            raise httpcore.ReadError("the answer is too long")
        part = await self._stream.read(min(max_bytes, self._left), timeout)
        self._left -= len(part)
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _LimitedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to permitted addresses only. Raises NotSent."""

    def __init__(self, destinations: Destinations, resolve: Resolve) -> None:
        self._destinations = destinations
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = await self._permitted(host, port)
        connect = partial(
            self._network.connect_tcp,
            port=port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )
        for address in others:
            with suppress(httpcore.ConnectError):
                return _LimitedStream(await connect(address))
        return _LimitedStream(await connect(last))

    async def _permitted(self, host: str, port: int) -> Sequence[str]:
        """The permitted addresses of a host, of which there is at least one."""
        try:
            found = await self._resolve(host, port)
        except OSError:
            raise NotSent(SendingError.NAME_NOT_RESOLVED) from None
        permitted = [address for address in found if self._destinations.permits(ip_address(address))]
        if not permitted:
            raise NotSent(SendingError.FORBIDDEN_ADDRESS if found else SendingError.NAME_NOT_RESOLVED)
        return permitted


class Sender:
    """Sends requests; `resolve` is the system's resolver by default, `seconds` the time-out of an attempt."""

    def __init__(
        self, destinations: Destinations, *, resolve: Resolve | None = None, seconds: float = ATTEMPT_SECONDS
    ) -> None:
        self._network = _CheckedNetwork(destinations, resolve or self._resolved)
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_RESOLVERS, "webhook-names")

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST a JSON body. Raises NotSent if there was no answer in time.

        The status is the answer: whether the body arrives is of no importance.
        """
        answer = None
        try:
            async with asyncio.timeout(self._seconds), self._connections(url) as connections:
                named = {"content-type": "application/json", "user-agent": _USER_AGENT, **headers}
                async with connections.stream("POST", url, headers=[*named.items()], content=body) as response:
                    answer = Answer(response.status, _header(response, b"retry-after"))
                    answer = replace(answer, body=await _beginning(response))
        except (TimeoutError, httpcore.TimeoutException):
            if answer is None:
                raise NotSent(SendingError.TIMED_OUT) from None
        except httpcore.ConnectError as error:
            raise NotSent(SendingError.TLS_FAILED if _is_of_tls(error) else SendingError.CONNECTION_FAILED) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            if answer is None:
                raise NotSent(SendingError.NO_ANSWER) from None
        assert answer is not None
        return answer

    def _connections(self, url: str) -> httpcore.AsyncConnectionPool:
        """Connections of one attempt. Proxies of the environment are not used."""
        tls = self._tls if urlsplit(url).scheme == "https" else None
        return httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=self._network)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        find = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, find)
        return [str(address[0]) for *_, address in found]


_USER_AGENT = f"po-api/{version('po-api')} (webhooks)"


def _is_of_tls(error: BaseException) -> bool:
    """Whether TLS is the cause, such as a certificate that is not valid."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


async def _beginning(response: httpcore.Response) -> str:
    """The first SHOWN_BYTES of the body, or what arrives of them."""
    found = b""
    with suppress(httpcore.NetworkError, httpcore.ProtocolError):
        async for part in response.aiter_stream():
            found += part
            if len(found) >= SHOWN_BYTES:
                break
    return printable(found[:SHOWN_BYTES].decode(errors="replace"))
