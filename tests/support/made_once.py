"""Directories that all workers of a test run share: the first one that needs it makes it."""

import fcntl
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.watchdog import run_directory


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The directory of this name, which `make` has created; it is deleted with the files of the run."""
    made = run_directory() / name
    with made.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            # Under another name, so that what was begun and not finished is not used.
            draft = made.with_name(f"{name}.new")
            make(draft)
            draft.rename(made)
    return made


def copy_directory(source: Path, target: Path) -> None:
    """Copy it with the owners of its files; `target` must not exist."""
    subprocess.run(["cp", "-a", source, target], check=True)
