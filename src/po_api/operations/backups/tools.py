"""PostgreSQL's own tools: their location, and their connection to a server.

Passwords are passed in the environment, since all users of the machine can read the arguments of processes.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from po_api.db.client_files import home_of_programs
from po_api.db.database import libpq_url
from po_api.operations.backups.errors import BackupError
from po_api.operations.embedded.errors import EmbeddedServerError
from po_api.operations.embedded.programs import Programs, failure
from po_api.operations.embedded.server import embedded_binaries

if TYPE_CHECKING:
    import pwd

_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Tools:
    """The tools of one PostgreSQL, and the server that they connect to. `url` has no password."""

    programs: Programs
    url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def run(self, *command: str, stdin: str = "", cwd: Path = Path("/")) -> str:
        """Run a tool; returns its stdout. Raises BackupError with the reason if it fails."""
        result = self.programs.run(command, environment=self.environment, stdin=stdin, cwd=cwd)
        if result.returncode:
            raise BackupError(failure(command[0], result))
        return result.stdout

    def follow(self, *command: str, on_line: Callable[[str], None], mark: int) -> None:
        """Run a tool that writes its progress to stderr, and inherits the `mark` of what it makes. Raises BackupError
        with the reason if it fails."""
        result = self.programs.follow(command, on_line, environment=self.environment, pass_fds=(mark,))
        if result.returncode:
            raise BackupError(failure(command[0], result))

    def query(self, statement: str) -> list[list[str]]:
        """The rows of a query, as texts. Raises BackupError."""
        options = ["-X", "-w", "-A", "-t", "-q", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
        output = self.run("psql", *options, "-d", self.url, stdin=statement)
        return [line.split("\t") for line in output.splitlines()]

    def value(self, statement: str) -> str:
        """The value of a query with one row and one column."""
        return self.query(statement)[0][0]

    def has(self, program: str) -> bool:
        """Whether the tool exists and runs: the embedded wheel's pg_verifybackup exists, but crashes."""
        try:
            return self.programs.run([program, "--version"]).returncode == 0
        except OSError:
            return False

    @property
    def major(self) -> int:
        """The major version of the tools."""
        return tools_major(self.programs.binaries)


def embedded_tools(url: str, user: "pwd.struct_passwd | None", binaries: Path | None = None) -> Tools:
    """The tools for the embedded server at `url`, or for a server of other `binaries`. Raises EmbeddedServerError if
    the wheel is not installed."""
    return Tools(Programs(binaries or embedded_binaries(), user), url)


def server_tools(url: str) -> Tools:
    """The tools for the server at `url`: the oldest that are at least as new as the server, which may not be able to
    read the output of newer ones. Raises BackupError if there are none, or the server cannot be reached."""
    address, password = split_password(url)
    # Operators may configure libpq by the environment or ~/.pgpass; a password in the URL takes precedence.
    environment = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    environment |= {"HOME": home_of_programs()} | ({"PGPASSWORD": password} if password is not None else {})
    found = _installed()
    if not found:
        raise _missing("15 or later")
    for binaries in (found[major] for major in sorted(found)):
        tools = Tools(Programs(binaries), address, environment)
        server = int(tools.value("SHOW server_version_num")) // 10_000
        if tools.major >= server:
            return tools
    raise _missing(f"{server} or later")


def server_programs(major: int, *, is_exact: bool = False) -> Path:
    """The directory of server programs of this version, or unless `is_exact` a later one.

    Raises BackupError if there is none.
    """
    for found, binaries in sorted(_installed().items()):
        if found < major or (is_exact and found > major):
            continue
        if all((binaries / name).exists() for name in ("initdb", "postgres", "pg_ctl")):
            return binaries
    if is_exact:
        raise BackupError(
            f"the server programs of PostgreSQL {major} are required: install postgresql-{major}, or name the directory"
            " of others with --programs"
        )
    raise BackupError(
        f"the server programs of PostgreSQL {major} or later are required to restore into a temporary server: install"
        f" postgresql-{major}, or the packages of the extra embedded"
    )


def reading_tools(target: Tools, major: int) -> Tools:
    """Tools that read a dump of this version of PostgreSQL: those of `target` if they are new enough, or the oldest
    that are. Raises BackupError if there are none."""
    if target.major >= major:
        return target
    for found, binaries in sorted(_installed().items()):
        if found >= major:
            return Tools(Programs(binaries, target.programs.user))
    raise _missing(f"{major} or later")


def split_password(url: str) -> tuple[str, str | None]:
    """A database URL without its password, in libpq's form, and the password."""
    parts = urlsplit(libpq_url(url))
    credentials, at, place = parts.netloc.rpartition("@")
    user, colon, password = credentials.partition(":")
    options = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for name, value in options if name == "password"]
    kept = urlencode([item for item in options if item[0] != "password"], quote_via=quote)
    address = urlunsplit(parts._replace(netloc=f"{user}{at}{place}", query=kept))
    if not parts.netloc:  # urlunsplit would drop the slashes
        address = address.replace(":/", ":///", 1)
    return address, unquote(password) if colon else (named[-1] if named else None)


def _installed() -> dict[int, Path]:
    """The directories of tools on this machine by version: Debian's, that on PATH, the embedded server's."""
    places = sorted(_DEBIAN.glob("*/bin"))  # before PATH, where Debian has the clients without the server
    if (on_path := shutil.which("pg_dump")) is not None:
        places.append(Path(on_path).parent)
    with suppress(EmbeddedServerError):
        places.append(embedded_binaries())
    found: dict[int, Path] = {}
    for place in places:
        if all((place / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
            found.setdefault(tools_major(place), place)
    return found


def tools_major(binaries: Path) -> int:
    """The major version of the programs in a directory."""
    version = Programs(binaries).run(["pg_dump", "--version"]).stdout
    return int((re.findall(r"\d+", version) or ["0"])[0])


def _missing(version: str) -> BackupError:
    return BackupError(
        f"pg_dump, pg_restore and psql of PostgreSQL {version} are not installed (looked for on PATH and in {_DEBIAN}):"
        " on Debian, install postgresql-client"
    )
