"""Restoring: into a data directory of the embedded server, or into a server's database.

Existing data are not overwritten. A copy is restored beside the data and replaces them by two renames once it is
complete; the replaced data are kept until an operator confirms the restore. A dump is restored into a server's database
in one transaction, after a new dump of the existing data.
"""

import asyncio
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from po_api.core.clock import utc_now
from po_api.operations import migrations
from po_api.operations.backups import archive, files, state
from po_api.operations.backups.catalogue import COPY, DUMP, Backup, Catalogue, sync_directory
from po_api.operations.backups.create import dump
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.tools import Tools, embedded_tools, reading_tools, server_tools
from po_api.operations.backups.wal_settings import HELD
from po_api.operations.embedded import server_user
from po_api.operations.embedded.data_directory import REPLACED
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.embedded.server import MAJOR, embedded_binaries, embedded_server, embedded_server_stopped
from po_api.operations.progress import Progress

# Replaying weeks of WAL takes long.
_RECOVERY_SECONDS = 7 * 86400
_DRAFT = "postgres.restoring"
_PGDATA = "postgres"
_SETTING = re.compile(rb"SET (\w+) = ")
_END_OF_SETTINGS = re.compile(rb"(?:CREATE|ALTER|COPY|DROP|COMMENT) ")
_TABLES = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"
# Not the schema itself, which may belong to another role and have further grants.
_DROP_ALL = """
DO $$ DECLARE command text; BEGIN
    FOR command IN
        SELECT format('DROP TABLE IF EXISTS %s CASCADE', oid::regclass) FROM pg_class
        WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT format('DROP ROUTINE %s', p.oid::regprocedure) FROM pg_proc p
        WHERE pronamespace = current_schema()::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
    LOOP
        EXECUTE command;
    END LOOP;
END $$;
"""


@dataclass(frozen=True)
class Goal:
    """What to restore: the state at the end of `backup` (`to` None and not `is_latest`), with all WAL archived since
    (`is_latest`), or the state at a time (`to`); on a `timeline` (None: the latest)."""

    backup: Backup
    to: datetime | None = None
    is_latest: bool = False
    timeline: int | None = None

    @property
    def text(self) -> str:
        if self.to is not None:
            return f"the state of {utc(self.to)}, from backup {self.backup.name}"
        return f"backup {self.backup.name}" + (" and all WAL archived since" if self.is_latest else "")

    @property
    def takes_log(self) -> bool:
        return self.to is not None or self.is_latest

    def recovery(self, place: Path, timeline: int | None) -> dict[str, str]:
        """PostgreSQL's recovery parameters, with the WAL archive at `place`."""
        target = {} if self.takes_log else {"recovery_target": "immediate"}
        if self.to is not None:
            target["recovery_target_time"] = self.to.isoformat()
        return target | {
            "recovery_target_timeline": str(timeline or "current"),
            "recovery_target_action": "promote",
            "restore_command": archive.restore_command(place),
            "hot_standby": "off",  # not ready before the end of the recovery
        }


def choose(
    catalogue: Catalogue, name: str | None, to: datetime | None, timeline: int | None, *, is_server: bool = False
) -> Goal:
    """The goal for these options. Raises BackupError if it cannot be reached.

    Without a name: the newest copy before `to`, or the newest of all with all WAL archived since. Without copies that
    this version can read, or for the database of a server, the newest dump. Broken backups are not used.
    """
    if to is not None and to > utc_now():
        raise BackupError(f"{utc(to)} is in the future")
    backup = catalogue.get(name) if name is not None else _newest_before(catalogue, to, timeline, is_server)
    if to is not None and to < backup.finished_at:
        raise BackupError(
            f"backup {backup.name} finished at {utc(backup.finished_at)} and cannot be restored to {utc(to)}"
        )
    if to is not None and not backup.is_copy:
        raise BackupError(
            f"{backup.name} is a dump of the state at {utc(backup.started_at)}. Point-in-time recovery requires WAL:"
            " see docs/operations.md"
        )
    return Goal(backup, to, is_latest=name is None and backup.is_copy and to is None, timeline=timeline)


def _newest_before(catalogue: Catalogue, to: datetime | None, timeline: int | None, is_server: bool) -> Backup:
    catalogue.newest()
    whole = catalogue.whole()
    readable = [] if is_server else [backup for backup in whole if is_readable(backup) and backup.is_copy]
    dumps = [backup for backup in whole if not backup.is_copy]
    if not readable and to is None and timeline is None and dumps:
        return dumps[-1]
    copies = [backup for backup in readable if to is None or backup.finished_at <= to]
    found = [
        backup
        for backup in copies
        if archive.leads_on(
            archive.directory(catalogue, str(backup.system)), catalogue.path(backup) / COPY, backup, timeline
        )
    ]
    if not found:
        when = f" from before {utc(to)}" if to is not None else ""
        raise BackupError(f"there is no backup{when} in {catalogue.directory} that supports point-in-time recovery")
    return found[-1]


def is_readable(backup: Backup) -> bool:
    """Whether the embedded PostgreSQL can restore the backup: copies only of its own version."""
    return not backup.is_copy or backup.server_version // 10_000 == MAJOR


def require_readable(backup: Backup) -> None:
    """Raise BackupError unless the embedded PostgreSQL can restore the backup."""
    if not is_readable(backup):
        raise BackupError(
            f"{backup.name} is a copy of the files of PostgreSQL {backup.server_version // 10_000}, which PostgreSQL"
            f" {MAJOR} cannot read: restore a portable backup, or this one with the po-api of its time"
        )


def restore_directory(
    catalogue: Catalogue,
    goal: Goal,
    target: Path,
    progress: Progress,
    *,
    replace: bool,
    is_archived: bool,
    is_current: bool = False,
) -> Path | None:
    """Restore a backup as the embedded server's data in `target`; returns the path of the replaced data.

    With `is_archived` the server continues to archive where it did. `is_current`: nothing was changed since the backup,
    so sessions remain valid. Raises BackupError or EmbeddedServerError; the data are then unchanged.
    """
    require_readable(goal.backup)
    target = target.resolve()  # the tools run elsewhere
    pgdata = target / _PGDATA
    if pgdata.exists() and not replace:
        raise BackupError(f"{pgdata} contains data: --replace replaces them, --target restores elsewhere")
    with embedded_server_stopped(target):
        draft = target / _DRAFT
        _discard(draft)
        try:
            bring_up(catalogue, goal, draft, progress, binaries=embedded_binaries(), survivors=pgdata)
            if not is_current:
                with (
                    progress.stage("ended sessions, deleted idempotency records"),
                    embedded_server(draft, settings=HELD) as urls,
                ):
                    asyncio.run(state.settle(urls.owner, goal.text))
            if is_archived and goal.backup.system is not None:
                archive.go_on(catalogue, goal.backup.system, draft / _PGDATA, pgdata)
            return _take_place(draft / _PGDATA, pgdata)
        finally:
            _discard(draft)


def restore_server(
    catalogue: Catalogue, goal: Goal, owner_url: str, app_url: str, progress: Progress, *, replace: bool
) -> Backup | None:
    """Restore a dump into the database of a server, in one transaction; returns a backup of the replaced data.

    Raises BackupError; the database is then unchanged.
    """
    if goal.backup.is_copy:
        raise BackupError(f"{goal.backup.name} is a copy of an embedded server: use --target, or unset DATABASE_URL")
    tools = server_tools(owner_url)
    reader = reading_tools(tools, goal.backup.server_version // 10_000)
    is_empty = tools.value(_TABLES) == "0"
    if not is_empty and not replace:
        raise BackupError("the database contains tables: --replace replaces them")
    files.require_sound(catalogue, goal.backup, reader, progress)
    replaced = None if is_empty else dump(catalogue, tools, progress, "before a restore replaced it")
    with catalogue.scratch() as scratch, progress.stage(f"restored {goal.text}"):
        script = _write_script(catalogue.path(goal.backup) / DUMP, reader, tools, scratch)
        (scratch / "before.sql").write_text(_DROP_ALL)
        (scratch / "after.sql").write_text(f"RESET ALL;\n{state.settle_sql(goal.text)}")
        parts = [f"--file={scratch / 'before.sql'}", f"--file={script}", f"--file={scratch / 'after.sql'}"]
        options = ["-X", "-w", "-q", "--single-transaction", "-v", "ON_ERROR_STOP=1", "-d", tools.url]
        tools.run("psql", *options, *parts)
    asyncio.run(_grant(owner_url, app_url, progress))
    return replaced


def _write_script(dump: Path, reader: Tools, target: Tools, directory: Path) -> Path:
    """Write the SQL of a dump, without settings at its beginning that the server of `target` does not know: pg_restore
    of a later version writes some."""
    script, filtered = directory / "all.sql", directory / "restore.sql"
    reader.run("pg_restore", "--no-owner", "--no-acl", f"--file={script}", str(dump))
    known = {name for (name,) in target.query("SELECT name FROM pg_settings")}
    with script.open("rb") as source, filtered.open("xb") as copy:
        filtered.chmod(0o600)
        server_user.give_to_owner_of(directory, copy.fileno())
        for line in source:
            match = _SETTING.match(line)
            if match is None or match[1].decode() in known:
                copy.write(line)
            if _END_OF_SETTINGS.match(line):
                break
        shutil.copyfileobj(source, copy, 1 << 20)
    script.unlink()
    return filtered


async def _grant(owner_url: str, app_url: str, progress: Progress) -> None:
    """Grant the application's rights, which are not part of a dump, as `po-api migrate` does."""
    async with migrations.owner_connection(owner_url, progress) as connection:
        role = migrations.application_role(owner_url, app_url)
        await migrations.finish(connection, role, progress, changed=False)


def bring_up(
    catalogue: Catalogue,
    goal: Goal,
    data_dir: Path,
    progress: Progress,
    *,
    binaries: Path,
    survivors: Path | None = None,
) -> None:
    """Create a data directory from a backup, for the server of these `binaries` (for a copy: the embedded one).

    `survivors` is a data directory that may have WAL segments which were not archived before the server ended.
    Raises BackupError or EmbeddedServerError.
    """
    catalogue.make_directory(data_dir)
    if goal.backup.is_copy:
        _recover(catalogue, goal, data_dir, progress, survivors)
        return
    with embedded_server(data_dir, settings=HELD, binaries=binaries) as urls:
        tools = embedded_tools(urls.owner, catalogue.user, binaries)
        reader = reading_tools(tools, goal.backup.server_version // 10_000)
        files.require_sound(catalogue, goal.backup, reader, progress)
        with progress.stage(f"restored {goal.text}"):
            script = _write_script(catalogue.path(goal.backup) / DUMP, reader, tools, data_dir)
            options = ["-X", "-w", "-q", "--single-transaction", "-v", "ON_ERROR_STOP=1", "-d", tools.url]
            tools.run("psql", *options, f"--file={script}")
            script.unlink()
        asyncio.run(_grant(urls.owner, urls.app, progress))


def _recover(catalogue: Catalogue, goal: Goal, data_dir: Path, progress: Progress, survivors: Path | None) -> None:
    """Combine the copies, and let PostgreSQL replay the WAL up to the goal."""
    assert goal.backup.system is not None
    place = archive.directory(catalogue, goal.backup.system)
    tools = embedded_tools("", catalogue.user)
    files.require_sound(catalogue, goal.backup, tools, progress)
    pgdata = data_dir / _PGDATA
    with progress.stage("copied"):
        copies = [str(catalogue.path(link) / COPY) for link in catalogue.chain(goal.backup)]
        tools.run("pg_combinebackup", "--manifest-checksums=SHA256", "--output", str(pgdata), *copies)
    timeline = None
    if goal.takes_log:
        if survivors is not None and _system(survivors, tools) == goal.backup.system:
            archive.save(survivors / "pg_wal", pgdata / "pg_wal", place)
        with progress.stage("checked the WAL archive"):
            timeline = archive.require_whole(place, pgdata, goal.backup, goal.timeline)
    with (pgdata / "recovery.signal").open("x") as signal:
        server_user.give_to_owner_of(pgdata, signal.fileno())
    with progress.stage(f"recovered {goal.text}"):
        try:
            settings = {**HELD, **goal.recovery(place, timeline)}
            with embedded_server(data_dir, settings=settings, start_seconds=_RECOVERY_SECONDS):
                pass
        except EmbeddedServerError as error:
            raise BackupError(_explained(str(error), goal, place)) from None


def _system(pgdata: Path, tools: Tools) -> str | None:
    """The system identifier of a data directory; None if it cannot be read."""
    with suppress(BackupError):
        found = re.search(r"system identifier: +(\d+)", tools.run("pg_controldata", str(pgdata)))
        return found[1] if found else None
    return None


def _explained(error: str, goal: Goal, place: Path) -> str:
    if "recovery ended before configured recovery target was reached" in error and goal.to is not None:
        return (
            f"the WAL archive {place} has no change after {utc(goal.to)}, so it may be incomplete up to then:"
            " choose an earlier time, or omit the time to restore everything that was archived"
        )
    return f"the backup could not be recovered: {error}"


def _take_place(restored: Path, pgdata: Path) -> Path | None:
    """Replace the data by the restored ones. After an interruption in between, the next start reports what to do."""
    replaced = None
    if pgdata.exists():
        replaced = pgdata.with_name(f"{REPLACED}{utc_now():%Y%m%dT%H%M%SZ}")
        pgdata.rename(replaced)
    restored.rename(pgdata)
    sync_directory(pgdata.parent)
    return replaced


def _discard(draft: Path) -> None:
    """Delete a data directory, after stopping a server left over from a killed process."""
    if (draft / _PGDATA).exists():
        with embedded_server_stopped(draft):
            pass
    if draft.exists():
        shutil.rmtree(draft)


def forget_replaced(data_dir: Path) -> list[Path]:
    """Delete the data that restores have replaced; returns their paths."""
    found = sorted(data_dir.resolve().glob(f"{REPLACED}*"))
    for path in found:
        shutil.rmtree(path)
    return found


def utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
