"""The targets of performance.md, evaluated on the results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.apps import FLASK, LIMIT, NAME, WITH_WORKER
from benchmarks.measure import Measurement
from benchmarks.results import Results, Size
from benchmarks.scale import CROWDS, MEMORY_REQUESTS, OWNER
from benchmarks.scenarios import WITH_POLICY
from benchmarks.statements import of

GROWTH = 1.2
# The limit reads no runs of approvals, nor who may decide their steps.
_AGAINST_LIMIT = {
    "list of 50": 1.5,
    "one PORF with lines": 2,
    "session check": 2,
    f"list of 50{WITH_POLICY}": 1.5,
    f"one PORF with lines{WITH_POLICY}": 2,
}
_ACTIONS = ("submit", "approve", "convert", "issue")
_STAGES = ("submit", *(f"approve, stage {stage}" for stage in (1, 2, 3)), "convert", "issue")
_UNAVAILABLE = 503


@dataclass(frozen=True)
class Verdict:
    """`met` is None where this run did not measure it."""

    target: int
    what: str
    wanted: str
    found: str
    met: bool | None


def judge(results: Results) -> list[Verdict]:
    compared = results.sizes[0]
    return [
        *_against_peers(compared),
        *_flat(results),
        *_statements(results),
        *_crowds(results),
        *_row_level_security(results, compared),
        *_footprint(results),
        *_main_job(compared),
        _ratio(8, "list of 50: CPU with PostgreSQL's against the limit", 1, *_both(compared, "list of 50"), _total),
        _feed(results),
    ]


def _ratio(
    target: int,
    what: str,
    most: float,
    ours: Measurement | None,
    theirs: Measurement | None,
    cost: Callable[[Measurement], float],
    shown: str = "",
) -> Verdict:
    wanted = f"≤ {shown or f'{most:g}'} ×"
    if ours is None or theirs is None:
        return Verdict(target, what, wanted, "not measured", None)
    ratio = cost(ours) / cost(theirs)
    return Verdict(target, what, wanted, f"{ratio:.2f} × ({cost(ours):.2f} / {cost(theirs):.2f} ms)", ratio <= most)


def _api(measurement: Measurement) -> float:
    return measurement.api_ms


def _total(measurement: Measurement) -> float:
    return measurement.total_ms


def _against_peers(size: Size) -> Iterator[Verdict]:
    for scenario, most in _AGAINST_LIMIT.items():
        yield _ratio(1, f"{scenario}: CPU of the API against the limit", most, *_both(size, scenario), _api)
    ours, flask = size.find("list of 50"), size.find("list of 50", FLASK)
    yield _ratio(1, "list of 50: CPU of the API against the Flask stack", 1 / 3, ours, flask, _api, "1/3")


def _both(size: Size, scenario: str) -> tuple[Measurement | None, Measurement | None]:
    return size.find(scenario), size.find(scenario, LIMIT)


def _flat(results: Results) -> Iterator[Verdict]:
    for size in results.sizes:
        what = f"deep page against the first, {size.requests:,} PORFs: CPU with PostgreSQL's"
        yield _ratio(2, what, GROWTH, size.find("deep page"), size.find("first page"), _total)
    smallest = min(results.sizes, key=lambda size: size.requests)
    largest = max(results.sizes, key=lambda size: size.requests)
    for scenario in ("list of 50", "one PORF with lines", "session check", "create with 5 lines"):
        what = f"{scenario}, {largest.requests:,} PORFs against {smallest.requests:,}: CPU with PostgreSQL's"
        small = None if largest is smallest else smallest.find(scenario)
        yield _ratio(2, what, GROWTH, largest.find(scenario), small, _total)


def _statements(results: Results) -> Iterator[Verdict]:
    counts = of(results.counts)
    most_of = {"create": 4, **dict.fromkeys((*_ACTIONS, *(f"{action}{WITH_POLICY}" for action in _STAGES)), 8)}
    for label, most in most_of.items():
        what, wanted = f"{label}: round trips with statements after the session check", f"≤ {most}"
        count = counts.get(label)
        if count is None:
            yield Verdict(3, what, wanted, "not measured", None)
        else:
            found = f"{count.working_after_check} ({count.round_trips_after_check} with COMMIT and all)"
            yield Verdict(3, what, wanted, found, count.working_after_check <= most)


def _crowds(results: Results) -> Iterator[Verdict]:
    crowds = {crowd.connections: crowd for crowd in results.crowds}
    few, many = (crowds.get(number) for number in CROWDS)
    what, wanted = f"list of 50, {CROWDS[0]} connections", "p99 ≤ 6 × p50, no error"
    if few is None:
        yield Verdict(4, what, wanted, "not measured", None)
    else:
        met = few.p99 <= 6 * few.p50 and not few.unexpected and not few.broken
        found = f"p50 {few.p50:.0f} ms, p99 {few.p99:.0f} ms, {few.unexpected + few.broken} errors"
        yield Verdict(4, what, wanted, found, met)
    what, wanted = f"list of 50, {CROWDS[1]} connections", "200 or 503, nothing breaks"
    if many is None:
        yield Verdict(4, what, wanted, "not measured", None)
    else:
        found = ", ".join(f"{number:,} × {status}" for status, number in sorted(many.statuses.items()))
        found += f", {many.broken} broken; p50 {many.p50:.0f} ms, p99 {many.p99:.0f} ms"
        yield Verdict(4, what, wanted, found, not many.broken and set(many.statuses) <= {200, _UNAVAILABLE})


def _row_level_security(results: Results, size: Size) -> Iterator[Verdict]:
    for scenario in ("list of 50", "one PORF with lines"):
        what = f"{scenario}: with row-level security against without, CPU with PostgreSQL's"
        yield _ratio(5, what, 1.1, size.find(scenario), size.find(scenario, OWNER), _total)
    count = of(results.counts, NAME).get("list of 50")
    what, wanted = "round trips of their own for row-level security", "≤ 1"
    if count is None:
        yield Verdict(5, what, wanted, "not measured", None)
    else:
        yield Verdict(5, what, wanted, str(count.tenant_round_trips), count.tenant_round_trips <= 1)


def _footprint(results: Results) -> Iterator[Verdict]:
    what, wanted = f"memory of a worker after {MEMORY_REQUESTS:,} requests", "≤ 150 MB, flat"
    if results.memory is None:
        yield Verdict(6, what, wanted, "not measured", None)
    else:
        _, half, _ = results.memory.samples[len(results.memory.samples) // 2]
        _, last, typesetting = results.memory.samples[-1]
        found = f"{last:.0f} MB ({half:.0f} MB after half of them), and {typesetting:.0f} MB where orders are typeset"
        yield Verdict(6, what, wanted, found, last <= 150 and last <= half * 1.05)
    what, wanted = "start to ready", "≤ 3 s"
    if results.start_seconds is None:
        yield Verdict(6, what, wanted, "not measured", None)
    else:
        yield Verdict(6, what, wanted, f"{results.start_seconds:.2f} s", results.start_seconds <= 3)


def _main_job(size: Size) -> Iterator[Verdict]:
    job = size.find("main job", WITH_WORKER)
    what, wanted = "main job with the worker: p50 of issue against that of submit", "≤ 2 ×"
    if job is None or not {"submit", "issue"} <= job.steps.keys():
        yield Verdict(7, what, wanted, "not measured", None)
    else:
        submit, issue = job.steps["submit"].p50, job.steps["issue"].p50
        yield Verdict(7, what, wanted, f"{issue / submit:.2f} × ({issue:.0f} / {submit:.0f} ms)", issue <= 2 * submit)


def _feed(results: Results) -> Verdict:
    what, wanted = "from a change to a follower of the events, during the mix", "p99 ≤ 1 s"
    if results.feed is None:
        return Verdict(9, what, wanted, "not measured", None)
    feed = results.feed
    found = f"p50 {feed.p50:.0f} ms, p99 {feed.p99:.0f} ms, {feed.requests:,} events"
    return Verdict(9, what, wanted, found, feed.p99 <= 1000)
