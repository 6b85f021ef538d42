"""Workers in processes that are killed while deliveries are due, over a receiver that fails in every way; a restore."""

import asyncio
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from po_api.operations.backups import state
from po_api.settings import Settings
from po_api.webhooks.sending import Sender
from po_api.work import all_work
from po_api.worker.worker import Worker
from support.applications import SECRET_KEY, application_on, client_of
from support.clusters import Cluster
from support.forked import ForkedServer, po_api
from support.migrations import Fresh, migrated_database
from support.organisations import TestOrganisation, created, new_organisation, ok, with_new_session
from support.polling import Deadline, wait_until
from support.server_processes import environment_of
from support.webhooks import (
    ACCEPT,
    LOOPBACK_NETWORKS,
    Receiver,
    add_endpoint,
    answering,
    close_early,
    cut_the_body,
    deliver,
    deliveries,
    hang,
)
from support.workers import LOCAL

pytestmark = pytest.mark.heavy

SEED = 20_261_130
WORKERS = 2
# What a receiver does, each as often as it stands here. The first two accept the message.
BEHAVIOURS = (*[ACCEPT] * 12, cut_the_body, *[answering(500)] * 2, answering(302), close_early, close_early)


@dataclass(frozen=True)
class Place:
    """A database of its own: the tests' common one has work of all tests."""

    database: Fresh
    organisation: TestOrganisation
    directory: Path

    @contextmanager
    def workers(self) -> Iterator[list[ForkedServer]]:
        """Some workers; those that still run at the end are killed."""
        started = [self._worker() for _ in range(WORKERS)]
        try:
            yield started
        finally:
            for worker in started:
                worker.kill()

    def _worker(self) -> ForkedServer:
        variables = {"DATABASE_URL": self.database.app, "SECRET_KEY": SECRET_KEY}
        environment = environment_of(self.directory, WEBHOOK_ALLOWED_NETWORKS=LOOPBACK_NETWORKS, **variables)
        log = self.directory / "worker.log"
        return ForkedServer(po_api, "worker", environment=environment, directory=self.directory, log=log)

    async def unfinished(self) -> int:
        (row,) = await self.database.fetch(
            "SELECT (SELECT count(*) FROM webhook_deliveries WHERE status <> 'delivered')"
            " + (SELECT count(*) FROM event_outbox) + (SELECT count(*) FROM organisations_behind_feed()) AS rows"
        )
        return int(row["rows"])

    async def leased(self) -> set[tuple[int, str]]:
        """The endpoint and the webhook-id of each delivery that is leased."""
        rows = await self.database.fetch(
            "SELECT endpoint_id, webhook_id FROM webhook_deliveries d JOIN webhook_messages m ON m.id = d.message_id"
            " WHERE leased_until > now()"
        )
        return {(row["endpoint_id"], row["webhook_id"]) for row in rows}

    async def let_time_pass(self) -> None:
        """Let the next attempts be due."""
        # Only those that wait: each update leaves a dead row, and workers wait for it.
        await self.database.fetch("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE next_attempt_at > now()")

    async def end_leases(self) -> None:
        """Let the leases of killed workers end.

        Their deliveries are due after the others: each kill would interrupt the same ones otherwise, until they had no
        attempts left.
        """
        await self.database.fetch(
            "UPDATE webhook_deliveries SET leased_until = now(), next_attempt_at = now() WHERE leased_until > now()"
        )
        await self.database.fetch("UPDATE worker_tasks SET leased_until = now() WHERE leased_until > now()")


@pytest.fixture
async def place(cluster: Cluster, settings: Settings, tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        migrated_database(cluster) as database,
        application_on((database.owner, database.app), settings) as app,
        client_of(app) as client,
    ):
        yield Place(database, await new_organisation(app, client), tmp_path)


@pytest.mark.parametrize(
    ("rounds", "endpoints", "events"), [(3, 3, 10), pytest.param(16, 10, 50, marks=pytest.mark.exhaustive)]
)
async def test_workers_killed_at_random_deliver_each_message(
    place: Place, receiver: Receiver, rounds: int, endpoints: int, events: int
) -> None:
    """In each round all workers are killed together; 32 kills and 500 deliveries in the long run.

    A message that was accepted comes again only if its answer was lost: its delivery was leased when a worker died.
    """
    admin, randomness = place.organisation.admin, random.Random(SEED)
    made = []
    for number in range(endpoints):
        body = {"url": f"{receiver.url}/{number}", "event_types": ["porf.created"]}
        made.append((await created(admin.post("/webhook-endpoints", json=body))).json()["id"])
    for _ in range(events):
        await place.organisation.draft()
    receiver.choose = lambda: randomness.choice(BEHAVIOURS)
    lost: Counter[tuple[int, str]] = Counter()
    accepted: Counter[tuple[int, str]] = Counter()
    for number in range(rounds + 1):
        is_last = number == rounds
        begin = len(receiver.received)
        if not is_last:
            receiver.behaviours = [hang]
        wanted = begin + endpoints * events // (2 * rounds)
        with place.workers() as workers:
            deadline = Deadline("the next kill, or all messages delivered")
            while (is_last or len(receiver.received) < wanted) and await place.unfinished():
                deadline.check()
                await place.let_time_pass()
                await asyncio.sleep(0.05)
            await asyncio.sleep(randomness.uniform(0, 0.1))
            for worker in workers:
                (worker.stop if is_last else worker.kill)()
            assert is_last or {worker.wait() for worker in workers} == {-signal.SIGKILL}
        for request in receiver.received[begin:]:
            key = (made[int(request.path.rpartition("/")[2])], request.webhook_id)
            assert accepted[key] <= lost[key], "a message was sent again although its answer was not lost"
            accepted[key] += request.is_accepted
        lost.update(await place.leased())
        await place.end_leases()
    assert len(accepted) == endpoints * events
    assert await place.unfinished() == 0
    assert "Traceback" not in (place.directory / "worker.log").read_text()


async def test_after_a_restore_nothing_is_sent_before_the_confirmation(place: Place, receiver: Receiver) -> None:
    people, app = place.organisation, place.organisation.app
    endpoint = await add_endpoint(people.admin, receiver, event_types=["porf.created"])
    work = all_work(
        people.database,
        secret_key=SECRET_KEY,
        renderings=app.state.renderings,
        filing=None,
        mailer=None,
        sender=Sender(LOCAL),
        listeners=app.state.listeners,
    )
    followers = Worker(people.database, replace(work, queues=(), periodic_tasks=()))
    worker = Worker(people.database, replace(work, periodic_tasks=()))
    await people.draft()
    await followers.run_until_idle()
    await place.database.connection.execute(state.settle_sql("to a time"))
    # The restore has ended all sessions.
    admin, requester = [await with_new_session(app, member) for member in (people.admin, people.requester)]
    await replace(people, requester=requester).draft()
    await worker.run_until_idle()
    assert [item["status"] for item in await deliveries(admin, endpoint)] == ["held", "queued"]
    assert receiver.ids == []
    await state.confirm(place.database.owner)
    await worker.run_until_idle()
    held, delivered = await deliveries(admin, endpoint)
    assert (held["status"], delivered["status"]) == ("held", "delivered")
    assert receiver.ids == [delivered["webhook_id"]]
    path = f"/webhook-endpoints/{endpoint.json()['id']}/deliveries/{held['id']}/retry"
    await ok(admin.post(path), 202)
    await worker.run_until_idle()
    assert receiver.ids == [delivered["webhook_id"], held["webhook_id"]]


async def test_the_example_receives_what_is_sent(place: Place, project: Path, unused_port: int) -> None:
    people = place.organisation
    body = {"url": f"http://127.0.0.1:{unused_port}/", "event_types": ["porf.created"]}
    endpoint = await created(people.admin.post("/webhook-endpoints", json=body))
    program = project / "examples" / "webhooks" / "receiver.py"
    environment = {"WEBHOOK_SECRET": endpoint.json()["secret"]}
    with subprocess.Popen(
        [sys.executable, program, str(unused_port)], env=environment, stdout=subprocess.PIPE, text=True
    ) as example:
        try:
            wait_until(lambda: _listens(unused_port), "the example to listen")
            await people.draft()
            await deliver(people)
            assert [item["status"] for item in await deliveries(people.admin, endpoint)] == ["delivered"]
            assert example.stdout is not None
            assert example.stdout.readline().startswith("porf.created {")
        finally:
            example.terminate()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
