"""The worker numbers events, also those that the version before revision 033 wrote."""

import asyncpg
from fastapi import FastAPI

from po_api import audit
from po_api.audit.feed import queue_missing
from po_api.db.database import enter_tenant
from support.feeds import followed
from support.organisations import TestOrganisation, created
from support.workers import work_until_idle

_INSERT = """
    INSERT INTO audit_events (organisation_id, actor_kind, action, entity, entity_id, created_at)
    SELECT $1, 'system', 'supplier.update', 'supplier', $2, updated_at + interval '{}' FROM schema_info RETURNING id
"""


async def test_a_worker_numbers_what_was_committed(organisation: TestOrganisation) -> None:
    names = frozenset({audit.RELAY})
    assert await work_until_idle(organisation, names=names) == 1
    _, position = await followed(organisation.auditor)
    await created(organisation.buyer.post("/suppliers", json={"name": "Other Ltd"}))
    assert await work_until_idle(organisation, names=names) == 1
    (item,), _ = await followed(organisation.auditor, position)
    assert item["type"] == "supplier.created"
    assert await work_until_idle(organisation, names=names) == 0


async def test_a_commit_wakes_the_worker_of_its_process(organisation: TestOrganisation) -> None:
    heard: list[str] = []
    organisation.database.wakeups.listen(heard.append)
    try:
        await created(organisation.buyer.post("/suppliers", json={"name": "Other Ltd"}))
        order = await organisation.ordered()
    finally:
        organisation.database.wakeups.forget(heard.append)
    # The supplier; the request, its submission and approval; the order.
    assert order.is_success
    assert heard.count(audit.RELAY) == 5


async def test_only_events_from_around_the_migration_are_queued(
    app: FastAPI, organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    tenant = organisation.organisation_id
    await work_until_idle(organisation, names=frozenset({audit.RELAY}))
    _, position = await followed(organisation.auditor)
    ids = {
        since: await owner.fetchval(_INSERT.format(since), tenant, organisation.supplier_id)
        for since in ("-2 hours", "1 minute", "2 days")
    }
    for expected in (1, 0):
        async with organisation.database.sessions.begin() as session:
            await enter_tenant(session, tenant)
            assert await queue_missing(session, tenant) == expected
    await work_until_idle(organisation, names=frozenset({audit.RELAY}))
    items, _ = await followed(organisation.auditor, position)
    assert [item["id"] for item in items] == [ids["1 minute"]]
