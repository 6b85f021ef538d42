"""Tenancy: data of other organisations is not visible, through the API and through row-level security."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import ForeignKeyConstraint, Table, text

from po_api.app import create_app
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant, libpq_url
from po_api.db.query import TransactionExecutor
from po_api.deliveries.mailings import MAILS
from po_api.filing.repository import FilingRepository
from po_api.notifications.mail_planning import PLAN
from po_api.operations.databases import Connections
from po_api.operations.migrations import APPEND_ONLY, UPDATABLE
from po_api.settings import Settings
from support.approval_policies import group, publish_policy, rule, user
from support.feeds import relayed
from support.files import PDF, uploaded
from support.images import png
from support.mail import add_contact, allow_mail, deliver
from support.operations import (
    BY_BODY,
    BY_PATH,
    BY_QUERY,
    NAMES_NOTHING,
    REQUIRED_QUERY,
    RULE,
    STRUCTURE,
    WEBHOOK,
    Json,
    content_of,
    named,
    operations,
)
from support.organisations import LINE, PREFIX, Member, TestOrganisation, act, created, new_organisation, ok
from support.tenant_tables import TENANT_SETTING, TENANT_TABLES
from support.workers import work_until_idle

MISSING = 8_000_000_000_000_000_000
ANY_VERSION = "*"


@dataclass(frozen=True)
class World:
    """Two organisations with rows in every table; `intruder` has all roles in the second one."""

    victim: TestOrganisation
    ids: dict[str, int]
    porf: Json
    order: Json
    own: TestOrganisation
    intruder: Member
    own_porf: httpx.Response
    own_approved: httpx.Response
    own_run: Json


async def give_parties(organisation: TestOrganisation) -> None:
    """A logo, an address, and a contact of the supplier."""
    buyer = organisation.buyer
    logo = {"file": ("logo.png", png())}
    await ok(organisation.admin.put("/organisations/current/logo", etag="*", files=logo))
    await created(buyer.post("/addresses", json={"kind": "delivery", "name": "Zanzibar warehouse"}))
    contact = {"email": "zanzibar@supplier.example", "purpose": "invoices"}
    await created(buyer.post(f"/suppliers/{organisation.supplier_id}/contacts", etag="*", json=contact))


async def give_references(organisation: TestOrganisation, **entities: int) -> None:
    """An external reference of each of the entities."""
    for entity, entity_id in entities.items():
        reference = {"entity": entity, "entity_id": entity_id, "system": "zanzibar", "external_id": "4711"}
        await created(organisation.buyer.put("/external-references", json=reference))


async def give_structure(organisation: TestOrganisation) -> None:
    """A cost centre, a category, a team, and an approval group with a member."""
    for kind, path in STRUCTURE.items():
        body = named(kind, "Zanzibar")
        members = {"member_ids": [organisation.approver.user_id]} if kind == "approval_group" else {}
        await created(organisation.admin.post(path, json=body | members))


async def give_policies(organisation: TestOrganisation) -> None:
    """A published policy, whose rule no request fulfils, and a draft."""
    (group,) = (await ok(organisation.admin.get("/approval-groups"))).json()["items"]
    groups = {"on_empty": "group", "on_empty_group_id": group["id"], "escalate_after_hours": 1}
    groups |= {"escalate_to": "group", "escalation_group_id": group["id"]}
    draft = await created(organisation.admin.post("/approval-policies", json={"rules": [RULE | groups]}))
    await ok(organisation.admin.post(f"/approval-policies/{draft.json()['id']}/publish", etag="*"))
    await created(organisation.admin.post("/approval-policies", json={"from": draft.json()["id"]}))


async def give_approvals(organisation: TestOrganisation) -> None:
    """A request that a delegate has approved in steps, and one that waits for an approver who was added; a draft with
    another one."""
    admin, approver = organisation.admin, organisation.approver
    (board,) = (await ok(admin.get("/approval-groups"))).json()["items"]
    await ok(admin.patch(f"/approval-groups/{board['id']}", etag="*", json={"member_ids": [approver.user_id]}))
    await publish_policy(
        admin, rule(1, user(approver), remind_after_hours=1), rule(2, group(board["id"]), required_count=1)
    )
    delegate = await organisation.member(Role.APPROVER)
    await created(approver.post("/approval-delegations", json=_delegation(delegate.user_id)))
    approved, waiting = [(await organisation.pending(title="In steps")).json()["id"] for _ in range(2)]
    await ok(delegate.post(f"/porfs/{approved}/approve", etag="*"))
    added = {"user_id": delegate.user_id, "placement": "after"}
    for porf_id in (waiting, (await organisation.draft(title="To be asked")).json()["id"]):
        await ok(admin.post(f"/porfs/{porf_id}/add-approver", etag="*", json=added))


def _delegation(delegate_id: int | str) -> Json:
    return {"delegate_id": delegate_id, "ends_at": (datetime.now(UTC) + timedelta(1)).isoformat()}


async def _lived_in(organisation: TestOrganisation) -> tuple[Json, Json]:
    """A request and its order, with a row in every table."""
    approved = await organisation.approved(title="Zanzibar lamps")
    path = f"/porfs/{approved.json()['id']}"
    await _say_everything(organisation, path)
    # The events so far get numbers, those of the order wait for theirs.
    await relayed(organisation.database, organisation.organisation_id)
    await created(organisation.admin.post("/invitations", json={"email": "zanzibar@invited.example"}))
    rate = {"currency": "TZS", "rate_date": "2026-03-02", "rate": "0.0003"}
    await created(organisation.admin.post("/exchange-rates", json=rate))
    await give_parties(organisation)
    await give_structure(organisation)
    await give_approvals(organisation)
    await give_policies(organisation)
    endpoint = await created(organisation.admin.post("/webhook-endpoints", json=WEBHOOK))
    await ok(organisation.admin.post(f"/webhook-endpoints/{endpoint.json()['id']}/test"), 202)
    order = await created(organisation.buyer.post(f"{path}/purchase-orders", etag=approved.headers["ETag"], json={}))
    issue = f"/purchase-orders/{order.json()['id']}/issue"
    issued = await ok(organisation.buyer.post(issue, etag=order.headers["ETag"]))
    await _say_everything(organisation, f"/purchase-orders/{order.json()['id']}")
    ids = {"porf": approved.json()["id"], "supplier": organisation.supplier_id, "purchase_order": order.json()["id"]}
    await give_references(organisation, **ids)
    await ok(organisation.buyer.get(f"/purchase-orders/{order.json()['id']}/document.pdf"))
    await allow_mail(organisation)
    await deliver(
        organisation, order.json()["id"], contact_ids=[await add_contact(organisation, "zz@supplier.example")]
    )
    await ok(organisation.approver.patch("/notification-preferences", etag="*", json={"decided": {"email": "off"}}))
    await work_until_idle(organisation, names=frozenset({MAILS.name, PLAN}))
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        repository = FilingRepository(TransactionExecutor(session), organisation.organisation_id)
        await repository.keep_folder("Orders", "2026", "1AbC_dEf")
    return (await ok(organisation.admin.get(path))).json(), issued.json()


async def _say_everything(organisation: TestOrganisation, path: str) -> None:
    """Comments on a document and files of it, of which one each is deleted."""
    text = f"Please hurry, @[{organisation.buyer.user_id}]"
    first, second = [await created(organisation.requester.post(f"{path}/comments", json={"text": text})) for _ in "12"]
    content = PDF + f"of {organisation.organisation_id}".encode()
    await uploaded(organisation.requester, path, content=content)
    await uploaded(organisation.requester, path, content=content, comment_id=first.json()["id"])
    deleted = await uploaded(organisation.requester, path, content=content)
    await ok(organisation.requester.delete(f"{path}/files/{deleted['id']}"), 204)
    await ok(organisation.requester.delete(f"{path}/comments/{second.json()['id']}", etag='"1"'), 204)


@pytest.fixture(scope="module")
async def world(app: FastAPI, client: httpx.AsyncClient) -> World:
    victim, own = await new_organisation(app, client), await new_organisation(app, client)
    (porf, order), _ = await _lived_in(victim), await _lived_in(own)
    session = (await ok(victim.admin.get("/sessions/current"))).json()["id"]
    key = await created(victim.admin.post("/api-keys", json={"name": "Script", "scopes": ["porfs:read"]}))
    await created(own.admin.post("/api-keys", json={"name": "Script", "scopes": ["porfs:read"]}))
    contact, *_ = (await ok(victim.buyer.get(f"/suppliers/{victim.supplier_id}/contacts"))).json()["items"]
    (address,) = (await ok(victim.buyer.get("/addresses"))).json()["items"]
    reference, *_ = (await ok(victim.buyer.get("/external-references"))).json()["items"]
    structure = {
        f"{kind}_id": (await ok(victim.admin.get(path))).json()["items"][0]["id"] for kind, path in STRUCTURE.items()
    }
    (policy,) = (await ok(victim.admin.get("/approval-policies?status=draft"))).json()["items"]
    (rule,) = (await ok(victim.admin.get(f"/approval-policies/{policy['id']}"))).json()["rules"]
    (invitation,) = (await ok(victim.admin.get("/invitations"))).json()["items"]
    comment, _ = (await ok(victim.admin.get(f"/porfs/{porf['id']}/comments"))).json()["items"]
    file, _ = (await ok(victim.admin.get(f"/porfs/{porf['id']}/files"))).json()["items"]
    (rate,) = (await ok(victim.admin.get("/exchange-rates"))).json()["items"]
    (filing,) = (await ok(victim.admin.get("/filings"))).json()["items"]
    (mail,) = (await ok(victim.admin.get("/deliveries"))).json()["items"]
    (endpoint,) = (await ok(victim.admin.get("/webhook-endpoints"))).json()["items"]
    (delegation,) = (await ok(victim.admin.get("/approval-delegations"))).json()["items"]
    told, *_ = (await ok(victim.approver.get("/notifications"))).json()["items"]
    (delivery,) = (await ok(victim.admin.get(f"/webhook-endpoints/{endpoint['id']}/deliveries"))).json()["items"]
    ids = {
        "session_id": session,
        "rate_id": rate["id"],
        "filing_id": filing["id"],
        "order_delivery_id": mail["id"],
        "endpoint_id": endpoint["id"],
        "notification_id": told["id"],
        "delegation_id": delegation["id"],
        "delivery_id": delivery["id"],
        "invitation_id": invitation["id"],
        "key_id": key.json()["id"],
        "user_id": victim.requester.user_id,
        "approver_id": victim.approver.user_id,
        "organisation_id": victim.organisation_id,
        "supplier_id": victim.supplier_id,
        "contact_id": contact["id"],
        "address_id": address["id"],
        "reference_id": reference["id"],
        **structure,
        "policy_id": policy["id"],
        "rule_id": rule["id"],
        "porf_id": porf["id"],
        "line_id": porf["lines"][0]["id"],
        "order_id": order["id"],
        "comment_id": comment["id"],
        "file_id": file["id"],
    }
    (pending,) = (await ok(own.admin.get("/porfs?status=pending"))).json()["items"]
    run = (await ok(own.admin.get(f"/porfs/{pending['id']}/approval"))).json()
    return World(
        victim,
        ids,
        porf,
        order,
        own,
        await own.member(*Role),
        await own.draft(),
        await own.approved(supplier_id=None),
        run | {"porf_id": pending["id"]},
    )


def _answer(response: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    """The parts of a response that a caller can compare."""
    varying = {"x-request-id", "ratelimit", "ratelimit-policy", "content-length"}
    headers = {name: value for name, value in response.headers.items() if name not in varying}
    body = response.json() if "json" in headers["content-type"] else response.content
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in {"request_id", "instance"}}
    return response.status_code, body, headers


async def _victim_sees(world: World) -> list[Any]:
    """Everything that the other organisation's admin can read."""
    paths = (
        "/organisations/current",
        "/organisations/current/history",
        "/audit-events",
        "/audit-events/seal",
        "/events",
        "/users",
        "/invitations",
        "/exchange-rates",
        "/suppliers",
        f"/suppliers/{world.ids['supplier_id']}/contacts",
        "/addresses",
        "/external-references",
        *STRUCTURE.values(),
        f"/approval-policies/{world.ids['policy_id']}",
        "/deliveries",
        "/filings",
        "/organisations/current/filing",
        "/porfs",
        f"/porfs/{world.ids['porf_id']}",
        f"/porfs/{world.ids['porf_id']}/history",
        f"/porfs/{world.ids['porf_id']}/comments",
        f"/porfs/{world.ids['porf_id']}/approval",
        f"/porfs/{world.ids['porf_id']}/files",
        f"/porfs/{world.ids['porf_id']}/timeline",
        f"/purchase-orders/{world.ids['order_id']}",
        "/webhook-endpoints",
        f"/webhook-endpoints/{world.ids['endpoint_id']}/deliveries",
        "/api-keys",
        "/sessions",
    )
    bodies = [(await ok(world.victim.admin.get(path))).json() for path in paths]
    for session in bodies[-1]["items"]:
        session.pop("last_seen_at")
    return bodies


async def test_the_matrix_has_a_row_for_every_operation(app: FastAPI) -> None:
    paths = {operation["operationId"]: path for _, path, operation in operations(app)}
    assert {name for name, path in paths.items() if "{" in path} == BY_PATH.keys()
    assert paths.keys() == BY_PATH.keys() | BY_BODY | BY_QUERY | NAMES_NOTHING


@pytest.mark.many_paths
@pytest.mark.parametrize("name", BY_PATH)
async def test_a_foreign_id_in_the_path_is_a_missing_one(app: FastAPI, world: World, name: str) -> None:
    ((method, path, operation),) = [item for item in operations(app) if item[2]["operationId"] == name]
    dry_run = any(item["name"] == "dry_run" for item in operation["parameters"])
    foreign = _filled(path, world.ids)
    missing = _filled(path, dict.fromkeys(world.ids, MISSING))
    needed = REQUIRED_QUERY.get(name, {})
    for params in (needed, {**needed, "dry_run": "true"}) if dry_run else (needed,):
        for etag in (ANY_VERSION, '"99"'):
            options: Json = {"etag": etag, "params": params, **content_of(name)}
            answers = [_answer(await world.intruder.request(method, url, **options)) for url in (foreign, missing)]
            assert answers[0] == answers[1]
            assert answers[0][0] == 404


def _filled(path: str, ids: dict[str, int]) -> str:
    return re.sub(r"{(\w+)}", lambda match: str(ids[match[1]]), path.removeprefix(PREFIX))


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_a_foreign_line_of_an_own_request_is_a_missing_one(world: World, method: str) -> None:
    body = {"description": "Other"} if method == "PATCH" else None
    answers = [
        _answer(
            await world.intruder.request(
                method, f"/porfs/{world.own_porf.json()['id']}/lines/{line}", etag=ANY_VERSION, json=body
            )
        )
        for line in (world.ids["line_id"], MISSING)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


async def test_trying_changed_nothing_of_the_other_organisation(app: FastAPI, world: World) -> None:
    before = await _victim_sees(world)
    for method, path, operation in operations(app):
        if operation["operationId"] in BY_PATH:
            content = content_of(operation["operationId"])
            await world.intruder.request(method, _filled(path, world.ids), etag=ANY_VERSION, **content)
    assert await _victim_sees(world) == before


def _bodies(world: World) -> dict[str, tuple[str, str, Json]]:
    """Requests for the intruder's own entities with an id of the other organisation, `{…}`, in the body."""
    own, approved = world.own_porf.json(), world.own_approved.json()
    line = approved["lines"][0]["id"]
    convert = f"/porfs/{approved['id']}/purchase-orders"
    step, pending = world.own_run["steps"][0], f"/porfs/{world.own_run['porf_id']}"
    (asked,) = step["people"]
    reassigned = {"step_id": step["id"], "replaced_id": asked["user_id"], "user_id": asked["user_id"]}
    return {
        "createPorf": ("POST", "/porfs", {"title": "T", "supplier_id": "{supplier_id}"}),
        "updatePorf": ("PATCH", f"/porfs/{own['id']}", {"supplier_id": "{supplier_id}"}),
        **{
            f"createPorf: {field} of a line": (
                "POST",
                "/porfs",
                {"title": "T", "lines": [LINE | {field: f"{{{field}}}"}]},
            )
            for field in ("category_id", "cost_centre_id")
        },
        "createPorf: cost centre": ("POST", "/porfs", {"title": "T", "cost_centre_id": "{cost_centre_id}"}),
        "updatePorf: cost centre": ("PATCH", f"/porfs/{own['id']}", {"cost_centre_id": "{cost_centre_id}"}),
        **{
            f"updateUser: {field}": ("PATCH", f"/users/{world.own.requester.user_id}", {field: f"{{{named_by}}}"})
            for field, named_by in (
                ("team_id", "team_id"),
                ("manager_id", "user_id"),
                ("default_cost_centre_id", "cost_centre_id"),
            )
        },
        "createCostCentre": ("POST", "/cost-centres", {**named("cost_centre", "N"), "parent_id": "{cost_centre_id}"}),
        "createCostCentre: owner": ("POST", "/cost-centres", {**named("cost_centre", "N"), "owner_id": "{user_id}"}),
        "createCategory": ("POST", "/categories", {**named("category", "N"), "parent_id": "{category_id}"}),
        "createTeam": ("POST", "/teams", {"name": "N", "parent_id": "{team_id}"}),
        "createTeam: lead": ("POST", "/teams", {"name": "N", "lead_id": "{user_id}"}),
        "createApprovalGroup": ("POST", "/approval-groups", {"name": "N", "member_ids": ["{user_id}"]}),
        "createApprovalPolicy: from": ("POST", "/approval-policies", {"from": "{policy_id}"}),
        **{
            f"createApprovalPolicy: {name}": ("POST", "/approval-policies", {"rules": [RULE | fields]})
            for name, fields in (
                ("user", {"approvers": [{"kind": "user", "id": "{user_id}"}]}),
                ("group", {"approvers": [{"kind": "group", "id": "{approval_group_id}"}]}),
                ("supplier", {"conditions": {"supplier_ids": ["{supplier_id}"]}}),
                ("team", {"conditions": {"team_ids": ["{team_id}"]}}),
                ("requester", {"conditions": {"requester_ids": ["{approver_id}"]}}),
                ("approver", {"approvers": [{"kind": "user", "id": "{approver_id}"}]}),
                ("fallback", {"on_empty": "group", "on_empty_group_id": "{approval_group_id}"}),
            )
        },
        "simulateApprovalPolicy": (
            "POST",
            f"/approval-policies/{world.own_run['policy_id']}/simulate",
            {"requester_id": "{approver_id}", "lines": [{"quantity": "1", "unit_price": "1"}]},
        ),
        "addPorfApprover": ("POST", f"{pending}/add-approver", {"user_id": "{approver_id}"}),
        "addPorfApprover: draft": ("POST", f"/porfs/{own['id']}/add-approver", {"user_id": "{approver_id}"}),
        "removePorfApprover": ("POST", f"/porfs/{own['id']}/remove-approver", {"user_id": "{approver_id}"}),
        **{
            f"reassignPorfStep: {field}": ("POST", f"{pending}/reassign-step", reassigned | {field: f"{{{named_by}}}"})
            for field, named_by in (("user_id", "approver_id"), ("replaced_id", "approver_id"))
        },
        "putExternalReference": (
            "PUT",
            "/external-references",
            {"entity": "supplier", "entity_id": "{supplier_id}", "system": "sap", "external_id": "1"},
        ),
        "createApprovalDelegation": ("POST", "/approval-delegations", _delegation("{approver_id}")),
        "createApprovalDelegation: delegator": (
            "POST",
            "/approval-delegations",
            _delegation(world.own.buyer.user_id) | {"delegator_id": "{approver_id}"},
        ),
        "reassignPorf": ("POST", f"/porfs/{own['id']}/reassign", {"requester_id": "{user_id}"}),
        "convertPorf: supplier": ("POST", convert, {"supplier_id": "{supplier_id}"}),
        "convertPorf: line": ("POST", convert, {"lines": [{"line_id": "{line_id}"}]}),
        "convertPorf: another line": (
            "POST",
            convert,
            {"lines": [{"line_id": line}, {"line_id": "{line_id}", "quantity": "1"}]},
        ),
        "createPurchaseOrder": ("POST", "/purchase-orders", {"porf_ids": ["{porf_id}"]}),
        "createPurchaseOrder: another": ("POST", "/purchase-orders", {"porf_ids": [approved["id"], "{porf_id}"]}),
        "createPurchaseOrder: line": (
            "POST",
            "/purchase-orders",
            {"porf_ids": [approved["id"]], "lines": [{"line_id": "{line_id}"}]},
        ),
        "createPurchaseOrder: supplier": (
            "POST",
            "/purchase-orders",
            {"porf_ids": [approved["id"]], "supplier_id": "{supplier_id}"},
        ),
    }


def _with_ids(value: Any, ids: dict[str, int]) -> Any:
    if isinstance(value, dict):
        return {name: _with_ids(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_ids(item, ids) for item in value]
    return ids[value.strip("{}")] if isinstance(value, str) and value.startswith("{") else value


async def test_a_foreign_id_in_a_body_is_a_missing_one(world: World) -> None:
    bodies = _bodies(world)
    assert {name.partition(":")[0] for name in bodies} | {"importPorf"} == BY_BODY
    for name, (method, path, template) in bodies.items():
        answers = []
        for ids in (world.ids, dict.fromkeys(world.ids, MISSING)):
            body = _with_ids(template, ids)
            answers.append(_answer(await world.intruder.request(method, path, etag=ANY_VERSION, json=body)))
        assert answers[0] == answers[1], name
        assert answers[0][0] in {404, 409, 422}, (name, answers[0])


async def test_a_foreign_supplier_of_an_imported_request_is_a_missing_one(world: World) -> None:
    answers = []
    for supplier in (world.ids["supplier_id"], MISSING):
        files = {"file": ("lines.csv", b"description,quantity,unit_price\nLamp,1,2\n")}
        data = {"title": "Imported", "supplier_id": str(supplier)}
        answers.append(_answer(await world.intruder.post("/porfs/import", files=files, data=data)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 422


async def test_a_foreign_value_in_a_filter_or_a_search_finds_nothing(world: World) -> None:
    own = world.own
    victim = world.victim
    # Numbers, titles and supplier names are the same in both organisations: only one's own are found.
    (own_lamps,) = (await ok(world.intruder.get("/porfs?q=zanzibar"))).json()["items"]
    assert own_lamps["number"] == world.porf["number"]
    assert own_lamps["id"] != world.porf["id"]
    (own_order,) = (await ok(world.intruder.get("/purchase-orders", params={"number": world.order["number"]}))).json()[
        "items"
    ]
    assert own_order["id"] != world.order["id"]
    (supplier,) = (await ok(world.intruder.get("/suppliers?q=müller"))).json()["items"]
    assert supplier["id"] == own.supplier_id
    nothing = (
        f"/porfs?supplier_id={victim.supplier_id}",
        f"/porfs?requester_id={victim.requester.user_id}",
        f"/purchase-orders?supplier_id={victim.supplier_id}",
        f"/purchase-orders?porf_id={world.porf['id']}",
        f"/purchase-orders?requester_id={victim.requester.user_id}",
        f"/purchase-orders?created_by_id={victim.buyer.user_id}",
        f"/invitations?invited_by_id={victim.admin.user_id}",
        f"/users?email={victim.admin.email}",
        f"/users?q={victim.admin.email}",
        f"/filings?purchase_order_id={world.order['id']}",
        f"/porfs?cost_centre_id={world.ids['cost_centre_id']}",
        f"/porfs?category_id={world.ids['category_id']}",
        f"/purchase-orders?cost_centre_id={world.ids['cost_centre_id']}",
        f"/users?team_id={world.ids['team_id']}",
        f"/users?manager_id={victim.admin.user_id}",
        f"/cost-centres?parent_id={world.ids['cost_centre_id']}",
        f"/approval-groups?member_id={victim.approver.user_id}",
        f"/deliveries?purchase_order_id={world.order['id']}",
        f"/audit-events?entity=porf&entity_id={world.porf['id']}",
        f"/audit-events?actor_id={victim.admin.user_id}",
    )
    for path in nothing:
        assert (await ok(world.intruder.get(path))).json()["items"] == [], path


async def test_lists_contain_no_rows_of_other_organisations(world: World) -> None:
    for path in (
        "/porfs",
        "/purchase-orders",
        "/suppliers",
        "/users",
        "/addresses",
        "/external-references",
        "/invitations",
        "/sessions",
        "/api-keys",
        "/filings",
        "/deliveries",
        "/audit-events",
        "/events",
    ):
        theirs, mine = [(await ok(who.get(path))).json()["items"] for who in (world.victim.admin, world.intruder)]
        assert theirs
        assert mine
        assert not {item["id"] for item in theirs} & {item["id"] for item in mine}, path
    response = await world.intruder.get("/organisations")
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("path", "group_by"),
    [
        ("/porfs", "status"),
        ("/porfs", "supplier_id"),
        ("/porfs", "requester_id"),
        ("/purchase-orders", "status"),
        ("/suppliers", "is_active"),
        ("/users", "is_active"),
        ("/invitations", "status"),
    ],
)
async def test_counts_are_those_of_the_own_list(world: World, path: str, group_by: str) -> None:
    counted = (await ok(world.intruder.get(f"{path}/counts", params={"group_by": group_by}))).json()
    listed = (await ok(world.intruder.get(path, params={"limit": 100}))).json()["items"]
    values = [None if item[group_by] is None else str(item[group_by]).lower() for item in listed]
    assert counted["count"] == len(values)
    assert {group["value"]: group["count"] for group in counted["items"]} == {
        value: values.count(value) for value in values
    }


@pytest.mark.parametrize("path", ["/porfs", "/suppliers", "/users", "/audit-events"])
async def test_a_foreign_cursor_leads_to_ones_own_rows_only(world: World, path: str) -> None:
    admin = world.victim.admin
    if path == "/porfs":
        await world.victim.draft()
    if path == "/suppliers":
        await created(world.victim.buyer.post(path, json={"name": "Second"}))
    cursor = (await ok(admin.get(path, params={"limit": 1}))).json()["next_cursor"]
    assert cursor is not None
    everything = (await ok(world.intruder.get(path))).json()["items"]
    behind = (await ok(world.intruder.get(path, params={"cursor": cursor}))).json()["items"]
    assert {item["id"] for item in behind} <= {item["id"] for item in everything}


async def _deactivated(organisation: TestOrganisation) -> Json:
    """The response to the deactivation of the organisation's only approver."""
    path = f"/users/{organisation.approver.user_id}"
    shown = await ok(organisation.admin.get(path))
    answer: Json = (await ok(organisation.admin.post(f"{path}/deactivate", etag=shown.headers["ETag"]))).json()
    return answer


async def test_a_warning_is_about_ones_own_requests(app: FastAPI, client: httpx.AsyncClient) -> None:
    theirs, own = await new_organisation(app, client), await new_organisation(app, client)
    await theirs.pending()
    assert (await _deactivated(theirs))["warnings"] != []
    assert (await _deactivated(own))["warnings"] == []


async def test_organisations_may_use_the_same_names_and_numbers(world: World) -> None:
    await created(world.victim.buyer.post("/suppliers", json={"name": "Twin Ltd"}))
    await created(world.own.buyer.post("/suppliers", json={"name": "Twin Ltd"}))


# Below the API


async def _says_inactive(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/ready")).json()["row_level_security"] == "inactive"


@pytest.fixture
async def application(app: FastAPI, urls: tuple[str, str]) -> AsyncIterator[asyncpg.Connection | None]:
    """A connection as the application's role; None if that is the owner of the tables."""
    if urls[0] == urls[1]:
        yield None
        return
    connection = await asyncpg.connect(libpq_url(urls[1]))
    yield connection
    await connection.close()


async def _enter(connection: asyncpg.Connection, organisation_id: int) -> None:
    await connection.execute("SELECT enter_tenant($1)", str(organisation_id))


async def test_readiness_reports_whether_row_level_security_is_active(
    client: httpx.AsyncClient, urls: tuple[str, str], app: FastAPI
) -> None:
    response = await client.get("/health/ready")
    assert response.json()["row_level_security"] == ("inactive" if urls[0] == urls[1] else "active")


async def test_both_organisations_have_rows_in_every_table(owner: asyncpg.Connection, world: World) -> None:
    for table in TENANT_TABLES:
        found = await owner.fetch(f"SELECT DISTINCT organisation_id FROM {table.name}")
        tenants = {row["organisation_id"] for row in found}
        assert tenants >= {world.victim.organisation_id, world.own.organisation_id}, table.name


@pytest.mark.parametrize("table", TENANT_TABLES, ids=str)
async def test_a_query_without_a_filter_selects_one_organisation(
    application: asyncpg.Connection | None, client: httpx.AsyncClient, world: World, table: Table
) -> None:
    if application is None:
        await _says_inactive(client)
        return
    own = world.own.organisation_id
    assert await application.fetch(f"SELECT * FROM {table.name}") == []
    async with application.transaction():
        await _enter(application, own)
        rows = await application.fetch(f"SELECT organisation_id FROM {table.name}")
        assert {row["organisation_id"] for row in rows} == {own}
    assert await application.fetch(f"SELECT * FROM {table.name}") == []


@pytest.mark.parametrize("table", TENANT_TABLES, ids=str)
async def test_a_write_cannot_reach_another_organisation(
    application: asyncpg.Connection | None, client: httpx.AsyncClient, world: World, table: Table
) -> None:
    if application is None:
        await _says_inactive(client)
        return
    own, foreign = world.own.organisation_id, world.victim.organisation_id
    columns = ", ".join(column.name for column in table.columns if column.name not in {"organisation_id", "id"})
    refused = [
        f"INSERT INTO {table.name} (organisation_id, {columns}) SELECT {foreign}, {columns} FROM {table.name} LIMIT 1",
        f"UPDATE {table.name} SET organisation_id = {foreign}",
    ]
    harmless = [
        f"UPDATE {table.name} SET organisation_id = organisation_id WHERE organisation_id = {foreign}",
        f"DELETE FROM {table.name} WHERE organisation_id = {foreign}",
    ]
    is_restricted = table.name in APPEND_ONLY or table.name in UPDATABLE
    for statement in refused + (harmless if is_restricted else []):
        # A distributed database refuses some of them for what they are.
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
            await _try(application, own, statement)
    for statement in [] if is_restricted else harmless:
        assert (await _try(application, own, statement)).endswith(" 0")


async def _try(connection: asyncpg.Connection, organisation_id: int, statement: str) -> str:
    """Execute a statement inside the organisation and roll back; returns the number of rows."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await _enter(connection, organisation_id)
        status: str = await connection.execute(statement)
        return status
    finally:
        await transaction.rollback()


async def test_nothing_can_be_written_without_a_tenant(
    application: asyncpg.Connection | None, client: httpx.AsyncClient, world: World
) -> None:
    if application is None:
        await _says_inactive(client)
        return
    organisation_id = world.own.organisation_id
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(
            f"INSERT INTO suppliers (organisation_id, name, name_key) VALUES ({organisation_id}, 'x', 'x')"
        )
    assert await application.execute("UPDATE suppliers SET name = 'x'") == "UPDATE 0"
    assert await application.execute("DELETE FROM porfs") == "DELETE 0"


async def test_search_functions_stay_inside_the_organisation(
    application: asyncpg.Connection | None, client: httpx.AsyncClient, world: World
) -> None:
    if application is None:
        await _says_inactive(client)
        return
    own = world.own.organisation_id
    questions = {"porfs": "zanzibar", "purchase_orders": "müller", "suppliers": "müller"}
    for table, question in questions.items():
        assert await application.fetch(f"SELECT search_{table}($1)", question) == []
        async with application.transaction():
            await _enter(application, own)
            found = await application.fetch(f"SELECT search_{table}($1) AS id", question)
            mine = await application.fetch(f"SELECT id FROM {table}")
            assert {row["id"] for row in found} <= {row["id"] for row in mine}
            assert found


FORBIDDEN = [
    *(f"UPDATE {table} SET organisation_id = organisation_id" for table in sorted(APPEND_ONLY)),
    *(f"DELETE FROM {table}" for table in sorted(APPEND_ONLY)),
    "TRUNCATE porfs",
    "CREATE TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "ALTER TABLE porfs DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE porfs ADD COLUMN mine int",
    "DROP TABLE audit_events",
    "DROP POLICY tenant ON porfs",
    "CREATE POLICY mine ON porfs USING (true)",
    "CREATE FUNCTION search_mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "UPDATE alembic_version SET version_num = '001'",
    "SET ROLE po_owner",
    "SET SESSION AUTHORIZATION po_owner",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_applications_role_cannot(
    application: asyncpg.Connection | None, client: httpx.AsyncClient, world: World, statement: str
) -> None:
    if application is None:
        await _says_inactive(client)
        return
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _try(application, world.own.organisation_id, statement)


async def test_the_applications_role_cannot_switch_row_security_off(
    application: asyncpg.Connection | None, client: httpx.AsyncClient, world: World
) -> None:
    if application is None:
        await _says_inactive(client)
        return
    await application.execute("SET row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.fetch("SELECT * FROM porfs")


COMPOSITE = [
    pytest.param(key, id=str(key.name))
    for table in TENANT_TABLES
    for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    if len(key.column_keys) == 2
]


@pytest.mark.parametrize("key", COMPOSITE)
async def test_not_even_the_owner_can_refer_to_another_organisations_row(
    owner: asyncpg.Connection, world: World, key: ForeignKeyConstraint
) -> None:
    own, foreign = world.own.organisation_id, world.victim.organisation_id
    child, parent, column = key.table.name, key.referred_table.name, key.column_keys[1]
    referred, own_key = key.elements[1].column.name, [*key.table.primary_key.columns][-1].name
    # A delegator is the principal of the decision, which a CHECK compares before any key is looked at.
    is_compared = column == "on_behalf_of_id"
    with pytest.raises(asyncpg.CheckViolationError if is_compared else asyncpg.ForeignKeyViolationError) as caught:
        await owner.execute(
            f"UPDATE {child} SET {column} = (SELECT max({referred}) FROM {parent} WHERE organisation_id = {foreign})"
            f" WHERE organisation_id = {own}"
            f" AND {own_key} = (SELECT {own_key} FROM {child} WHERE organisation_id = {own}"
            f" ORDER BY {column} IS NULL, {own_key} DESC LIMIT 1)"
        )
    # A distributed database says the name in the message only, with the number of a shard; of a long one the beginning.
    assert is_compared or str(key.name)[:40] in str(caught.value)


@pytest.fixture
async def narrow(settings: Settings, app: FastAPI, urls: tuple[str, str]) -> AsyncIterator[FastAPI]:
    """The application with a single connection, which every request has to share."""
    single = settings.model_copy(update={"db_pool_size": 1, "db_max_overflow": 0})
    made = create_app(single, Connections(*urls, app.state.secret_key))
    yield made
    await made.state.database.dispose()


async def test_a_pooled_connection_does_not_carry_the_tenant_to_the_next_request(narrow: FastAPI, world: World) -> None:
    members = (world.victim.admin, world.own.admin)
    expected = [{item["id"] for item in (await ok(who.get("/porfs"))).json()["items"]} for who in members]
    transport = httpx.ASGITransport(narrow, raise_app_exceptions=False)

    async def asked(client: httpx.AsyncClient, turn: int) -> bool:
        who = turn % 2
        headers = {"Authorization": f"Bearer {members[who].token}"}
        if turn % 5 == 4:  # a request that fails midway gives its connection back, too
            path = f"/api/v1/porfs/{world.porf['id']}/recall"
            response = await client.post(path, headers=headers | {"If-Match": "*"})
            return response.status_code in {403, 404, 409}
        items = (await client.get("/api/v1/porfs", headers=headers)).json()["items"]
        return {item["id"] for item in items} == expected[who]

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert all(await asyncio.gather(*(asked(client, turn) for turn in range(60))))
    async with narrow.state.database.engine.connect() as connection:
        assert await connection.scalar(text(f"SELECT current_setting('{TENANT_SETTING}', true)")) in (None, "")


async def test_a_cancelled_request_leaves_no_tenant_behind(narrow: FastAPI, world: World) -> None:
    transport = httpx.ASGITransport(narrow, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {world.victim.admin.token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for steps in range(0, 60, 3):
            request = asyncio.create_task(client.get("/api/v1/porfs", headers=headers))
            for _ in range(steps):
                await asyncio.sleep(0)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            async with narrow.state.database.engine.connect() as connection:
                assert await connection.scalar(text(f"SELECT current_setting('{TENANT_SETTING}', true)")) in (None, "")
    assert narrow.state.database.engine.pool.checkedout() == 0


async def test_acting_on_ones_own_still_works(world: World) -> None:
    """Without this, the matrix would also pass if no operation worked."""
    draft = await created(world.intruder.post("/porfs", json={"title": "Own", "lines": [LINE]}))
    assert (await act(world.intruder, draft, "submit")).json()["status"] == "pending"
