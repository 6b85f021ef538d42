"""The files of the embedded server: `postgres` in a data directory, created on first use, with the roles and the
database of the application."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from po_api.operations.embedded import server_user, sockets
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.embedded.programs import Programs, failure, reason

if sys.platform != "win32":
    import fcntl
    import pwd

DATABASE = "po_api"
SUPERUSER = "postgres"
OWNER = "po_owner"
APP = "po_app"
# Data that a restore has replaced, with the time in the name. As long as only these exist, no new database is created.
REPLACED = "postgres.replaced-"
_MAX_LOG_BYTES = 10 << 20

# psql's \gexec executes the results of the query before it.
_BOOTSTRAP = r"""
SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', wanted)
FROM unnest(ARRAY[:'owner', :'app']) AS wanted WHERE wanted NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
WHERE :'database' NOT IN (SELECT datname FROM pg_database) \gexec
"""


def has_database(data_dir: Path) -> bool:
    """Whether `data_dir` has a database, or data that an interrupted restore has replaced."""
    return (data_dir / "postgres").exists() or any(data_dir.glob(f"{REPLACED}*"))


def path_of(descriptor: int) -> Path | None:
    """The present path of an open directory; None if it was deleted."""
    with suppress(OSError):
        if sys.platform == "darwin":
            path = os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        else:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if os.path.samestat(os.fstat(descriptor), Path(path).stat()):
            return Path(path)
    return None


class DataDirectory:
    """A data directory, and the execution of PostgreSQL's programs on it, each for at most `seconds`."""

    def __init__(self, path: Path, binaries: Path, seconds: int) -> None:
        self.path = path.resolve()
        self.pgdata = self.path / "postgres"
        self.log = self.pgdata / "server.log"
        self._binaries = binaries
        self._seconds = seconds
        self._user: pwd.struct_passwd | None = None
        self._log_start = 0

    def open(self) -> None:
        """Create the directory if necessary, and find the user that the server runs as."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._user = server_user.find(self.path)
        except server_user.NoServerUserError as error:
            raise EmbeddedServerError(str(error)) from error

    def moved_to(self, path: Path) -> Self:
        """The same directory at another path."""
        moved = type(self)(path, self._binaries, self._seconds)
        moved._user = self._user
        return moved

    def moved_from(self) -> str | None:
        """The path of the data at the start of their server, if it is another one now."""
        status = self.status()
        if len(status) < 2:
            return None
        with suppress(OSError):
            if self.pgdata.samefile(status[1]):
                return None
        return status[1]

    def open_file(self, name: str) -> int:
        """The descriptor of a file beside `pgdata`, with the same owner; child processes do not inherit it."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        server_user.give_to_owner_of(self.path, descriptor)
        return descriptor

    def status(self) -> list[str]:
        """The lines of postmaster.pid (pid, data, start, port, socket directory, address, memory, state), or none."""
        try:
            return self._status_file.read_text().splitlines()
        except FileNotFoundError:
            return []

    @property
    def _status_file(self) -> Path:
        return self.pgdata / "postmaster.pid"

    def admit_server(self) -> None:
        """Give the server's user access to the data and the programs."""
        if self._user is not None:
            server_user.admit(self._user.pw_uid, self.pgdata)
            server_user.admit(self._user.pw_uid, self._binaries)
            server_user.make_readable(self._binaries)

    def make_socket_directory(self) -> Path:
        """A directory for the server's socket if it cannot be in `pgdata`."""
        uid = self._user.pw_uid if self._user else os.geteuid()
        directory = sockets.make_directory(self.path, uid)
        self.give_to_server(directory)
        return directory

    def give_to_server(self, directory: Path) -> None:
        if self._user is not None:
            os.chown(directory, self._user.pw_uid, self._user.pw_gid)

    def check_or_make(self, alive: int, *, is_synced: bool) -> None:
        """Check that `pgdata` is a database of this PostgreSQL, or create one; initdb inherits the descriptor `alive`.

        Raises EmbeddedServerError for other contents.
        """
        major = int(re.findall(r"\d+", self.run(["postgres", "--version"]).stdout)[0])
        with suppress(FileNotFoundError):
            found = (self.pgdata / "PG_VERSION").read_text().strip()
            if found != str(major):
                raise EmbeddedServerError(
                    f"{self.pgdata} was created by PostgreSQL {found}, not {major}: run `po-api backup upgrade`, or"
                    " restore a portable backup with `po-api backup restore BACKUP --replace`"
                )
            return
        if self.pgdata.exists() and any(self.pgdata.iterdir()):
            raise EmbeddedServerError(f"{self.pgdata} is not a database directory: move it away")
        if replaced := sorted(self.path.glob(f"{REPLACED}*")):
            raise EmbeddedServerError(
                "a restore was interrupted: run it again, or go back to the previous data:"
                f" mv {replaced[-1]} {self.pgdata}"
            )
        self._make(alive, [*_initdb_options(major), *([] if is_synced else ["--no-sync"])])

    def _make(self, alive: int, options: Sequence[str]) -> None:
        # Created under another name, so that an interrupted initdb leaves nothing that looks like a database. It
        # inherits `alive`: it continues if this process is killed, and the next start must wait for its end.
        draft = self.path / "postgres.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        self.give_to_server(draft)
        self.run(["initdb", *options, "-D", str(draft)], pass_fds=(alive,))
        draft.rename(self.pgdata)

    def tidy_up(self) -> None:
        """Remove the remains of a crash; requires that no process of the server is running."""
        sockets.remove_directory(self.status())
        # PostgreSQL refuses to start if the process ids in these files belong to new processes of this user.
        self._status_file.unlink(missing_ok=True)
        (self.pgdata / f"{sockets.SOCKET_NAME}.lock").unlink(missing_ok=True)
        self.trim_log()
        self._log_start = self._log_size()

    def trim_log(self) -> None:
        """Limit the size of the server's log: a large one is copied to `server.log.1` and truncated.

        It is not renamed, since the server appends to the open file.
        """
        if self._log_size() < _MAX_LOG_BYTES:
            return
        # The directory is the server user's: root must not follow a link there.
        descriptor = os.open(self.log, os.O_RDWR | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "r+b") as log:
            with suppress(OSError):  # the disk is full
                self._copy_log(log)
            log.truncate(0)
        self._log_start = 0

    def _copy_log(self, log: IO[bytes]) -> None:
        copy = self.log.with_suffix(".log.1")
        copy.unlink(missing_ok=True)
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            server_user.give_to_owner_of(self.pgdata, descriptor)
            shutil.copyfileobj(log, target)

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def bootstrap(self, directory: Path) -> None:
        """Create the missing roles and the database; the server's socket is in `directory`."""
        where = ["-h", str(directory), "-p", str(sockets.PORT), "-U", SUPERUSER, "-d", SUPERUSER]
        names = ["-v", f"owner={OWNER}", "-v", f"app={APP}", "-v", f"database={DATABASE}"]
        self.run(["psql", "-X", "-w", "-q", "-v", "ON_ERROR_STOP=1", *names, *where], stdin=_BOOTSTRAP)

    def last_error(self, before: str = "") -> str:
        """The last error in `before`, the output of a program, and the server's log since the last start."""
        return f"{reason(before + self._log_since_start())} (see {self.log})"

    def reason_of_end(self) -> str:
        """The last message in the server's log that a process of the server ended with."""
        found = re.findall(r"(?:FATAL|PANIC): +(.+)", self._log_since_start())
        return found[-1] if found else "no reason given"

    def _log_since_start(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return log.read(_MAX_LOG_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def run(
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
            environment={"PGDATA": str(self.pgdata)},
            cwd=cwd,
            stdin=stdin,
            pass_fds=pass_fds,
            timeout=self._seconds,
        )
        if check and result.returncode:
            raise EmbeddedServerError(failure(f"{command[0]} of the embedded PostgreSQL", result))
        return result


def _initdb_options(major: int) -> Sequence[str]:
    """The options of initdb. `trust` is safe because only the server's own user (and root) can reach the socket; see
    sockets.py.

    The built-in C.UTF-8 (PostgreSQL 17) sorts by code point and has case mappings for all of Unicode, identical on
    every system; the C library's collations may change with the operating system and corrupt indexes. For tests on
    older versions, the C library's C.UTF-8, which macOS lacks, is equivalent.
    """
    if major >= 17:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    return [
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--no-instructions",
        *locale,
    ]
