"""The times of the last successful backup and of the last verified restore."""

import asyncio
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from po_api.operations.backups.catalogue import Catalogue


class BackupFigures:
    """Has no samples until there is a backup; the alerts fire on their absence, too."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self) -> list[Metric]:
        made = await asyncio.to_thread(self._catalogue.last_success)  # reads files
        verified = await asyncio.to_thread(self._catalogue.last_verified)
        return [
            _moment("po_backup_last_success_timestamp_seconds", "Time of the last successful backup", made),
            _moment(
                "po_backup_last_verified_timestamp_seconds", "Time of the last verified restore of a backup", verified
            ),
        ]


def _moment(name: str, documentation: str, moment: datetime | None) -> Metric:
    family = GaugeMetricFamily(name, documentation)
    if moment is not None:
        family.add_metric([], moment.timestamp())
    return family
