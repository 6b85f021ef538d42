"""`po-api backup`: the commands. What they do is in operations/backups."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from po_api.observability import logging
from po_api.operations.backups import restore, state
from po_api.operations.backups.catalogue import Catalogue
from po_api.operations.backups.create import create
from po_api.operations.backups.drill import drill
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.verify import MakeApp, verify
from po_api.operations.backups.wal_settings import TIMEOUT_SECONDS
from po_api.operations.databases import owner_urls, require_database
from po_api.operations.progress import PrintedProgress
from po_api.settings import Settings, SettingsError, load_settings

app = typer.Typer(help="Backups, and getting them back.", no_args_is_help=True)

Name = Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="Its name in `po-api backup list`.")]


def _settings() -> Settings:
    settings = load_settings()
    if settings.db_pgbouncer and settings.database_migration_url is None:
        raise SettingsError("DATABASE_MIGRATION_URL: required with DB_PGBOUNCER: backups go past it")
    logging.configure("WARNING")
    return settings


def _create_app() -> MakeApp:
    from po_api.app import create_app  # noqa: PLC0415 - most of these commands have no use for the API

    return create_app


@app.command("create")
def create_backup(
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Copy only what has changed since the last one, where there is one.")
    ] = False,
) -> None:
    """Make a backup, and delete those that need not be kept; prints its name last.

    Of the embedded server: a copy of its files; from the first one on, its log is archived too, so that any later
    time can be restored. Of a server: a dump.
    """
    settings = _settings()
    require_database(settings)
    if incremental and settings.database_url is not None:
        raise SettingsError("--incremental: a dump has everything in it; only the embedded server is copied")
    backup = create(settings, PrintedProgress(), incremental=incremental)
    typer.echo(f"{backup.size / (1 << 20):7.1f} MB {Catalogue.of(settings).path(backup)}")
    typer.echo(backup.name)


@app.command("list")
def list_backups() -> None:
    """Print the backups: name, when it was finished, size, revision, when it was verified, what it adds to, why."""
    catalogue = Catalogue.of(_settings())
    for backup in catalogue.all():
        verified = f"verified {restore.utc(backup.verified_at)}" if backup.verified_at else "not verified"
        more = [f"adds to {backup.base}" if backup.base else "", backup.reason or ""]
        fields = [backup.name, restore.utc(backup.finished_at), f"{backup.size / (1 << 20):.1f} MB"]
        typer.echo("\t".join([*fields, backup.revision or "empty", verified, *filter(None, more)]))
    for path in catalogue.damaged():
        typer.echo(f"warning: {path} cannot be read: this backup does not count", err=True)


@app.command("verify")
def verify_backup(backup: Name = None) -> None:
    """Restore a backup (default: the newest) into a place of its own, see that it is good, and note that down."""
    settings = _settings()
    catalogue = Catalogue.of(settings)
    chosen = catalogue.get(backup) if backup else catalogue.newest()
    settings.po_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    verified = verify(settings, chosen, _create_app(), PrintedProgress())
    typer.echo(f"{verified.name} is good")


@app.command("restore")
def restore_backup(
    backup: Name = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="The state of a time, as 2026-11-22T10:00:00Z.")
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(help="A data directory to make: to serve it, set PO_DATA_DIR. Default: the configured database."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of the data that are there.")] = False,
    timeline: Annotated[
        int | None, typer.Option(min=1, help="Of a log that was restored before: 1 is what was there at first.")
    ] = None,
) -> None:
    """Restore a backup, or the state of a time.

    Without BACKUP and --to, all that can be had: the newest backup and all that was archived since. With BACKUP alone,
    the state at its end. All sessions are ended, and /health/ready answers 503 until `po-api backup confirm`.
    """
    settings = _settings()
    time = _parse_time("--to", to) if to is not None else None
    progress = PrintedProgress()
    settings.po_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    catalogue = Catalogue.of(settings)
    with catalogue.locked():
        goal = restore.choose(catalogue, backup, time, timeline)
        if settings.database_url is not None and target is None:
            with owner_urls(settings) as (owner_url, app_url):
                kept = restore.restore_server(catalogue, goal, owner_url, app_url, progress, replace=replace)
            what = f"what was there is backup {kept.name}" if kept else None
        else:
            replaced = restore.restore_directory(
                catalogue, goal, target or settings.po_data_dir, progress, replace=replace, is_archived=target is None
            )
            what = f"what was there is kept in {replaced} until then" if replaced else None
    typer.echo(f"restored {goal.text}")
    typer.echo("users, keys and roles that were taken away since are back: look, then `po-api backup confirm`")
    if what is not None:
        typer.echo(what)


def _parse_time(option: str, value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise SettingsError(f"{option} {value}: expected a time as 2026-11-22T10:00:00Z") from None
    if time.tzinfo is None:
        raise SettingsError(f"{option} {value}: say of which zone: {value}Z is UTC")
    return time


@app.command("settle")
def settle_restore(
    restored_to: Annotated[
        str, typer.Option("--restored-to", metavar="TIME", help="Which state it is, as 2026-11-22T10:00:00Z.")
    ],
) -> None:
    """After other tools have restored the server: end all sessions, and have /health/ready answer 503 until `confirm`.

    `po-api backup restore` does so itself.
    """
    what = f"the state of {restore.utc(_parse_time('--restored-to', restored_to))}, by other tools"
    with owner_urls(_settings(), must_exist=True) as (owner_url, _):
        is_settled = asyncio.run(state.settle(owner_url, what))
    if not is_settled:
        raise BackupError("there is no database of po-api's to settle")
    typer.echo("all sessions are ended: look whether all is well, then `po-api backup confirm`")


@app.command("confirm")
def confirm_restore() -> None:
    """Say that all is well after a restore: requests are let in again, and what was replaced is deleted."""
    settings = _settings()
    with owner_urls(settings, must_exist=True) as (owner_url, _):
        restored = asyncio.run(state.confirm(owner_url))
    if restored is None:
        raise BackupError("there is no restore to confirm")
    typer.echo(f"confirmed: {restored}")
    if settings.database_url is None:
        for path in restore.forget_replaced(settings.po_data_dir):
            typer.echo(f"deleted {path}")


@app.command("drill")
def drill_recovery(
    archive_timeout: Annotated[
        int, typer.Option(min=1, help="Seconds after which WAL is archived at the latest.")
    ] = TIMEOUT_SECONDS,
) -> None:
    """Lose a database and get it back, and see that what cannot be got back is noticed; in a directory of its own."""
    typer.echo(drill(_settings(), archive_timeout, _create_app(), PrintedProgress()))
