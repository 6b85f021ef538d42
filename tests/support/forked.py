"""Commands in processes that are forked from one which has loaded the application, as loading takes most of their time.

Tests that check more than the effect and the output of a command start it by its file.
"""

import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO
from unittest import mock

from support.polling import DEADLINE_SECONDS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["support.preloaded"])


def po_api() -> None:
    """`po-api` with the arguments in sys.argv."""
    from po_api.cli.main import main

    main()


def po_api_without_tracing() -> None:
    """The same, where the packages for tracing are not installed."""
    assert "opentelemetry.sdk" not in sys.modules, "imported by the application before tracing starts"
    sys.modules["opentelemetry.sdk"] = None  # type: ignore[assignment]
    po_api()


def po_api_in_a_hurry() -> None:
    """The same, which waits for requests in progress a second when it stops, not 25 seconds."""
    from po_api import serving

    serving.GRACEFUL_SECONDS = 1
    po_api()


def po_api_with_new_workers() -> None:
    """The same, whose workers load the application anew."""
    from uvicorn import _subprocess

    _subprocess.spawn = multiprocessing.get_context("spawn")
    po_api()


def alembic() -> None:
    """`alembic` with the arguments in sys.argv."""
    from alembic.config import main

    main()


class Forked:
    """A process that calls `main` with only these variables. Its stdin is empty, its output is piped.

    `communicate` or `wait` has to be called at the end.
    """

    def __init__(
        self, main: Callable[[], object], *arguments: str, environment: Mapping[str, str], directory: Path
    ) -> None:
        output, child_output = _CONTEXT.Pipe(duplex=False)
        errors, child_errors = _CONTEXT.Pipe(duplex=False)
        self._process = _start(main, arguments, environment, directory, (child_output, child_errors))
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
        return _wait(self._process, DEADLINE_SECONDS)

    def communicate(self) -> tuple[str, str]:
        """The output that has not been read, after the end. It must fit into the pipes."""
        self.wait()
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


class ForkedServer:
    """Such a process that appends both output streams to a file; used like subprocess.Popen."""

    def __init__(
        self, main: Callable[[], object], *arguments: str, environment: Mapping[str, str], directory: Path, log: Path
    ) -> None:
        self._process = _start(main, arguments, environment, directory, log)
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float = DEADLINE_SECONDS) -> int:
        return _wait(self._process, timeout)

    def stop(self) -> None:
        """End it with SIGTERM, which ends it at once if it has just been started and does not handle signals yet."""
        self.terminate()
        assert self.wait() in {0, -signal.SIGTERM}


_Streams = tuple[Connection, Connection] | Path


def _start(
    main: Callable[[], object],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    streams: _Streams,
) -> BaseProcess:
    argv = [main.__name__.replace("_", "-"), *arguments]
    # The server of forks, which the first process starts, finds what it loads there.
    with mock.patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent.parent)):
        forkserver.ensure_running()
    process = _process(main, argv, environment, directory, streams)
    process.start()
    return process


def _process(
    main: Callable[[], object],
    argv: list[str],
    environment: Mapping[str, str],
    directory: Path,
    streams: _Streams,
) -> BaseProcess:
    return _CONTEXT.Process(target=_run, args=(main, argv, dict(environment), str(directory), streams))


class _ForkedWorkers:
    """In place of the context in which uvicorn starts workers: they are forked from the same process as this one."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def Process(self, target: Callable[..., None], kwargs: Mapping[str, object]) -> BaseProcess:  # noqa: N802
        started = partial(target, **kwargs)
        # prometheus-client reads it when it is imported.
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ, "these workers have to be new"
        return _process(started, sys.argv, os.environ, Path.cwd(), self._log)


def _fork_workers(log: Path) -> None:
    from uvicorn import _subprocess

    # This process would start a second server of forks.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    _subprocess.spawn = _ForkedWorkers(log)  # type: ignore[assignment]


def _wait(process: BaseProcess, timeout: float) -> int:
    process.join(timeout)
    assert process.exitcode is not None, f"process {process.pid} still runs after {timeout} s"
    return process.exitcode


def _reader(connection: Connection) -> IO[str]:
    with connection:
        return os.fdopen(os.dup(connection.fileno()))


def _run(
    main: Callable[[], object], argv: list[str], environment: dict[str, str], directory: str, streams: _Streams
) -> None:
    if isinstance(streams, Path):
        _fork_workers(streams)
        opened = os.open(streams, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        descriptors = [opened, opened]
    else:
        descriptors = [connection.fileno() for connection in streams]
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
    for descriptor in {*descriptors}:
        os.close(descriptor)
    # Uvicorn hands its number on to workers.
    with Path(os.devnull).open() as empty:
        os.dup2(empty.fileno(), 0)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), write_through=n == 2) for n in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = argv
    main()
