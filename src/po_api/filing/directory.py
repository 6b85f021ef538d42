"""Filing in a directory: complete files under their names, never in place of another file."""

import asyncio
import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec

from po_api.filing.domain import FilingProblem, NotFiled

P = ParamSpec("P")

_PROBLEMS = {
    errno.ENOSPC: FilingProblem.DIRECTORY_FULL,
    errno.EDQUOT: FilingProblem.DIRECTORY_FULL,
    errno.ENOENT: FilingProblem.DIRECTORY_MISSING,
    errno.ENOTDIR: FilingProblem.DIRECTORY_MISSING,
}


async def write(root: Path, path: Path, content: bytes, *, digest: str) -> None:
    """Write a file below `root`, which has to exist: a directory that is not mounted is not replaced by another one.

    A file with this content, whose SHA-256 (hex) is `digest`, may be there already. Raises NotFiled.
    """
    await _in_thread(_write, root, root / path, content, digest)


async def require_writable(root: Path) -> None:
    """Raise NotFiled unless files can be written below `root`."""
    await _in_thread(_try_out, root)


async def _in_thread(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        await asyncio.to_thread(function, *args, **kwargs)
    except OSError as error:
        problem = _PROBLEMS.get(error.errno or 0, FilingProblem.DIRECTORY_READ_ONLY)
        raise NotFiled(problem, errno.errorcode.get(error.errno or 0)) from None


def _try_out(root: Path) -> None:
    temporary = _temporary(root)
    with temporary.open("xb"):
        pass
    temporary.unlink()


def _write(root: Path, target: Path, content: bytes, digest: str) -> None:
    if not root.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    _make_directory(target.parent, root)
    temporary = _temporary(target.parent)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link, since a rename would replace a file with the name.
        os.link(temporary, target)
    except FileExistsError:
        if hashlib.sha256(target.read_bytes()).hexdigest() != digest:
            raise NotFiled(FilingProblem.NAME_TAKEN, target.name) from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync(target.parent)


def _make_directory(directory: Path, root: Path) -> None:
    """Make the directories below `root`, and their names permanent."""
    for made in [*reversed(directory.relative_to(root).parents), directory.relative_to(root)]:
        if not (root / made).is_dir():
            (root / made).mkdir(exist_ok=True)
            _sync((root / made).parent)


def _temporary(directory: Path) -> Path:
    return directory / f".{secrets.token_hex(8)}.tmp"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
