"""Moving the embedded server's data to this version's PostgreSQL, if they were created by another major version."""

from contextlib import suppress
from pathlib import Path

from po_api.operations.backups.catalogue import Catalogue
from po_api.operations.backups.create import dump
from po_api.operations.backups.errors import BackupError
from po_api.operations.backups.restore import Goal, restore_directory
from po_api.operations.backups.tools import embedded_tools, server_programs, tools_major
from po_api.operations.embedded.server import MAJOR, binaries_in_use, embedded_server
from po_api.operations.progress import Progress
from po_api.settings import Settings


def upgrade(settings: Settings, programs: Path | None, progress: Progress) -> Path | None:
    """Dump the data with a server of their own version, and restore the dump; returns the path of the replaced data.

    `programs` is the directory of that version's programs; None: where they are installed. The dump is kept as a
    backup. Raises BackupError or EmbeddedServerError; the data are then unchanged.
    """
    pgdata = settings.po_data_dir.resolve() / "postgres"
    found = _major_of(pgdata)
    if found == MAJOR:
        raise BackupError(f"{pgdata} was created by PostgreSQL {MAJOR}: there is nothing to do")
    binaries = programs or _programs_of(found, settings.po_data_dir)
    catalogue = Catalogue.of(settings)
    with catalogue.locked(progress.warn):
        # WAL that was not archived is in the dump.
        with embedded_server(settings.po_data_dir, binaries=binaries) as urls:
            # Only its own pg_dump knows what a minor version has added.
            tools = embedded_tools(urls.owner, catalogue.user, binaries)
            backup = dump(catalogue, tools, progress, f"before the move from PostgreSQL {found} to {MAJOR}")
        return restore_directory(
            catalogue, Goal(backup), settings.po_data_dir, progress, replace=True, is_archived=False, is_current=True
        )


def _major_of(pgdata: Path) -> int:
    try:
        return int((pgdata / "PG_VERSION").read_text())
    except (OSError, ValueError):
        raise BackupError(f"{pgdata} is not a database directory") from None


def _programs_of(major: int, data_dir: Path) -> Path:
    """The programs that the data were used with last, if they still exist, or installed ones of that version."""
    with suppress(OSError):
        last = binaries_in_use(data_dir)
        if last is not None and tools_major(last) == major:
            return last
    return server_programs(major, is_exact=True)
