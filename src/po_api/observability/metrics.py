"""The metrics that a process counts itself: requests, statements, connections. `operations.metrics` exposes them.

With several workers each writes to files of its own (prometheus-client's multiprocess mode, which serving.py turns on),
and a scrape adds them up. Labels have few values, all from the code: no organisation, no text from a request.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

REGISTRY = CollectorRegistry(auto_describe=True)
# The creation times of the series are not used, and would be a third of a scrape.
disable_created_metrics()  # type: ignore[no-untyped-call]

# The SQLSTATE class of connection errors; also counts connections that failed before there was an SQLSTATE.
NO_CONNECTION = "08"

# Seconds. A list takes milliseconds; clients and time-outs end a request after ten seconds.
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
# Exported as 0 from the start, or Prometheus would miss the first increase: no connection, constraint violations,
# transaction conflicts, insufficient resources, locks, operator intervention and time-outs.
for _known in (NO_CONNECTION, "23", "40", "53", "55", "57"):
    DB_ERRORS.labels(_known)
POOL_CAPACITY = Gauge(
    "po_db_pool_capacity",
    "Maximum number of open connections",
    ["pool"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_CHECKED_OUT = Gauge(
    "po_db_pool_checked_out",
    "Connections checked out of the pool",
    ["pool"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_OVERFLOW = Gauge(
    "po_db_pool_overflow",
    "Open connections beyond DB_POOL_SIZE",
    ["pool"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_WAITING = Gauge(
    "po_db_pool_waiting", "Pool checkouts that are waiting", ["pool"], registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_TIMEOUTS = Counter("po_db_pool_timeouts_total", "Pool checkouts that timed out", ["pool"], registry=REGISTRY)

# Seconds. Most work takes milliseconds; attempts have time-outs of minutes.
_WORK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120)

WORKER_RUNS = Counter(
    "po_worker_runs_total",
    "Attempts of a queue's rows and runs of tasks, by outcome: done, retried, held, failed, interrupted",
    ["work", "outcome"],
    registry=REGISTRY,
)
WEBHOOK_ENDPOINTS_DISABLED = Counter(
    "po_webhook_endpoints_disabled_total",
    "Webhook endpoints that were deactivated by the application, by reason",
    ["reason"],
    registry=REGISTRY,
)
for _reason in ("gone", "failing", "secret_undecryptable"):
    WEBHOOK_ENDPOINTS_DISABLED.labels(_reason)
WORKER_SECONDS = Histogram(
    "po_worker_run_duration_seconds",
    "Time that attempts of a queue's rows and runs of tasks took",
    ["work"],
    buckets=_WORK_BUCKETS,
    registry=REGISTRY,
)
FILING_PROBLEMS = Counter(
    "po_filing_problems_total",
    "Attempts to file a document that have failed, by error code",
    ["code"],
    registry=REGISTRY,
)
MAIL_PROBLEMS = Counter(
    "po_mail_problems_total",
    "Attempts to send a mail that have failed, by error code",
    ["code"],
    registry=REGISTRY,
)
