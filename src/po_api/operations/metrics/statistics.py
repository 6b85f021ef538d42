"""Metrics from PostgreSQL's statistics views, one statement for each part.

The application's role may read all of them. Details of other roles' connections are hidden unless it is a member of
`pg_monitor`: they are counted as `hidden`, and their transactions are not among the longest.
"""

from typing import Any, Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from sqlalchemy import column, func, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.operations.capacity import AVAILABLE_CONNECTIONS
from po_api.operations.metrics.work import work
from po_api.operations.migrations import is_migrating
from po_api.operations.revisions import head_revision
from po_api.operations.schema import find_defects, read_schema
from po_api.operations.work_state import feed_lag


class Part(Protocol):
    """Metrics that are read together."""

    __name__: str

    async def __call__(self, connection: AsyncConnection) -> list[Metric]: ...


HIDDEN = "hidden"
# Exported at 0, too: alerts compare with earlier values.
_STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)", HIDDEN)

_ACTIVITY = text(
    """
    SELECT coalesce(state, :hidden) AS state, count(*) AS connections,
           max(extract(epoch FROM clock_timestamp() - xact_start)) AS in_transaction,
           max(extract(epoch FROM clock_timestamp() - state_change))
             FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction
    FROM pg_stat_activity
    WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
    GROUP BY 1
    """
)
_DATABASE = text(
    "SELECT xact_commit, xact_rollback, blks_hit, blks_read, deadlocks FROM pg_stat_database"
    " WHERE datname = current_database()"
)
# The lag is 0 if the segment with the last byte written has been archived.
_ARCHIVER = text(
    """
    SELECT failed_count,
           CASE WHEN left(last_archived_wal, 24) >= pg_walfile_name(pg_current_wal_lsn() - 1) THEN 0
                ELSE extract(epoch FROM clock_timestamp()
                             - coalesce(last_archived_time, stats_reset, pg_postmaster_start_time())) END AS lag
    FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off' AND NOT pg_is_in_recovery()
    """
)
_SIZE = text("SELECT pg_database_size(current_database())")
_STATEMENTS_SCHEMA = text(
    "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pg_stat_statements'"
)


async def connections(connection: AsyncConnection) -> list[Metric]:
    """Connections to the server, of all databases, and the ages of the oldest transactions."""
    rows = (await connection.execute(_ACTIVITY, {"hidden": HIDDEN})).all()
    found = dict.fromkeys(_STATES, 0) | {row.state: row.connections for row in rows}
    states = GaugeMetricFamily("po_db_connections", "Connections of clients to the server", labels=["state"])
    for state, count in found.items():
        states.add_metric([state], count)
    longest = max((row.in_transaction or 0 for row in rows), default=0)
    idle = max((row.idle_in_transaction or 0 for row in rows), default=0)
    available = await connection.scalar(AVAILABLE_CONNECTIONS)
    return [
        states,
        _gauge("po_db_max_connections", "Connections available to roles without special privileges", available),
        _gauge("po_db_longest_transaction_seconds", "Age of the oldest open transaction", longest),
        _gauge(
            "po_db_longest_idle_in_transaction_seconds", "Longest time a session has been idle in a transaction", idle
        ),
    ]


async def traffic(connection: AsyncConnection) -> list[Metric]:
    """Counters of this database since its statistics were reset."""
    row = (await connection.execute(_DATABASE)).one()
    ended = CounterMetricFamily("po_db_transactions_total", "Transactions by outcome", labels=["outcome"])
    ended.add_metric(["commit"], row.xact_commit)
    ended.add_metric(["rollback"], row.xact_rollback)
    ratio = GaugeMetricFamily("po_db_cache_hit_ratio", "Share of block reads served from shared buffers, 0 to 1")
    if wanted := row.blks_hit + row.blks_read:
        ratio.add_metric([], row.blks_hit / wanted)
    return [
        ended,
        ratio,
        CounterMetricFamily("po_db_blocks_hit_total", "Blocks found in shared buffers", row.blks_hit),
        CounterMetricFamily("po_db_blocks_read_total", "Blocks read from disk or its cache", row.blks_read),
        CounterMetricFamily("po_db_deadlocks_total", "Deadlocks", row.deadlocks),
    ]


async def archiving(connection: AsyncConnection) -> list[Metric]:
    """WAL archiving; without samples where `archive_mode` is off."""
    failed = CounterMetricFamily("po_wal_archive_failed_total", "Failed attempts to archive a WAL segment")
    lag = GaugeMetricFamily(
        "po_wal_archive_lag_seconds", "Time since the last WAL segment was archived; 0 while none is pending"
    )
    row = (await connection.execute(_ARCHIVER)).one_or_none()
    if row is not None:
        failed.add_metric([], row.failed_count)
        lag.add_metric([], row.lag)
    return [failed, lag]


async def migration(connection: AsyncConnection) -> list[Metric]:
    """The schema's revision; failed means that it does not fit this version or has defects while no migration runs."""
    schema = await read_schema(connection)
    in_progress = await is_migrating(connection)
    # Checked only then: an index that is being built is invalid, too.
    defects = [] if in_progress else await find_defects(connection)
    failed = not in_progress and (schema.problem is not None or bool(defects))
    where = {"revision": schema.revision or "none", "expected": head_revision()}
    return [
        _gauge("po_migration_in_progress", "1 while a process is migrating the database", in_progress),
        _gauge(
            "po_migration_failed",
            "1 if the schema is at another revision or not sound, and no migration is running",
            failed,
        ),
        InfoMetricFamily(
            "po_migration_current", "Revision of the schema, and the revision that this version requires", where
        ),
    ]


async def event_feeds(connection: AsyncConnection) -> list[Metric]:
    """How far the feeds of events are behind."""
    lag = await feed_lag(connection)
    return [_gauge("po_event_feed_lag_seconds", "Age of the oldest event without a number; 0 if there is none", lag)]


async def statements(connection: AsyncConnection) -> list[Metric]:
    """Totals of pg_stat_statements; without samples where it is not installed."""
    calls = CounterMetricFamily("po_db_statements_total", "Statements executed by the database")
    seconds = CounterMetricFamily("po_db_statements_seconds_total", "Time spent executing statements")
    schema = await connection.scalar(_STATEMENTS_SCHEMA)
    if schema is not None:
        view = table("pg_stat_statements", column("calls"), column("total_exec_time"), column("dbid"), schema=schema)
        own = text("dbid = (SELECT oid FROM pg_database WHERE datname = current_database())")
        totals = select(func.sum(view.c.calls).label("calls"), func.sum(view.c.total_exec_time).label("milliseconds"))
        row = (await connection.execute(totals.select_from(view).where(own))).one()
        calls.add_metric([], row.calls or 0)
        seconds.add_metric([], (row.milliseconds or 0) / 1000)
    return [calls, seconds]


async def size(connection: AsyncConnection) -> list[Metric]:
    """The size of the database. PostgreSQL reads the size of every file, which may take long."""
    return [_gauge("po_db_size_bytes", "Size of the database on its disk", await connection.scalar(_SIZE))]


# In this order: the last ones are missing if the time is up.
PARTS: tuple[Part, ...] = (connections, traffic, archiving, migration, work, event_feeds, statements, size)


def _gauge(name: str, documentation: str, value: Any) -> Metric:
    return GaugeMetricFamily(name, documentation, float(value))
