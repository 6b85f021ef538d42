"""PostgreSQL servers for the tests: the embedded one, or one run from the PostgreSQL installed on this machine."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import psutil
from sqlalchemy.engine import URL, make_url

from po_api.db.database import libpq_url
from po_api.operations import migrations, revisions
from po_api.operations.embedded import server_user
from po_api.operations.embedded.data_directory import DATABASE
from po_api.operations.embedded.server import EmbeddedUrls, embedded_binaries, embedded_server
from support.made_once import copy_directory, made_once
from support.watchdog import temporary_directory

OLDEST = 15
# The databases, by their revision, from which each server can make others: those of the last two revisions.
_TEMPLATES = {revision.name: f"at_{revision.name}" for revision in revisions.chain()[-2:]}

# Nothing here outlives the tests, and plans must not change when a background process finds the time to look.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection of the driver."""
    connection = await asyncpg.connect(libpq_url(url))
    try:
        yield connection
    finally:
        await connection.close()


class ClusterError(Exception):
    """There is no suitable PostgreSQL to run the tests on."""


class Cluster:
    """A server on a temporary directory, reached through a Unix socket, with the roles po_owner and po_app.

    Its database po_api is migrated; `postgres` is its superuser. Used as a context manager, or with `start` and `stop`.
    """

    def __init__(self, binaries: Path, settings: Mapping[str, str] | None = None):
        self.binaries = binaries
        self.settings = _SETTINGS | dict(settings or {})
        self._running = ExitStack()
        self.directory = Path()
        self.templates = dict(_TEMPLATES)
        self._place: URL | None = None

    @classmethod
    def embedded(cls) -> Self:
        """The server that `make run` starts."""
        return cls(embedded_binaries())

    @classmethod
    def system(cls) -> Self:
        """The newest PostgreSQL installed on this machine. Raises ClusterError if none is new enough."""
        return cls(system_binaries())

    def another(self, **settings: str) -> Self:
        """A second server of the same PostgreSQL, with other settings."""
        return type(self)(self.binaries, settings)

    def start(self) -> None:
        with ExitStack() as stack:
            self.directory = stack.enter_context(temporary_directory("po-test-"))
            copy_directory(migrated_directory(self.binaries) / "postgres", self.directory / "postgres")
            self._enter(stack)
            self._running = stack.pop_all()

    def _enter(self, stack: ExitStack) -> None:
        """Use the server; the first user starts it."""
        urls = stack.enter_context(embedded_server(self.directory, settings=self.settings, binaries=self.binaries))
        self._place = make_url(urls.owner)

    def kill(self) -> None:
        """Kill all processes of the server (SIGKILL)."""
        processes = self.processes()
        processes[0].kill()
        psutil.wait_procs(processes)

    def revive(self) -> None:
        """Start it again after `kill`, on the same data and socket."""
        self._enter(self._running)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server: new connections are neither refused nor answered."""
        processes = self.processes()
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def processes(self) -> list[psutil.Process]:
        """The server's, the first of all at the head."""
        pid = (self.directory / "postgres" / "postmaster.pid").read_text().split()[0]
        first = psutil.Process(int(pid))
        return [first, *first.children(recursive=True)]

    def stop(self) -> None:
        """Stop the server, if it runs, and delete its data."""
        self._running.close()
        self._place = None

    def url(self, database: str, role: str) -> str:
        """`postgresql://…` for a database (which need not exist yet) and a role; the server must run."""
        if self._place is None:
            raise ClusterError("the cluster is not started")
        return self._place.set(database=database, username=role).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def migrated_directory(binaries: Path) -> Path:
    """A data directory of a server with a migrated database, since migrating it for each server takes much longer."""

    def make(target: Path) -> None:
        with temporary_directory("po-new-") as place:
            with embedded_server(place, settings=_SETTINGS, binaries=binaries) as urls, ThreadPoolExecutor() as thread:
                # Its own event loop: that of a test may be running in this thread.
                thread.submit(asyncio.run, _migrate(urls)).result()
            copy_directory(place, target)

    return made_once(f"migrated-{_major(binaries)}", make)


async def _migrate(urls: EmbeddedUrls) -> None:
    for revision, template in _TEMPLATES.items():
        await migrations.upgrade(owner_url=urls.owner, app_url=urls.app, to=revision)
        async with connected(urls.superuser) as superuser:
            await superuser.execute(copying(DATABASE, template))


async def drop_templates(urls: EmbeddedUrls) -> None:
    """Leave only the database po_api."""
    async with connected(urls.superuser) as superuser:
        for template in _TEMPLATES.values():
            await superuser.execute(f"DROP DATABASE {template}")


def copying(database: str, name: str) -> str:
    """The statement that copies a database without connections, as files: a fifth of the time of a copy through the
    log."""
    return f"CREATE DATABASE {name} OWNER po_owner TEMPLATE {database} STRATEGY file_copy"


class Standby:
    """A streaming standby of a cluster, which has to allow for one (wal_level, max_wal_senders)."""

    def __init__(self, primary: Cluster) -> None:
        self._primary = primary
        self.directory = Path()
        self._user = server_user.find(Path(__file__).parent)

    def start(self) -> None:
        """Start it again after `stop`."""
        settings = self._primary.settings | {
            "unix_socket_directories": str(self.directory),
            "listen_addresses": "",
            # Queries that conflict with the replay are cancelled at once.
            "max_standby_streaming_delay": "0",
        }
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        self._run("pg_ctl", "start", "-w", "-s", "-l", str(self.directory / "log"), "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-s", "-m", "immediate")

    def promote(self) -> None:
        """Promote it to the primary."""
        self._run("pg_ctl", "promote", "-w", "-s")

    def url(self, database: str, role: str) -> str:
        there = make_url(self._primary.url(database, role))
        return there.set(query=there.query | {"host": str(self.directory)}).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = stack.enter_context(temporary_directory("po-standby-"))
            if self._user is not None:
                os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
            source = make_url(self._primary.url("postgres", "postgres")).query
            where = f"host={source['host']} port={source['port']} user=postgres"
            self._run(
                "pg_basebackup",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "-d",
                where,
                "-D",
                self._data,
            )
            self.start()
            stack.callback(self._stop_if_running)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _stop_if_running(self) -> None:
        if (Path(self._data) / "postmaster.pid").exists():
            self.stop()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._primary.binaries / program, *arguments],
            check=True,
            capture_output=True,
            env={"PATH": os.defpath, "LC_ALL": "C", "PGDATA": self._data},
            cwd=self.directory,
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )


def system_binaries() -> Path:
    """The directory of the newest installed PostgreSQL's server programs. Raises ClusterError if there is none."""
    places = {*Path("/usr/lib/postgresql").glob("*/bin"), *_bindir()}
    found = {_major(place): place for place in places if (place / "initdb").exists() and (place / "postgres").exists()}
    if not found or max(found) < OLDEST:
        raise ClusterError(
            f"no PostgreSQL {OLDEST} or later found in /usr/lib/postgresql or by pg_config: install its server package"
        )
    return found[max(found)]


def _bindir() -> list[Path]:
    """The directory of programs that `pg_config` prints, if it is installed."""
    program = shutil.which("pg_config")
    if program is None:
        return []
    return [Path(subprocess.run([program, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())]


def _major(binaries: Path) -> int:
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", version)[0])
