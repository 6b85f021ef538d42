"""Work in the background: its cost beside the requests, and the delay until a change is in the feed of events."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from benchmarks.apps import WITH_WORKER, po_api
from benchmarks.database import Server, connection
from benchmarks.load import Script, generate
from benchmarks.measure import CONNECTIONS, Latency, Measurement, latency, measure
from benchmarks.processes import Cores, Tree
from benchmarks.scenarios import Scenario, get, scripts_of
from benchmarks.users import Actors
from po_api.core.clock import utc_now

SCENARIOS = ("create with 5 lines", "main job", "mix")
FOLLOWERS = 4
# Events in the outbox, due rows of the queue that this data set fills, and periodic tasks that have not run yet.
_IS_IDLE = """
    SELECT NOT EXISTS (SELECT FROM event_outbox)
        AND NOT EXISTS (SELECT FROM document_renderings WHERE status = 'queued')
        AND EXISTS (SELECT FROM worker_tasks)
        AND NOT EXISTS (SELECT FROM worker_tasks WHERE next_run_at <= now() OR leased_until IS NOT NULL)
"""
_IDLE_SECONDS = 300
_POLL_SECONDS = 0.2


def measure_with_worker(
    server: Server, cores: Cores, scenarios: Sequence[Scenario], *, seconds: float
) -> list[Measurement]:
    """The scenarios that cause work, on a process that also does it, as `po-api serve` does by default.

    Each begins when the worker has nothing to do, so that the backlog of the scenario before is not measured.
    """
    chosen = [scenario for scenario in scenarios if scenario.name in SCENARIOS]
    measured: list[Measurement] = []
    if not chosen:
        return measured
    with po_api(server.urls.app, cores, name=WITH_WORKER, worker=True) as app:
        for scenario in chosen:
            asyncio.run(_await_idle(server))
            measured.append(measure(app, Tree(server.process_id), scenario.name, scenario.scripts, seconds=seconds))
    return measured


class _Follower:
    """Reads the feed of an organisation; `delays` are seconds from each change to the arrival of its event."""

    def __init__(self, token: str) -> None:
        self.delays: list[float] = []
        self._token = token
        self._after = ""

    def read(self) -> Script:
        """Read page after page, without a pause at the end of the feed."""
        while True:
            response = yield get(f"/events?limit=100{self._after}", self._token, "events")
            if response.status != 200:
                continue
            received, page = utc_now(), json.loads(response.body)
            self.delays += [(received - datetime.fromisoformat(item["at"])).total_seconds() for item in page["items"]]
            if page["next"] is not None:
                self._after = f"&after={quote(page['next'])}"


def measure_feed(server: Server, cores: Cores, actors: Actors, *, seconds: float) -> Latency:
    """The milliseconds from a change to its arrival at a follower of the feed, while the mix is the load."""
    followers = [_Follower(users.auditor) for users in actors.main_job_users[:FOLLOWERS]]
    with po_api(server.urls.app, cores, worker=True) as app:
        mix = scripts_of("mix", actors, app.port)

        def follow(number: int) -> Script:
            return followers[number].read() if number < FOLLOWERS else mix(number - FOLLOWERS)

        asyncio.run(_await_idle(server))
        generate(app.port, follow, connections=FOLLOWERS, seconds=seconds)
        for follower in followers:
            follower.delays.clear()
        generate(app.port, follow, connections=FOLLOWERS + CONNECTIONS, seconds=seconds)
        # Those that arrive after the load count as well.
        asyncio.run(_await_idle(server))
        generate(app.port, follow, connections=FOLLOWERS, seconds=1)
    return latency([delay for follower in followers for delay in follower.delays])


async def _await_idle(server: Server) -> None:
    """Return when a worker has nothing to do."""
    deadline = time.monotonic() + _IDLE_SECONDS
    async with connection(server.urls.owner) as owner:
        while not await owner.fetchval(_IS_IDLE):
            if time.monotonic() > deadline:
                raise SystemExit(f"the worker was not idle after {_IDLE_SECONDS} s")
            await asyncio.sleep(_POLL_SECONDS)
