"""Pings, retries and replays; how much is sent to an endpoint at a time."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from po_api.core.clock import utc_now
from po_api.db.database import enter_tenant
from po_api.webhooks.deliveries import purge
from po_api.webhooks.endpoint_leases import _CHOOSE, EndpointLeases
from po_api.webhooks.following import QUEUE
from po_api.webhooks.repository import MessageRow, WebhookRepository
from support.organisations import TestOrganisation, ok, refused
from support.polling import until
from support.webhooks import Receiver, add_endpoint, answering, deliver, deliveries, follow, make_due, receiving, shown
from support.workers import work_until_idle


async def test_a_ping_is_sent_once_even_to_a_deactivated_endpoint(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    await ok(organisation.admin.patch(path, etag="*", json={"is_active": False}))
    receiver.behaviours = [answering(410), answering(200)]
    for status in ("failed", "delivered"):
        sent = await ok(organisation.admin.post(f"{path}/test"), 202)
        assert (sent.json()["status"], sent.json()["type"], sent.json()["number"]) == ("queued", "ping", None)
        await deliver(organisation)
        result = (await ok(organisation.admin.get(f"{path}/deliveries/{sent.json()['id']}"))).json()
        assert (result["status"], result["attempts"]) == (status, 1)
    body = receiver.received[-1].verified(endpoint.json()["secret"])
    assert (body["type"], body["data"]) == ("ping", {"webhook_endpoint_id": endpoint.json()["id"]})
    assert (await shown(organisation.admin, endpoint)).json()["disabled_reason"] == "by_admin"


async def test_a_delivery_is_retried_and_events_are_replayed_with_the_same_ids(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    for _ in range(3):
        await organisation.draft()
    await deliver(organisation)
    assert len(receiver.ids) == 3
    found = await deliveries(organisation.admin, endpoint)
    again = await ok(organisation.admin.post(f"{path}/deliveries/{found[0]['id']}/retry"), 202)
    assert (again.json()["status"], again.json()["attempts"]) == ("queued", 0)
    await deliver(organisation)
    assert receiver.ids[3:] == [found[0]["webhook_id"]]
    params = {"after": found[0]["number"]}
    replayed = await ok(organisation.admin.post(f"{path}/replay", params=params), 202)
    assert replayed.json()["number"] == found[0]["number"]
    await deliver(organisation)
    assert set(receiver.ids[4:]) == {item["webhook_id"] for item in found[1:]}
    assert len(receiver.ids) == 6
    assert len(await deliveries(organisation.admin, endpoint)) == 3
    reaching = organisation.admin.post(f"{path}/replay", params={"after": 10_000})
    await refused(reaching, 422, "number_not_reached")


async def test_a_delivery_that_waits_is_retried_before_its_time(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    receiver.behaviours = [answering(500)]
    await organisation.draft()
    await deliver(organisation)
    (waiting,) = await deliveries(organisation.admin, endpoint)
    path = f"/webhook-endpoints/{endpoint.json()['id']}/deliveries/{waiting['id']}/retry"
    assert (await ok(organisation.admin.post(path), 202)).json()["attempts"] == 1
    await deliver(organisation)
    (done,) = await deliveries(organisation.admin, endpoint)
    assert (done["status"], done["attempts"]) == ("delivered", 2)


async def test_a_delivery_in_progress_and_a_deactivated_endpoint_are_not_retried(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    await organisation.draft()
    receiver.usual = answering(500)
    await deliver(organisation)
    (delivery,) = await deliveries(organisation.admin, endpoint)
    await owner.execute(
        "UPDATE webhook_deliveries SET leased_until = now() + interval '1 minute' WHERE id = $1", delivery["id"]
    )
    retrying = f"{path}/deliveries/{delivery['id']}/retry"
    await refused(organisation.admin.post(retrying), 409, "delivery_in_progress")
    await ok(organisation.admin.patch(path, etag="*", json={"is_active": False}))
    await refused(organisation.admin.post(retrying), 409, "webhook_endpoint_disabled")
    await refused(organisation.admin.post(f"{path}/replay", params={"after": 0}), 409, "webhook_endpoint_disabled")


async def test_what_an_inactive_endpoint_has_missed_is_delivered_when_it_is_active(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    receiver.behaviours = [answering(500)]
    await organisation.draft()
    await deliver(organisation)
    await ok(organisation.admin.patch(path, etag="*", json={"is_active": False}))
    await organisation.draft()
    await make_due(owner, organisation)
    await deliver(organisation)
    assert [item["status"] for item in await deliveries(organisation.admin, endpoint)] == ["held"]
    assert len(receiver.ids) == 1
    await ok(organisation.admin.patch(path, etag="*", json={"is_active": True}))
    await deliver(organisation)
    found = await deliveries(organisation.admin, endpoint)
    assert [item["status"] for item in found] == ["delivered"] * 2
    assert receiver.ids == [found[0]["webhook_id"], *(item["webhook_id"] for item in found)]


@pytest.mark.parametrize(("is_failing", "most"), [(False, 4), (True, 1)])
async def test_how_many_attempts_to_an_endpoint_are_in_flight(
    organisation: TestOrganisation, receiver: Receiver, is_failing: bool, most: int
) -> None:
    """Twelve workers at once; another endpoint is served meanwhile."""
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await answering(500 if is_failing else 204)(writer)

    await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    if is_failing:
        receiver.behaviours = [answering(500)]
        await organisation.draft()
        await deliver(organisation)
    receiver.usual, receiver.most_in_flight = wait, 0
    async with receiving() as other:
        await add_endpoint(organisation.admin, other, event_types=["porf.created"])
        for _ in range(6):
            await organisation.draft()
        await follow(organisation)
        workers = [asyncio.create_task(work_until_idle(organisation, names=frozenset({QUEUE}))) for _ in range(12)]

        async def is_full() -> bool:
            return receiver.in_flight == most and len(other.ids) == 6

        await until(is_full, "as many attempts as may be in flight, and the other endpoint served")
        gate.set()
        await asyncio.gather(*workers)
        assert len(set(other.ids)) == len(other.ids) == 6
    assert receiver.most_in_flight == most
    assert len(set(receiver.ids)) == len(receiver.ids)
    assert len(set(receiver.ids)) == 6 + is_failing


async def test_an_endpoint_continues_after_a_restore(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    """A restore ends the feed; the next one begins where it ended."""
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    await organisation.draft()
    await deliver(organisation)
    tenant = organisation.organisation_id
    await owner.execute("UPDATE event_feeds SET ended_at = now() WHERE organisation_id = $1", tenant)
    await owner.execute(
        "INSERT INTO event_feeds (organisation_id, last_number, last_seal)"
        " SELECT organisation_id, last_number, last_seal FROM event_feeds WHERE organisation_id = $1",
        tenant,
    )
    await organisation.draft()
    await deliver(organisation)
    found = await deliveries(organisation.admin, endpoint)
    assert [item["status"] for item in found] == ["delivered"] * 2
    assert len(set(receiver.ids)) == len(receiver.ids) == 2


async def test_what_ended_thirty_days_ago_is_deleted_and_replayed_with_another_id(
    own_organisation: TestOrganisation, receiver: Receiver, own_owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(own_organisation.admin, receiver, event_types=["porf.created"])
    for _ in range(2):
        await own_organisation.draft()
    await deliver(own_organisation)
    old, kept = await deliveries(own_organisation.admin, endpoint)
    long_ago = datetime.now(UTC) - timedelta(days=31)
    mine = own_organisation.organisation_id
    await own_owner.execute(
        "UPDATE webhook_deliveries SET finished_at = $3 WHERE organisation_id = $1 AND id = $2",
        mine,
        old["id"],
        long_ago,
    )
    await own_owner.execute("UPDATE webhook_messages SET created_at = $2 WHERE organisation_id = $1", mine, long_ago)
    assert await purge(own_organisation.database) >= 2
    assert [item["id"] for item in await deliveries(own_organisation.admin, endpoint)] == [kept["id"]]
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    await refused(own_organisation.admin.get(f"{path}/deliveries/{old['id']}"), 404, "webhook_delivery_not_found")
    await ok(own_organisation.admin.post(f"{path}/replay", params={"after": 0}), 202)
    await deliver(own_organisation)
    assert len(receiver.ids) == 4
    assert len(set(receiver.ids)) == 3
    assert receiver.ids.count(kept["webhook_id"]) == 2


async def test_a_purge_does_not_delete_the_messages_of_a_replay(
    own_organisation: TestOrganisation, receiver: Receiver, own_owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(own_organisation.admin, receiver, event_types=["porf.created"])
    await own_organisation.draft()
    await deliver(own_organisation)
    (found,) = await deliveries(own_organisation.admin, endpoint)
    (message,) = await own_owner.fetch(
        "UPDATE webhook_messages SET created_at = now() - interval '40 days' WHERE webhook_id = $1 RETURNING *",
        found["webhook_id"],
    )
    await own_owner.execute("DELETE FROM webhook_deliveries WHERE id = $1", found["id"])
    async with own_organisation.database.sessions.begin() as session:
        await enter_tenant(session, own_organisation.organisation_id)
        repository = WebhookRepository(session, own_organisation.organisation_id)
        row = MessageRow(message["event_id"], found["number"], found["type"], "msg_other", "{}")
        await repository.add_messages([row], utc_now())
        await purge(own_organisation.database)
        await repository.add_deliveries(endpoint.json()["id"], [row], utc_now())
    assert [item["webhook_id"] for item in await deliveries(own_organisation.admin, endpoint)] == [found["webhook_id"]]


async def test_taking_a_delivery_reads_none_that_are_finished(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver)
    number, endpoint_id = organisation.organisation_id, endpoint.json()["id"]
    await owner.execute(
        "INSERT INTO webhook_messages (organisation_id, webhook_id, body, created_at)"
        " SELECT $1, 'msg_' || n, '{}', now() FROM generate_series(1, 3000) AS n",
        number,
    )
    await owner.execute(
        "INSERT INTO webhook_deliveries"
        " (organisation_id, endpoint_id, message_id, type, number, status, finished_at, created_at)"
        " SELECT $1, $2, id, 'porf.created', 1, 'delivered', now(), now() FROM webhook_messages"
        " WHERE organisation_id = $1",
        number,
        endpoint_id,
    )
    await owner.execute("ANALYZE webhook_deliveries")
    for query in (_CHOOSE, EndpointLeases()._find):
        parameters = {"organisation_id": number, "endpoint_id": endpoint_id, "at_once": 4, "most": 10}
        arguments = query.arguments({**parameters, "lease": timedelta(seconds=1)})
        plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN ANALYZE {query.sql}", *arguments))
        removed = [int(count) for count in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
        assert max(removed, default=0) < 100, plan
