"""The backup before a migration."""

import asyncio
from datetime import timedelta

from po_api.core.clock import utc_now
from po_api.operations.backups.catalogue import Catalogue
from po_api.operations.backups.create import create
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.restore import utc
from po_api.operations.progress import Progress
from po_api.settings import Settings


async def before_migration(settings: Settings, progress: Progress) -> None:
    """Back up the embedded server's database before a migration, or check that a server's database has a recent backup.

    Raises BackupError; the migration must not start then.
    """
    if settings.database_url is None:
        # Archiving is enabled by `po-api backup create` only, since it needs disk space permanently.
        await asyncio.to_thread(create, settings, progress, is_archived=False, reason="before a migration")
        # A later version may have another PostgreSQL, which cannot read the copy.
        await asyncio.to_thread(create, settings, progress, is_portable=True, reason="before a migration")
        return
    hours = settings.backup_max_age_hours
    if hours is None:
        progress.warn("no backup is created of a server's database before a migration: see BACKUP_MAX_AGE_HOURS")
        return
    last = Catalogue.of(settings).last_success()
    if last is None or utc_now() - last > timedelta(hours=hours):
        found = f"the last one finished at {utc(last)}" if last else "there is none"
        raise BackupError(
            f"BACKUP_MAX_AGE_HOURS requires a backup of the last {hours} h before a migration, but {found}: run"
            " `po-api backup create`, or migrate with --no-backup"
        )
