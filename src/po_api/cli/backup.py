"""`po-api backup`; the work is done by operations/backups."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from po_api.observability import logging
from po_api.operations.backups import restore, state
from po_api.operations.backups.catalogue import RECORD, Catalogue
from po_api.operations.backups.create import create
from po_api.operations.backups.drill import drill
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.upgrade import upgrade
from po_api.operations.backups.verify import MakeApp, verify
from po_api.operations.backups.wal_settings import TIMEOUT_SECONDS
from po_api.operations.databases import owner_urls, require_database
from po_api.operations.disk_reserve import is_archiving_off
from po_api.operations.embedded.server import MAJOR
from po_api.operations.progress import PrintedProgress
from po_api.settings import Settings, SettingsError, load_settings

app = typer.Typer(help="Create, verify and restore backups.", no_args_is_help=True)

Name = Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="Name of the backup, as in `po-api backup list`.")]


def _settings() -> Settings:
    settings = load_settings()
    if settings.db_pgbouncer and settings.database_migration_url is None:
        raise SettingsError("DATABASE_MIGRATION_URL: required with DB_PGBOUNCER: backups need a direct connection")
    logging.configure("WARNING")
    return settings


def _create_app() -> MakeApp:
    from po_api.app import create_app  # noqa: PLC0415 - slow to import, and most of these commands do not need it

    return create_app


@app.command("create")
def create_backup(
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Copy only the changes since the last backup, if there is one.")
    ] = False,
    portable: Annotated[
        bool, typer.Option("--portable", help="Dump the database, so that other versions of PostgreSQL can restore it.")
    ] = False,
) -> None:
    """Create a backup, print its name, and delete backups past their retention.

    The embedded server: a copy of its files. From the first copy on its WAL is archived, so that any later time can
    be restored. A server (DATABASE_URL), or with --portable: a dump.
    """
    settings = _settings()
    require_database(settings)
    if incremental and settings.database_url is not None:
        raise SettingsError("--incremental: only available for the embedded server; a dump is always complete")
    if incremental and portable:
        raise SettingsError("--incremental: a portable backup is always complete")
    backup = create(settings, PrintedProgress(), incremental=incremental, is_portable=portable)
    typer.echo(f"{backup.size / (1 << 20):7.1f} MB {Catalogue.of(settings).path(backup)}")
    typer.echo(backup.name)


@app.command("list")
def list_backups() -> None:
    """List the backups: name, time, size, revision, verification, base of an incremental backup, reason."""
    settings = _settings()
    catalogue = Catalogue.of(settings)
    for backup in catalogue.all():
        verified = f"verified {restore.utc(backup.verified_at)}" if backup.verified_at else "not verified"
        more = [f"based on {backup.base}" if backup.base else "", backup.reason or ""]
        if fault := catalogue.fault(backup):
            verified = f"BROKEN: {fault}"
        fields = [backup.name, restore.utc(backup.finished_at), f"{backup.size / (1 << 20):.1f} MB"]
        typer.echo("\t".join([*fields, backup.revision or "empty", verified, *filter(None, more)]))
    if settings.database_url is None and is_archiving_off(settings.po_data_dir):
        typer.echo("warning: archiving was turned off for lack of space: `po-api backup create` turns it on", err=True)
    for path in catalogue.damaged():
        typer.echo(f"warning: {path} is unreadable: the backup is ignored", err=True)
    for path in catalogue.incomplete():
        typer.echo(f"warning: {path} has lost its {RECORD} and is not used", err=True)


@app.command("verify")
def verify_backup(backup: Name = None) -> None:
    """Verify a backup (default: the newest) by restoring it into a temporary directory, and record the result."""
    settings = _settings()
    catalogue = Catalogue.of(settings)
    chosen = catalogue.get(backup) if backup else catalogue.newest()
    settings.po_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    verified = verify(settings, chosen, _create_app(), PrintedProgress())
    typer.echo(f"{verified.name} is verified")


@app.command("restore")
def restore_backup(
    backup: Name = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Point in time to restore, such as 2026-11-22T10:00:00Z.")
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(help="Data directory to create; set PO_DATA_DIR to serve it. Default: the configured database."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace existing data.")] = False,
    timeline: Annotated[
        int | None, typer.Option(min=1, help="WAL timeline, if an earlier restore created several; 1 is the original.")
    ] = None,
) -> None:
    """Restore a backup, or the state at a point in time.

    Without BACKUP and --to: the newest backup and all WAL archived since. With BACKUP alone: the state at the end of
    that backup. All sessions are ended, and /health/ready returns 503 until `po-api backup confirm`.
    """
    settings = _settings()
    time = _parse_time("--to", to) if to is not None else None
    progress = PrintedProgress()
    settings.po_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    catalogue = Catalogue.of(settings)
    is_server = settings.database_url is not None and target is None
    with catalogue.locked(progress.warn):
        goal = restore.choose(catalogue, backup, time, timeline, is_server=is_server)
        if is_server:
            with owner_urls(settings) as (owner_url, app_url):
                kept = restore.restore_server(catalogue, goal, owner_url, app_url, progress, replace=replace)
            what = f"the replaced data are backup {kept.name}" if kept else None
        else:
            replaced = restore.restore_directory(
                catalogue, goal, target or settings.po_data_dir, progress, replace=replace, is_archived=target is None
            )
            what = f"the replaced data are kept in {replaced} until then" if replaced else None
    typer.echo(f"restored {goal.text}")
    typer.echo("users, keys and roles revoked since are active again: check them, then `po-api backup confirm`")
    if what is not None:
        typer.echo(what)


def _parse_time(option: str, value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise SettingsError(f"{option} {value}: expected a time such as 2026-11-22T10:00:00Z") from None
    if time.tzinfo is None:
        raise SettingsError(f"{option} {value}: the time zone is missing: {value}Z is UTC")
    return time


@app.command("settle")
def settle_restore(
    restored_to: Annotated[
        str, typer.Option("--restored-to", metavar="TIME", help="Time that was restored, such as 2026-11-22T10:00:00Z.")
    ],
) -> None:
    """Complete a restore by other tools: end all sessions and report not ready until `confirm`.

    `po-api backup restore` does this itself.
    """
    what = f"the state of {restore.utc(_parse_time('--restored-to', restored_to))}, by other tools"
    with owner_urls(_settings(), must_exist=True) as (owner_url, _):
        is_settled = asyncio.run(state.settle(owner_url, what))
    if not is_settled:
        raise BackupError("the database is not a po-api database")
    typer.echo("all sessions are ended: check the data, then run `po-api backup confirm`")


@app.command("upgrade")
def upgrade_data(
    programs: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the programs of the data's PostgreSQL version, such as /usr/lib/postgresql/15/bin."
        ),
    ] = None,
) -> None:
    """Move the embedded server's data to this version's PostgreSQL, if another major version created them.

    Requires the server programs of that version, and that the API is stopped. Sessions remain valid. The replaced data
    are kept until `po-api backup confirm`.
    """
    settings = _settings()
    if settings.database_url is not None:
        raise SettingsError("DATABASE_URL: only the embedded server's data can be moved; use pg_upgrade for a server")
    require_database(settings)
    replaced = upgrade(settings, programs, PrintedProgress())
    typer.echo(f"moved to PostgreSQL {MAJOR}; the replaced data are kept in {replaced} until `po-api backup confirm`")
    typer.echo("the WAL archive begins again with the next `po-api backup create`")


@app.command("confirm")
def confirm_restore() -> None:
    """Confirm a restore or an upgrade: report ready again, and delete the replaced data."""
    settings = _settings()
    with owner_urls(settings, must_exist=True) as (owner_url, _):
        restored = asyncio.run(state.confirm(owner_url))
    deleted = restore.forget_replaced(settings.po_data_dir) if settings.database_url is None else []
    if restored is None and not deleted:
        raise BackupError("there is no restore to confirm")
    typer.echo(f"confirmed: {restored or 'the upgrade'}")
    for path in deleted:
        typer.echo(f"deleted {path}")


@app.command("drill")
def drill_recovery(
    archive_timeout: Annotated[
        int, typer.Option(min=1, help="Maximum number of seconds before WAL is archived.")
    ] = TIMEOUT_SECONDS,
) -> None:
    """Run a recovery drill in a temporary directory: lose a database, restore it, and check that damage is detected."""
    typer.echo(drill(_settings(), archive_timeout, _create_app(), PrintedProgress()))
