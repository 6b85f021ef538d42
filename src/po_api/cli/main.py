"""`po-api`: the command line. Commands parse, call and print; what they do is in the services."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import asyncpg
import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from po_api import serving
from po_api.app import create_app
from po_api.cli import backup
from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.errors import AppError, violated
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant, open_database
from po_api.listeners import all_listeners
from po_api.observability import logging
from po_api.operations import capacity, demo, migrations, revisions
from po_api.operations.backups.errors import BackupError
from po_api.operations.databases import Connections, connections, owner_urls, transaction
from po_api.operations.embedded.server import EmbeddedServerError
from po_api.operations.migrations import MigrationError, StaleSchema
from po_api.operations.progress import PrintedProgress, Progress
from po_api.operations.revisions import UnknownRevision
from po_api.organisations.schemas import OrganisationCreate
from po_api.organisations.service import OrganisationService
from po_api.sessions.service import SessionService
from po_api.settings import Settings, SettingsError, load_settings
from po_api.users.member_service import MemberService
from po_api.users.schemas import UserInvite
from po_api.users.service import UserService
from po_api.web import idempotency

T = TypeVar("T")

DEVELOPER_SESSION_SECONDS = 8 * 3600

app = typer.Typer(
    help="Serve and operate the po-api purchase order API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
organisations = typer.Typer(help="Manage organisations.", no_args_is_help=True)
users = typer.Typer(help="Manage users.", no_args_is_help=True)
sessions = typer.Typer(help="Manage sessions.", no_args_is_help=True)
idempotency_keys = typer.Typer(help="Manage stored idempotency keys.", no_args_is_help=True)
app.add_typer(backup.app, name="backup")
app.add_typer(idempotency_keys, name="idempotency-keys")
app.add_typer(organisations, name="organisations")
app.add_typer(users, name="users")
app.add_typer(sessions, name="sessions")

Email = Annotated[str, typer.Option("--email", help="The user's e-mail address.")]


def main() -> None:
    """Run a command; an error that the user can correct is printed as one line on stderr, without a traceback."""
    try:
        app()
    except (SettingsError, EmbeddedServerError, StaleSchema, MigrationError, UnknownRevision, BackupError) as error:
        _fail(str(error))
    except AppError as error:
        _fail("; ".join([error.detail, *(item.detail for item in error.errors)]))
    except (DBAPIError, asyncpg.PostgresError, OSError) as error:
        known = violated(getattr(error, "orig", None))
        _fail(known.detail if known else f"database error: {_first_line(error)}")


def _fail(message: str) -> NoReturn:
    typer.echo(f"po-api: {message}", err=True)
    raise SystemExit(1)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def _run(work: Callable[[AsyncSession, Connections], Awaitable[T]]) -> T:
    """Do `work` in one transaction on the configured database."""
    settings = load_settings()
    logging.configure("WARNING")

    async def run(found: Connections) -> T:
        async with transaction(found.app_url, settings) as session:
            return await work(session, found)

    with connections(settings) as found:
        return asyncio.run(run(found))


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
            asyncio.run(_migrate_quietly(settings, found))
            token = asyncio.run(_prepare_demo(settings, found))
            _welcome(listener, token)
        asyncio.run(_examine(settings, found))
        try:
            serving.serve(settings, found, listener, scrapes)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)


async def _migrate_quietly(settings: Settings, found: Connections) -> None:
    backup_first = partial(backup.before_migration, settings, Progress())
    await migrations.upgrade(owner_url=found.owner_url, app_url=found.app_url, prepare=backup_first)


async def _examine(settings: Settings, found: Connections) -> None:
    """Raise StaleSchema unless the database is at this version's revision; warn of insufficient server settings."""
    database = open_database(found.app_url, settings)
    try:
        async with database.engine.connect() as connection:
            await migrations.require_head(connection)
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
            return await demo.open_session(session, email="admin@demo.example", key=found.secret_key, lifetime=lifetime)
    except AppError:
        return None  # not the demo data: there are no demo users


def _welcome(listener: socket.socket, token: str | None) -> None:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    typer.echo(f"API docs:      http://{address}:{port}/docs")
    if token is not None:
        typer.echo(f"access token:  {token}")
        typer.echo("               (admin@demo.example; other users: .venv/bin/po-api sessions create --email E)")


@app.command()
def migrate(
    to: Annotated[str, typer.Option("--to", help="Target revision; an earlier one downgrades.")] = "head",
    status: Annotated[
        bool, typer.Option("--status", help="Only print the schema's state; exit code 1 unless at head and sound.")
    ] = False,
    may_lose_data: Annotated[
        bool, typer.Option("--allow-data-loss", help="Downgrade even if data is deleted.")
    ] = False,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Do not create a backup first.")] = False,
    wait: Annotated[
        int, typer.Option(min=0, help="Seconds to wait for another process that migrates.")
    ] = migrations.WAIT_SECONDS,
) -> None:
    """Migrate the database schema to the revision of this version, or to another revision."""
    settings = load_settings()
    if settings.db_pgbouncer and settings.database_migration_url is None:
        raise SettingsError("DATABASE_MIGRATION_URL: required with DB_PGBOUNCER, since migrations use session locks")
    logging.configure("WARNING")
    with owner_urls(settings) as (owner_url, app_url):
        if status:
            raise typer.Exit(_show_status(asyncio.run(migrations.find_status(owner_url))))
        if not revisions.is_revision(to):
            raise SettingsError(f"--to {to}: there is no such revision")
        progress = PrintedProgress()
        before, after = asyncio.run(
            migrations.upgrade(
                owner_url=owner_url,
                app_url=app_url,
                to=to,
                may_lose_data=may_lose_data,
                prepare=None if no_backup else partial(backup.before_migration, settings, progress),
                wait_seconds=wait,
                progress=progress,
            )
        )
        typer.echo(f"{before or 'empty'} -> {after or 'empty'}")


def _show_status(found: migrations.Status) -> int:
    """Print the state of the schema; returns the exit code."""
    typer.echo(f"database: {found.revision or 'empty'}, this version: {revisions.head_revision()}")
    for revision in found.pending:
        typer.echo(f"pending: {revision.name}  {revision.title}")
    if found.problem and not found.pending:
        typer.echo(found.problem)
    for defect in found.defects:
        typer.echo(defect)
    if found.is_migrating:
        typer.echo("migration in progress")
    return 1 if found.problem or found.defects else 0


@app.command("seed-demo")
def seed_demo() -> None:
    """Create the demo organisation with a user for each role."""

    async def work(session: AsyncSession, _found: Connections) -> None:
        await demo.seed(session)

    _run(work)
    typer.echo(f"{demo.ORGANISATION}: {', '.join(demo.USERS)}")


@organisations.command("create")
def create_organisation(
    name: Annotated[str, typer.Option("--name", help="Name of the organisation.")],
    currency: Annotated[str, typer.Option(help="Base currency, ISO 4217.")] = "EUR",
    timezone: Annotated[str, typer.Option(help="IANA time zone.")] = "UTC",
) -> None:
    """Create an organisation and print its id."""
    values = _validated(OrganisationCreate, name=name, currency=currency, timezone=timezone).model_dump()

    async def work(session: AsyncSession, _found: Connections) -> int:
        return (await OrganisationService(session).create(**values)).id

    typer.echo(_run(work))


@users.command("create")
def create_user(
    email: Email,
    name: Annotated[str, typer.Option(help="Name of the user.")],
    organisation: Annotated[int | None, typer.Option(help="Id of the organisation.")] = None,
    role: Annotated[list[Role] | None, typer.Option(help="Role; may be repeated.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="Allow the user to list all organisations.")] = False,
) -> None:
    """Create a user and print the id."""
    invite = _validated(UserInvite, email=email, name=name, roles=role or [Role.REQUESTER])

    async def work(session: AsyncSession, _found: Connections) -> int:
        if organisation is not None:
            await OrganisationService(session).get(organisation)
            await enter_tenant(session, organisation)
        user = await UserService(session).create(
            email=invite.email, name=invite.name, organisation_id=organisation, roles=invite.roles, is_operator=operator
        )
        return user.id

    typer.echo(_run(work))


@users.command("list")
def list_users() -> None:
    """List all users of the installation: id, organisation, state, roles, e-mail address, name."""

    async def work(session: AsyncSession, _found: Connections) -> list[str]:
        return [
            f"{user.id}\t{user.organisation_id or '-'}\t{'active' if user.is_active else 'inactive'}"
            f"\t{','.join(user.roles)}\t{user.email}\t{user.name}"
            for user in await UserService(session).all()
        ]

    for line in _run(work):
        typer.echo(line)


@users.command("deactivate")
def deactivate_user(email: Email) -> None:
    """Deactivate a user and end their sessions."""

    async def work(session: AsyncSession, _found: Connections) -> list[str]:
        user = await UserService(session).by_email(email)
        if user.organisation_id is None:
            user.is_active = False
            await session.flush()
            return []
        await enter_tenant(session, user.organisation_id)
        members = MemberService(session, Actor.command_line(user.organisation_id), all_listeners())
        _, warnings = await members.set_active(user.id, active=False, expected=None)
        return [f"{item.detail}: {', '.join(number for _, number in item.porfs)}" for item in warnings]

    for warning in _run(work):
        typer.echo(f"warning: {warning}", err=True)


@sessions.command("create")
def create_session(
    email: Email,
    ttl: Annotated[int, typer.Option(min=1, max=365 * 86400, help="Lifetime in seconds.")] = DEVELOPER_SESSION_SECONDS,
) -> None:
    """Create a session and print its access token."""

    async def work(session: AsyncSession, found: Connections) -> str:
        return await demo.open_session(session, email=email, key=found.secret_key, lifetime=timedelta(seconds=ttl))

    typer.echo(_run(work))


@sessions.command("purge")
def purge_sessions(
    days: Annotated[int, typer.Option(min=0, help="Keep sessions that ended within this number of days.")] = 30,
) -> None:
    """Delete ended sessions and print their number."""

    async def work(session: AsyncSession, found: Connections) -> int:
        return await SessionService(session, key=found.secret_key).purge(before=utc_now() - timedelta(days=days))

    typer.echo(_run(work))


@idempotency_keys.command("purge")
def purge_idempotency_keys(
    hours: Annotated[int, typer.Option(min=24, help="Keep responses stored within this number of hours.")] = 48,
) -> None:
    """Delete old idempotency keys with their stored responses and print their number."""

    async def work(session: AsyncSession, _found: Connections) -> int:
        return await idempotency.purge(session, before=utc_now() - timedelta(hours=hours))

    typer.echo(_run(work))


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="Output file; default: stdout.")] = None,
) -> None:
    """Print the OpenAPI document."""
    unused = Connections("postgresql://", "postgresql://", "")
    text = json.dumps(create_app(Settings(), unused).openapi(), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)


def _validated(schema: type[Any], **values: Any) -> Any:
    """The values validated as the API validates them; SettingsError names the invalid option."""
    try:
        return schema.model_validate(values)
    except ValueError as error:
        first = error.errors()[0]  # type: ignore[attr-defined]
        raise SettingsError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
