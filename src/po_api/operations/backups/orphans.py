"""Tools that go on after the process that started them was killed: they hold the lock of a file that they inherited.

`pg_basebackup` has a second process for the WAL, which goes on until the server ends the connection.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROCESSES = Path("/proc")


def end(descriptor: int) -> None:
    """Kill the processes that hold the lock of this file. Where there is no /proc, they are left alone."""
    file = os.fstat(descriptor)
    for process in _PROCESSES.glob("[0-9]*"):
        if _holds_lock(process, file):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(process.name), signal.SIGKILL)


def _holds_lock(process: Path, file: os.stat_result) -> bool:
    try:
        descriptors = [*(process / "fd").iterdir()]
    except OSError:  # it has ended, or is another user's
        return False
    return any(_has_lock(process, descriptor, file) for descriptor in descriptors)


def _has_lock(process: Path, descriptor: Path, file: os.stat_result) -> bool:
    """Whether the descriptor is one of the file's that has the lock: others, such as that of a program which copies the
    file, have none."""
    try:
        is_open = os.path.samestat(descriptor.stat(), file)
        return is_open and "\nlock:" in (process / "fdinfo" / descriptor.name).read_text()
    except OSError:
        return False
