"""Filing in a directory: complete files under their names, never in place of another file."""

import asyncio
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
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
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def write(root: Path, path: Path, content: bytes, *, digest: str) -> None:
    """Write a file below `root`, which has to exist: a directory that is not mounted is not replaced by another one.

    A file with this content, whose SHA-256 (hex) is `digest`, may be there already. Raises NotFiled.
    """
    await _in_thread(_write, root, path, content, digest)


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
    temporary = root / _temporary()
    with temporary.open("xb"):
        pass
    temporary.unlink()


def _write(root: Path, path: Path, content: bytes, digest: str) -> None:
    with _directory(root, path.parent) as directory:
        temporary = _temporary()
        try:
            with open(temporary, "xb", opener=partial(os.open, dir_fd=directory)) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # A link, since a rename would replace a file with the name.
            os.link(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            if not _is_filed(directory, path.name, len(content), digest):
                raise NotFiled(FilingProblem.NAME_TAKEN, path.name) from None
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
        os.fsync(directory)


@contextmanager
def _directory(root: Path, path: Path) -> Iterator[int]:
    """The descriptor of a directory below `root`, which is made if it is missing, and its name permanent.

    Symbolic links are not followed: who may write into the folder of one organisation could lead into another's.
    """
    directory = os.open(root, _DIRECTORY)
    try:
        for name in path.parts:
            parent, directory = directory, _opened(directory, name)
            os.close(parent)
        yield directory
    finally:
        os.close(directory)


def _opened(parent: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError:
        raise NotFiled(FilingProblem.DIRECTORY_READ_ONLY, f"{name} is no directory") from None


def _is_filed(directory: int, name: str, size: int, digest: str) -> bool:
    """Whether the name is that of a file with this content. Links are not followed, and pipes not waited for, also if
    one takes the place of the file meanwhile."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode) or found.st_size != size:
        return False

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)

    with open(name, "rb", opener=opener) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _temporary() -> str:
    return f".{secrets.token_hex(8)}.tmp"
