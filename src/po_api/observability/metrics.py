"""What a process counts of itself: requests, statements, connections. `operations.metrics` shows it.

With several workers each writes to files of its own (prometheus-client's multiprocess mode, which serving.py begins);
whoever is asked adds them up. Labels have few values, all of them ours: no organisation, no text of a caller's.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

T = TypeVar("T")
K = TypeVar("K")

# What is counted waits so long, or for so many others, before it is written down; a scrape does it first.
WRITE_SECONDS = 0.2
WRITE_AT_MOST = 500

_waiting: deque[tuple[Callable[[Any], object], Any]] = deque()
_due = 0.0


def later(count: Callable[[T], object], what: T) -> None:
    """Call `count` soon, with others: prometheus-client takes microseconds, in a worker some more, and far less in a
    row than when it takes turns with requests. That is 1 % of a list's processor time instead of 5 %."""
    global _due  # noqa: PLW0603
    _waiting.append((count, what))
    now = time.monotonic()
    if now > _due:
        try:
            asyncio.get_running_loop().call_later(WRITE_SECONDS, write)
        except RuntimeError:
            write()  # there is no loop any more: a connection is given back by whoever clears up
        else:
            _due = now + WRITE_SECONDS
    elif len(_waiting) > WRITE_AT_MOST:
        write()


def write() -> None:
    """Write down what waits; any thread may do it."""
    while _waiting:
        try:
            count, what = _waiting.popleft()
        except IndexError:
            return  # another thread was faster
        count(what)


class Observers(dict[K, Callable[[float], None]]):
    """How a histogram takes what is observed under certain labels; prometheus-client would look for it each time."""

    def __init__(self, of_labels: Callable[[K], Histogram]) -> None:
        super().__init__()
        self._of_labels = of_labels

    def __missing__(self, labels: K) -> Callable[[float], None]:
        observe = self[labels] = self._of_labels(labels).observe
        return observe


REGISTRY = CollectorRegistry(auto_describe=True)
# When a series began is said by nobody else, and would be a third of the answer.
disable_created_metrics()  # type: ignore[no-untyped-call]

# The class of SQLSTATE that says that there is no connection; a driver that never got one has no other word for it.
NO_CONNECTION = "08"

# Seconds. A list takes milliseconds; what takes ten seconds is about to be given up by somebody.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STATEMENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

HTTP_REQUESTS = Histogram(
    "po_http_request_duration_seconds",
    "Time from receiving a request to the end of its response; status 0: no response was sent",
    ["route", "method", "status"],
    buckets=_REQUEST_BUCKETS,
    registry=REGISTRY,
)
DB_STATEMENTS = Histogram(
    "po_db_query_duration_seconds",
    "Time from sending a statement to its result, by statement name",
    ["operation"],
    buckets=_STATEMENT_BUCKETS,
    registry=REGISTRY,
)
DB_SLOW = Counter("po_db_slow_queries_total", "Statements that took DB_SLOW_QUERY_MS or longer", registry=REGISTRY)
DB_ERRORS = Counter(
    "po_db_errors_total",
    "Database errors by SQLSTATE class; 08: no connection",
    ["sqlstate_class"],
    registry=REGISTRY,
)
# Present before the first error, or Prometheus would not see that one: no connection, constraints, conflicts with other
# transactions, out of resources, locks, the operator or a time-out.
for _known in (NO_CONNECTION, "23", "40", "53", "55", "57"):
    DB_ERRORS.labels(_known)
POOL_CAPACITY = Gauge(
    "po_db_pool_capacity",
    "Connections that may be open at once",
    ["pool"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_CHECKED_OUT = Gauge(
    "po_db_pool_checked_out", "Connections in use", ["pool"], registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_OVERFLOW = Gauge(
    "po_db_pool_overflow",
    "Connections open beyond DB_POOL_SIZE",
    ["pool"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_WAITING = Gauge(
    "po_db_pool_waiting", "Pool checkouts that are waiting", ["pool"], registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_TIMEOUTS = Counter("po_db_pool_timeouts_total", "Pool checkouts that timed out", ["pool"], registry=REGISTRY)
