"""Which databases the configuration means: a server's, or the embedded one's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.db.database import open_database
from po_api.operations.backups import archive
from po_api.operations.embedded.secret_key import embedded_secret_key
from po_api.operations.embedded.server import EmbeddedUrls, embedded_server
from po_api.settings import Settings, SettingsError


@dataclass(frozen=True)
class Connections:
    """Where to connect: as the tables' owner and as the application, and the key that signs access tokens."""

    owner_url: str
    app_url: str
    secret_key: str


@asynccontextmanager
async def transaction(app_url: str, settings: Settings) -> AsyncIterator[AsyncSession]:
    """A transaction as the application's role, on connections of its own."""
    database = open_database(app_url, settings)
    try:
        async with database.sessions.begin() as session:
            yield session
    finally:
        await database.dispose()


@contextmanager
def embedded(settings: Settings) -> Iterator[EmbeddedUrls]:
    """The embedded server, which archives its WAL once there are backups; EmbeddedServerError."""
    with embedded_server(settings.po_data_dir, settings=archive.SERVER_SETTINGS) as urls:
        yield urls


@contextmanager
def owner_urls(settings: Settings) -> Iterator[tuple[str, str]]:
    """The owner's URL and the application's; the embedded server runs as long as the context is open.

    Raises EmbeddedServerError if it cannot start.
    """
    if settings.database_url is None:
        with embedded(settings) as urls:
            yield urls.owner, urls.app
        return
    owner = settings.database_migration_url or settings.database_url
    yield owner.get_secret_value(), settings.database_url.get_secret_value()


@contextmanager
def connections(settings: Settings) -> Iterator[Connections]:
    """What `settings` name, ready to serve. Raises SettingsError if a server is configured without a secret key."""
    if settings.database_url is not None and settings.secret_key is None:
        raise SettingsError("SECRET_KEY: required with DATABASE_URL, at least 32 bytes")
    with owner_urls(settings) as (owner_url, app_url):
        secret = settings.secret_key
        key = secret.get_secret_value() if secret else embedded_secret_key(settings.po_data_dir)
        yield Connections(owner_url, app_url, key)
