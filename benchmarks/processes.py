"""Server processes: their CPU cores, their cost, and their termination."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import psutil

START_SECONDS = 60
STOP_SECONDS = 20
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Cores:
    """The API has its own core; PostgreSQL and the load share the others. On a single core nothing is separated."""

    api: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(rest or [first]))


@contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """Processes started in this context stay on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Tree:
    """A process with all of its children."""

    process_id: int

    def _processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.process_id)
        return [root, *root.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """The CPU time used so far, including that of child processes that have ended."""
        total = 0.0
        for process in self._processes():
            try:
                used = process.cpu_times()
            except psutil.NoSuchProcess:
                continue  # its usage is included in its parent's
            total += used.user + used.system + used.children_user + used.children_system
        return total

    def resident_bytes(self) -> list[int]:
        """The resident memory of the process itself, and of each of its children."""
        return [process.memory_info().rss for process in self._processes()]


@dataclass(frozen=True)
class App(Tree):
    """A server that listens at 127.0.0.1:`port`."""

    name: str
    port: int
    ready_seconds: float


@contextmanager
def serving(
    name: str, command: Sequence[str], env: Mapping[str, str], *, port: int, cores: Cores, probe: str = "/"
) -> Iterator[App]:
    """Run a server while the context is open. It is ready when `probe` has a response, `/health…` with 200."""
    with tempfile.TemporaryDirectory(prefix="po-bench-") as directory, tempfile.TemporaryFile() as log:
        started = time.monotonic()
        with on(cores.api):
            # In a directory without an .env file; in a session of its own, without the terminal's Ctrl-C.
            process = subprocess.Popen(
                command,
                env=env,
                cwd=directory,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            _await_ready(name, process, log, f"http://127.0.0.1:{port}{probe}")
            yield App(process.pid, name, port, time.monotonic() - started)
        finally:
            _stop(process)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_ready(name: str, process: "subprocess.Popen[bytes]", log: IO[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if "/health" not in url and error.code < 500:
                return
        except OSError:
            pass
        time.sleep(_POLL_SECONDS)
    log.seek(0)
    said = log.read().decode(errors="replace")[-3000:]
    raise SystemExit(f"{name} did not start:\n{said}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
