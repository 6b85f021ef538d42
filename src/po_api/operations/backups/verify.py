"""Verifying a backup: it is restored into a temporary directory, and checked as a database and through the API."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from sqlalchemy import select

from po_api.core.clock import utc_now
from po_api.db.database import libpq_url
from po_api.operations import invariants, migrations, revisions
from po_api.operations.audit_chain import verify_chains
from po_api.operations.backups import state
from po_api.operations.backups.catalogue import Backup, Catalogue
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.restore import Goal, bring_up, require_readable
from po_api.operations.backups.tools import Tools, embedded_tools, server_programs
from po_api.operations.backups.wal_settings import HELD
from po_api.operations.databases import Connections, transaction
from po_api.operations.developer_sessions import open_session
from po_api.operations.embedded.server import EmbeddedUrls, embedded_binaries, embedded_server
from po_api.operations.progress import Progress
from po_api.settings import Settings
from po_api.users.models import User

# `app.create_app`, which this layer may not import.
MakeApp = Callable[[Settings, Connections], Any]
SECRET_KEY = "signs the access tokens of a temporary copy only"  # noqa: S105
_SMOKE = ("/users/me", "/organisations/current", "/porfs?limit=5")


def apart(settings: Settings, data_dir: Path) -> Settings:
    """The configuration for a separate embedded server, without the replica, the pooler, the backups and the rate
    limits of the configured database."""
    return settings.model_copy(
        update={
            "database_url": None,
            "database_migration_url": None,
            "database_replica_url": None,
            "db_pgbouncer": False,
            "po_data_dir": data_dir,
            "backup_dir": None,
            "rate_limit_storage_uri": "memory://",
            "rate_limit_per_user": "100000/minute",
        }
    )


def verify(settings: Settings, backup: Backup, make_app: MakeApp, progress: Progress) -> Backup:
    """Restore a backup into a temporary directory, check it, and record the success. Raises BackupError if it fails."""
    catalogue = Catalogue.of(settings)
    require_readable(backup)
    catalogue.chain(backup)
    with catalogue.locked(progress.warn), catalogue.scratch() as scratch:
        if not revisions.is_known(backup.revision):
            raise BackupError(f"{backup.name} is at revision {backup.revision}, which this version does not know")
        binaries = embedded_binaries() if backup.is_copy else server_programs(backup.server_version // 10_000)
        bring_up(catalogue, Goal(backup), scratch, progress, binaries=binaries)
        if backup.is_copy:
            _check_pages(embedded_tools("", catalogue.user), scratch / "postgres", progress)
        with embedded_server(scratch, settings=HELD, binaries=binaries) as urls:
            asyncio.run(state.confirm(urls.owner))  # the original may have an unconfirmed restore
            asyncio.run(_check(settings, backup, urls, make_app, progress))
        verified = backup.model_copy(update={"verified_at": utc_now()})
        catalogue.write(verified)
    return verified


def _check_pages(tools: Tools, pgdata: Path, progress: Progress) -> None:
    with progress.stage("checked the checksum of every page"):
        tools.run("pg_checksums", "--check", "-D", str(pgdata))


async def _check(settings: Settings, backup: Backup, urls: EmbeddedUrls, make_app: MakeApp, progress: Progress) -> None:
    """Migrate the copy to this version; check its revision, the invariants of the domain, and responses of the API."""
    before, after = await migrations.upgrade(owner_url=urls.owner, app_url=urls.app)
    if before != backup.revision:
        raise BackupError(f"{backup.name} is at revision {before or 'none'}, its record says {backup.revision}")
    if before != after:
        progress.done(f"brought from revision {before or 'none'} to {after}", 0)
    with progress.stage("checked the rules: references, totals, approvals, numbers, history, seals"):
        connection = await asyncpg.connect(libpq_url(urls.owner))
        try:
            if found := await invariants.violations(connection):
                rule = found[0].removeprefix("violated: ").partition(": ")[0]  # without the rows, which are user data
                raise BackupError(f"{backup.name} violates {len(found)} rules; the first: {rule}")
            await _check_chains(connection, backup)
        finally:
            await connection.close()
    with progress.stage("checked the API"):
        await _check_api(settings, urls, make_app)


async def _check_chains(connection: Any, backup: Backup) -> None:
    """Raise BackupError if an event of the audit trail was changed, removed or inserted."""
    async for result in verify_chains(connection):
        if result.faults:
            raise BackupError(
                f"{backup.name}: the audit trail of organisation {result.organisation_id}: {result.faults[0]}"
            )


@asynccontextmanager
async def api_on(settings: Settings, urls: EmbeddedUrls, make_app: MakeApp) -> AsyncIterator[httpx.AsyncClient]:
    """The API on an embedded server, in this process."""
    app = make_app(settings, Connections(urls.owner, urls.app, SECRET_KEY))
    try:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client
    finally:
        await app.state.database.dispose()


async def _check_api(settings: Settings, urls: EmbeddedUrls, make_app: MakeApp) -> None:
    """Check readiness, and some requests of the first active member of an organisation."""
    private = apart(settings, settings.po_data_dir)
    async with api_on(private, urls, make_app) as client:
        await _require_ok(client, "/health/ready")
        token = await _token(private, urls)
        for path in _SMOKE if token else ():
            await _require_ok(client, f"/api/v1{path}", {"Authorization": f"Bearer {token}"})


async def _require_ok(client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None) -> None:
    response = await client.get(path, headers=headers)
    if response.status_code != 200:
        raise BackupError(f"the API on the restored copy returned {response.status_code} for {path}")


async def _token(settings: Settings, urls: EmbeddedUrls) -> str | None:
    """An access token of an active member, in the copy; None if there is none."""
    async with transaction(urls.app, settings) as session:
        members = select(User.email).where(User.is_active, User.organisation_id.is_not(None)).order_by(User.id)
        email = await session.scalar(members.limit(1))
        if email is None:
            return None
        return await open_session(session, email=email, key=SECRET_KEY, lifetime=timedelta(minutes=5))
