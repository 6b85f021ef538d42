"""Tools that go on after the process that started them was killed: they hold the lock of a file that they inherited.

`pg_basebackup` has a second process for the WAL, which goes on until the server ends the connection.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

_BOOT, _NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def note(descriptor: int, group: int) -> None:
    """Write the process group that holds the lock into the file."""
    os.pwrite(descriptor, f"{group} {_here()}".encode(), 0)


def end(descriptor: int) -> None:
    """Kill the process group that is noted in a file whose lock is held.

    As long as one of its processes lives, its number belongs to no other. Groups of another machine, container or boot
    are left alone, and where there is no /proc, all are.
    """
    group, _, where = os.pread(descriptor, 200, 0).decode(errors="replace").partition(" ")
    if where and where == _here() and group.isdecimal():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(int(group), signal.SIGKILL)


def _here() -> str:
    try:
        return f"{_BOOT.read_text().strip()} {_NAMESPACE.readlink()}"
    except OSError:
        return ""
