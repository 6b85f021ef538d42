"""/audit-events: all events of an organisation, by entity, actor, action and time."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from po_api.audit import AuditedEntity
from po_api.core.permissions import Role, Scope
from po_api.db.database import Database
from support.approval_policies import publish_policy, rule
from support.clusters import connected
from support.filings import held_filing
from support.mail import delivery_in
from support.one_server import plans_of_one_server
from support.operations import STRUCTURE, named
from support.organisations import (
    LINE,
    Member,
    TestOrganisation,
    created,
    new_organisation,
    ok,
    perform,
    refused,
    with_new_session,
)
from support.pages import all_items
from support.statements import Sent, sent_to


async def _found(reader: Member, **params: Any) -> list[dict[str, Any]]:
    return await all_items(reader, "/audit-events", **params)


@pytest.fixture(scope="module")
async def busy(app: FastAPI, client: httpx.AsyncClient) -> TestOrganisation:
    """An organisation with events of every kind of entity."""
    organisation = await new_organisation(app, client)
    await ok(perform(organisation.buyer, await organisation.issued(), "cancel", json={"comment": "Out of stock"}))
    draft = await organisation.draft(title="Gone")
    await ok(organisation.requester.delete(f"/porfs/{draft.json()['id']}", etag=draft.headers["ETag"]), 204)
    admin = organisation.admin
    await created(admin.post("/invitations", json={"email": "new@audit.example", "approval_limit": "99.00"}))
    await ok(admin.patch(f"/users/{organisation.approver.user_id}", etag="*", json={"approval_limit": "500.00"}))
    await ok(admin.patch("/organisations/current", etag="*", json={"tax_id": "DE1"}))
    key = (await created(organisation.buyer.post("/api-keys", json={"name": "ERP", "scopes": ["porfs:write"]}))).json()
    by_key = {"Authorization": f"Bearer {key['key']}"}
    await created(organisation.buyer.post("/porfs", json={"title": "By a key", "lines": [LINE]}, headers=by_key))
    await ok(organisation.buyer.delete(f"/api-keys/{key['id']}"), 204)
    await created(admin.post("/webhook-endpoints", json={"url": "https://erp.example/hook"}))
    other = await with_new_session(app, organisation.buyer)
    await ok(other.delete("/sessions/current"), 204)
    await ok(admin.post(f"/filings/{await held_filing(organisation)}/retry"))
    await delivery_in(organisation, "queued")
    await created(organisation.buyer.post("/addresses", json={"kind": "delivery", "name": "Warehouse"}))
    for kind, path in STRUCTURE.items():
        await created(organisation.admin.post(path, json=named(kind, "Busy")))
    await publish_policy(admin, rule(1, "role_approver", required_count=1))
    ends_at = (datetime.now(UTC) + timedelta(2)).isoformat()
    delegation = {"delegate_id": organisation.buyer.user_id, "ends_at": ends_at}
    await created(organisation.approver.post("/approval-delegations", json=delegation))
    await created(admin.post("/exchange-rates", json={"currency": "CHF", "rate_date": "2026-11-02", "rate": "0.93"}))
    known = {"entity": "supplier", "entity_id": organisation.supplier_id, "system": "sap", "external_id": "4711"}
    await created(organisation.buyer.put("/external-references", json=known))
    return organisation


async def test_it_has_every_event_of_the_organisation_the_latest_first(
    busy: TestOrganisation, owner: asyncpg.Connection
) -> None:
    rows = await owner.fetch(
        "SELECT * FROM audit_events WHERE organisation_id = $1 ORDER BY created_at DESC, id DESC", busy.organisation_id
    )
    for reader in (busy.admin, busy.auditor):
        for limit in (7, 100):
            found = await _found(reader, limit=limit)
            copied = ("id", "action", "entity", "entity_id", "actor_kind", "actor_id", "request_id")
            assert [[item[name] for name in copied] for item in found] == [
                [row[name] for name in copied] for row in rows
            ]
    assert {item["entity"] for item in found} == set(get_args(AuditedEntity))
    assert [item["created_at"] for item in found] == sorted((item["created_at"] for item in found), reverse=True)


async def test_what_is_gone_or_ended_is_read_here(busy: TestOrganisation) -> None:
    (deleted,) = await _found(busy.auditor, action="porf.delete")
    assert deleted["before"]["title"] == "Gone"
    (revoked,) = await _found(busy.auditor, action="api_key.revoke")
    (ended,) = await _found(busy.auditor, entity="session")
    assert {revoked["actor_id"], ended["actor_id"]} == {busy.buyer.user_id}
    assert ended["action"] == "session.revoke"
    (limit,) = await _found(busy.auditor, entity="user", action="user.update")
    assert limit["after"] == {"approval_limit": "500.00"}
    (cancelled,) = await _found(busy.auditor, action="purchase_order.cancel")
    assert cancelled["after"]["comment"] == "Out of stock"


@pytest.mark.heavy
async def test_filters_choose_what_they_say(busy: TestOrganisation) -> None:
    everything = await _found(busy.admin)
    order = next(item for item in everything if item["entity"] == "purchase_order")
    middle = everything[len(everything) // 2]["created_at"]
    filters: list[tuple[dict[str, Any], Any]] = [
        ({"entity": "porf"}, lambda item: item["entity"] == "porf"),
        ({"entity": ["porf", "supplier"]}, lambda item: item["entity"] in {"porf", "supplier"}),
        (
            {"entity": "purchase_order", "entity_id": order["entity_id"]},
            lambda item: (item["entity"], item["entity_id"]) == ("purchase_order", order["entity_id"]),
        ),
        ({"actor_id": busy.buyer.user_id}, lambda item: item["actor_id"] == busy.buyer.user_id),
        (
            {"actor_id": [busy.buyer.user_id, busy.approver.user_id]},
            lambda item: item["actor_id"] in {busy.buyer.user_id, busy.approver.user_id},
        ),
        ({"actor_kind": "api_key"}, lambda item: item["actor_kind"] == "api_key"),
        ({"actor_kind": "command_line"}, lambda item: item["actor_kind"] == "command_line"),
        ({"actor_kind": ["member", "api_key"]}, lambda item: item["actor_kind"] in {"member", "api_key"}),
        ({"action": "porf.approve"}, lambda item: item["action"] == "porf.approve"),
        (
            {"action": ["porf.approve", "supplier.create"]},
            lambda item: item["action"] in {"porf.approve", "supplier.create"},
        ),
        ({"created_at_gte": middle}, lambda item: item["created_at"] >= middle),
        ({"created_at_lt": middle}, lambda item: item["created_at"] < middle),
        (
            {"entity": "porf", "actor_id": busy.requester.user_id, "created_at_lt": middle},
            lambda item: (
                (item["entity"], item["actor_id"]) == ("porf", busy.requester.user_id) and item["created_at"] < middle
            ),
        ),
    ]
    for params, chosen in filters:
        expected = [item for item in everything if chosen(item)]
        assert expected, params
        assert await _found(busy.admin, **params) == expected
        assert await _found(busy.admin, **params, limit=1) == expected
        assert await _found(busy.admin, **params, sort="created_at") == expected[::-1]


async def test_unknown_values_are_refused(busy: TestOrganisation) -> None:
    for params, status, code in (
        ({"entity": "secret"}, 422, "validation_failed"),
        ({"actor_kind": "robot"}, 422, "validation_failed"),
        ({"actor_id": "0"}, 422, "validation_failed"),
        ({"created_at_gte": "yesterday"}, 422, "validation_failed"),
        ({"created_at_gte": "0.5"}, 422, "validation_failed"),
        ({"created_at_lt": "1796000000"}, 422, "validation_failed"),
        ({"created_at_lt": "2026-01-01T00:00:00"}, 422, "validation_failed"),
        ({"entity_id": "1"}, 422, "entity_required"),
        ({"actor": "1"}, 400, "unknown_parameter"),
        ({"sort": "action"}, 400, "invalid_sort"),
    ):
        await refused(busy.admin.get("/audit-events", params=params), status, code)
    assert await _found(busy.admin, action="no.such") == []


async def test_a_cursor_is_bound_to_the_filters(busy: TestOrganisation) -> None:
    page = (await ok(busy.admin.get("/audit-events", params={"limit": 1, "entity": "porf"}))).json()
    params = {"limit": 1, "entity": "supplier", "cursor": page["next_cursor"]}
    await refused(busy.admin.get("/audit-events", params=params), 400, "invalid_cursor")


async def test_it_is_for_admins_and_auditors(busy: TestOrganisation) -> None:
    for reader in (busy.requester, busy.approver, busy.buyer, await busy.member(Role.BUYER, Role.APPROVER)):
        await refused(reader.get("/audit-events"), 403, "missing_role")
        await refused(reader.get("/audit-events?entity_id=1"), 403, "missing_role")


async def test_a_key_needs_the_scope_for_it(app: FastAPI, busy: TestOrganisation) -> None:
    for owner, scopes, expected in (
        (busy.auditor, [Scope.AUDIT_READ], 200),
        (busy.auditor, [scope for scope in Scope if scope is not Scope.AUDIT_READ], 403),
        (busy.buyer, [Scope.AUDIT_READ], 403),
    ):
        key = (await created(owner.post("/api-keys", json={"name": "SIEM", "scopes": scopes}))).json()["key"]
        answer = await owner.get("/audit-events", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == expected


# Plans: with many events, each filter is answered from an index, in the order of the list.

EVENTS = 30_000
INSERT = """
    INSERT INTO audit_events (organisation_id, actor_kind, actor_id, action, entity, entity_id, created_at)
    SELECT $1, CASE WHEN n % 1000 = 0 THEN 'system' ELSE 'member' END,
        CASE WHEN n % 1000 = 0 THEN NULL ELSE ($2::bigint[])[1 + n % 3] END,
        CASE WHEN n % 500 = 1 THEN 'supplier.create' ELSE 'supplier.update' END,
        'supplier', 1 + n % 50, now() - n * interval '1 minute'
    FROM generate_series(1, $3) n
"""


@pytest.fixture(scope="module")
async def eventful(app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]) -> TestOrganisation:
    organisation = await new_organisation(app, client)
    actors = [member.user_id for member in (organisation.buyer, organisation.admin, organisation.requester)]
    async with connected(urls[0]) as owner:
        await owner.execute(INSERT, organisation.organisation_id, actors, EVENTS)
        await owner.execute("ANALYZE audit_events")
    return organisation


async def _plan(database: Database, sent: Sent) -> str:
    async with database.engine.connect() as connection:
        lines = await connection.exec_driver_sql(f"EXPLAIN {sent.sql}", sent.arguments)
        return "\n".join(lines.scalars())


@plans_of_one_server
@pytest.mark.parametrize(
    ("params", "index"),
    [
        ({}, "ix_audit_events_organisation_id_created_at"),
        ({"created_at_lt": "{week_ago}"}, "ix_audit_events_organisation_id_created_at"),
        ({"entity": "supplier"}, "ix_audit_events_organisation_id_created_at"),
        ({"entity": "supplier", "entity_id": "7"}, "ix_audit_events_entity"),
        ({"entity": "api_key"}, "ix_audit_events_entity"),
        ({"action": "supplier.create"}, "ix_audit_events_action"),
        ({"action": "no.such"}, "ix_audit_events_action"),
        ({"actor_kind": "system"}, "ix_audit_events_actor_kind"),
    ],
)
async def test_each_filter_is_answered_by_an_index(
    eventful: TestOrganisation, params: dict[str, str], index: str
) -> None:
    week_ago = (datetime.now().astimezone() - timedelta(days=7)).isoformat()
    filled = {name: value.format(week_ago=week_ago) for name, value in params.items()}
    async with sent_to(eventful.database) as sent:
        await ok(eventful.admin.get("/audit-events", params={**filled, "limit": 20}))
    (statement,) = [item for item in sent if "audit_events" in item.sql]
    plan = await _plan(eventful.database, statement)
    assert index in plan, plan
    assert "Seq Scan on audit_events" not in plan


@plans_of_one_server
async def test_the_events_of_one_member_are_found_by_an_index(eventful: TestOrganisation) -> None:
    async with sent_to(eventful.database) as sent:
        await ok(eventful.admin.get("/audit-events", params={"actor_id": eventful.auditor.user_id}))
    (statement,) = [item for item in sent if "audit_events" in item.sql]
    assert "ix_audit_events_actor" in await _plan(eventful.database, statement)
