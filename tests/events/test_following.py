"""Following the feed while others write: no event is lost, doubled or out of order."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from po_api import audit
from po_api.audit.feed import relay
from po_api.core.actor import Actor
from po_api.db.database import Database, enter_tenant
from po_api.db.query import TransactionExecutor
from support.feeds import followed, relayed
from support.organisations import TestOrganisation, act, created, new_organisation, ok
from support.polling import Deadline

WRITERS = 3


async def _write(organisation: TestOrganisation, writer: int, rounds: int) -> None:
    """Changes of all kinds of statements, some of them refused or rolled back."""
    for number in range(rounds):
        supplier = await created(organisation.buyer.post("/suppliers", json={"name": f"Supplier {writer}.{number}"}))
        path = f"/suppliers/{supplier.json()['id']}"
        await ok(organisation.buyer.patch(path, etag="*", json={"tax_id": f"{number}"}))
        assert (await organisation.buyer.post("/suppliers", json={"name": "Shared Ltd"})).status_code in {201, 409}
        draft = await organisation.draft()
        await ok(
            organisation.requester.post(f"/porfs/{draft.json()['id']}/submit?dry_run=true", etag=draft.headers["ETag"])
        )
        await act(organisation.requester, draft, "submit")


async def _relay_until(database: Database, organisations: Sequence[TestOrganisation], done: asyncio.Event) -> None:
    """One of several processes that number events at the same time."""
    deadline = Deadline("all events are numbered")
    while not done.is_set():
        deadline.check()
        for organisation in organisations:
            async with database.sessions.begin() as session:
                await enter_tenant(session, organisation.organisation_id)
                await relay(TransactionExecutor(session), organisation.organisation_id)


async def _follow_until(organisation: TestOrganisation, done: asyncio.Event) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    position = None
    deadline = Deadline("the writers have finished")
    while not done.is_set():
        deadline.check()
        items, position = await followed(organisation.auditor, position, limit=7)
        seen += items
    items, _ = await followed(organisation.auditor, position)
    return seen + items


@pytest.mark.heavy
@pytest.mark.parametrize("rounds", [2, pytest.param(6, marks=pytest.mark.exhaustive)])
async def test_twelve_writers_and_the_readers_of_four_organisations(
    app: FastAPI, client: httpx.AsyncClient, rounds: int
) -> None:
    organisations = [await new_organisation(app, client) for _ in range(4)]
    database: Database = app.state.database
    written, numbered = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as following:
        readers = [following.create_task(_follow_until(each, numbered)) for each in organisations]
        async with asyncio.TaskGroup() as relaying:
            for _ in range(3):
                relaying.create_task(_relay_until(database, organisations, written))
            async with asyncio.TaskGroup() as writing:
                for organisation, writer in itertools.product(organisations, range(WRITERS)):
                    writing.create_task(_write(organisation, writer, rounds))
            written.set()
        for each in organisations:
            await relayed(database, each.organisation_id)
        numbered.set()
    for organisation, reader in zip(organisations, readers, strict=True):
        seen = reader.result()
        assert [item["number"] for item in seen] == [*range(1, len(seen) + 1)]
        assert {item["id"] for item in seen} == await _ids(organisation)
        assert len({item["id"] for item in seen}) == len(seen) >= WRITERS * rounds * 4


async def _ids(organisation: TestOrganisation) -> set[int]:
    """The events of the audit trail."""
    ids: set[int] = set()
    path = "/audit-events?limit=100"
    for _ in range(100):
        page = await ok(organisation.auditor.get(path))
        ids |= {item["id"] for item in page.json()["items"]}
        if not page.json()["has_more"]:
            return ids
        path = page.links["next"]["url"].removeprefix("/api/v1")
    raise AssertionError("the audit trail does not come to an end")


async def test_an_event_that_commits_late_gets_a_later_number(organisation: TestOrganisation) -> None:
    database, tenant = organisation.database, organisation.organisation_id
    await relayed(database, tenant)
    _, position = await followed(organisation.auditor)
    late = audit.Change("supplier.update", "supplier", organisation.supplier_id, {"name": "A"}, {"name": "late"})
    async with database.sessions() as session:
        async with session.begin():
            await enter_tenant(session, tenant)
            await audit.record(session, Actor.system(tenant), late)
            await created(organisation.buyer.post("/suppliers", json={"name": "Early Ltd"}))
            assert await relayed(database, tenant) == 1
            (early,), position = await followed(organisation.auditor, position)
        assert await relayed(database, tenant) == 1
    (item,), _ = await followed(organisation.auditor, position)
    assert item["number"] == early["number"] + 1
    assert item["id"] < early["id"]
    assert (early["type"], item["type"]) == ("supplier.created", "supplier.updated")


async def test_two_relays_at_once_number_each_event_once(organisation: TestOrganisation) -> None:
    database, tenant = organisation.database, organisation.organisation_id

    async def run() -> int:
        async with database.sessions.begin() as session:
            await enter_tenant(session, tenant)
            return await relay(TransactionExecutor(session), tenant)

    for number in range(20):
        await created(organisation.buyer.post("/suppliers", json={"name": f"Supplier {number}"}))
        await asyncio.gather(run(), run(), run())
    await relayed(database, tenant)
    seen, _ = await followed(organisation.auditor)
    assert [item["number"] for item in seen] == [*range(1, len(seen) + 1)]
    assert {item["id"] for item in seen} == await _ids(organisation)


async def test_a_relay_that_is_rolled_back_numbers_nothing(organisation: TestOrganisation) -> None:
    database, tenant = organisation.database, organisation.organisation_id
    await relayed(database, tenant)
    before, position = await followed(organisation.auditor)
    await created(organisation.buyer.post("/suppliers", json={"name": "Other Ltd"}))
    async with database.sessions() as session:
        await enter_tenant(session, tenant)
        assert await relay(TransactionExecutor(session), tenant) == 1
        # It is not waited for.
        assert await relayed(database, tenant) == 0
        await session.rollback()
    assert (await followed(organisation.auditor, position)) == ([], position)
    assert await relayed(database, tenant) == 1
    (item,), _ = await followed(organisation.auditor, position)
    assert item["number"] == before[-1]["number"] + 1
