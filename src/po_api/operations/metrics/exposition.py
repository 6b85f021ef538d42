"""`/metrics`, on an address of its own: disabled without METRICS_PORT, and never part of the API.

It is served by a thread with its own event loop in the parent process, so it responds while all workers are busy, hang
or are being replaced.
"""

import asyncio
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from po_api.operations.backups.catalogue import Catalogue
from po_api.operations.databases import Connections
from po_api.operations.embedded.supervisor import Supervisor
from po_api.operations.metrics.backups import BackupFigures
from po_api.operations.metrics.database import SECONDS, DatabaseFigures
from po_api.operations.metrics.disk import DiskFigures
from po_api.operations.metrics.embedded import EmbeddedFigures
from po_api.settings import Settings
from po_api.web.middleware import SAFE_HEADERS

PATH = "/metrics"
STOP_SECONDS = 5

# Called concurrently in each scrape.
Source = Callable[[], Awaitable[Iterable[Metric]]]


class _Scrape(Collector):
    """The metrics of one scrape."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def metrics_app(
    settings: Settings,
    found: Connections,
    counted: Collector,
    supervisor: Supervisor | None = None,
    *,
    database_seconds: float = SECONDS,
) -> Starlette:
    """The application that serves scrapes; `counted` collects what the processes have counted, `supervisor` is that of
    an embedded server. The database's metrics are left out if reading them takes longer than `database_seconds`."""
    database = DatabaseFigures(found.app_url, settings, seconds=database_seconds)
    backups = BackupFigures(Catalogue.of(settings))
    sources: list[Source] = [database, DiskFigures(settings.po_data_dir), backups, EmbeddedFigures(supervisor)]
    token = settings.metrics_token

    async def show(request: Request) -> Response:
        if token is not None and not _has(request, token.get_secret_value()):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        results = await asyncio.gather(*(source() for source in sources))
        metrics = [*counted.collect(), *(metric for result in results for metric in result)]
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(_Scrape(metrics)), headers={"Content-Type": media_type})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await database.close()

    return Starlette(
        routes=[Route(PATH, show, methods=["GET"])],
        middleware=[Middleware(_SafeHeaders), Middleware(GZipMiddleware, minimum_size=1000)],
        lifespan=lifespan,
    )


class _SafeHeaders:
    """Adds the API's safe headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SAFE_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _has(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


@contextmanager
def exposed(app: Starlette, listener: socket.socket) -> Iterator[None]:
    """Serve `app` on the socket while the context is open."""
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    # A daemon thread: a scrape in progress does not delay the end of the process.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS * 2)
