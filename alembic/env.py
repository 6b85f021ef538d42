"""Run the migrations as the tables' owner, on the configured database."""

import asyncio
from collections.abc import Callable

from alembic import command, context
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.util import CommandError
from asyncpg import PostgresError
from sqlalchemy import Connection, text

from po_api.observability import logging
from po_api.operations.databases import owner_urls
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.losses import lossy
from po_api.operations.migrations import (
    MigrationError,
    application_role,
    configure_options,
    finish,
    owner_connection,
    run_with_retries,
)
from po_api.operations.progress import Progress
from po_api.operations.revisions import compatible_since, next_name, up_to
from po_api.operations.schema import current_revision, write_compatibility
from po_api.settings import SettingsError, load_settings


def run_offline() -> None:
    """Print the SQL; `alembic upgrade base:head --sql` needs no database."""
    # The driver's own paramstyle would double every %.
    style = {"paramstyle": "named"}
    context.configure(
        dialect_name="postgresql",
        dialect_opts=style,
        literal_binds=True,
        on_version_apply=(note_compatibility,),
        **configure_options(),
    )
    with context.begin_transaction():
        context.run_migrations()


def note_compatibility(*, ctx: MigrationContext, step: MigrationInfo, **_: object) -> None:
    """Store which versions the schema is compatible with, in the transaction that stamps its revision."""
    if not step.is_migration:
        return
    target = next(iter(step.destination_revision_ids), None)
    since = compatible_since(target, context.script)
    if since is not None:
        write_compatibility(ctx, since)


def loss_check(connection: Connection) -> Callable[..., None]:
    """A check that raises MigrationError before a lossy downgrade is committed; the losses are looked up now."""
    revision = MigrationContext.configure(connection).get_current_revision()
    found = {lost.name: lost.loses for lost in lossy(connection, up_to(revision, context.script))}
    # In an open transaction, Alembic would not begin one for each revision.
    connection.rollback()

    def forbid_loss(*, step: MigrationInfo, **_: object) -> None:
        if step.is_migration and not step.is_upgrade and step.up_revision_id in found:
            lost = found[step.up_revision_id]
            raise MigrationError(
                f"{step.up_revision_id}: downgrading would lose {lost}. To allow it: -x allow-data-loss"
            )

    return forbid_loss


def number(ctx: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
    """Give a new revision the next number, unless `--rev-id` names one that is free."""
    if not directives:
        return
    wanted = getattr(context.config.cmd_opts, "rev_id", None)
    if wanted is not None and wanted in {script.revision for script in context.script.walk_revisions()}:
        raise CommandError(f"there is a revision {wanted} already: without --rev-id the new one gets the next number")
    directives[0].rev_id = wanted or next_name(context.script)


def is_downgrade() -> bool:
    """Whether this is `alembic downgrade` without `-x allow-data-loss`."""
    called = getattr(context.config.cmd_opts, "cmd", (None,))[0]
    return called is command.downgrade and "allow-data-loss" not in context.get_x_argument(as_dictionary=True)


def run_on(connection: Connection) -> None:
    checks: list[Callable[..., None]] = [note_compatibility]
    # `po-api migrate` has checked already, for all steps at once.
    if not context.config.attributes and is_downgrade():
        checks.append(loss_check(connection))
    context.configure(
        connection=connection,
        on_version_apply=checks,
        process_revision_directives=number,
        **configure_options(),
    )
    with context.begin_transaction():
        context.run_migrations()
        if not context.get_context().get_current_heads():
            # `downgrade base` also removes Alembic's own table.
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))


async def run_online(owner_url: str, app_url: str) -> None:
    progress = Progress()
    async with owner_connection(owner_url, progress) as connection:
        before = await current_revision(connection)
        await connection.rollback()
        await run_with_retries(connection, run_on, progress)
        changed = before != await current_revision(connection)
        await finish(connection, application_role(owner_url, app_url), progress, changed=changed)


connection = context.config.attributes.get("connection")
if context.is_offline_mode():
    run_offline()
elif connection is not None:
    # The connection of `po-api migrate` or of the tests.
    run_on(connection)
else:
    logging.configure("WARNING")
    try:
        with owner_urls(load_settings()) as (owner, app):
            asyncio.run(run_online(owner, app))
    except (SettingsError, EmbeddedServerError, MigrationError, OSError, PostgresError) as error:
        # Alembic prints a CommandError as one line.
        raise CommandError(str(error)) from None
