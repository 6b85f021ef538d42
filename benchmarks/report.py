"""The results as a table on the terminal, as Markdown with a chart, and as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.apps import NAME, PEERS, WITH_WORKER
from benchmarks.chart import bars
from benchmarks.measure import CONNECTIONS, Measurement
from benchmarks.results import Results, Size
from benchmarks.statements import Count
from benchmarks.targets import Verdict, judge

_MEASURED = (
    "scenario",
    "server",
    "requests/s",
    "CPU ms/request, API",
    "PostgreSQL",
    "p50 ms",
    "p99 ms",
    "memory MB",
    "errors",
)
_STEPS = ("create", "submit", "approve", "convert", "issue", "PDF")
_SIGNS = {True: "met", False: "missed", None: "–"}

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def tables(results: Results) -> Iterator[tuple[str, Table]]:
    """All tables with their titles."""
    for size in results.sizes:
        yield f"{size.requests:,} PORFs, {CONNECTIONS} connections", _measured(size.measurements)
    if results.crowds:
        yield "More connections", _measured(results.crowds, connections=True)
    if steps := _steps(results.sizes[0]):
        yield "The steps of the main job", steps
    if results.feed:
        feed = results.feed
        row = (f"{feed.requests:,}", f"{feed.p50:.0f}", f"{feed.p99:.0f}")
        yield "From a change to a follower of the events, during the mix", (("events", "p50 ms", "p99 ms"), [row])
    if results.counts:
        yield "Statements and round trips, seen on the wire", _counted(results.counts)
    yield "Targets", _judged(judge(results))


def on_terminal(results: Results) -> str:
    return "\n".join(f"\n{title}\n{aligned(table)}" for title, table in tables(results))


def write(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    content = {**asdict(results), "targets": [asdict(verdict) for verdict in judge(results)]}
    (directory / "results.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (directory / "chart.svg").write_text(_chart(results.sizes[0]))
    (directory / "README.md").write_text(_markdown(results))


def _measured(measurements: Sequence[Measurement], *, connections: bool = False) -> Table:
    rows = [
        (
            f"{each.scenario}, {each.connections} connections" if connections else each.scenario,
            each.app,
            f"{each.per_second:,.0f}",
            f"{each.api_ms:.3f}",
            f"{each.database_ms:.3f}",
            f"{each.p50:.1f}",
            f"{each.p99:.1f}",
            f"{each.resident_mb:.0f}",
            str(each.unexpected + each.broken),
        )
        for each in measurements
    ]
    return _MEASURED, rows


def _steps(size: Size) -> Table | None:
    jobs = [job for app in (NAME, WITH_WORKER) if (job := size.find("main job", app))]
    rows = [
        (label, job.app, f"{step.requests:,}", f"{step.p50:.1f}", f"{step.p99:.1f}")
        for job in jobs
        for label in _STEPS
        if (step := job.steps.get(label))
    ]
    return (("step", "server", "requests", "p50 ms", "p99 ms"), rows) if rows else None


def _counted(counts: Sequence[Count]) -> Table:
    header = ("request", "server", "round trips", "with statements", "after the check", "with statements after it")
    rows = [
        (
            count.label,
            count.app,
            str(count.round_trips),
            str(count.working),
            str(count.round_trips_after_check),
            str(count.working_after_check),
        )
        for count in counts
    ]
    return header, rows


def _judged(verdicts: Sequence[Verdict]) -> Table:
    rows = [(str(each.target), each.what, each.wanted, each.found, _SIGNS[each.met]) for each in verdicts]
    return ("", "target", "wanted", "found", ""), rows


def aligned(table: Table) -> str:
    header, rows = table
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def _markdown(results: Results) -> str:
    parts = [
        "# Results of the benchmark\n",
        f"Written by `make bench` on {results.date}: medians of {results.rounds} rounds of {results.seconds:g} s each,"
        " alternating between the servers. po-api runs without its worker where the name does not say otherwise."
        " The API has its own core,"
        " PostgreSQL and the load share the others. CPU is the time accounted to the processes,"
        " memory the sum over all processes of a server.\n",
        "\n".join(f"- {name}: {text}" for name, text in results.machine.items()) + "\n",
        "![CPU of the API process per request](chart.svg)\n",
    ]
    parts += [f"## {title}\n\n{markdown_table(table)}\n" for title, table in tables(results)]
    return "\n".join(parts)


def markdown_table(table: Table) -> str:
    header, rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def _chart(size: Size) -> str:
    compared = [each.scenario for each in size.measurements if each.app in PEERS]
    groups = {
        scenario: {each.app: each.api_ms for each in size.measurements if each.scenario == scenario}
        for scenario in dict.fromkeys(compared)
    }
    return bars("Processor time of the API process per request", "ms", groups)
