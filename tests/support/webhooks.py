"""A receiver of webhooks over real HTTP, which can behave badly; endpoints that lead to it, and their deliveries."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from standardwebhooks import Webhook

from po_api.webhooks.following import FOLLOW, QUEUE
from po_api.webhooks.networks import LOOPBACK
from po_api.webhooks.sending import Sender
from support.feeds import relayed
from support.organisations import Member, Tenant, created, ok
from support.workers import work_until_idle

LOOPBACK_NETWORKS = ",".join(LOOPBACK)
Json = dict[str, Any]


@dataclass
class Received:
    """A request that has arrived whole; `is_accepted` if it was answered with 2xx."""

    path: str
    headers: dict[str, str]
    body: bytes
    is_accepted: bool = False

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Json:
        """The body, whose signature is checked by the library of Standard Webhooks."""
        found: Json = Webhook(secret).verify(self.body, self.headers)
        return found


# Writes the answer to a request, or part of it; the connection is closed afterwards.
Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answering(status: int, *headers: str, body: str = "") -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Answer", *headers, f"Content-Length: {len(body.encode())}", "", body]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()

    return behave


async def close_early(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""


async def cut_the_body(writer: asyncio.StreamWriter) -> None:
    """Accept, but close the connection in the middle of the body."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    await writer.drain()


async def hang(writer: asyncio.StreamWriter) -> None:
    """Never answer; cancelled when the client closes the connection."""
    await asyncio.Event().wait()


async def answer_later(writer: asyncio.StreamWriter) -> None:
    """Send more interim responses than anybody reads."""
    for _ in range(10_000):
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


ACCEPT = answering(204)
# Behaviours after which a message does not come again.
ACCEPTING = {ACCEPT, cut_the_body}


@dataclass
class Receiver:
    """`behaviours` are those of the next requests, then `choose` chooses one, if it is set; else there is `usual`."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    behaviours: list[Behaviour] = field(default_factory=list)
    usual: Behaviour = field(default=ACCEPT)
    choose: Callable[[], Behaviour] | None = None
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.webhook_id for request in self.received]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                request = await _read(reader)
                self.received.append(request)
                behave = self._behaviour()
                request.is_accepted = behave in ACCEPTING
                closed = asyncio.ensure_future(reader.read())
                answered = asyncio.ensure_future(behave(writer))
                # A client that gives up closes the connection.
                await asyncio.wait([closed, answered], return_when=asyncio.FIRST_COMPLETED)
                for task in (closed, answered):
                    task.cancel()
        finally:
            self.in_flight -= 1
            writer.close()

    def _behaviour(self) -> Behaviour:
        if self.behaviours:
            return self.behaviours.pop(0)
        return self.usual if self.choose is None else self.choose()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(first.split()[1], headers, body)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def add_endpoint(admin: Member, receiver: Receiver, **fields: Any) -> httpx.Response:
    """The response to the creation of an endpoint that leads to the receiver."""
    return await created(admin.post("/webhook-endpoints", json={"url": receiver.url, **fields}))


async def follow(tenant: Tenant) -> None:
    """Number the organisation's events, and queue their deliveries."""
    await relayed(tenant.database, tenant.organisation_id)
    await work_until_idle(tenant, names=frozenset({FOLLOW}))


async def deliver(tenant: Tenant, *, sender: Sender | None = None) -> None:
    """Number the organisation's events, and do what is due for its endpoints."""
    await follow(tenant)
    await work_until_idle(tenant, names=frozenset({QUEUE}), sender=sender)


async def deliveries(admin: Member, endpoint: httpx.Response, **params: Any) -> list[Json]:
    """The deliveries to the endpoint of the response, oldest first."""
    path = f"/webhook-endpoints/{endpoint.json()['id']}/deliveries"
    items: list[Json] = (await ok(admin.get(path, params={"sort": "created_at", **params}))).json()["items"]
    return items


async def shown(admin: Member, endpoint: httpx.Response) -> httpx.Response:
    """The current representation of the endpoint of the response."""
    return await ok(admin.get(f"/webhook-endpoints/{endpoint.json()['id']}"))


async def make_due(owner: asyncpg.Connection, tenant: Tenant) -> None:
    """Let the time of the next attempts come."""
    await owner.execute(
        "UPDATE webhook_deliveries SET next_attempt_at = now() WHERE organisation_id = $1 AND status = 'queued'",
        tenant.organisation_id,
    )
