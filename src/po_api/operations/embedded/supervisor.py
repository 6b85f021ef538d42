"""Restarts the embedded server while the API serves.

PostgreSQL restarts its own processes, but nobody restarts its first one, the postmaster: it may be killed for its
memory, and it ends by itself if the disk is full during a recovery.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from po_api.observability.logging import get_logger
from po_api.operations.embedded.errors import EmbeddedServerError, one_line
from po_api.operations.embedded.server import BeforeStart, EmbeddedServer, embedded_binaries

_POLL_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30
_TEND_SECONDS = 5
# Less than the time in which a process has to stop. A longer recovery continues, and is joined afterwards.
_START_SECONDS = 10

_log = get_logger(__name__)


class Supervisor:
    """Checks a server that this process uses, in a thread of its own. `restarts` counts those since the start."""

    def __init__(self, server: EmbeddedServer, tend: Callable[[Path], None]) -> None:
        """`tend` is called with the data directory every few seconds while the server runs."""
        self.restarts = 0
        self._server = server
        self._tend = tend
        self._next_tend = 0.0
        self._failures = 0
        self._is_moved = False
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="embedded-server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._has_ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._has_ended.wait(self._pause()):
            try:
                self._check()
            except (EmbeddedServerError, OSError) as error:
                self._failures += 1
                _log.error("embedded_server_not_restarted", reason=str(error), retry_after_seconds=self._pause())

    def _pause(self) -> float:
        """Seconds until the next check: more after each failed attempt."""
        return min(_MAX_PAUSE_SECONDS, _POLL_SECONDS * 2.0**self._failures)

    def _check(self) -> None:
        if not self._server.is_in_place():
            self._report_move()
            return
        with one_line(self._server.place.path):
            if self._server.has_ended():
                self._restart()
            else:
                self._failures = 0
                self._look_after_files()

    def _look_after_files(self) -> None:
        if time.monotonic() >= self._next_tend:
            self._next_tend = time.monotonic() + _TEND_SECONDS
            try:
                self._server.place.trim_log()
                self._tend(self._server.place.path)
            except OSError as error:
                _log.warning("embedded_server_files", reason=error.strerror)

    def _restart(self) -> None:
        reason = self._server.place.reason_of_end()
        self._server.restart()
        self.restarts += 1
        self._failures = 0
        _log.warning("embedded_server_restarted", reason=reason)

    def _report_move(self) -> None:
        """Nothing is created at the old path. The server continues at the new one until this process ends."""
        if not self._is_moved:
            self._is_moved = True
            _log.error(
                "embedded_data_directory_moved",
                path=str(self._server.place.path),
                action="restart po-api with the new PO_DATA_DIR",
            )


@contextmanager
def supervised(
    data_dir: Path, settings: Mapping[str, str], *, before_start: BeforeStart, tend: Callable[[Path], None]
) -> Iterator[Supervisor]:
    """Use the embedded server of `data_dir`, and restart it if it ends while the context is open.

    `before_start` is called before each start, `tend` every few seconds while it runs, both with the data directory.
    Raises EmbeddedServerError if it cannot be started or joined.
    """
    server = EmbeddedServer(data_dir, embedded_binaries(), settings, _START_SECONDS, before_start)
    server.enter()
    supervisor = Supervisor(server, tend)
    try:
        supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
    finally:
        server.leave()
