"""Mass assignment: every column and every field of representations is tried in every body that does not document it."""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Table

from po_api.core.permissions import Role, Scope
from po_api.db.database import libpq_url
from po_api.tables import metadata
from po_api.users.models import User
from support.identity_provider import Provider, authorized
from support.operations import SIGNING_IN, UPLOADS, operations
from support.organisations import LINE, PREFIX, Member, created, new_tenant, ok, refused
from support.security_matrix import Ids, World, new_world, outcome
from support.sign_in import (
    BY_TOKEN,
    FRONT_END,
    VERIFIER,
    bearing,
    come_back,
    exchange,
    sign_in,
    there_and_back,
    told,
)

Json = dict[str, Any]
Send = Callable[[Json], Awaitable[httpx.Response]]

COLUMNS = {column.name for table in metadata.sorted_tables for column in table.columns}

# The most sensitive fields, each tried separately.
TEMPTING: Json = {
    "id": 1,
    "organisation_id": 1,
    "user_id": 1,
    "requester_id": 1,
    "is_admin": True,
    "is_operator": True,
    "is_active": True,
    "roles": ["admin"],
    "role": "admin",
    "scopes": ["users:write"],
    "approval_limit": None,
    "status": "approved",
    "number": "PORF-2026-000001",
    "version": 99,
    "token": "0" * 64,
    "expires_at": "2099-01-01T00:00:00Z",
    "__proto__": {},
}

# The bodies that may hold what decides who may do what, or whose something is.
WALLS = {
    "roles": {"createInvitation", "updateUser"},
    "approval_limit": {"createInvitation", "updateUser"},
    "email": {
        *("createInvitation", "createSupplier", "updateSupplier"),
        *("addSupplierContact", "updateSupplierContact"),
    },
    "entity_id": {"putExternalReference"},
    "is_default": {"createAddress", "updateAddress"},
    "kind": {"createAddress"},
    "before": {"readAllNotifications"},
    "purpose": {"addSupplierContact", "updateSupplierContact"},
    "scopes": {"createApiKey"},
    "requester_id": {"reassignPorf"},
    "step_id": {"approvePorf", "rejectPorf", "returnPorf", "removePorfApprover", "reassignPorfStep"},
    "replaced_id": {"reassignPorfStep"},
    "user_id": {"addPorfApprover", "reassignPorfStep"},
    "allow_self_approval": {"createOrganisation", "updateCurrentOrganisation"},
    "allow_override": {"createOrganisation", "updateCurrentOrganisation"},
    "over_order_percent": {"createOrganisation", "updateCurrentOrganisation"},
    "team_id": {"updateUser"},
    "manager_id": {"updateUser"},
    "default_cost_centre_id": {"updateUser"},
    "owner_id": {"createCostCentre", "updateCostCentre"},
    **{name: {"createApprovalDelegation"} for name in ("delegator_id", "delegate_id", "starts_at", "ends_at")},
    "lead_id": {"createTeam", "updateTeam"},
    "member_ids": {"createApprovalGroup", "updateApprovalGroup"},
    "parent_id": {
        *("createCostCentre", "updateCostCentre", "createCategory", "updateCategory"),
        *("createTeam", "updateTeam"),
    },
    "code_key": set(),
    "nonce": {"createSession"},
    "return_to": {"startTokenSignIn"},
    "code_challenge": {"startTokenSignIn"},
    "code": {"exchangeSignInCode", "createCostCentre", "createCategory"},
    "code_verifier": {"exchangeSignInCode"},
    # Only compared with the amounts that the server computes.
    "total": {"createPorf"},
    "net": {"createPorf", "addPorfLine"},
}
# Columns with free text that no rule depends on.
CONTENT = set(
    """
    accent_colour address buyer_reference city comment company_id company_scheme contact contact_email contact_name
    contact_phone country default_terms endpoint_id endpoint_scheme entity external_id footer_lines incoterms
    incoterms_place language legal_name lines paper payment_days payment_terms phone postal_code region street street2
    category_id cost_centre_id delivery_address_id tax_category tax_exemption_reason
    system vat_id cost_centre currency delivery_address description discount_percent justification name needed_by
    po_prefix porf_prefix quantity reason sku supplier_id tax_id tax_rate tax_rounding terms text timezone title unit
    unit_price workspace_folder_id
    """.split()
)
# Columns about the caller that every request may write.
VOLATILE = ["last_seen_at", "last_used_at", "ip_address", "user_agent"]

# Every operation that takes JSON.
JSON_BODIES = set(
    """
    createApiKey rotateApiKey createInvitation acceptInvitation updateUser createOrganisation
    updateCurrentOrganisation createSupplier updateSupplier
    addSupplierContact updateSupplierContact createAddress updateAddress putExternalReference
    createCostCentre updateCostCentre createCategory updateCategory createTeam updateTeam
    createApprovalGroup updateApprovalGroup createApprovalDelegation
    createApprovalPolicy updateApprovalPolicy addApprovalRule updateApprovalRule simulateApprovalPolicy
    createPorf updatePorf addPorfLine updatePorfLine
    addPorfComment updatePorfComment addPurchaseOrderComment updatePurchaseOrderComment submitPorf
    recallPorf returnPorf approvePorf rejectPorf revisePorf cancelPorf reopenPorf
    closePorf reassignPorf overridePorf addPorfApprover removePorfApprover reassignPorfStep
    convertPorf createPurchaseOrder updatePurchaseOrder updatePurchaseOrderLine
    issuePurchaseOrder deliverPurchaseOrder readAllNotifications updateNotificationPreferences
    cancelPurchaseOrder createWebhookEndpoint updateWebhookEndpoint rotateWebhookSecret
    closePurchaseOrder putExchangeRate startTokenSignIn exchangeSignInCode createSession refreshSession
    """.split()
)
# Operations without a body, to which one is sent.
WITHOUT_BODY = {
    "copyPorf",
    "retryDelivery",
    "cancelDelivery",
    "revokeApprovalDelegation",
    "markDeliveryBounced",
    "deactivateUser",
    "activateUser",
    "leaveOrganisation",
    "revokeInvitation",
    "declineInvitation",
    "checkFiling",
    "retryFiling",
    "readNotification",
    "deactivateSupplier",
    "activateSupplier",
    "deactivateSupplierContact",
    "activateSupplierContact",
    "deactivateAddress",
    "activateAddress",
    "deactivateCostCentre",
    "activateCostCentre",
    "deactivateCategory",
    "activateCategory",
    "deactivateTeam",
    "activateTeam",
    "deactivateApprovalGroup",
    "activateApprovalGroup",
    "publishApprovalPolicy",
    "retireApprovalPolicy",
    "testWebhookEndpoint",
    "replayWebhookEvents",
    "retryWebhookDelivery",
}


def _schema_of(operation: Json) -> str:
    """The name of the JSON body's schema; empty if there is none."""
    content = operation.get("requestBody", {}).get("content", {})
    found = [part["schema"]["$ref"].rpartition("/")[2] for name, part in content.items() if "json" in name]
    return found[0] if found else ""


def _places(schemas: Json, name: str, pointer: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each object in a body, by its pointer (the first of a list), and the fields that it is documented to have."""
    yield pointer, set(schemas[name]["properties"])
    for field, schema in schemas[name]["properties"].items():
        reference = schema.get("items", {}).get("$ref", "")
        if "properties" in schemas.get(reference.rpartition("/")[2], {}):
            yield from _places(schemas, reference.rpartition("/")[2], f"{pointer}/{field}/0")


@pytest.fixture(scope="module")
def schemas(app: FastAPI) -> Json:
    found: Json = app.openapi()["components"]["schemas"]
    return found


@pytest.fixture(scope="module")
def bodies(app: FastAPI) -> dict[str, str]:
    """The name of the JSON body's schema, by operation."""
    found = {operation["operationId"]: _schema_of(operation) for _, _, operation in operations(app)}
    return {name: schema for name, schema in found.items() if schema}


@pytest.fixture(scope="module")
def names(schemas: Json) -> set[str]:
    """Every column and every field of every representation."""
    return COLUMNS | {name for schema in schemas.values() for name in schema.get("properties", {})}


@pytest.fixture(scope="module")
async def world(app: FastAPI, client: httpx.AsyncClient) -> World:
    return await new_world(app, client)


@pytest.fixture(scope="module")
async def owner(app: FastAPI, urls: tuple[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables sees all rows."""
    connection = await asyncpg.connect(libpq_url(urls[0]))
    yield connection
    await connection.close()


_MEMBERS = "(SELECT user_id FROM members WHERE organisation_id = $1)"
_CONDITIONS = {
    "organisations": "id = $1",
    "rotated_tokens": f"session_id IN (SELECT id FROM sessions WHERE user_id IN {_MEMBERS})",
}


def _condition(table: Table) -> str | None:
    if "organisation_id" in table.columns:
        return "organisation_id = $1"
    return _CONDITIONS.get(table.name) or (f"user_id IN {_MEMBERS}" if "user_id" in table.columns else None)


_SNAPSHOT = " UNION ALL ".join(
    f"SELECT '{table.name}' AS kind, md5((to_jsonb(t) - $2::text[])::text) AS content FROM {table.name} t WHERE {where}"
    for table in metadata.sorted_tables
    if (where := _condition(table)) is not None
)


async def _everything(owner: asyncpg.Connection, world: World) -> list[tuple[str, str]]:
    """All rows of the world's organisation, without the times and addresses of last use."""
    rows = await owner.fetch(_SNAPSHOT, world.organisation.organisation_id, VOLATILE)
    return sorted((row["kind"], row["content"]) for row in rows)


async def test_every_write_is_tried(app: FastAPI, bodies: dict[str, str]) -> None:
    # That of suppliers, who have no session, is tried in tests/deliveries/test_supplier_links.py.
    assert bodies.keys() == JSON_BODIES | {"viewLinkedOrder"}
    bodiless = {item["operationId"] for method, _, item in operations(app) if method in {"POST", "PATCH", "PUT"}}
    assert bodiless - bodies.keys() == WITHOUT_BODY | UPLOADS | {"importExchangeRates", "importPorf", "setLogo"}


def _with(body: Json, pointer: str, extras: Mapping[str, Any]) -> Json:
    """A copy of the body with more fields in the object at `pointer`."""
    changed = copy.deepcopy(body)
    place: Any = changed
    for part in pointer.split("/")[1:]:
        place = place[int(part) if part.isdigit() else part]
    place.update(extras)
    return changed


async def _refuses_more(send: Send, body: Json, places: Iterable[tuple[str, set[str]]], names: set[str]) -> None:
    """Send all fields together, each of which must be refused, and the most sensitive ones separately."""
    for pointer, documented in places:
        extras = dict.fromkeys(names - documented, 1)
        alone = [{field: value} for field, value in TEMPTING.items() if field not in documented]
        for more in (extras, *alone):
            problem = await refused(send(_with(body, pointer, more)), 422, "validation_failed")
            found = [(error["pointer"], error["code"], error["location"]) for error in problem["errors"]]
            assert found == [(pointer, "unknown_field", "body")] * len(more), more


def _sender(world: World, who: Member, name: str, ids: Ids) -> Send:
    method, path, options = world.request(name, ids)

    def send(body: Json) -> Awaitable[httpx.Response]:
        return who.request(method, path, **options | {"json": body})

    return send


def _full_body(world: World, name: str, ids: Ids) -> Json:
    """A body that is accepted, with something in each of its lists."""
    body = world.body(name, ids) or {}
    lines = {"createPorf": [LINE], "convertPorf": [{"line_id": ids.get("line_id")}]}
    lines["simulateApprovalPolicy"] = [{"quantity": "1", "unit_price": "1"}]
    lines["createPurchaseOrder"] = lines["convertPorf"]
    return body | ({"lines": lines[name]} if name in lines else {})


@pytest.mark.parametrize("name", sorted(JSON_BODIES - SIGNING_IN))
async def test_a_field_that_is_not_documented_is_refused_and_nothing_is_changed(
    world: World, owner: asyncpg.Connection, schemas: Json, bodies: dict[str, str], names: set[str], name: str
) -> None:
    who = await world.newcomer("stranger") if name == "createOrganisation" else world.all_roles
    ids = await world.possible(name)
    send, body = _sender(world, who, name, ids), _full_body(world, name, ids)
    before = await _everything(owner, world)
    await _refuses_more(send, body, _places(schemas, bodies[name]), names)
    assert await _everything(owner, world) == before
    # It was nothing but those fields.
    assert outcome(await send(body)) == "yes"


async def _body_of_sign_in(name: str, browser: httpx.AsyncClient, provider: Provider) -> Json:
    if name == "startTokenSignIn":
        return {"return_to": f"{FRONT_END}/app", **BY_TOKEN}
    if name == "createSession":
        return {"id_token": provider.id_token()}
    if name == "exchangeSignInCode":
        return {"code": told(await there_and_back(browser))["sign_in_code"], "code_verifier": VERIFIER}
    return {"refresh_token": (await sign_in(browser))["refresh_token"]}


@pytest.mark.parametrize("name", sorted(JSON_BODIES & SIGNING_IN))
async def test_signing_in_takes_no_more_than_is_documented(
    world: World,
    browser: httpx.AsyncClient,
    provider: Provider,
    schemas: Json,
    bodies: dict[str, str],
    names: set[str],
    name: str,
) -> None:
    path = world.routes[name].path.removeprefix(PREFIX)
    provider.be((await world.newcomer("requester")).email)
    body = await _body_of_sign_in(name, browser, provider)
    browser.headers["Origin"] = FRONT_END
    await _refuses_more(lambda sent: browser.post(path, json=sent), body, _places(schemas, bodies[name]), names)
    # No code, no token and no user was used up on the way.
    answer = (await browser.post(path, json=body)).json()
    if name == "startTokenSignIn":
        arrived = await come_back(browser, await authorized(answer["authorization_url"]))
        answer = (await created(exchange(browser, told(arrived)["sign_in_code"]))).json()
    me = await ok(browser.get("/users/me", headers=bearing(answer)))
    assert (me.json()["roles"], me.json()["is_operator"]) == (["requester"], False)


async def test_a_form_takes_nothing_that_is_not_documented(world: World, names: set[str], schemas: Json) -> None:
    documented = set(schemas["ImportPorfBody"]["properties"])
    method, path, options = world.request("importPorf", {})
    more = dict.fromkeys(names - documented, "1") | {"status": "approved", "number": "PORF-1", "currency[]": "EUR"}
    tried = world.all_roles.request(method, path, **options | {"data": options["data"] | more})
    problem = await refused(tried, 422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("", "unknown_field")] * len(more)
    await created(world.all_roles.request(method, path, **options))


def _lasting(response: httpx.Response) -> Json:
    """The representation of a new request, without the fields that differ for each."""
    shown: Json = response.json()
    lines = [{name: value for name, value in line.items() if name != "id"} for line in shown["lines"]]
    passing = {"id", "number", "created_at", "updated_at"}
    return {name: value for name, value in shown.items() if name not in passing} | {"lines": lines}


@pytest.mark.parametrize("name", sorted(WITHOUT_BODY))
async def test_where_no_body_is_documented_none_has_an_effect(
    world: World, owner: asyncpg.Connection, names: set[str], name: str
) -> None:
    method, path, options = world.request(name, await world.possible(name))
    # The session is used for the first time before, which is recorded even if a dry run is rolled back.
    await ok(world.all_roles.get("/sessions/current"))
    before = await _everything(owner, world)
    for body in (dict.fromkeys(names, 1), TEMPTING):
        answers = [await world.all_roles.request(method, path, **options | more) for more in ({}, {"json": body})]
        assert [outcome(answer) for answer in answers] == ["yes", "yes"]
        comparable = {"copyPorf": _lasting, "testWebhookEndpoint": _ping}.get(name, _still)
        plain, tried = map(comparable, answers)
        assert tried == plain
    assert await _everything(owner, world) == before


def _ping(response: httpx.Response) -> Json:
    """The representation of a new delivery of a ping, without what differs for each."""
    return {name: response.json()[name] for name in ("type", "status", "attempts", "number")}


def _still(response: httpx.Response) -> Json:
    shown: Json = response.json() if response.content else {}
    return {name: value for name, value in shown.items() if not name.endswith("_at")}


# Documented fields that must not be moved across a wall


async def _unmoved(world: World, member: Member) -> Json:
    """A member as the admin sees them."""
    shown: Json = (await ok(world.organisation.admin.get(f"/users/{member.user_id}"))).json()
    return shown


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_admins_grant_rights(world: World, role: Role) -> None:
    member = world.callers[role]
    for target in (member, world.other):
        before = await _unmoved(world, target)
        for rights in ({"roles": ["admin"]}, {"roles": [role]}, {"approval_limit": None}, {"approval_limit": "1"}):
            for body in (rights, rights | {"name": "Mallory"}):
                changing = member.patch(f"/users/{target.user_id}", etag="*", json=body)
                await refused(changing, 403, "missing_role")
        assert await _unmoved(world, target) == before


async def test_a_key_gives_no_rights_that_its_user_could_not_give(world: World) -> None:
    key = await world.new_key(world.organisation.requester, *Scope)
    for body in ({"roles": ["admin"]}, {"approval_limit": None}):
        await refused(key.patch(f"/users/{key.user_id}", etag="*", json=body), 403, "missing_role")


async def test_an_invitation_moves_nobody(world: World) -> None:
    """Neither a member of another organisation nor an operator nor a deactivated user, whatever it says."""
    admin = world.organisation.admin
    elsewhere = await new_tenant(world.app, world.organisation.client)
    member = await elsewhere.member(Role.ADMIN)
    operator, ended = await world.newcomer("operator"), await world.newcomer("stranger")
    await world.alter(User, User.id, ended.user_id, is_active=False)
    for target in (member, operator, ended):
        await created(admin.post("/invitations", json={"email": target.email.upper(), "roles": ["auditor"]}))
    shown = (await ok(member.get("/users/me"))).json()
    assert (shown["organisation_id"], shown["roles"]) == (elsewhere.organisation_id, ["admin"])
    assert (await ok(operator.get("/users/me"))).json()["organisation_id"] is None
    await refused(ended.get("/users/me"), 401, "unauthenticated")


async def test_a_successor_of_a_key_has_its_scopes_and_its_owner(world: World) -> None:
    key = await world.new_key(world.all_roles, Scope.PORFS_READ)
    shown = (await created(world.all_roles.post(f"/api-keys/{key.token.split('_')[1]}/rotate", json={}))).json()
    assert (shown["scopes"], shown["user_id"]) == (["porfs:read"], world.all_roles.user_id)


async def test_amounts_of_clients_are_compared_and_not_stored(world: World) -> None:
    draft = await world.thing("draft", world.all_roles)
    line = LINE | {"net": "1.00"}
    for path, body in (
        ("/porfs", {"title": "Lamps", "lines": [LINE], "total": "1.00"}),
        ("/porfs", {"title": "Lamps", "lines": [line]}),
        (f"/porfs/{draft['porf_id']}/lines", line),
    ):
        await refused(world.all_roles.post(path, etag="*", json=body), 422, "total_mismatch")
