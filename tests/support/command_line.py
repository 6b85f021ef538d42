"""`po-api` in an environment for one test."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from unittest import mock

import structlog

from po_api.cli.main import main
from po_api.operations.databases import embedded
from po_api.settings import Settings
from support.demo_data import copy_demo

COMMAND = Path(sys.executable).with_name("po-api")
TIMEOUT = 120


@dataclass(frozen=True)
class CommandLine:
    """The command with these variables and no other configuration."""

    environment: dict[str, str]
    place: Path

    @classmethod
    def at(cls, place: Path, **variables: str) -> Self:
        """With a data directory below `place`."""
        names = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return cls(kept | {"PO_DATA_DIR": str(place / "data")} | variables, place)

    @classmethod
    @contextmanager
    def with_demo(cls, place: Path, **variables: str) -> Iterator[Self]:
        """With a running embedded server, as while the API serves, and the demo organisation."""
        made = cls.at(place, **variables)
        copy_demo(made.data_dir)
        with embedded(Settings(_env_file=None, po_data_dir=made.data_dir)):
            yield made

    def having(self, **variables: str) -> Self:
        """The same with other variables."""
        return type(self)(self.environment | variables, self.place)

    @property
    def data_dir(self) -> Path:
        return self.place / self.environment["PO_DATA_DIR"]

    @property
    def backups(self) -> Path:
        return Path(self.environment.get("BACKUP_DIR", self.data_dir / "backups"))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Run the command in a separate process."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            env=self.environment,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command in this process; returns the exit code, stdout and stderr."""
        output, errors, code = io.StringIO(), io.StringIO(), 0
        logging = structlog.get_config()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", ["po-api", *arguments]),
            chdir(self.place),
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        structlog.configure(**logging)
        return code, output.getvalue(), errors.getvalue()

    def ok(self, *arguments: str) -> str:
        """The stdout of a command that must succeed."""
        code, output, errors = self.run(*arguments)
        assert code == 0, (arguments, output, errors)
        return output

    def fails(self, *arguments: str) -> str:
        """The last line of a command that must fail."""
        code, output, errors = self.run(*arguments)
        assert code == 1, (arguments, output, errors)
        assert "Traceback" not in errors
        line = errors.splitlines()[-1]
        assert line.startswith("po-api: "), errors
        return line

    def backup(self, *options: str) -> str:
        """Create a backup; returns its name."""
        return self.ok("backup", "create", *options).splitlines()[-1]

    def listed(self) -> list[list[str]]:
        """The fields of each backup in the list."""
        return [line.split("\t") for line in self.ok("backup", "list").splitlines()]

    def users(self) -> set[str]:
        """The e-mail addresses."""
        return {line.split("\t")[4] for line in self.ok("users", "list").splitlines()}

    def add_user(self, email: str) -> None:
        self.ok("users", "create", "--email", email, "--name", email)
