"""One measurement: a load on a server, and the CPU time it took."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import Outcome, Scripts, generate
from benchmarks.processes import App, Tree

CONNECTIONS = 16
# Each connection prepares and plans each variant of a statement once: of lists, for a fifth of a second in all.
_WARM_UP_SECONDS = 2


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    requests: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Measurement:
    """The cost of a scenario on a server. `api_ms` and `database_ms` are CPU time per request."""

    scenario: str
    app: str
    connections: int
    requests: int
    per_second: float
    api_ms: float
    database_ms: float
    p50: float
    p99: float
    resident_mb: float
    unexpected: int
    broken: int
    statuses: dict[int, int]
    steps: dict[str, Latency]
    samples: Sequence[str] = field(default_factory=tuple)

    @property
    def total_ms(self) -> float:
        return self.api_ms + self.database_ms


def measure(
    app: App,
    postgres: Tree,
    name: str,
    scripts: Scripts,
    *,
    seconds: float,
    connections: int = CONNECTIONS,
    warm_up: float = _WARM_UP_SECONDS,
) -> Measurement:
    if warm_up:
        generate(app.port, scripts, connections=connections, seconds=warm_up)
    before = app.cpu_seconds(), postgres.cpu_seconds()
    outcome = generate(app.port, scripts, connections=connections, seconds=seconds)
    after = app.cpu_seconds(), postgres.cpu_seconds()
    api, database = (later - earlier for earlier, later in zip(before, after, strict=True))
    return _summarised(outcome, app, name, connections, api, database)


def _summarised(outcome: Outcome, app: App, name: str, connections: int, api: float, database: float) -> Measurement:
    if not outcome.requests:
        raise SystemExit(f"{name} on {app.name}: not one answer")
    everything = latency([seconds for step in outcome.latencies.values() for seconds in step])
    return Measurement(
        scenario=name,
        app=app.name,
        connections=connections,
        requests=outcome.requests,
        per_second=outcome.requests / outcome.seconds,
        api_ms=api / outcome.requests * 1000,
        database_ms=database / outcome.requests * 1000,
        p50=everything.p50,
        p99=everything.p99,
        resident_mb=sum(app.resident_bytes()) / 2**20,
        unexpected=outcome.unexpected,
        broken=outcome.broken,
        statuses=dict(outcome.statuses),
        steps={label: latency(step) for label, step in outcome.latencies.items()},
        samples=outcome.samples,
    )


def latency(seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(len(ordered), median(ordered) * 1000, ordered[int((len(ordered) - 1) * 0.99)] * 1000)


def middle(rounds: Sequence[Measurement]) -> Measurement:
    """The medians of several rounds; errors are added up."""

    def of(read: Callable[[Measurement], float]) -> float:
        return median(map(read, rounds))

    first = rounds[0]
    steps = {
        label: Latency(
            sum(each.steps[label].requests for each in rounds if label in each.steps),
            median(each.steps[label].p50 for each in rounds if label in each.steps),
            median(each.steps[label].p99 for each in rounds if label in each.steps),
        )
        for label in {label: None for each in rounds for label in each.steps}
    }
    return Measurement(
        scenario=first.scenario,
        app=first.app,
        connections=first.connections,
        requests=sum(each.requests for each in rounds),
        per_second=of(lambda each: each.per_second),
        api_ms=of(lambda each: each.api_ms),
        database_ms=of(lambda each: each.database_ms),
        p50=of(lambda each: each.p50),
        p99=of(lambda each: each.p99),
        resident_mb=of(lambda each: each.resident_mb),
        unexpected=sum(each.unexpected for each in rounds),
        broken=sum(each.broken for each in rounds),
        statuses=dict(sum((Counter(each.statuses) for each in rounds), Counter())),
        steps=steps,
        samples=[sample for each in rounds for sample in each.samples][:5],
    )
