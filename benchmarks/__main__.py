"""The whole run: `python -m benchmarks --help`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, report, scale
from benchmarks.agreement import require_agreement
from benchmarks.apps import HERE, KEY, PEERS, peer, po_api
from benchmarks.background import measure_feed, measure_with_worker
from benchmarks.database import Server, running_server
from benchmarks.measure import Measurement, measure, middle
from benchmarks.policies import publish_policies
from benchmarks.processes import App, Cores, Tree, on
from benchmarks.progress import say
from benchmarks.results import Results, Size
from benchmarks.scenarios import Scenario, all_scenarios
from benchmarks.statements import count_statements
from benchmarks.users import Actors, sign_in_users

COMPARED = 200_000
OTHERS = (10_000, 1_000_000)
QUICK = 2_000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"one short round on {QUICK:,} PORFs, as a smoke test")
    parser.add_argument("--full", action="store_true", help="also 10 k and 1 M PORFs, and the memory of 100 k requests")
    parser.add_argument("--sizes", help="numbers of PORFs, the first is the one to compare with the peers on")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="of each measurement; default 3")
    parser.add_argument("--only", help="only scenarios whose name contains this; no statement counts")
    parser.add_argument("--data", type=Path, help="keep the loaded databases here for further runs")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where to write (default %(default)s)")
    options = parser.parse_args()
    default = [QUICK] if options.quick else [COMPARED, *(OTHERS if options.full else ())]
    options.sizes = [int(size) for size in options.sizes.split(",")] if options.sizes else default
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 3)
    return options


def main() -> None:
    # Exits through the context managers, which stop the started processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = _options()
    cores = Cores.of_this_machine()
    date = datetime.now(UTC).date().isoformat()
    results = Results(machine.describe(), date, options.rounds, options.seconds)
    with on(cores.others):
        for position, requests in enumerate(options.sizes):
            with running_server(requests, options.data) as server:
                _run(server, cores, options, results, compare=position == 0)
    sys.stdout.write(report.on_terminal(results) + "\n")
    if not options.only:
        report.write(results, options.results)


def _run(server: Server, cores: Cores, options: argparse.Namespace, results: Results, *, compare: bool) -> None:
    """All measurements on one data size."""
    actors = asyncio.run(sign_in_users(server, KEY))
    with po_api(server.urls.app, cores) as app:
        actors = replace(actors, policy_readers=publish_policies(app, actors.policy_users))
    if compare and not options.only:
        say("counting statements")
        results.counts = count_statements(server, cores, actors)
        results.start_seconds = scale.measure_start(server, cores)
    size = Size(server.requests, _rounds(server, cores, options, actors, compare=compare))
    results.sizes.append(size)
    if compare and not options.only:
        say("more connections")
        results.crowds = scale.measure_crowds(server, cores, actors, seconds=options.seconds * 3)
        say("following events")
        results.feed = measure_feed(server, cores, actors, seconds=options.seconds * 3)
    if compare and options.full:
        results.memory = scale.measure_memory(server, cores, actors)


def _rounds(
    server: Server, cores: Cores, options: argparse.Namespace, actors: Actors, *, compare: bool
) -> list[Measurement]:
    """Each round runs every server once per scenario, so that a noisy minute affects all of them."""
    with ExitStack() as stack:
        apps = [stack.enter_context(po_api(server.urls.app, cores))]
        if compare:
            apps += [stack.enter_context(peer(name, server.urls.app, cores)) for name in PEERS]
            say(f"all answer the same to {require_agreement(apps, actors)} requests")
            apps.append(stack.enter_context(po_api(server.urls.owner, cores, name=scale.OWNER)))
        scenarios = [each for each in all_scenarios(actors, apps[0].port) if (options.only or "") in each.name]
        measured: dict[tuple[str, str], list[Measurement]] = {}
        for number in range(options.rounds):
            say(f"{server.requests:,} PORFs, round {number + 1} of {options.rounds}")
            for scenario in scenarios:
                for app in _asked(apps, scenario):
                    found = measure(
                        app, Tree(server.process_id), scenario.name, scenario.scripts, seconds=options.seconds
                    )
                    measured.setdefault((scenario.name, app.name), []).append(found)
            if compare:
                for found in measure_with_worker(server, cores, scenarios, seconds=options.seconds):
                    measured.setdefault((found.scenario, found.app), []).append(found)
        return [middle(rounds) for rounds in measured.values()]


def _asked(apps: Sequence[App], scenario: Scenario) -> Sequence[App]:
    return apps if scenario.peers else apps[:1]


if __name__ == "__main__":
    main()
