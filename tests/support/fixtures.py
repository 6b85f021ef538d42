"""The common fixtures: a PostgreSQL with the real migrations, and the application on it, as its own role."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import certifi
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from po_api.db.schema_info import SchemaInfo
from po_api.operations import migrations
from po_api.settings import Settings
from po_api.tables import metadata
from po_api.web import openapi
from support.applications import application_on, client_of
from support.checked_statements import CheckedStatements, checked_statements
from support.clusters import Cluster, Standby, connected
from support.identity_provider import Provider, running_provider
from support.mail import SENDER
from support.migrations import migrated_database
from support.organisations import Member, Tenant, TestOrganisation, new_member, new_organisation, new_tenant
from support.sign_in import app_with, browser_at
from support.watchdog import watched
from support.webhooks import LOOPBACK_NETWORKS, Receiver, receiving

# httpx looks for it at every request to an application in the same process. It is not installed, which takes a search.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]


@pytest.fixture(scope="session", autouse=True)
def _watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with watched(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session", autouse=True)
def _checked_statements(pytestconfig: pytest.Config) -> Iterator[CheckedStatements]:
    cache: pytest.Cache | None = getattr(pytestconfig, "cache", None)
    with checked_statements(cache.mkdir("distributable-statements") if cache else None) as checked:
        yield checked


@pytest.fixture(autouse=True)
def _distributable(_checked_statements: CheckedStatements) -> Iterator[None]:
    """Every statement of the application also works in a database that is distributed by organisation."""
    yield
    found = _checked_statements.take()
    assert not found, "\n".join(found)


@pytest.fixture(scope="session", autouse=True)
def _one_document() -> Iterator[None]:
    """All applications have the same routes: the OpenAPI document of the first, which takes half a second, will do."""
    make = openapi.document
    made: dict[str, Any] = {}

    def document(app: FastAPI) -> dict[str, Any]:
        if not made:
            made.update(make(app))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openapi, "document", document)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One certificate authority instead of a hundred, which every client of httpx loads: no test speaks TLS."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    path = tmp_path_factory.mktemp("authorities") / "one.pem"
    path.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The embedded server, or with PO_TEST_POSTGRES=system the one whose binaries are installed."""
    make = Cluster.system if os.environ.get("PO_TEST_POSTGRES") == "system" else Cluster.embedded
    with make() as running:
        yield running


@pytest.fixture(scope="module")
def primary(cluster: Cluster) -> Iterator[Cluster]:
    """A server that can have a standby, which the tests' common server cannot."""
    with cluster.another(wal_level="replica", max_wal_senders="4", synchronous_commit="on") as running:
        yield running


@pytest.fixture(scope="module")
async def standby(primary: Cluster) -> AsyncIterator[Standby]:
    """A standby of the migrated primary."""
    await migrations.upgrade(owner_url=primary.url("po_api", "po_owner"), app_url=primary.url("po_api", "po_app"))
    with Standby(primary) as running:
        yield running


@pytest.fixture(scope="session")
async def database_urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The owner's and the application's URL of the migrated database.

    DATABASE_TEST_URL names a database of another server, with one role for both; its content is deleted.
    PO_TEST_CITUS_URL is the owner's URL of a migrated and distributed database (deploy/citus), whose rows are deleted;
    the application's role is po_app.
    """
    if url := _database_of("PO_TEST_CITUS_URL"):
        urls = url, make_url(url).set(username="po_app").render_as_string(hide_password=False)
        await _delete_rows(url)
    elif url := _database_of("DATABASE_TEST_URL"):
        urls = url, url
        await migrations.upgrade(owner_url=url, app_url=url, to="base", may_lose_data=True)
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        urls = cluster.url("po_api", "po_owner"), cluster.url("po_api", "po_app")
    await migrations.upgrade(owner_url=urls[0], app_url=urls[1])
    return urls


def _is_given() -> bool:
    """Whether the environment names the database."""
    return any(os.environ.get(name) for name in ("PO_TEST_CITUS_URL", "DATABASE_TEST_URL"))


def _database_of(variable: str) -> str | None:
    """The URL in an environment variable, if it is set, of a database that tests may change."""
    url = os.environ.get(variable)
    name = (make_url(url).database or "") if url else ""
    if url and "test" not in name:
        pytest.exit(f"{variable}: the database {name!r} is not marked as a test database by its name", 2)
    return url


async def _delete_rows(url: str) -> None:
    """TRUNCATE would take minutes: Citus executes one for each shard, which cascades to those of all other tables."""
    async with connected(url) as connection:
        # Of the mutual keys, one has to go first.
        await connection.execute("UPDATE members SET team_id = NULL, default_cost_centre_id = NULL")
        for table in reversed(metadata.sorted_tables):
            if table.name != SchemaInfo.__tablename__:
                await connection.execute(f"DELETE FROM {table.name}")


@pytest.fixture(scope="session")
def urls(database_urls: tuple[str, str]) -> tuple[str, str]:
    return database_urls


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        _env_file=None,
        filing_dir=tmp_path_factory.mktemp("filed"),
        mail_from=SENDER,
        public_url="https://po.example/",
        mail_url=SecretStr(f"file:{tmp_path_factory.mktemp('mail')}"),
        rate_limit_per_user="1000000/minute",
        rate_limit_per_address="1000000/minute",
        rate_limit_sign_in="1000000/minute",
        rate_limit_refresh="1000000/minute",
        # As many as are busy at once in the tests of races: a connection above this number would be closed after its
        # request, and each new one plans all statements again.
        db_pool_size=60,
        db_max_overflow=20,
        db_pool_timeout=30,
        # A busy machine makes a long queue for an organisation's next number: that is no failure.
        db_lock_timeout_ms=60_000,
        db_statement_timeout_ms=60_000,
        db_transaction_timeout_ms=120_000,
        cors_origins="https://spa.example",
        webhook_allowed_networks=LOOPBACK_NETWORKS,
        log_level="WARNING",
    )


@pytest.fixture(scope="session")
async def app(urls: tuple[str, str], settings: Settings) -> AsyncIterator[FastAPI]:
    async with application_on(urls, settings) as made:
        yield made


@pytest.fixture(scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, "127.0.0.1") as made:
        yield made


@pytest.fixture
async def tenant(app: FastAPI, client: httpx.AsyncClient) -> Tenant:
    """An organisation for this test only, without members."""
    return await new_tenant(app, client)


@pytest.fixture
async def organisation(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    """A tenant with a member for each role, and a supplier."""
    return await new_organisation(app, client)


@pytest.fixture
async def owner(app: FastAPI, urls: tuple[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the migrated database as the tables' owner, who sees the rows of all organisations."""
    async with connected(urls[0]) as connection:
        yield connection


@pytest.fixture
async def own_urls(request: pytest.FixtureRequest, database_urls: tuple[str, str]) -> AsyncIterator[tuple[str, str]]:
    """As `urls`, of a migrated database for this test only, where the server is the tests' own."""
    if _is_given():
        yield database_urls
    else:
        async with migrated_database(request.getfixturevalue("cluster")) as fresh:
            yield fresh.owner, fresh.app


@pytest.fixture
async def own_organisation(own_urls: tuple[str, str], settings: Settings) -> AsyncIterator[TestOrganisation]:
    """An organisation of such a database, between two others: some work visits all organisations of a database, and
    there are thousands in that of the tests."""
    async with application_on(own_urls, settings) as made, client_of(made, "127.0.0.1") as client:
        await new_tenant(made, client)
        organisation = await new_organisation(made, client)
        await new_tenant(made, client)
        yield organisation


@pytest.fixture
async def own_owner(own_urls: tuple[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """As `owner`, to such a database."""
    async with connected(own_urls[0]) as connection:
        yield connection


@pytest.fixture
async def stranger(app: FastAPI, client: httpx.AsyncClient) -> Member:
    """A user who belongs to no organisation yet."""
    return await new_member(app, client, None, [])


@pytest.fixture(scope="session")
def running() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The identity provider; tests can make it send invalid responses."""
    running.reset()
    return running


@pytest.fixture
async def signing(urls: tuple[str, str], app: FastAPI, provider: Provider) -> AsyncIterator[FastAPI]:
    """The application with that provider, before the first request to it."""
    async with app_with(provider, urls[1]) as made:
        yield made


@pytest.fixture
async def browser(signing: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser_at(signing) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    async with receiving() as made:
        yield made


@pytest.fixture
def project() -> Path:
    """The root directory of the repository."""
    return Path(__file__).parents[2]
