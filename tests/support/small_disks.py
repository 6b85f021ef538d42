"""Small file systems that can be filled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Write until there is no space left."""
        for size in (1 << 20, 1 << 12):
            with suppress(OSError), self._filler.open("ab", buffering=0) as file:
                for _ in range(shutil.disk_usage(self.path).free // size + 1):
                    file.write(b"\1" * size)

    def free(self) -> None:
        """Remove what `fill` has written."""
        self._filler.unlink()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A file system in memory; the test is skipped where it cannot be mounted."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "po-test", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow to mount a small file system")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
