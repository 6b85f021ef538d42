"""Deliveries to a real receiver: what it gets, and what follows from each answer."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from po_api.webhooks.domain import ATTEMPTS, DELAYS, FAILING_LIMIT
from po_api.webhooks.sending import Sender
from support.feeds import followed
from support.organisations import TestOrganisation, ok
from support.webhooks import (
    Behaviour,
    Receiver,
    add_endpoint,
    answer_later,
    answering,
    close_early,
    cut_the_body,
    deliver,
    deliveries,
    hang,
    make_due,
    shown,
)
from support.workers import LOCAL


async def test_an_event_arrives_signed_and_as_the_feed_shows_it(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["purchase_order.issued"])
    await organisation.issued()
    await deliver(organisation)
    items, _ = await followed(organisation.admin)
    (request,) = receiver.received
    assert request.path == "/hook"
    assert request.headers["content-type"] == "application/json"
    assert request.verified(endpoint.json()["secret"]) == {
        "type": "purchase_order.issued",
        "timestamp": items[-1]["at"],
        "data": items[-1],
    }
    (delivery,) = await deliveries(organisation.admin, endpoint)
    assert (delivery["status"], delivery["attempts"], delivery["response_status"]) == ("delivered", 1, 204)
    assert (delivery["webhook_id"], delivery["number"]) == (request.webhook_id, items[-1]["number"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}/deliveries/{delivery['id']}"
    whole = (await ok(organisation.admin.get(path))).json()
    assert whole["request"] == {"url": receiver.url, "body": request.body.decode()}
    assert (await shown(organisation.admin, endpoint)).json()["number"] == items[-1]["number"]


async def test_two_endpoints_get_one_message_each_from_its_own_position(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    first = await add_endpoint(organisation.admin, receiver)
    await organisation.draft()
    await deliver(organisation)
    second = await add_endpoint(organisation.admin, receiver)
    await organisation.draft()
    await deliver(organisation)
    of_first, of_second = [await deliveries(organisation.admin, endpoint) for endpoint in (first, second)]
    assert [item["type"] for item in of_first][-2:] == ["webhook_endpoint.created", "porf.created"]
    assert [item["webhook_id"] for item in of_second] == [item["webhook_id"] for item in of_first][-2:]
    assert {item["status"] for item in [*of_first, *of_second]} == {"delivered"}


@pytest.mark.parametrize(
    ("behaviour", "error", "status"),
    [
        (answering(500, body="Nöt today\x00"), "unexpected_status", 500),
        (answering(404), "unexpected_status", 404),
        (answering(302, "Location: http://127.0.0.1:1/"), "redirected", 302),
        (close_early, "no_answer", None),
        (hang, "timed_out", None),
        (answer_later, "no_answer", None),
    ],
    ids=["500", "404", "redirect", "closed", "hangs", "interim"],
)
async def test_a_failed_attempt_is_repeated_with_the_same_id(
    organisation: TestOrganisation,
    receiver: Receiver,
    owner: asyncpg.Connection,
    behaviour: Behaviour,
    error: str,
    status: int | None,
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    receiver.behaviours = [behaviour]
    await organisation.draft()
    await deliver(organisation, sender=Sender(LOCAL, seconds=0.5))
    (waiting,) = await deliveries(organisation.admin, endpoint)
    assert (waiting["status"], waiting["attempts"]) == ("queued", 1)
    assert (waiting["error_code"], waiting["response_status"]) == (error, status)
    assert waiting["next_attempt_at"] > waiting["attempted_at"]
    assert (await shown(organisation.admin, endpoint)).json()["failing_since"] == waiting["attempted_at"]
    path = f"/webhook-endpoints/{endpoint.json()['id']}/deliveries/{waiting['id']}"
    text = (await ok(organisation.admin.get(path))).json()["response_body"]
    assert text == {500: "Nöt today\ufffd", None: None}.get(status, "")
    await make_due(owner, organisation)
    await deliver(organisation)
    (done,) = await deliveries(organisation.admin, endpoint)
    assert (done["status"], done["attempts"], done["error_code"]) == ("delivered", 2, None)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    assert (await shown(organisation.admin, endpoint)).json()["failing_since"] is None


async def test_the_status_is_the_answer_and_the_body_is_not_needed(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    receiver.behaviours = [cut_the_body, answering(200, body="x" * 5000)]
    await organisation.draft()
    await organisation.draft()
    await deliver(organisation)
    found = await deliveries(organisation.admin, endpoint)
    assert [item["status"] for item in found] == ["delivered"] * 2
    path = f"/webhook-endpoints/{endpoint.json()['id']}/deliveries"
    texts = [(await ok(organisation.admin.get(f"{path}/{item['id']}"))).json()["response_body"] for item in found]
    assert sorted(map(len, texts)) == [len("only this"), 1024]


async def _waited(owner: asyncpg.Connection, endpoint_id: int) -> timedelta:
    """The time between the last attempt and the next one."""
    waited: timedelta = await owner.fetchval(
        "SELECT next_attempt_at - attempted_at FROM webhook_deliveries WHERE endpoint_id = $1", endpoint_id
    )
    return waited


# Between an attempt and the end of its transaction.
_SLACK = timedelta(seconds=60)


@pytest.mark.heavy
async def test_attempts_follow_the_schedule_and_end(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    receiver.usual = answering(503)
    await organisation.draft()
    for delay in DELAYS:
        await deliver(organisation)
        assert delay * 0.9 <= await _waited(owner, endpoint.json()["id"]) <= delay * 1.1 + _SLACK
        await make_due(owner, organisation)
    await deliver(organisation)
    (failed,) = await deliveries(organisation.admin, endpoint)
    assert (failed["status"], failed["attempts"], len(receiver.ids)) == ("failed", ATTEMPTS, ATTEMPTS)
    assert await deliveries(organisation.admin, endpoint, status="delivered") == []
    # It is a matter of the receiver, not of the operator.
    warnings = (await organisation.client.get("/health/ready")).json()["warnings"]
    assert [warning for warning in warnings if warning["detail"].startswith("webhooks:")] == []


@pytest.mark.parametrize(("asked", "least"), [("7200", timedelta(hours=2)), ("1", DELAYS[0])])
async def test_retry_after_is_honoured(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection, asked: str, least: timedelta
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    receiver.usual = answering(429, f"Retry-After: {asked}")
    await organisation.draft()
    await deliver(organisation)
    assert least <= await _waited(owner, endpoint.json()["id"]) <= least * 1.1 + _SLACK


async def test_410_deactivates_the_endpoint(organisation: TestOrganisation, receiver: Receiver) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    receiver.usual = answering(410)
    await organisation.draft()
    await deliver(organisation)
    (gone,) = await deliveries(organisation.admin, endpoint)
    assert (gone["status"], gone["error_code"], gone["attempts"]) == ("failed", "gone", 1)
    now = (await shown(organisation.admin, endpoint)).json()
    assert (now["is_active"], now["disabled_reason"], now["version"]) == (False, "gone", 2)
    assert now["failing_since"] == gone["attempted_at"]
    trail = (await ok(organisation.admin.get("/audit-events", params={"action": "webhook_endpoint.disable"}))).json()
    assert [(item["actor_kind"], item["after"]) for item in trail["items"]] == [
        ("system", {"is_active": False, "disabled_reason": "gone"})
    ]
    # What happens meanwhile is delivered once it is active again.
    await organisation.draft()
    await deliver(organisation)
    assert len(receiver.ids) == 1
    receiver.usual = answering(200)
    path, etag = f"/webhook-endpoints/{now['id']}", (await shown(organisation.admin, endpoint)).headers["ETag"]
    active = await ok(organisation.admin.patch(path, etag=etag, json={"is_active": True}))
    assert (active.json()["disabled_reason"], active.json()["failing_since"]) == (None, None)
    await deliver(organisation)
    assert len(receiver.ids) == 2


async def test_five_days_of_failures_deactivate_the_endpoint_and_one_success_prevents_it(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])

    async def fail_for(age: timedelta) -> dict[str, Any]:
        receiver.usual = answering(500)
        await organisation.draft()
        await deliver(organisation)
        await owner.execute(
            "UPDATE webhook_endpoints SET failing_since = now() - $2::interval WHERE id = $1",
            endpoint.json()["id"],
            age,
        )
        await make_due(owner, organisation)
        await deliver(organisation)
        current: dict[str, Any] = (await shown(organisation.admin, endpoint)).json()
        return current

    assert (await fail_for(FAILING_LIMIT - timedelta(hours=1)))["is_active"]
    receiver.usual = answering(200)
    await make_due(owner, organisation)
    await deliver(organisation)
    assert (await shown(organisation.admin, endpoint)).json()["failing_since"] is None
    disabled = await fail_for(FAILING_LIMIT)
    assert (disabled["is_active"], disabled["disabled_reason"]) == (False, "failing")
    await make_due(owner, organisation)
    before = len(receiver.ids)
    await deliver(organisation)
    assert len(receiver.ids) == before
    assert (await deliveries(organisation.admin, endpoint))[-1]["status"] == "held"


async def test_a_secret_that_cannot_be_decrypted_deactivates_the_endpoint(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    await owner.execute("UPDATE webhook_endpoints SET secret = 'gAAAA' WHERE id = $1", endpoint.json()["id"])
    await organisation.draft()
    await deliver(organisation)
    assert receiver.ids == []
    now = (await shown(organisation.admin, endpoint)).json()
    assert (now["is_active"], now["disabled_reason"]) == (False, "secret_undecryptable")
    # A new secret and the activation are all that it takes.
    rotated = await ok(organisation.admin.post(f"{path}/rotate-secret", etag="*", json={}))
    await ok(organisation.admin.patch(path, etag="*", json={"is_active": True}))
    await deliver(organisation)
    receiver.received[-1].verified(rotated.json()["secret"])


async def test_both_secrets_sign_during_the_overlap(organisation: TestOrganisation, receiver: Receiver) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path, old = f"/webhook-endpoints/{endpoint.json()['id']}/rotate-secret", endpoint.json()["secret"]
    rotated = await ok(organisation.admin.post(path, etag="*", json={"overlap_seconds": 3600}))
    await organisation.draft()
    await deliver(organisation)
    assert receiver.received[-1].verified(old) == receiver.received[-1].verified(rotated.json()["secret"])
    newest = await ok(organisation.admin.post(path, etag="*", json={"overlap_seconds": 0}))
    await organisation.draft()
    await deliver(organisation)
    receiver.received[-1].verified(newest.json()["secret"])
    assert " " not in receiver.received[-1].headers["webhook-signature"]
    assert len({old, rotated.json()["secret"], newest.json()["secret"]}) == 3
