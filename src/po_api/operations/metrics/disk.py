"""Size and free space of the disk with the data directory."""

import shutil
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily


class DiskFigures:
    """The embedded server's disk. Use a node exporter for the disk of a database server."""

    def __init__(self, data: Path) -> None:
        self._data = data.absolute()

    async def __call__(self) -> list[Metric]:
        there = next(place for place in (self._data, *self._data.parents) if place.exists())
        usage = shutil.disk_usage(there)
        free = GaugeMetricFamily("po_disk_free_bytes", "Free space on the disk of the directory", labels=["directory"])
        size = GaugeMetricFamily("po_disk_size_bytes", "Size of the disk of the directory", labels=["directory"])
        free.add_metric(["data"], usage.free)
        size.add_metric(["data"], usage.total)
        return [free, size]
