"""The application: its lifespan, middleware, error handlers and routers."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from po_api.api import v1
from po_api.api_keys.domain import is_api_key
from po_api.api_keys.queries import ApiKeyQueries
from po_api.core.actor import Principal
from po_api.core.fair_queue import FairQueue
from po_api.core.offload import SWITCH_SECONDS
from po_api.core.shared_work import SharedWork
from po_api.db.database import open_database
from po_api.db.query import QueryExecutor
from po_api.deliveries.page_router import router as supplier_page
from po_api.files.dependencies import MAX_UPLOAD_BYTES, UPLOADS
from po_api.files.scanning import scanner_of
from po_api.filing.destinations import destination_of
from po_api.listeners import all_listeners
from po_api.mail.transports import mailer_of
from po_api.observability import instrumentation, tracing
from po_api.operations import health
from po_api.operations.databases import Connections
from po_api.operations.schema import require_head
from po_api.sessions.domain import Device, FrontEnds, Lifetimes
from po_api.sessions.oidc import IdentityProvider
from po_api.sessions.queries import SessionQueries
from po_api.settings import Settings
from po_api.web import docs, openapi, turns
from po_api.web.cookies import CSRF_HEADER
from po_api.web.dependencies import Authenticator
from po_api.web.errors import add_error_handlers
from po_api.web.middleware import BodyLimit, RequestContext
from po_api.web.rate_limits import RateLimiter
from po_api.webhooks.encryption import SecretCipher
from po_api.webhooks.networks import Destinations
from po_api.webhooks.sending import Sender
from po_api.work import all_work
from po_api.worker.worker import Worker

# For what a worker in this process is doing when the process stops: it is given back after that. Requests in progress
# have had their time before (serving.GRACEFUL_SECONDS), and the process has to end five seconds after that.
WORKER_SECONDS = 1

EXPOSED_HEADERS = (
    "ETag",
    "Location",
    "Link",
    "X-Request-ID",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Deprecation",
    "Sunset",
    "Idempotent-Replayed",
    "Content-Disposition",
)


def create_app(settings: Settings, found: Connections, *, is_checked: bool = False) -> FastAPI:
    """The application on the databases `found`. Its start raises StaleSchema if the schema does not suit this version.

    `is_checked`: the caller has checked the schema; workers then also start while the database is unavailable.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        traces = tracing.start(settings.otel_exporter_otlp_endpoint, app.version)
        try:
            if not is_checked:
                async with app.state.database.engine.connect() as connection:
                    await require_head(connection)
            # Objects that exist by now are permanent: the collector need not traverse them. Garbage of requests is
            # rarely cyclic; the default thresholds would take 3 % of their time.
            gc.freeze()
            gc.set_threshold(10_000, 20, 50)
            sys.setswitchinterval(SWITCH_SECONDS)
            if settings.worker:
                app.state.worker.start()
            yield
        finally:
            await app.state.worker.stop(seconds=WORKER_SECONDS)
            await app.state.database.dispose()
            if traces is not None:
                await asyncio.to_thread(traces.shut_down)

    app = FastAPI(
        title="po-api",
        version=version("po-api"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # See observability/tracing.py. FastAPI's telemetry, which the environment can enable, has queries and values.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    instrumentation.configure(slow_query_ms=settings.db_slow_query_ms)
    replica = settings.database_replica_url
    app.state.database = open_database(
        found.app_url, settings, replica_url=replica.get_secret_value() if replica else None
    )
    app.state.embedded_data_dir = settings.po_data_dir.absolute() if settings.database_url is None else None
    app.state.secret_key = found.secret_key
    app.state.lifetimes = Lifetimes(
        access=timedelta(seconds=settings.jwt_access_token_expires),
        absolute=timedelta(seconds=settings.session_lifetime),
        idle=timedelta(seconds=settings.session_idle_timeout),
    )
    app.state.identity_provider = IdentityProvider(settings)
    app.state.front_ends = FrontEnds(settings.frontend_url)
    app.state.cors_origins = settings.cors_origins
    app.state.rate_limiter = RateLimiter(settings)
    app.state.heavy_requests = FairQueue(turns.SHARES)
    app.state.renderings = SharedWork[bytes]()
    _add_others(app, settings)
    app.state.secret_cipher = SecretCipher(found.secret_key)
    app.state.listeners = all_listeners(mail_sender=settings.mail_from if app.state.mailer else None)
    work = all_work(
        app.state.database,
        secret_key=found.secret_key,
        renderings=app.state.renderings,
        filing=app.state.filing,
        mailer=app.state.mailer,
        sender=Sender(app.state.webhook_destinations),
        listeners=app.state.listeners,
    )
    app.state.worker = Worker(app.state.database, work)
    app.state.max_body_bytes, app.state.max_upload_bytes = settings.max_body_bytes, MAX_UPLOAD_BYTES
    app.state.export_max_rows = settings.export_max_rows
    app.state.authenticate = _authenticator(found.secret_key, app.state.lifetimes)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]

    _add_middleware(app, settings)
    add_error_handlers(app)
    app.router.routes.extend(v1.GROUPS)
    app.webhooks.routes.extend(v1.SENT.routes)
    app.include_router(health.router)
    app.include_router(docs.router)
    app.include_router(supplier_page)
    return app


def _add_others(app: FastAPI, settings: Settings) -> None:
    """Other systems: what is None is not configured."""
    app.state.filing = destination_of(settings)
    app.state.mailer = mailer_of(settings)
    app.state.scanner = scanner_of(settings.clamav_url)
    app.state.webhook_destinations = Destinations.of(settings.webhook_allowed_networks)


def _authenticator(key: str, lifetimes: Lifetimes) -> Authenticator:
    async def authenticate(
        executor: QueryExecutor, token: str, *, address: str | None, user_agent: str | None
    ) -> Principal:
        if is_api_key(token):
            return await ApiKeyQueries(executor).authenticate(token)
        sessions = SessionQueries(executor, key=key, lifetimes=lifetimes)
        return await sessions.authenticate(token, Device(address, user_agent))

    return authenticate


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost: all responses have CORS headers, including those for too large bodies."""
    limits = {"max_bytes": settings.max_body_bytes, "max_upload_bytes": MAX_UPLOAD_BYTES}
    app.add_middleware(BodyLimit, uploads=UPLOADS, **limits)
    app.add_middleware(RequestContext)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            # For cookies, which browsers only send from the same site and web/cookies.py only accepts from there.
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "If-Match",
                "If-None-Match",
                "Idempotency-Key",
                "X-Request-ID",
                CSRF_HEADER,
            ],
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
