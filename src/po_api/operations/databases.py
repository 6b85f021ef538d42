"""The configured database: a server's, or that of the embedded server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.db.database import open_database
from po_api.operations import disk_reserve
from po_api.operations.backups.wal_settings import SERVER_SETTINGS
from po_api.operations.embedded.data_directory import has_database
from po_api.operations.embedded.secret_key import embedded_secret_key
from po_api.operations.embedded.server import EmbeddedUrls, embedded_server
from po_api.operations.embedded.supervisor import Supervisor, supervised
from po_api.settings import Settings, SettingsError


@dataclass(frozen=True)
class Connections:
    """The URLs of the tables' owner and of the application, and the key that signs access tokens."""

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
    """The embedded server, which archives its WAL once there are backups. Raises EmbeddedServerError."""
    make_room = partial(disk_reserve.before_start, is_automatic=False)
    with embedded_server(settings.po_data_dir, settings=SERVER_SETTINGS, before_start=make_room) as urls:
        yield urls


@contextmanager
def supervision(settings: Settings) -> Iterator[Supervisor | None]:
    """Restart the embedded server if it ends while the context is open; None for a server, which others look after."""
    if settings.database_url is not None:
        yield None
        return
    disk_reserve.warn_of_lost_archive(settings.po_data_dir)
    make_room = partial(disk_reserve.before_start, is_automatic=True)
    with supervised(
        settings.po_data_dir, SERVER_SETTINGS, before_start=make_room, tend=disk_reserve.tend
    ) as supervisor:
        yield supervisor


def require_database(settings: Settings) -> None:
    """Raise SettingsError if the embedded server's database does not exist; nothing is created."""
    if settings.database_url is None and not has_database(settings.po_data_dir):
        raise SettingsError(f"there is no database in {settings.po_data_dir}: run `make run` or `po-api migrate` first")


@contextmanager
def owner_urls(settings: Settings, *, must_exist: bool = False) -> Iterator[tuple[str, str]]:
    """The URLs of the tables' owner and of the application; the embedded server runs while the context is open.

    Its database is created if necessary, unless it `must_exist`. Raises SettingsError if it does not, and
    EmbeddedServerError if the server cannot start.
    """
    if settings.database_url is None:
        if must_exist:
            require_database(settings)
        with embedded(settings) as urls:
            yield urls.owner, urls.app
        return
    owner = settings.database_migration_url or settings.database_url
    yield owner.get_secret_value(), settings.database_url.get_secret_value()


@contextmanager
def connections(settings: Settings, *, must_exist: bool = False) -> Iterator[Connections]:
    """The URLs and the secret key for `settings`; `must_exist` as in `owner_urls`.

    Raises SettingsError if a server is configured without a secret key.
    """
    if settings.database_url is not None and settings.secret_key is None:
        raise SettingsError("SECRET_KEY: required with DATABASE_URL, at least 32 bytes")
    with owner_urls(settings, must_exist=must_exist) as (owner_url, app_url):
        secret = settings.secret_key
        key = secret.get_secret_value() if secret else embedded_secret_key(settings.po_data_dir)
        yield Connections(owner_url, app_url, key)
