"""`po-api serve`."""

import asyncio
import signal
import socket
import sys
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Annotated

import typer
from pydantic import SecretStr

from po_api import serving
from po_api.core.errors import AppError
from po_api.db.database import open_database
from po_api.observability import logging
from po_api.operations import capacity, demo, migrations
from po_api.operations.backups.precaution import before_migration
from po_api.operations.databases import Connections, connections, supervision, transaction
from po_api.operations.developer_sessions import DEVELOPER_SESSION_SECONDS, open_session
from po_api.operations.progress import Progress
from po_api.operations.schema import require_head
from po_api.settings import Settings, load_settings
from po_api.webhooks.networks import LOOPBACK

app = typer.Typer()


@app.command()
def serve(
    with_demo: Annotated[
        bool, typer.Option("--demo", help="Migrate first, and create the demo organisation in an empty database.")
    ] = False,
) -> None:
    """Serve the API until interrupted (Ctrl-C, SIGTERM)."""
    settings = load_settings()
    logging.configure(settings.log_level)
    # Uvicorn re-raises SIGTERM after draining; exiting here runs the exit handlers that stop the embedded server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        listener = stack.enter_context(serving.listen(settings))
        scrapes = serving.listen_to_scrapes(settings)
        if scrapes is not None:
            stack.enter_context(scrapes)
        found = stack.enter_context(connections(settings))
        if with_demo:
            settings = _with_local_mail(_with_local_webhooks(settings), _address_of(listener))
            asyncio.run(_migrate_quietly(settings, found))
            token = asyncio.run(_prepare_demo(settings, found))
            _welcome(listener, token)
        asyncio.run(_examine(settings, found))
        supervisor = stack.enter_context(supervision(settings))
        try:
            serving.serve(settings, found, listener, scrapes, supervisor)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)


def _with_local_webhooks(settings: Settings) -> Settings:
    """Webhooks to this machine, to try them; on a server its services would be exposed to the admins."""
    allowed = settings.webhook_allowed_networks or tuple(LOOPBACK)
    return settings.model_copy(update={"webhook_allowed_networks": allowed})


def _with_local_mail(settings: Settings, address: str) -> Settings:
    """Mails as files in the data directory, to look at them, with links to this server."""
    if settings.mail_url is not None:
        return settings
    sender, public_url = settings.mail_from or demo.MAIL_SENDER, settings.public_url or address
    values = {"mail_from": sender, "mail_url": SecretStr("file:"), "public_url": public_url}
    return settings.model_copy(update=values)


async def _migrate_quietly(settings: Settings, found: Connections) -> None:
    backup_first = partial(before_migration, settings, Progress())
    await migrations.upgrade(owner_url=found.owner_url, app_url=found.app_url, prepare=backup_first)


async def _examine(settings: Settings, found: Connections) -> None:
    """Raise StaleSchema unless the schema suits this version; warn of insufficient server settings."""
    database = open_database(found.app_url, settings)
    try:
        async with database.engine.connect() as connection:
            await require_head(connection)
            await capacity.warn_of_shortage(connection, settings)
    finally:
        await database.dispose()


async def _prepare_demo(settings: Settings, found: Connections) -> str | None:
    async with transaction(found.app_url, settings) as session:
        if await demo.is_empty(session):
            await demo.seed(session)
    try:
        async with transaction(found.app_url, settings) as session:
            lifetime = timedelta(seconds=DEVELOPER_SESSION_SECONDS)
            return await open_session(session, email="admin@demo.example", key=found.secret_key, lifetime=lifetime)
    except AppError:
        return None  # not the demo data: there are no demo users


def _address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _welcome(listener: socket.socket, token: str | None) -> None:
    typer.echo(f"API docs:      {_address_of(listener)}/docs")
    if token is not None:
        typer.echo(f"access token:  {token}")
        typer.echo(f"               (admin@demo.example; other users: {sys.argv[0]} sessions create --email E)")
