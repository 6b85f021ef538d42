"""The metrics of the work of workers, which the database has: a worker that has died reports nothing."""

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.operations.work_state import queue_states, task_states


async def work(connection: AsyncConnection) -> list[Metric]:
    """What is due, for how long, and what has failed; the periodic tasks from the first start of a worker on."""
    due = GaugeMetricFamily("po_worker_due", "Rows of a queue that are due, and tasks that are", labels=["work"])
    late = GaugeMetricFamily(
        "po_worker_oldest_due_seconds", "Time since the oldest of them was due; 0 if none is", labels=["work"]
    )
    failed = GaugeMetricFamily("po_worker_failed", "Rows of a queue that have failed for good", labels=["work"])
    succeeded = GaugeMetricFamily(
        "po_worker_task_last_success_timestamp_seconds", "Time of the last successful run of a task", labels=["work"]
    )
    failures = CounterMetricFamily("po_worker_task_failures_total", "Runs of a task that have failed", labels=["work"])
    for queue in await queue_states(connection):
        due.add_metric([queue.name], queue.due)
        late.add_metric([queue.name], queue.late_seconds)
        failed.add_metric([queue.name], queue.failed)
    for task in await task_states(connection):
        due.add_metric([task.name], float(task.late_seconds > 0))
        late.add_metric([task.name], task.late_seconds)
        failures.add_metric([task.name], task.failures)
        if task.succeeded_at is not None:
            succeeded.add_metric([task.name], task.succeeded_at.timestamp())
    return [due, late, failed, succeeded, failures]
