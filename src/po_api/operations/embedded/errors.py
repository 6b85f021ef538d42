"""The error of the embedded server."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EmbeddedServerError(Exception):
    """An error with a one-line message for the operator."""


@contextmanager
def one_line(data_dir: Path) -> Iterator[None]:
    """Convert errors of the operating system to EmbeddedServerError with one line."""
    try:
        yield
    except OSError as error:
        path = error.filename or data_dir
        raise EmbeddedServerError(f"cannot use {path}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(f"{Path(error.cmd[0]).name} did not end within {error.timeout:.0f} s") from error
