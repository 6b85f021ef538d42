"""Endpoints through the API."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from po_api.core.permissions import Scope
from po_api.webhooks.domain import MAX_ENDPOINTS
from support.applications import client_of, new_app
from support.organisations import Member, TestOrganisation, created, ok, refused
from support.pages import all_items
from support.webhooks import Receiver, add_endpoint, deliver, deliveries, shown

URL = "https://erp.example/hooks/po?token=s3cret"


async def _create(admin: Member, **fields: Any) -> httpx.Response:
    return await created(admin.post("/webhook-endpoints", json={"url": URL, **fields}))


def _pointer(problem: dict[str, Any]) -> tuple[str, str]:
    (error,) = problem["errors"]
    return error["pointer"], error["code"]


async def test_an_endpoint_is_created_read_changed_and_deleted(organisation: TestOrganisation) -> None:
    admin = organisation.admin
    endpoint = await _create(admin, description="ERP", event_types=["porf.updated", "porf.created", "porf.created"])
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    assert endpoint.headers["Location"] == f"/api/v1{path}"
    assert endpoint.json()["secret"].startswith("whsec_")
    assert endpoint.json()["event_types"] == ["porf.created", "porf.updated"]
    read = await ok(admin.get(path))
    assert read.json() == {name: value for name, value in endpoint.json().items() if name != "secret"}
    assert (read.json()["url"], read.json()["is_active"], read.json()["disabled_reason"]) == (URL, True, None)
    etag = read.headers["ETag"]
    patch = {"event_types": None, "description": None, "url": "https://ERP.example:443/other"}
    changed = await ok(admin.patch(path, etag=etag, json=patch))
    assert changed.json()["url"] == "https://erp.example/other"
    assert (changed.json()["event_types"], changed.json()["description"]) == (None, None)
    assert changed.json()["version"] == 2
    await refused(admin.patch(path, etag=etag, json=patch), 412, "stale_version")
    assert (await ok(admin.patch(path, etag="*", json=patch))).json()["version"] == 2
    await refused(admin.delete(path), 428, "if_match_required")
    await ok(admin.delete(path, etag=changed.headers["ETag"]), 204)
    await refused(admin.get(path), 404, "webhook_endpoint_not_found")
    trail = (await ok(admin.get("/audit-events", params={"entity": "webhook_endpoint"}))).json()["items"]
    assert [item["action"] for item in trail] == [f"webhook_endpoint.{done}" for done in ("delete", "update", "create")]
    assert "s3cret" not in str(trail)
    assert trail[-1]["after"]["url"] == "https://erp.example"


async def test_an_inactive_endpoint_says_since_when_and_by_whom(organisation: TestOrganisation) -> None:
    endpoint = await _create(organisation.admin)
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    await refused(organisation.admin.patch(path, etag="*", json={"is_active": "no"}), 422, "validation_failed")
    inactive = (await ok(organisation.admin.patch(path, etag="*", json={"is_active": False}))).json()
    assert (inactive["is_active"], inactive["disabled_reason"]) == (False, "by_admin")
    assert inactive["disabled_at"] is not None
    active = (await ok(organisation.admin.patch(path, etag="*", json={"is_active": True}))).json()
    assert (active["is_active"], active["disabled_reason"], active["disabled_at"]) == (True, None, None)
    history = (await ok(organisation.admin.get(f"{path}/history"))).json()["items"]
    assert [item["after"].get("is_active") for item in history] == [None, False, True]


@pytest.mark.parametrize(
    "url",
    ["http://erp.example/", "https://10.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://a@b.example/", "erp.example"],
)
async def test_urls_that_are_not_allowed(organisation: TestOrganisation, url: str) -> None:
    problem = await refused(organisation.admin.post("/webhook-endpoints", json={"url": url}), 422, "url_not_allowed")
    assert _pointer(problem) == ("/url", "url_not_allowed")
    path = f"/webhook-endpoints/{(await _create(organisation.admin)).json()['id']}"
    await refused(organisation.admin.patch(path, etag="*", json={"url": url}), 422, "url_not_allowed")


async def test_this_machine_is_not_allowed_unless_it_is_configured(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    strict = new_app(urls[1])
    async with client_of(strict) as client:
        admin = Member(client, organisation.admin.user_id, organisation.admin.email, organisation.admin.token)
        for url in ("http://127.0.0.1:9000/", "https://127.0.0.1:9000/", "http://localhost/"):
            await refused(admin.post("/webhook-endpoints", json={"url": url}), 422, "url_not_allowed")
    await strict.state.database.dispose()


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"event_types": []}, "/event_types"),
        ({"event_types": ["porf.exploded"]}, "/event_types/0"),
        ({"event_types": ["unknown"]}, "/event_types/0"),
        ({"description": "x" * 101}, "/description"),
        ({"url": "https://erp.example/" + "x" * 2000}, "/url"),
        ({"url": None}, "/url"),
        ({"secret": "whsec_chosen"}, ""),
        ({"is_active": False}, ""),
    ],
)
async def test_invalid_fields_are_named(organisation: TestOrganisation, fields: dict[str, Any], pointer: str) -> None:
    creating = organisation.admin.post("/webhook-endpoints", json={"url": URL, **fields})
    problem = await refused(creating, 422, "validation_failed")
    assert _pointer(problem)[0] == pointer


async def test_keys_are_not_accepted(organisation: TestOrganisation) -> None:
    key = await created(organisation.admin.post("/api-keys", json={"name": "ERP", "scopes": list(Scope)}))
    bearer = {"Authorization": f"Bearer {key.json()['key']}"}
    await refused(organisation.admin.get("/webhook-endpoints", headers=bearer), 403, "key_not_accepted")
    creating = organisation.admin.post("/webhook-endpoints", json={"url": URL}, headers=bearer)
    await refused(creating, 403, "key_not_accepted")


@pytest.mark.heavy
async def test_there_are_at_most_twenty_endpoints_even_if_they_are_added_at_once(
    organisation: TestOrganisation,
) -> None:
    adding = (organisation.admin.post("/webhook-endpoints", json={"url": URL}) for _ in range(MAX_ENDPOINTS + 4))
    statuses = [response.status_code for response in await asyncio.gather(*adding)]
    assert sorted(statuses) == [201] * MAX_ENDPOINTS + [409] * 4
    creating = organisation.admin.post("/webhook-endpoints", json={"url": URL})
    await refused(creating, 409, "too_many_webhook_endpoints")
    items = await all_items(organisation.admin, "/webhook-endpoints", limit=7)
    assert len({item["id"] for item in items}) == MAX_ENDPOINTS
    path = f"/webhook-endpoints/{items[0]['id']}"
    await ok(organisation.admin.delete(path, etag="*"), 204)
    await _create(organisation.admin)


async def test_secrets_are_stored_encrypted_and_shown_once(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    endpoint = await _create(organisation.admin)
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    rotated = await ok(organisation.admin.post(f"{path}/rotate-secret", etag="*", json={"overlap_seconds": 60}))
    assert rotated.json()["secret"] != endpoint.json()["secret"]
    assert rotated.json()["previous_secret_until"] is not None
    stored = await owner.fetchrow("SELECT * FROM webhook_endpoints WHERE id = $1", endpoint.json()["id"])
    answers = [await ok(organisation.admin.get(each)) for each in (path, "/webhook-endpoints", "/audit-events")]
    for response in (endpoint, rotated):
        secret = response.json()["secret"]
        assert secret not in str(stored)
        assert not any(secret in answer.text for answer in answers)
    await refused(
        organisation.admin.post(f"{path}/rotate-secret", etag="*", json={"overlap_seconds": 8 * 86400}),
        422,
        "validation_failed",
    )
    await refused(organisation.admin.post(f"{path}/rotate-secret", json={}), 428, "if_match_required")


async def test_deliveries_are_listed_by_status_and_go_with_their_endpoint(
    organisation: TestOrganisation, receiver: Receiver, owner: asyncpg.Connection
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    other = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    for _ in range(3):
        await organisation.draft()
    await deliver(organisation)
    path = f"/webhook-endpoints/{endpoint.json()['id']}"
    items = await all_items(organisation.admin, f"{path}/deliveries", limit=2)
    assert [item["number"] for item in items] == sorted((item["number"] for item in items), reverse=True)
    assert len(items) == 3
    assert await deliveries(organisation.admin, endpoint, status=["queued", "failed", "held"]) == []
    foreign = f"/webhook-endpoints/{other.json()['id']}/deliveries/{items[0]['id']}"
    await refused(organisation.admin.get(foreign), 404, "webhook_delivery_not_found")
    await refused(organisation.admin.post(f"{foreign}/retry"), 404, "webhook_delivery_not_found")
    await ok(organisation.admin.delete(path, etag="*"), 204)
    await refused(organisation.admin.get(f"{path}/deliveries"), 404, "webhook_endpoint_not_found")
    left = "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1"
    assert await owner.fetchval(left, endpoint.json()["id"]) == 0
    assert await owner.fetchval(left, other.json()["id"]) == 3


async def test_a_repeated_request_sends_one_ping(organisation: TestOrganisation, receiver: Receiver) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["porf.created"])
    path, headers = f"/webhook-endpoints/{endpoint.json()['id']}/test", {"Idempotency-Key": f"ping-{receiver.port}"}
    answers = [await ok(organisation.admin.post(path, headers=headers), 202) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    await deliver(organisation)
    assert len(receiver.ids) == 1
    assert (await shown(organisation.admin, endpoint)).json()["version"] == 1


async def test_the_events_of_endpoints_are_events_of_the_feed(
    organisation: TestOrganisation, receiver: Receiver
) -> None:
    endpoint = await add_endpoint(organisation.admin, receiver, event_types=["webhook_endpoint.tested"])
    await ok(organisation.admin.post(f"/webhook-endpoints/{endpoint.json()['id']}/test"), 202)
    await deliver(organisation)
    messages = [request.verified(endpoint.json()["secret"]) for request in receiver.received]
    assert sorted(message["type"] for message in messages) == ["ping", "webhook_endpoint.tested"]
