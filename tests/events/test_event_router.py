"""The feed of events through the API."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from fastapi import FastAPI

from po_api.audit import Change, record
from po_api.core.actor import Actor
from po_api.db.database import Database, enter_tenant
from po_api.events import queries
from po_api.events.domain import ACTIONS, EVENT_TYPES
from po_api.events.schemas import EventName, EventPage
from po_api.porfs.domain import PorfAction
from po_api.purchase_orders.domain import PurchaseOrderAction
from support.feeds import followed, relayed
from support.operations import STRUCTURE
from support.organisations import TestOrganisation, created, new_organisation, ok, perform, refused

_ACTION = re.compile(
    r'"((?:address|api_key|approval_delegation|approval_group|approval_policy|category|cost_centre|delivery|exchange_rate|external_reference|filing|invitation|organisation|porf|purchase_order|session|supplier|team|user|webhook_endpoint)'
    r'\.[a-z_]+)"'
)
# The amounts in the base currency, of submissions and issues.
BASE = ("base_currency", "base_rate", "base_rate_date", "base_total")
# Edits have actions of their own, and a copy is a creation.
_WITHOUT_EVENT = {"porf.edit", "porf.copy", "purchase_order.edit", "purchase_order.deliver"}


@pytest.fixture
def database(app: FastAPI) -> Database:
    found: Database = app.state.database
    return found


async def _all(organisation: TestOrganisation, **params: Any) -> list[dict[str, Any]]:
    await relayed(organisation.database, organisation.organisation_id)
    return (await followed(organisation.auditor, **params))[0]


async def test_the_main_job_is_a_series_of_events(organisation: TestOrganisation) -> None:
    order = (await organisation.issued()).json()
    items = await _all(organisation)
    assert [item["number"] for item in items] == [*range(1, len(items) + 1)]
    *_, opened, submitted, approved, converted, ordered, issued = items
    assert [item["type"] for item in (opened, submitted, approved, converted, ordered, issued)] == [
        *("porf.created", "porf.submitted", "porf.approved", "porf.converted"),
        *("purchase_order.created", "purchase_order.issued"),
    ]
    assert opened["data"] == {
        "version": 1,
        "changed": ["copied_from", "number", "title", "total"],
        "total": order["total"],
        "copied_from": None,
    }
    assert submitted["data"] == {
        "version": 2,
        "changed": ["approval_round", *BASE, "currency", "status", "total"],
        "status": "pending",
        "approval_round": 1,
        "total": order["total"],
        "currency": order["currency"],
    }
    shown = (await ok(organisation.admin.get(f"/users/{organisation.approver.user_id}"))).json()
    assert approved["actor"] == {"kind": "member", "id": shown["id"], "name": shown["name"]}
    assert (approved["data"]["status"], approved["data"]["total"]) == ("approved", order["total"])
    assert (converted["data"]["status"], converted["data"]["total"]) == ("ordered", None)
    porf = (await ok(organisation.admin.get(f"/porfs/{approved['entity_id']}"))).json()
    assert (porf["number"], porf["version"]) == (converted["entity_number"], converted["data"]["version"])
    amounts = {name: order[name] for name in ("total", "currency")} | {"supplier_id": organisation.supplier_id}
    assert (
        issued["data"]
        == {"version": order["version"], "changed": [*BASE, "number", "status"], "status": "issued"} | amounts
    )
    assert (
        ordered["data"]
        == {
            "version": 1,
            "changed": ["porfs", "supplier", "total"],
            "status": None,
        }
        | amounts
    )
    for item in (ordered, issued):
        assert (item["entity"], item["entity_id"]) == ("purchase_order", order["id"])
        assert item["entity_number"] == order["number"]


async def test_the_feed_has_the_events_of_the_audit_trail(organisation: TestOrganisation) -> None:
    await ok(perform(organisation.buyer, await organisation.issued(), "cancel", json={"comment": "Out of stock"}))
    draft = await organisation.draft(title="Gone")
    await ok(organisation.requester.delete(f"/porfs/{draft.json()['id']}", etag=draft.headers["ETag"]), 204)
    await ok(organisation.admin.patch("/organisations/current", etag="*", json={"tax_id": "DE1"}))
    await created(organisation.admin.post("/api-keys", json={"name": "ERP", "scopes": ["porfs:read"]}))
    items = await _all(organisation)
    trail = (await ok(organisation.auditor.get("/audit-events?limit=100&sort=created_at"))).json()["items"]
    copied = ("id", "entity", "entity_id")
    assert sorted([item[name] for name in copied] for item in items) == sorted(
        [event[name] for name in copied] for event in trail
    )
    by_id = {event["id"]: event for event in trail}
    for item in items:
        event = by_id[item["id"]]
        assert item["type"] == EVENT_TYPES[event["action"]].name
        assert item["at"] == event["created_at"]
        assert item["actor"] == {name: event[f"actor_{name}"] for name in ("kind", "id", "name")}
    cancelled = next(item for item in items if item["type"] == "purchase_order.cancelled")
    assert cancelled["data"]["changed"] == ["status"]
    assert "Out of stock" not in str(items)
    deleted = next(item for item in items if item["type"] == "porf.deleted")
    assert (deleted["entity_number"], deleted["data"]["version"]) == (None, None)


async def test_pages_lead_on_to_the_end_and_to_later_events(organisation: TestOrganisation) -> None:
    await organisation.approved()
    everything = await _all(organisation)
    for limit in (1, 3, len(everything), 100):
        assert (await followed(organisation.admin, limit=limit))[0] == everything
    _, position = await followed(organisation.admin)
    assert await followed(organisation.admin, position) == ([], position)
    await created(organisation.buyer.post("/suppliers", json={"name": "Later Ltd"}))
    # It has no number yet.
    assert await followed(organisation.admin, position) == ([], position)
    await relayed(organisation.database, organisation.organisation_id)
    (later,), _ = await followed(organisation.admin, position)
    assert (later["number"], later["type"]) == (len(everything) + 1, "supplier.created")


async def test_types_choose_and_a_long_search_goes_on(
    organisation: TestOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await organisation.approved()
    everything = await _all(organisation)
    for types in (["porf.approved"], ["supplier.created", "porf.submitted"], ["api_key.revoked"]):
        expected = [item for item in everything if item["type"] in types]
        assert (await followed(organisation.admin, type=types))[0] == expected
        assert (await followed(organisation.admin, type=types, limit=1))[0] == expected
    end = (await ok(organisation.admin.get("/events?type=api_key.revoked"))).json()
    assert (end["items"], end["has_more"]) == ([], False)
    assert end["next"].endswith(f":{len(everything)}")
    monkeypatch.setattr(queries, "SCANNED", 2)
    page = (await ok(organisation.admin.get("/events?type=api_key.revoked"))).json()
    assert (page["items"], page["has_more"]) == ([], True)
    expected = [item for item in everything if item["type"] == "porf.approved"]
    assert (await followed(organisation.admin, type="porf.approved"))[0] == expected


async def test_before_the_first_number_there_is_no_position(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation = await new_organisation(app, client)
    empty: dict[str, Any] = {"next": None, "has_more": False, "items": []}
    assert (await ok(organisation.admin.get("/events"))).json() == empty
    seal = (await ok(organisation.admin.get("/audit-events/seal"))).json()
    assert seal == {"feed": None, "number": 0, "seal": "0" * 64, "at": None}
    gone = await refused(organisation.admin.get("/events", params={"after": "0123456789abcdef:1"}), 410, "feed_changed")
    assert "next" not in gone


async def test_positions_that_no_response_contained_are_refused(app: FastAPI, client: httpx.AsyncClient) -> None:
    organisation, other = await new_organisation(app, client), await new_organisation(app, client)
    for each in (organisation, other):
        await relayed(each.database, each.organisation_id)
    _, position = await followed(organisation.admin)
    assert position is not None
    feed, _, number = position.partition(":")
    beyond = {"after": f"{feed}:{int(number) + 1}"}
    problem = await refused(organisation.admin.get("/events", params=beyond), 400, "unknown_position")
    assert [(error["location"], error["pointer"]) for error in problem["errors"]] == [("query", "/after")]
    # The feed of another organisation is one of which nothing is known.
    gone = await refused(other.admin.get("/events", params={"after": position}), 410, "feed_changed")
    _, own = await followed(other.admin)
    assert own is not None
    assert gone["next"] == f"{own.partition(':')[0]}:0"
    for wrong in ("42", f"{feed}:", f"{feed}:-1", f"{feed}:١", f"{feed.upper()}Z:1", f"{feed}:{'9' * 19}"):
        await refused(organisation.admin.get("/events", params={"after": wrong}), 422, "validation_failed")
    await refused(organisation.admin.get("/events?type=porf.eaten"), 422, "validation_failed")


async def test_the_newest_seal_is_that_of_the_last_number(organisation: TestOrganisation) -> None:
    items = await _all(organisation)
    seal = (await ok(organisation.auditor.get("/audit-events/seal"))).json()
    _, position = await followed(organisation.auditor)
    assert position == f"{seal['feed']}:{seal['number']}" == f"{seal['feed']}:{len(items)}"
    assert re.fullmatch("[0-9a-f]{64}", seal["seal"])
    assert seal["at"] >= items[-1]["at"]


async def test_a_dry_run_leaves_no_event(organisation: TestOrganisation) -> None:
    before = await _all(organisation)
    draft = await organisation.draft()
    await ok(
        organisation.requester.post(f"/porfs/{draft.json()['id']}/submit?dry_run=true", etag=draft.headers["ETag"])
    )
    assert [item["type"] for item in (await _all(organisation))[len(before) :]] == ["porf.created"]


async def test_an_action_of_another_version_has_a_type_too(organisation: TestOrganisation) -> None:
    before = await _all(organisation)
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        change = Change("supplier.rate", "supplier", organisation.supplier_id, {"rating": "B"}, {"rating": "A"}, 7)
        await record(session, Actor.system(organisation.organisation_id), change)
    (item,) = (await _all(organisation))[len(before) :]
    assert (item["type"], item["data"]) == ("unknown", {"version": 7, "changed": ["rating"]})
    assert item["actor"] == {"kind": "system", "id": None, "name": None}


def _literals(project: Path) -> Iterator[str]:
    """The actions that the services write."""
    for path in (project / "src" / "po_api").rglob("*.py"):
        if path.parent.name != "events":
            yield from _ACTION.findall(path.read_text())


def test_every_action_has_a_type(project: Path) -> None:
    machines = {f"porf.{action}" for action in PorfAction} | {
        f"purchase_order.{action}" for action in PurchaseOrderAction
    }
    used = {*_literals(project), *machines} - _WITHOUT_EVENT - (ACTIONS.keys() - EVENT_TYPES.keys())
    invitations = {f"invitation.{verb}" for verb in ("create", "accept", "decline", "revoke")}
    webhooks = {
        f"webhook_endpoint.{verb}"
        for verb in ("create", "update", "delete", "rotate_secret", "test", "retry", "replay")
    }
    structure = {f"{kind}.{verb}" for kind in STRUCTURE for verb in ("create", "update", "activate", "deactivate")}
    deliveries = {f"delivery.{verb}" for verb in ("create", "send", "fail", "retry", "cancel", "mark_bounced", "view")}
    on_documents = {
        f"{kind}.{verb}_{what}"
        for kind in ("porf", "purchase_order")
        for verb, what in (("edit", "comment"), ("delete", "comment"), ("add", "file"), ("delete", "file"))
    }
    delegations = {"approval_delegation.add", "approval_delegation.revoke"}
    delegations |= {
        f"approval_policy.{verb}"
        for verb in ("create", "update", "delete", "add_rule", "update_rule", "delete_rule", "publish", "retire")
    }
    assert used | invitations | webhooks | structure | deliveries | delegations | on_documents == EVENT_TYPES.keys()
    assert len(ACTIONS) == len(EVENT_TYPES)


@pytest.mark.heavy
def test_every_type_has_a_schema_in_the_document(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    union = schemas["EventPage"]["properties"]["items"]["items"]
    mapping = union["discriminator"]["mapping"]
    assert mapping.keys() == {*get_args(EventName), "unknown"}
    assert {reference.rpartition("/")[2] for reference in mapping.values()} <= schemas.keys()
    (names,) = [
        parameter["schema"]["items"]["enum"]
        for parameter in document["paths"]["/api/v1/events"]["get"]["parameters"]
        if parameter.get("name") == "type"
    ]
    assert set(names) == ACTIONS.keys()


async def test_responses_have_the_documented_form(organisation: TestOrganisation) -> None:
    await organisation.issued()
    await _all(organisation)
    page = await ok(organisation.admin.get("/events?limit=100"))
    assert EventPage.model_validate(page.json()).model_dump(mode="json") == page.json()
