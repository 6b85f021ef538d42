"""Measurements at scale: many connections, row-level security, a hundred thousand requests, other data sizes."""

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks.apps import po_api
from benchmarks.database import Server
from benchmarks.load import generate
from benchmarks.measure import CONNECTIONS, Measurement, measure
from benchmarks.processes import App, Cores, Tree
from benchmarks.progress import say
from benchmarks.scenarios import scripts_of
from benchmarks.users import Actors

CROWDS = (64, 200)
OWNER = "po-api as owner"
MEMORY_REQUESTS = 100_000
_MEMORY_STEPS = 10
_CHUNK_SECONDS = 2
_STARTS = 3


@dataclass(frozen=True)
class Memory:
    """Resident megabytes by number of requests: of the worker, and of its typesetting subprocess.

    `[(0, 95.1, 0), (10_000, …) …]`
    """

    samples: list[tuple[int, float, float]]


def measure_crowds(server: Server, cores: Cores, actors: Actors, *, seconds: float) -> list[Measurement]:
    """The list for many more connections than the pool has."""
    with po_api(server.urls.app, cores) as app:
        scripts = scripts_of("list of 50", actors, app.port)
        return [
            measure(app, Tree(server.process_id), "list of 50", scripts, seconds=seconds, connections=crowd, warm_up=2)
            for crowd in CROWDS
        ]


def measure_memory(server: Server, cores: Cores, actors: Actors, *, requests: int = MEMORY_REQUESTS) -> Memory:
    """The mix for a number of requests, in a new process that also does the work in the background."""
    with po_api(server.urls.app, cores, worker=True) as app:
        scripts = scripts_of("mix", actors, app.port)
        done, samples = 0, [_sample(app, 0)]
        while done < requests:
            done += generate(app.port, scripts, connections=CONNECTIONS, seconds=_CHUNK_SECONDS).requests
            if done >= len(samples) * requests / _MEMORY_STEPS:
                samples.append(_sample(app, done))
                say("memory after {:,} requests: {:.0f} MB and {:.0f} MB".format(*samples[-1]))
        return Memory(samples)


def _sample(app: App, done: int) -> tuple[int, float, float]:
    worker, *others = app.resident_bytes()
    return done, worker / 2**20, sum(others) / 2**20


def measure_start(server: Server, cores: Cores) -> float:
    """Seconds from the start of the process to its first ready response."""
    seconds = []
    for _ in range(_STARTS):
        with ExitStack() as stack:
            seconds.append(stack.enter_context(po_api(server.urls.app, cores, worker=True)).ready_seconds)
    return median(seconds)
