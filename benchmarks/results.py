"""All results of one run."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.apps import NAME
from benchmarks.measure import Latency, Measurement
from benchmarks.scale import Memory
from benchmarks.statements import Count


@dataclass
class Size:
    """The measurements on one data set."""

    requests: int
    measurements: list[Measurement] = field(default_factory=list)

    def find(self, scenario: str, app: str = NAME) -> Measurement | None:
        for each in self.measurements:
            if (each.scenario, each.app) == (scenario, app):
                return each
        return None


@dataclass
class Results:
    """`sizes` begins with the one on which po-api is compared with its peers.

    `feed` is the delay from a change to a follower of the feed of events.
    """

    machine: dict[str, str]
    date: str
    rounds: int
    seconds: float
    sizes: list[Size] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    crowds: list[Measurement] = field(default_factory=list)
    memory: Memory | None = None
    start_seconds: float | None = None
    feed: Latency | None = None

    def all_measurements(self) -> Iterator[Measurement]:
        for size in self.sizes:
            yield from size.measurements
        yield from self.crowds
