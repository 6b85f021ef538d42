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
    """Tells the log what holds the work up, and nothing else: `alembic`, the tests, a start with `--demo`."""

    def waits(self, reason: str) -> None:
        """It goes on by itself, later."""
        _log.warning("migration_waits", reason=reason)

    def batch(self, done: str) -> None:
        """So much is done of so much."""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """A part of the work: it has a title, and takes its time."""
        started = time.monotonic()
        yield
        self.done(title, time.monotonic() - started)

    def done(self, title: str, seconds: float) -> None:
        """A part of the work is done, after so long."""

    def finished(self, step: Step, seconds: float) -> None:
        """A revision is done and committed, after so long; its waits are included."""

    def warns(self, problem: str) -> None:
        """Something is not as it should be, and stays so."""
        _log.warning("migration_warns", problem=problem)


class PrintedProgress(Progress):
    """Tells a person or a container's log: what is done on stdout, all else on stderr.

    Batches overwrite each other on a terminal; elsewhere a line comes every few seconds.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = float("-inf")

    def waits(self, reason: str) -> None:
        self._say(reason)

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

    def warns(self, problem: str) -> None:
        self._say(f"warning: {problem}")

    def _say(self, text: str) -> None:
        self._clear()
        typer.echo(text, err=True)

    def _clear(self) -> None:
        if self._terminal:
            typer.echo("\r\x1b[K", err=True, nl=False)
