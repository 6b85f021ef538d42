"""The times of backups as metrics: seconds since 1970, without samples if there is no backup."""

from datetime import UTC, datetime
from pathlib import Path

from po_api.operations.backups.catalogue import COPY, MANIFEST, Backup, Catalogue, Kind
from po_api.operations.metrics.backups import BackupFigures


async def test_moments_are_seconds_since_1970_and_none_is_no_sample(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    figures = BackupFigures(catalogue)
    assert [metric.samples for metric in await figures()] == [[], []]
    at = datetime(2026, 11, 27, 10, tzinfo=UTC)
    name = f"{at:%Y%m%dT%H%M%SZ}-full"
    copy = tmp_path / name / COPY
    catalogue.make_directory(tmp_path / name)
    copy.mkdir()
    (copy / MANIFEST).touch()
    catalogue.write(
        Backup(name=name, kind=Kind.FULL, started_at=at, finished_at=at, revision="012", server_version=180004, size=1)
    )
    made, verified = await figures()
    assert [sample.value for sample in made.samples] == [1795773600.0]
    assert (verified.name, verified.samples) == ("po_backup_last_verified_timestamp_seconds", [])
