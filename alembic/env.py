"""Run the migrations, as the tables' owner, with nothing but `DATABASE_URL` set (or on the embedded server)."""

import asyncio

from alembic import context
from alembic.runtime.migration import MigrationInfo
from alembic.util import CommandError
from asyncpg import PostgresError
from sqlalchemy import Connection, text

from po_api.observability import logging
from po_api.operations.databases import owner_urls
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.migrations import (
    MigrationError,
    application_role,
    configure_options,
    current_revision,
    finish,
    owner_connection,
    run_patiently,
)
from po_api.operations.progress import Progress
from po_api.operations.revisions import loses
from po_api.settings import SettingsError, load_settings


def run_offline() -> None:
    """Print the SQL; `alembic upgrade base:head --sql` needs no database."""
    # The driver's own paramstyle would double every %.
    style = {"paramstyle": "named"}
    context.configure(dialect_name="postgresql", dialect_opts=style, literal_binds=True, **configure_options())
    with context.begin_transaction():
        context.run_migrations()


def forbid_loss(*, step: MigrationInfo, **_: object) -> None:
    """The transaction that lost anything is not committed, unless that was asked for."""
    if not step.is_migration or step.is_upgrade or "allow-data-loss" in context.get_x_argument(as_dictionary=True):
        return
    assert step.up_revision_id is not None
    if lost := loses(step.up_revision_id):
        raise MigrationError(f"{step.up_revision_id}: downgrading would lose {lost}. To allow it: -x allow-data-loss")


def run_on(connection: Connection) -> None:
    # `po-api migrate` has asked already, for all the steps at once.
    checks = () if context.config.attributes else (forbid_loss,)
    context.configure(connection=connection, on_version_apply=checks, **configure_options())
    with context.begin_transaction():
        context.run_migrations()
        if not context.get_context().get_current_heads():
            # `downgrade base` leaves nothing behind, Alembic's own table included.
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))


async def run_online(owner_url: str, app_url: str) -> None:
    progress = Progress()
    async with owner_connection(owner_url, progress) as connection:
        before = await current_revision(connection)
        await connection.rollback()
        await run_patiently(connection, run_on, progress)
        changed = before != await current_revision(connection)
        await finish(connection, application_role(owner_url, app_url), progress, changed=changed)


connection = context.config.attributes.get("connection")
if context.is_offline_mode():
    run_offline()
elif connection is not None:
    # `po-api migrate` and the tests bring their own.
    run_on(connection)
else:
    logging.configure("WARNING")
    try:
        with owner_urls(load_settings()) as (owner, app):
            asyncio.run(run_online(owner, app))
    except (SettingsError, EmbeddedServerError, MigrationError, OSError, PostgresError) as error:
        # Alembic prints this one as a line.
        raise CommandError(str(error)) from None
