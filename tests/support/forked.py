"""Commands in processes that are forked from one which has loaded the application, as loading takes most of their time.

The tests that look at more than what a command does and says start it by its file.
"""

import io
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from support.polling import DEADLINE_SECONDS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["po_api.cli.main", "po_api.app", "po_api.operations.migrations", "alembic.config"])


def po_api() -> None:
    """`po-api` with the arguments in sys.argv."""
    from po_api.cli.main import main

    main()


def alembic() -> None:
    """`alembic` with the arguments in sys.argv."""
    from alembic.config import main

    main()


class Forked:
    """A process that calls `main` with nothing but these variables; its stdin is empty.

    `communicate` or `wait` has to be called in the end.
    """

    def __init__(
        self, main: Callable[[], object], *arguments: str, environment: Mapping[str, str], directory: Path
    ) -> None:
        output, child_output = _CONTEXT.Pipe(duplex=False)
        errors, child_errors = _CONTEXT.Pipe(duplex=False)
        argv = [main.__name__.replace("_", "-"), *arguments]
        self._process = _CONTEXT.Process(
            target=_run, args=(main, argv, dict(environment), str(directory), child_output, child_errors)
        )
        self._process.start()
        child_output.close()
        child_errors.close()
        self.stdout, self.stderr = _reader(output), _reader(errors)

    @property
    def returncode(self) -> int | None:
        """As that of subprocess.Popen; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        self._process.join(DEADLINE_SECONDS)
        assert self._process.exitcode is not None, f"it still runs after {DEADLINE_SECONDS} s"
        return self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """What it wrote that has not been read, once it has ended. It must not write more than pipes hold."""
        self.wait()
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


def _reader(connection: Connection) -> IO[str]:
    with connection:
        return os.fdopen(os.dup(connection.fileno()))


def _run(
    main: Callable[[], object],
    argv: list[str],
    environment: dict[str, str],
    directory: str,
    output: Connection,
    errors: Connection,
) -> None:
    for connection, descriptor in ((output, 1), (errors, 2)):
        os.dup2(connection.fileno(), descriptor)
        connection.close()
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), write_through=n == 2) for n in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = argv
    main()
