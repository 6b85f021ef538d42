"""Temporary directories. The processes that a test run has started in them are ended if the run is killed.

PostgreSQL servers are no child processes (`pg_ctl` starts them in a session of their own), and SIGKILL leaves no time
to stop them. Hence a process in a session of its own reads from a pipe that the kernel closes at the end of this
process, whatever its cause. It then ends every process whose working directory is in one of the registered directories:
for PostgreSQL servers this is the data directory, for `po-api` and other programs that of the test.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

_QUIT_SECONDS = 5
_DONE = "done"
_MEMORY = Path("/dev/shm")
# The files of a run take some 2 GB, its processes twice as much.
_FREE_BYTES = 4 << 30
_AVAILABLE_BYTES = 8 << 30
_watched: list[Path] = []


@cache
def _watchdog() -> "subprocess.Popen[str]":
    command = [sys.executable, "-P", __file__]
    return subprocess.Popen(command, env={}, stdin=subprocess.PIPE, text=True, start_new_session=True)


def _tell(line: str) -> None:
    pipe = _watchdog().stdin
    assert pipe is not None
    pipe.write(f"{line}\n")
    pipe.flush()


def fast_place() -> Path:
    """Where to make temporary directories: in memory if there is room, else in the system's place for them.

    Each database that a test creates is a thousand files: on a disk, the kernel takes a tenth of the tests' processor
    time to create and delete them. In memory, fsync costs nothing, too.
    """
    has_room = (
        _MEMORY.is_dir()
        and psutil.disk_usage(str(_MEMORY)).free >= _FREE_BYTES
        and psutil.virtual_memory().available >= _AVAILABLE_BYTES
    )
    return _MEMORY if has_room else Path(tempfile.gettempdir())


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """A directory with a path short enough for sockets; deleted at the end, also if this process is killed."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=fast_place()))
    _tell(f"delete {directory}")
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def watched(directory: Path) -> Iterator[None]:
    """If this process is killed, the processes in the directory are ended; the directory is kept for inspection."""
    _tell(f"keep {directory.resolve()}")
    _watched.append(directory)
    yield
    _watched.pop()
    _tell(_DONE)
    _watchdog().communicate()


def run_directory() -> Path:
    """The directory for files of the run, which all its workers share."""
    own = _watched[0]
    return own.parent if own.name.startswith("popen-") else own


def _running_in(directories: list[Path]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cwd"]):
        place = process.info["cwd"]
        if place and any(Path(place).is_relative_to(directory) for directory in directories):
            found.append(process)
    return found


def _end(directories: list[Path]) -> None:
    """SIGQUIT first, with which PostgreSQL releases its shared memory."""
    for how in (signal.SIGQUIT, signal.SIGKILL, signal.SIGKILL):
        processes = _running_in(directories)
        for process in processes:
            try:
                process.send_signal(how)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=_QUIT_SECONDS)


def main() -> None:
    lines = [line.rstrip("\n") for line in sys.stdin]
    if lines[-1:] == [_DONE]:
        return
    told = [line.partition(" ") for line in lines]
    os.chdir("/")
    _end([Path(place) for _, _, place in told])
    for what, _, place in told:
        if what == "delete":
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
