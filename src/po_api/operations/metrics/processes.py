"""The metrics of several workers, added up: each writes to files of its own, which are kept after its end."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

# Enables prometheus-client's multiprocess mode in workers, and names its directory.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class WorkersFigures:
    """Counters of a worker that has ended are kept, or the sums would decrease; its gauges are dropped."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        for pid in self._dead():
            mark_process_dead(pid, str(self._directory))  # type: ignore[no-untyped-call]
        # A worker that starts creates a file and sets its size a moment later; prometheus-client fails on empty ones.
        files = [str(file) for file in self._directory.glob("*.db") if file.stat().st_size]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found

    def _dead(self) -> Iterator[int]:
        pids = {int(file.stem.rpartition("_")[2]) for file in self._directory.glob("gauge_live*.db")}
        return (pid for pid in pids if not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False  # or it is another user's process, and no worker
    return True


@contextmanager
def workers_files() -> Iterator[WorkersFigures]:
    """A directory for the files of the processes that are started while the context is open."""
    with TemporaryDirectory(prefix="po-api-metrics-") as directory:
        os.environ[_VARIABLE] = directory
        try:
            yield WorkersFigures(Path(directory))
        finally:
            del os.environ[_VARIABLE]
