"""Progress of long-running work."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from po_api.observability.logging import get_logger
from po_api.operations.revisions import Step

_PLAIN_SECONDS = 5

_log = get_logger(__name__)


class Progress:
    """Logs waits and warnings only: for `alembic`, tests, and a start with `--demo`."""

    def wait(self, reason: str) -> None:
        """The work is delayed, and continues automatically."""
        _log.warning("migration_waiting", reason=reason)

    def batch(self, done: str) -> None:
        """Report the progress within a stage, such as `3 of 12 batches`."""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """A part of the work, whose title and duration are reported at its end."""
        started = time.monotonic()
        yield
        self.done(title, time.monotonic() - started)

    def done(self, title: str, seconds: float) -> None:
        """Report a part of the work as done."""

    def finished(self, step: Step, seconds: float) -> None:
        """Report a revision as committed; `seconds` include waits."""

    def warn(self, problem: str) -> None:
        """Report a problem that does not end the work."""
        _log.warning("migration_warning", problem=problem)


class PrintedProgress(Progress):
    """Prints completed work to stdout, everything else to stderr.

    On a terminal batches overwrite each other; elsewhere a line is printed every few seconds.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = float("-inf")

    def wait(self, reason: str) -> None:
        self._print(reason)

    def batch(self, done: str) -> None:
        if self._terminal:
            typer.echo(f"\r\x1b[K{done}", err=True, nl=False)
        elif time.monotonic() - self._last >= _PLAIN_SECONDS:
            self._last = time.monotonic()
            typer.echo(done, err=True)

    def finished(self, step: Step, seconds: float) -> None:
        self._clear()
        undone = "" if step.is_upgrade else "undone: "
        typer.echo(f"{step.revision.name}  {seconds:6.2f} s  {undone}{step.revision.title}")

    def done(self, title: str, seconds: float) -> None:
        self._clear()
        typer.echo(f"{seconds:7.2f} s  {title}")

    def warn(self, problem: str) -> None:
        self._print(f"warning: {problem}")

    def _print(self, text: str) -> None:
        self._clear()
        typer.echo(text, err=True)

    def _clear(self) -> None:
        if self._terminal:
            typer.echo("\r\x1b[K", err=True, nl=False)
