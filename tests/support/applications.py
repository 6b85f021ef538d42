"""Further applications beside the common one: with other limits, or on a database that is down."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from po_api.app import create_app
from po_api.observability import logging
from po_api.operations.databases import Connections
from po_api.settings import Settings
from po_api.web.http_protocol import LimitedProtocol, limit_unread
from support.organisations import LINE, PREFIX, Member

JSON = {"Content-Type": "application/json"}
CANARY = "c4n4ry-9f31b7"
SECRET_KEY = "tests-only-0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def application_on(urls: tuple[str, str], settings: Settings) -> AsyncIterator[FastAPI]:
    """The application on a migrated database, with the owner's and the application's URL."""
    logging.configure(settings.log_level)
    application = create_app(settings, Connections(*urls, SECRET_KEY))
    yield application
    await application.state.database.dispose()


def new_app(url: str, **settings: Any) -> FastAPI:
    is_checked = settings.pop("is_checked", False)
    values: dict[str, Any] = {"rate_limit_per_user": "1000/minute", "rate_limit_per_address": "1000/minute"}
    values |= {"worker": False} | settings
    return create_app(Settings(_env_file=None, **values), Connections(url, url, SECRET_KEY), is_checked=is_checked)


@asynccontextmanager
async def client_of(app: FastAPI, address: str = "192.0.2.1") -> AsyncIterator[httpx.AsyncClient]:
    """A client at `address` that gets errors as responses; the application's connections are closed at the end."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        try:
            yield client
        finally:
            await app.state.database.dispose()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an application that is served by a thread with its own event loop."""
    config = uvicorn.Config(
        app, http=LimitedProtocol, log_level="error", access_log=False, lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        limit_unread(listener)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def canary_answers(member: Member) -> list[httpx.Response]:
    """Responses to requests that have the canary in every place where a request can have a value."""
    names = [
        (
            "/porfs",
            ["title", "justification", "cost_centre", "needed_by", "currency", "supplier_id", "total", "lines", CANARY],
        ),
        ("/suppliers", ["name", "email", "tax_id", "address", CANARY]),
        ("/invitations", ["email", "roles", "approval_limit", CANARY]),
        ("/organisations", ["name", "currency", "timezone", "tax_rounding", "over_order_percent", "po_prefix", CANARY]),
        ("/purchase-orders", ["porf_ids", "lines", "supplier_id", "terms", "delivery_address", CANARY]),
    ]
    line = ["description", "quantity", "unit_price", "sku", "unit", "discount_percent", "tax_rate", "needed_by", "net"]
    wrong = f"\x07{CANARY}"
    pending = [member.post(path, json={name: wrong}) for path, fields in names for name in fields]
    pending += [member.post("/porfs", json={"title": "x", "lines": [LINE | {name: wrong}]}) for name in (*line, CANARY)]
    pending += [
        member.post("/porfs", content=f'{{"title": "{CANARY}', headers=JSON),
        member.post("/porfs", content=f'"{CANARY}"', headers=JSON),
    ]
    for name in (
        "status",
        "requester_id",
        "currency",
        "cost_centre",
        "q",
        "limit",
        "cursor",
        "sort",
        "created_at_gte",
        CANARY,
    ):
        pending.append(member.get("/porfs", params={name: wrong}))
    pending += [member.get(f"/{CANARY}"), member.get(f"/porfs/{CANARY}"), member.request("PUT", f"/porfs/{CANARY}")]
    for header in ("If-Match", "Idempotency-Key", "Content-Type", "X-Request-ID"):
        values = {header: f"{CANARY} {'x' * 300}"}
        pending.append(member.post("/porfs/1/submit", content=b"{}", headers=JSON | {"If-Match": '"1"'} | values))
    files = {"file": (f"{CANARY}.csv", f"description,{CANARY}\n{CANARY},{CANARY}".encode())}
    pending.append(member.post("/porfs/import", files=files, data={"title": "x", "currency": CANARY}))
    answers = [await answer for answer in pending]
    token = {"Authorization": f"Bearer {CANARY}"}
    return [*answers, await member.client.get(f"{PREFIX}/porfs", headers=token)]
