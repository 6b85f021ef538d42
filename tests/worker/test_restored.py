"""After a restore nothing leaves the house until an operator has confirmed it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from po_api.db.database import open_database
from po_api.db.leases import Job
from po_api.db.work import Work
from po_api.operations.backups import state
from po_api.purchase_orders.renderings import RENDERINGS
from po_api.settings import Settings
from po_api.worker.worker import Worker
from support.clusters import Cluster
from support.migrations import Fresh, insert_everywhere, migrated_database

DELIVERIES = replace(RENDERINGS, leaves_the_house=True)


class Deliveries:
    """Notes what was delivered."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    async def perform(self, job: Job) -> None:
        self.sent.append(job.id)

    async def failed(self, *_: object) -> None:
        raise AssertionError


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    """With a row that is due in each of two organisations."""
    async with migrated_database(cluster) as fresh:
        await insert_everywhere(fresh)
        await fresh.fetch(
            "UPDATE document_renderings"
            " SET status = 'queued', attempts = 0, next_attempt_at = now(), leased_until = NULL"
        )
        await fresh.fetch("ALTER TABLE document_renderings DROP CONSTRAINT ck_document_renderings_status")
        yield fresh


async def _statuses(database: Fresh) -> list[str]:
    return [row["status"] for row in await database.fetch("SELECT status FROM document_renderings ORDER BY id")]


@pytest.mark.heavy
async def test_what_was_queued_is_held_and_nothing_is_sent_before_the_confirmation(
    database: Fresh, settings: Settings
) -> None:
    deliveries, opened = Deliveries(), open_database(database.app, settings)
    worker = Worker(opened, Work(queues=((DELIVERIES, deliveries),)))
    inside = Worker(opened, Work(queues=((RENDERINGS, renderings := Deliveries()),)))
    try:
        await database.connection.execute(state.settle_sql("to a time", queues=(DELIVERIES,)))
        assert await _statuses(database) == ["held", "held"]

        # Queued since, by a member who was let in.
        await database.fetch("UPDATE document_renderings SET status = 'queued', next_attempt_at = now() WHERE id = 1")
        await worker.run_until_idle()
        assert deliveries.sent == []
        await inside.run_until_idle()
        assert renderings.sent == [1]

        await database.fetch("UPDATE document_renderings SET status = 'queued', next_attempt_at = now() WHERE id = 1")
        await state.confirm(database.owner)
        await worker.run_until_idle()
        assert deliveries.sent == [1]
        assert await _statuses(database) == ["done", "held"]
    finally:
        await opened.dispose()
