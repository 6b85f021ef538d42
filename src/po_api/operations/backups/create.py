"""Creating a backup: a copy of the embedded server's files, or a dump of a server's database."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from po_api.core.clock import utc_now
from po_api.operations.backups import archive
from po_api.operations.backups.catalogue import COPY, DUMP, MANIFEST, Backup, Catalogue, Kind, Unfinished, expendable
from po_api.operations.backups.corruption import explained
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.tools import Tools, embedded_tools, server_tools
from po_api.operations.databases import embedded, owner_urls
from po_api.operations.embedded.server import EmbeddedUrls
from po_api.operations.progress import Progress
from po_api.settings import Settings

# Incremental copies need the WAL summaries since their base, which the server keeps for ten days.
_MAX_CHAIN_DAYS = 8
# Tables whose rows row-level security hides from this role.
_HIDDEN = (
    "SELECT string_agg(relname, ', ') FROM pg_class WHERE relkind = 'r' AND row_security_active(oid)"
    " AND relnamespace = current_schema()::regnamespace"
)
_TABLES = (
    "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    " AND NOT has_table_privilege(oid, 'SELECT')"
)
_PROGRESS = re.compile(r"(\d+)/(\d+) kB")


def create(
    settings: Settings,
    progress: Progress,
    *,
    incremental: bool = False,
    is_portable: bool = False,
    is_archived: bool = True,
    reason: str | None = None,
) -> Backup:
    """Create a backup of the configured database, and delete those past their retention.

    `incremental` only copies the changes since the last copy, if there is a suitable one. `is_portable`: a dump of the
    embedded server's database instead, which other versions of PostgreSQL can read. With `is_archived` the embedded
    server archives its WAL from the first copy on. Raises BackupError or EmbeddedServerError.
    """
    settings.po_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    catalogue = Catalogue.of(settings)
    with catalogue.locked(progress.warn):
        # Also before: the disk may be full.
        _delete_expendable(settings, catalogue, progress)
        if settings.database_url is None and not is_portable:
            backup = _copy(settings, catalogue, progress, incremental, is_archived, reason)
        elif settings.database_url is None:
            with embedded(settings) as urls:
                backup = dump(catalogue, embedded_tools(urls.owner, catalogue.user), progress, reason)
        else:
            with owner_urls(settings) as (owner_url, _):
                backup = dump(catalogue, server_tools(owner_url), progress, reason)
        _delete_expendable(settings, catalogue, progress)
    return backup


@dataclass(frozen=True)
class _Server:
    """The running embedded server; `tools` are on its main database as superuser, `owner` on the application's."""

    tools: Tools
    owner: Tools
    system: str
    timeline: int
    version: int

    @classmethod
    def at(cls, urls: EmbeddedUrls, catalogue: Catalogue) -> Self:
        tools = embedded_tools(urls.superuser, catalogue.user)
        ((system, timeline, version),) = tools.query(
            "SELECT system_identifier, timeline_id, current_setting('server_version_num') FROM pg_control_system(),"
            " pg_control_checkpoint()"
        )
        return cls(tools, Tools(tools.programs, urls.owner), system, int(timeline), int(version))


def _copy(
    settings: Settings,
    catalogue: Catalogue,
    progress: Progress,
    incremental: bool,
    is_archived: bool,
    reason: str | None,
) -> Backup:
    with embedded(settings) as urls:
        server = _Server.at(urls, catalogue)
        pgdata = settings.po_data_dir.resolve() / "postgres"
        if is_archived and not archive.is_on(pgdata):
            archive.begin(catalogue, server.system, pgdata)
        backup = None
        if incremental and (base := _base(catalogue, server)) is not None:
            try:
                backup = _copy_files(server, catalogue, base, progress, reason)
            except BackupError as error:  # the WAL summaries may have been removed
                progress.warn(f"full copy instead of an incremental one: {error}")
        backup = backup or _copy_files(server, catalogue, None, progress, reason)
        if is_archived:
            # A changed BACKUP_DIR takes effect only now that it has a copy.
            archive.begin(catalogue, server.system, pgdata)
            # Archives the WAL of the backup at once.
            server.tools.query("SELECT pg_switch_wal()")
        return backup


def _copy_files(
    server: _Server, catalogue: Catalogue, base: Backup | None, progress: Progress, reason: str | None
) -> Backup:
    kind = Kind.INCREMENTAL if base else Kind.FULL
    started = utc_now()
    with catalogue.unfinished(kind) as unfinished:
        directory = unfinished.directory
        with progress.stage("copied the server's files"):
            known = catalogue.path(base) / COPY if base else None
            _run_basebackup(server, unfinished, known, progress)
        manifest = json.loads((directory / COPY / MANIFEST).read_bytes())
        backup = Backup(
            name=unfinished.name,
            kind=kind,
            started_at=started,
            finished_at=_server_time(server.tools),
            revision=_revision(server.owner),
            server_version=server.version,
            size=_size(directory),
            reason=reason,
            base=base.name if base else None,
            system=server.system,
            timeline=server.timeline,
            first_wal=_first_wal(server.tools, manifest),
        )
        catalogue.finish(unfinished, backup)
    return backup


def _base(catalogue: Catalogue, server: _Server) -> Backup | None:
    """The base of an incremental copy: the last copy, if the full one of its chain is not too old."""
    mine = (server.system, server.timeline)
    copies = [backup for backup in catalogue.whole() if (backup.system, backup.timeline) == mine]
    if not copies:
        return None
    full = catalogue.chain(copies[-1])[0]
    return copies[-1] if utc_now() - full.finished_at < timedelta(days=_MAX_CHAIN_DAYS) else None


def _run_basebackup(server: _Server, unfinished: Unfinished, base: Path | None, progress: Progress) -> None:
    command = ["pg_basebackup", "-d", server.tools.url, "-D", str(unfinished.directory / COPY), "--no-password"]
    command += ["--checkpoint=fast", "--wal-method=stream", "--manifest-checksums=SHA256", "--progress"]
    if base is not None:
        command.append(f"--incremental={base / MANIFEST}")
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        _report(progress, line)

    try:
        server.tools.follow(*command, on_line=on_line, mark=unfinished.mark)
    except BackupError as error:
        raise explained(error, lines, server.owner) from None


def _report(progress: Progress, line: str) -> None:
    if match := _PROGRESS.search(line):
        progress.batch(f"{int(match[1]) // 1024} of {int(match[2]) // 1024} MB")


def dump(catalogue: Catalogue, tools: Tools, progress: Progress, reason: str | None) -> Backup:
    """Dump the whole database with pg_dump. Raises BackupError if its role cannot read all rows."""
    if hidden := tools.value(_HIDDEN):
        raise BackupError(
            f"row-level security hides rows of {hidden} from this role, so the backup would be incomplete:"
            " DATABASE_MIGRATION_URL must name the tables' owner, and the tables must not FORCE ROW LEVEL SECURITY"
        )
    if tools.value(_TABLES) != "0":
        raise BackupError("this role may not read all tables: DATABASE_MIGRATION_URL must name the tables' owner")
    started = utc_now()
    with catalogue.unfinished(Kind.DUMP) as unfinished:
        file = unfinished.directory / DUMP
        options = ["--format=custom", "--no-owner", "--no-acl", "--no-password", "--verbose"]
        with progress.stage("dumped the database"):
            # --verbose prints the name of each table; --file uses the umask, in a directory closed to other users.
            command = ["pg_dump", *options, f"--file={file}", f"--dbname={tools.url}"]
            tools.follow(*command, on_line=_tables(progress), mark=unfinished.mark)
        file.chmod(0o600)
        backup = Backup(
            name=unfinished.name,
            kind=Kind.DUMP,
            started_at=started,
            finished_at=_server_time(tools),
            revision=_revision(tools),
            server_version=int(tools.value("SHOW server_version_num")),
            size=_size(unfinished.directory),
            reason=reason,
            sha256=digest(file),
        )
        catalogue.finish(unfinished, backup)
    return backup


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _tables(progress: Progress) -> Callable[[str], None]:
    def report(line: str) -> None:
        if "dumping contents of table" in line:
            progress.batch(line.removeprefix("pg_dump: "))

    return report


def _delete_expendable(settings: Settings, catalogue: Catalogue, progress: Progress) -> None:
    deleted = _expendable(settings, catalogue)
    with progress.stage(f"deleted {', '.join(backup.name for backup in deleted)}") if deleted else nullcontext():
        for backup in deleted:
            catalogue.delete(backup)
    # What backups without a readable record need is not known.
    if settings.database_url is None and not catalogue.incomplete() and not catalogue.damaged():
        archive.prune(catalogue, embedded_tools("", catalogue.user), catalogue.all())


def _expendable(settings: Settings, catalogue: Catalogue) -> Sequence[Backup]:
    """Copies and dumps do not replace each other. Broken backups count for neither; they are deleted by their age."""
    now = utc_now()
    whole = catalogue.whole()
    found: list[Backup] = []
    for is_copy in (True, False):
        kin = [backup for backup in whole if backup.is_copy is is_copy]
        found += expendable(kin, keep_days=settings.backup_keep_days, keep_count=settings.backup_keep_count, now=now)
    oldest = now - timedelta(days=settings.backup_keep_days)
    broken = [backup for backup in reversed(catalogue.all()) if backup not in whole and backup.finished_at < oldest]
    return [*found, *broken]


def _server_time(tools: Tools) -> datetime:
    """The time of the server's clock, from which the times of transactions in the WAL are."""
    return datetime.fromisoformat(tools.value("SELECT to_json(clock_timestamp() AT TIME ZONE 'UTC') #>> '{}'") + "Z")


def _revision(tools: Tools) -> str | None:
    if tools.value("SELECT to_regclass('alembic_version') IS NULL") == "t":
        return None
    rows = tools.query("SELECT version_num FROM alembic_version")
    return rows[0][0] if rows else None


def _first_wal(tools: Tools, manifest: dict[str, Any]) -> str:
    """The WAL segment with which the recovery of this copy begins."""
    first = manifest["WAL-Ranges"][0]
    name = tools.value(f"SELECT pg_walfile_name('{first['Start-LSN']}')")
    return f"{first['Timeline']:08X}{name[8:]}"


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
