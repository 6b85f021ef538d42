"""The moments of backups as Prometheus counts them: seconds since 1970, and nothing where there is none."""

from dataclasses import dataclass
from datetime import UTC, datetime

from po_api.operations.metrics.backups import BackupFigures


@dataclass(frozen=True)
class _Times:
    success: datetime | None
    verified: datetime | None

    def last_success(self) -> datetime | None:
        return self.success

    def last_verified(self) -> datetime | None:
        return self.verified


async def test_moments_are_seconds_since_1970_and_none_is_no_sample() -> None:
    made, verified = await BackupFigures(_Times(datetime(2026, 11, 27, 10, tzinfo=UTC), None))()
    assert [sample.value for sample in made.samples] == [1795773600.0]
    assert (verified.name, verified.samples) == ("po_backup_last_verified_timestamp_seconds", [])
