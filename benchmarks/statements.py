"""The number of statements and round trips per request, counted on the wire, one request at a time."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.apps import NAME, PEERS, peer, po_api
from benchmarks.database import Server
from benchmarks.load import Script, follow
from benchmarks.processes import App, Cores
from benchmarks.scenarios import WITH_POLICY, filtered, lists, main_job, search, session_checks, single_porfs
from benchmarks.users import Actors
from benchmarks.wire import Log, listening

# Afterwards each driver has prepared its statements, and the session's last use is stored for a minute.
_WARM_UPS = 6
# The pool tidies up a connection after the answer is sent.
_SETTLING_SECONDS = 0.05
_CHECK = "sessions"


@dataclass(frozen=True)
class Count:
    """The counts of one request. `working` are the round trips with more than BEGIN, COMMIT and the like; `after_check`
    are those after the result of the session check."""

    app: str
    label: str
    round_trips: int
    working: int
    round_trips_after_check: int
    working_after_check: int
    tenant_round_trips: int
    log: list[str]


def count_statements(server: Server, cores: Cores, actors: Actors) -> list[Count]:
    counts: list[Count] = []
    with listening(server.urls.app) as (url, log):
        with po_api(url, cores) as app:
            counts += _count(app, log, lambda: _reading(actors))
            counts += _count(app, log, lambda: main_job(actors.main_job_users[0]))
            staged = _count(app, log, lambda: main_job(actors.policy_users[-1]))
            counts += [replace(count, label=f"{count.label}{WITH_POLICY}") for count in staged]
        for name in PEERS:
            with peer(name, url, cores) as app:
                counts += _count(app, log, lambda: _reading(actors, peers=True))
    return counts


def _reading(actors: Actors, *, peers: bool = False) -> Script:
    reader = actors.largest
    requests = [session_checks(reader)[0], lists(reader)[0], single_porfs(reader)[0]]
    if not peers:
        requests += [filtered(reader)[0], search(reader, actors.rare_word)]
    for request in requests:  # noqa: UP028 - what `yield from` delegates to has to take answers
        yield request


def _count(app: App, log: Log, make_script: Callable[[], Script]) -> Iterator[Count]:
    for _ in range(_WARM_UPS):
        for _ in follow(app, make_script()):
            pass
    time.sleep(_SETTLING_SECONDS)
    log.clear()
    for request in follow(app, make_script()):
        time.sleep(_SETTLING_SECONDS)
        yield _counted(app.name, request.label, Log(log))
        log.clear()


def _counted(app: str, label: str, log: Log) -> Count:
    after = log.after(_CHECK)
    return Count(
        app=app,
        label=label,
        round_trips=log.round_trips,
        working=log.working,
        round_trips_after_check=after.round_trips,
        working_after_check=after.working,
        tenant_round_trips=sum(_only_enters_tenant(entry) for entry in log),
        log=list(log),
    )


def _only_enters_tenant(statement: str) -> bool:
    """Whether a round trip only serves row-level security."""
    enters = "set_config" in statement or "SET LOCAL" in statement
    return enters and _CHECK not in statement and "BEGIN" not in statement.upper()


def of(counts: Iterable[Count], app: str = NAME) -> Mapping[str, Count]:
    return {count.label: count for count in counts if count.app == app}
