"""The run of all migrations: `python -m benchmarks.migrations --help`.

Readers and writers while every revision runs on tables in use, and while a database of the version before the revisions
that separate members from accounts is migrated to head.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.apps import HERE
from benchmarks.migrations.chain import FURTHER_NAME, measure_chain
from benchmarks.migrations.load import PER_SECOND, WANTED_MS, WORKERS, Measurement
from benchmarks.migrations.members import USERS, MembersMeasurement, measure_members
from benchmarks.report import Table, aligned, markdown_table

REQUESTS = 1_000_000


def _table(measurements: Sequence[Measurement]) -> Table:
    header = (
        "revision",
        "seconds",
        "reads p99 ms, alone",
        "meanwhile",
        "longest",
        "writes p99 ms, alone",
        "meanwhile",
        "longest",
        "requests",
        "errors",
        f"p99 < {WANTED_MS} ms",
    )
    rows = [
        (
            each.revision,
            f"{each.seconds:.2f}",
            *(f"{value:.1f}" for value in (each.reads_alone.p99, each.reads.p99, each.reads.longest)),
            *(f"{value:.1f}" for value in (each.writes_alone.p99, each.writes.p99, each.writes.longest)),
            f"{each.reads.count + each.writes.count:,}",
            _counts(each.errors),
            "met" if each.met else "missed",
        )
        for each in measurements
    ]
    return header, rows


def _members_table(members: MembersMeasurement) -> Table:
    rows = (
        ("live sessions that the check accepts, before", members.accepted_before),
        ("afterwards", members.accepted_after),
        ("of them signed out", members.signed_out),
        ("accepted only afterwards", members.signed_in),
        ("members whose roles were changed", members.changed),
        ("sessions with other rights than were stored last", members.wrong_rights),
    )
    refused = f"statements of {members.before} that {members.contracting} refuses, until the next version is deployed"
    return ("", "count"), [*((what, f"{count:,}") for what, count in rows), (refused, _counts(members.refused))]


def _counts(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in errors.items()) or "0"


def _write(directory: Path, requests: int, measurements: Sequence[Measurement], members: MembersMeasurement) -> None:
    about, date = machine.describe(), datetime.now(UTC).date().isoformat()
    content = {
        "machine": about,
        "date": date,
        "requests": requests,
        "revisions": [*map(asdict, measurements)],
        "members": asdict(members),
    }
    (directory / "migrations.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    text = (
        f"# Readers and writers while each revision runs\n\nWritten by `make bench-migrations` on {date}, with"
        f" {requests:,} PORFs. {WORKERS} readers and {WORKERS} writers, {PER_SECOND} requests a second each, keep to a"
        " timetable, and lateness counts; `po-api migrate` runs beside them on the same cores. The first revision makes"
        f" the first tables; `{FURTHER_NAME}` is not of the chain: it fills in, requires and indexes a new column.\n\n"
        + "\n".join(f"- {name}: {value}" for name, value in about.items() if name != "versions")
        + f"\n\n{markdown_table(_table(measurements))}\n\n{_members_section(members)}"
    )
    (directory / "migrations.md").write_text(text)


def _members_section(members: MembersMeasurement) -> str:
    return (
        f"## Members are separated from accounts\n\nOne `po-api migrate` from revision {members.before} to"
        f" {members.head}, with {members.users:,} users in {members.organisations:,} organisations. Half of the reads"
        " check sessions, half of the writes change roles: with the statements of the version before until the"
        " migration has ended, then with those of this version.\n\n"
        f"{markdown_table(_table([members.load]))}\n\n{markdown_table(_members_table(members))}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="how many PORFs (default %(default)s)")
    parser.add_argument("--users", type=int, default=USERS, help="how many users become members (default %(default)s)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where to write (default %(default)s)")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)  # now, not after ten minutes
    members = measure_members(options.users)
    measurements = measure_chain(options.requests)
    for table in (_table(measurements), _table([members.load]), _members_table(members)):
        sys.stdout.write(f"{aligned(table)}\n\n")
    _write(options.results, options.requests, measurements, members)
    if not all(each.met for each in measurements):
        sys.exit(f"not every revision leaves the others a p99 below {WANTED_MS} ms")
    if not members.met:
        sys.exit("the revisions that separate members from accounts are noticed: see the last table")


if __name__ == "__main__":
    main()
