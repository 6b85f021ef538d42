"""`po-api migrate`."""

import asyncio
from functools import partial
from typing import Annotated

import typer

from po_api.observability import logging
from po_api.operations import migrations, revisions
from po_api.operations.backups.precaution import before_migration
from po_api.operations.databases import owner_urls
from po_api.operations.progress import PrintedProgress
from po_api.settings import SettingsError, load_settings

app = typer.Typer()


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
    with owner_urls(settings, must_exist=status) as (owner_url, app_url):
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
                prepare=None if no_backup else partial(before_migration, settings, progress),
                wait_seconds=wait,
                progress=progress,
            )
        )
        typer.echo(f"{before or 'empty'} -> {after or 'empty'}")


def _show_status(found: migrations.Status) -> int:
    """Print the state of the schema; returns the exit code."""
    schema = found.schema
    typer.echo(f"database: {schema.revision or 'empty'}, this version: {revisions.head_revision()}")
    if schema.is_later:
        typer.echo("the schema is a later version's, and compatible with this version")
    for revision in found.pending:
        typer.echo(f"pending: {revision.name}  {revision.title}")
    if schema.problem and not found.pending:
        typer.echo(schema.problem)
    for defect in found.defects:
        typer.echo(defect)
    if found.is_migrating:
        typer.echo("migration in progress")
    return 1 if schema.problem or found.defects else 0
