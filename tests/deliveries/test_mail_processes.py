"""Workers in processes that share the queue of mails, and one that is killed between the server's 250 and its commit; a
restored database."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from po_api.core.shared_work import SharedWork
from po_api.operations.backups import state
from po_api.settings import Settings
from po_api.webhooks.sending import Sender
from po_api.work import all_work
from po_api.worker.worker import Worker
from support.applications import SECRET_KEY, application_on, client_of
from support.clusters import Cluster
from support.forked import ForkedServer, po_api
from support.mail import SENDER, MailServer, add_contact, allow_mail, deliver, mail_server
from support.migrations import Fresh, migrated_database
from support.organisations import TestOrganisation, new_organisation, ok, with_new_session
from support.polling import Deadline, until_blocked
from support.server_processes import environment_of
from support.workers import LOCAL

pytestmark = pytest.mark.heavy


@dataclass(frozen=True)
class Place:
    """A database of its own: the tests' common one has work of all tests."""

    database: Fresh
    organisation: TestOrganisation
    server: MailServer
    directory: Path

    def worker(self) -> ForkedServer:
        variables = {
            "DATABASE_URL": self.database.app,
            "SECRET_KEY": SECRET_KEY,
            "MAIL_FROM": SENDER,
            "MAIL_URL": f"smtp://127.0.0.1:{self.server.port}",
        }
        environment = environment_of(self.directory, **variables)
        log = self.directory / "worker.log"
        return ForkedServer(po_api, "worker", environment=environment, directory=self.directory, log=log)

    async def statuses(self) -> list[str]:
        return [row["status"] for row in await self.database.fetch("SELECT status FROM deliveries ORDER BY id")]


@pytest.fixture
async def place(cluster: Cluster, settings: Settings, tmp_path: Path) -> AsyncIterator[Place]:
    async with (
        migrated_database(cluster) as database,
        application_on((database.owner, database.app), settings) as app,
        client_of(app) as client,
        mail_server() as server,
    ):
        organisation = await new_organisation(app, client)
        await allow_mail(organisation)
        await add_contact(organisation, "orders@supplier.example")
        yield Place(database, organisation, server, tmp_path)


async def _received(place: Place, number: int) -> None:
    deadline = Deadline(f"{number} mails")
    while len(place.server.received) < number:
        deadline.check()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [10, pytest.param(100, marks=pytest.mark.exhaustive)])
async def test_two_workers_send_each_mail_once(place: Place, number: int) -> None:
    order_id = (await place.organisation.issued()).json()["id"]
    queued = [(await deliver(place.organisation, order_id))["message_id"] for _ in range(number)]
    workers = [place.worker() for _ in range(2)]
    await _received(place, number)
    for worker in workers:
        worker.stop()
    assert sorted(mail.message_id for mail in place.server.received) == sorted(f"<{found}>" for found in queued)
    assert len({mail.sender for mail in place.server.received}) == number
    assert await place.statuses() == ["sent"] * number


async def test_a_mail_whose_worker_dies_between_the_answer_and_the_commit_is_sent_once_more(place: Place) -> None:
    order_id = (await place.organisation.issued()).json()["id"]
    await deliver(place.organisation, order_id)
    place.server.waits = asyncio.Event()
    worker = place.worker()
    await _received(place, 1)
    async with place.database.connection.transaction():
        await place.database.fetch("SELECT FROM deliveries FOR UPDATE")
        place.server.waits.set()
        await until_blocked(place.database.owner)
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
    assert await place.statuses() == ["queued"]
    # Ten minutes after the attempt began.
    (row,) = await place.database.fetch(
        "UPDATE deliveries SET next_attempt_at = now(), leased_until = now()"
        " RETURNING leased_until - queued_at < interval '10 minutes' AS is_early"
    )
    assert row["is_early"]
    other = place.worker()
    await _received(place, 2)
    other.terminate()
    assert other.wait() == 0
    assert len({mail.message_id for mail in place.server.received}) == 1
    assert await place.statuses() == ["sent"]


async def test_after_a_restore_no_mail_is_sent_before_the_confirmation(place: Place) -> None:
    people, app = place.organisation, place.organisation.app
    order_id = (await people.issued()).json()["id"]
    for _ in range(3):
        await deliver(people, order_id)
    await place.database.connection.execute(state.settle_sql("to a time"))
    assert await place.statuses() == ["held"] * 3
    work = all_work(
        people.database,
        secret_key=SECRET_KEY,
        renderings=SharedWork(),
        filing=None,
        mailer=place.server.mailer(),
        sender=Sender(LOCAL),
        listeners=app.state.listeners,
    )
    worker = Worker(people.database, replace(work, periodic_tasks=()))
    buyer = await with_new_session(app, people.buyer)
    # A member looks at each: one is wanted, one was sent after the backup was made.
    first, second, *_ = (await ok(buyer.get("/deliveries", params={"status": "held"}))).json()["items"]
    await ok(buyer.post(f"/deliveries/{first['id']}/retry"))
    await ok(buyer.post(f"/deliveries/{second['id']}/cancel"))
    await worker.run_until_idle()
    assert place.server.received == []
    await state.confirm(place.database.owner)
    await worker.run_until_idle()
    assert [mail.message_id for mail in place.server.received] == [f"<{first['message_id']}>"]
    assert sorted(await place.statuses()) == ["cancelled", "held", "sent"]
