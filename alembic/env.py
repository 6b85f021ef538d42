"""Run the migrations, as the tables' owner, with nothing but `DATABASE_URL` set (or on the embedded server)."""

import asyncio

from alembic import context
from alembic.util import CommandError
from asyncpg import PostgresError
from sqlalchemy import Connection, text

from po_api.core import logging
from po_api.core.embedded import EmbeddedServerError
from po_api.operations.databases import owner_urls
from po_api.operations.migrations import (
    application_role,
    configure_options,
    grant_to_application,
    owner_connection,
    run_patiently,
)
from po_api.settings import SettingsError, load_settings


def run_offline() -> None:
    """Print the SQL; `alembic upgrade base:head --sql` needs no database."""
    context.configure(dialect_name="postgresql", literal_binds=True, **configure_options())
    with context.begin_transaction():
        context.run_migrations()


def run_on(connection: Connection) -> None:
    context.configure(connection=connection, **configure_options())
    with context.begin_transaction():
        context.run_migrations()
        if not context.get_context().get_current_heads():
            # `downgrade base` leaves nothing behind, Alembic's own table included.
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))


async def run_online(owner_url: str, app_url: str) -> None:
    async with owner_connection(owner_url) as connection:
        await run_patiently(connection, run_on)
        role = application_role(owner_url, app_url)
        if role is not None:
            await connection.run_sync(grant_to_application, role)
            await connection.commit()


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
    except (SettingsError, EmbeddedServerError, OSError, PostgresError) as error:
        # Alembic prints this one as a line.
        raise CommandError(str(error)) from None
