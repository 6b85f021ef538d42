"""When a backup was made, and when one was last restored and found good."""

import asyncio
from datetime import datetime
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily


class BackupTimes(Protocol):
    """Who knows of the backups; None where there is none yet."""

    def last_success(self) -> datetime | None: ...

    def last_verified(self) -> datetime | None: ...


class BackupFigures:
    """Without samples as long as there is no backup: the alerts take that for what it is."""

    def __init__(self, times: BackupTimes) -> None:
        self._times = times

    async def __call__(self) -> list[Metric]:
        # It looks at files.
        made, verified = await asyncio.to_thread(lambda: (self._times.last_success(), self._times.last_verified()))
        return [
            _moment("po_backup_last_success_timestamp_seconds", "When the last backup was made", made),
            _moment("po_backup_last_verified_timestamp_seconds", "When one was last restored and found good", verified),
        ]


def _moment(name: str, documentation: str, moment: datetime | None) -> Metric:
    family = GaugeMetricFamily(name, documentation)
    if moment is not None:
        family.add_metric([], moment.timestamp())
    return family
