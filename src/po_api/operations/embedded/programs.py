"""Running PostgreSQL's programs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

if sys.platform != "win32":
    import pwd

_NO_REASON = "no reason given"
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Programs:
    """The programs in one directory. They run as `user` (None: the current one), in sessions of their own, so that they
    do not get the terminal's signals.

    They get a new environment with the variables of a call only: PG* variables of the user's shell would redirect a
    program, and the application's secrets are not needed. LC_ALL=C gives English messages, and prevents threads on
    macOS.
    """

    binaries: Path
    user: "pwd.struct_passwd | None" = None

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] = _NOTHING,
        cwd: Path = Path("/"),
        stdin: str = "",
        pass_fds: tuple[int, ...] = (),
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program; its exit code is not checked. Raises TimeoutExpired or OSError."""
        return subprocess.run(  # noqa: S603 - fixed programs, no shell
            self._arguments(command),
            input=stdin,
            capture_output=True,
            check=False,
            cwd=cwd,
            pass_fds=pass_fds,
            timeout=timeout,
            **self._options(environment),
        )

    def follow(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        *,
        environment: Mapping[str, str] = _NOTHING,
        cwd: Path = Path("/"),
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, and call `on_line` with each line that it writes to stderr; stdout is not read.

        If this process is killed, the program ends with the next line that it cannot write. It inherits `pass_fds`.
        """
        lines = []
        with self._started(command, environment, cwd, pass_fds) as process:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                on_line(line.strip())
        return subprocess.CompletedProcess(command, process.returncode, "", "".join(lines))

    @contextmanager
    def _started(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, pass_fds: tuple[int, ...]
    ) -> "Iterator[subprocess.Popen[str]]":
        process = subprocess.Popen(  # noqa: S603 - fixed programs, no shell
            self._arguments(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=cwd,
            pass_fds=pass_fds,
            **self._options(environment),
        )
        with process:
            try:
                yield process
            except BaseException:  # such as KeyboardInterrupt: the program does not get the signal
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def _arguments(self, command: Sequence[str]) -> list[str]:
        return [str(self.binaries / command[0]), *command[1:]]

    def _options(self, environment: Mapping[str, str]) -> dict[str, Any]:
        return {
            "text": True,
            "errors": "replace",
            "env": {"PATH": os.defpath, "LC_ALL": "C"} | dict(environment),
            "start_new_session": True,
            "user": self.user.pw_uid if self.user else None,
            "group": self.user.pw_gid if self.user else None,
            "extra_groups": [] if self.user else None,
        }


def reason(output: str) -> str:
    """The last error in the output of PostgreSQL's programs, without its time stamp."""
    found = re.findall(r"(?:FATAL|PANIC|ERROR|error|pg_ctl): +(.+)", output)
    return found[-1] if found else _NO_REASON


def failure(program: str, result: subprocess.CompletedProcess[str]) -> str:
    """One line that says why a program failed: its last error, or else the last line that it wrote to stderr."""
    lines = result.stderr.strip().splitlines()
    found = reason(result.stderr)
    return f"{program} failed: {lines[-1] if found == _NO_REASON and lines else found}"
