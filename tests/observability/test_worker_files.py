"""The files of the workers' metrics, which are read while the workers write them."""

import os
from pathlib import Path

from prometheus_client.values import MultiProcessValue

from po_api.operations.metrics.processes import workers_files


def test_the_file_of_a_worker_that_is_just_starting_is_passed_over() -> None:
    with workers_files() as figures:
        directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        value = MultiProcessValue()("counter", "po_orders", "po_orders_total", (), (), "Orders.")  # type: ignore[no-untyped-call]
        value.inc(3)
        (directory / "counter_1.db").touch()
        samples = [sample for metric in figures.collect() for sample in metric.samples]
    assert [(sample.name, sample.value) for sample in samples] == [("po_orders_total", 3)]
