"""API keys: created and revoked by users, used by scripts within their scopes, including the main job."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from po_api.api_keys.models import ApiKey
from po_api.audit.events import AuditEvent
from po_api.core.clock import utc_now
from po_api.core.permissions import Role, Scope
from po_api.db.database import enter_tenant
from support.organisations import LINE, Member, Tenant, TestOrganisation, created, ok, refused
from support.statements import plan_of, sent_to

EVERYTHING = sorted(Scope)


async def _made(member: Member, *scopes: str, **body: Any) -> dict[str, Any]:
    """A new key of the member."""
    body = {"name": "Script", "scopes": list(scopes) or EVERYTHING} | body
    key: dict[str, Any] = (await created(member.post("/api-keys", json=body))).json()
    return key


def _script(member: Member, key: dict[str, Any]) -> Member:
    """The member, acting by the key."""
    return Member(member.client, member.user_id, member.email, key["key"])


async def _change(tenant: Tenant, key_id: int, **values: Any) -> None:
    """Change the row of a key, to simulate the passage of time."""
    async with tenant.database.sessions.begin() as session:
        await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(**values))


async def test_a_key_is_shown_once_and_stored_as_a_digest(tenant: Tenant) -> None:
    member = await tenant.member()
    response = await created(member.post("/api-keys", json={"name": "ERP", "scopes": ["porfs:write", "porfs:read"]}))
    made = response.json()
    assert response.headers["Location"] == f"/api/v1/api-keys/{made['id']}"
    assert made["key"].startswith(made["prefix"])
    assert made["scopes"] == ["porfs:read", "porfs:write"]
    shown = (await ok(member.get(f"/api-keys/{made['id']}"))).json()
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert (await ok(member.get("/api-keys"))).json()["items"] == [shown]
    async with tenant.database.sessions() as session:
        stored = await session.scalar(select(ApiKey.token).where(ApiKey.id == made["id"]))
    assert stored is not None
    assert len(stored) == 64
    assert stored not in made["key"]


@pytest.mark.heavy
async def test_scripts_run_the_main_job(organisation: TestOrganisation) -> None:
    requester = _script(organisation.requester, await _made(organisation.requester, "porfs:write"))
    approver = _script(organisation.approver, await _made(organisation.approver, "porfs:read", "porfs:approve"))
    buyer = _script(
        organisation.buyer,
        await _made(organisation.buyer, "porfs:read", "purchase_orders:write", "purchase_orders:read"),
    )
    key = {"Idempotency-Key": "once"}
    body = {"title": "Lamps", "supplier_id": organisation.supplier_id, "lines": [LINE]}
    draft = await created(requester.post("/porfs", json=body, headers=key))
    again = await created(requester.post("/porfs", json=body, headers=key))
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (draft.json()["id"], "true")
    path = f"/porfs/{draft.json()['id']}"
    await ok(requester.post(f"{path}/submit", etag=draft.headers["ETag"]))
    (waiting,) = (await ok(approver.get("/porfs?waiting_for_me=true"))).json()["items"]
    pending = await ok(approver.get(f"/porfs/{waiting['id']}"))
    approved = await ok(approver.post(f"{path}/approve", etag=pending.headers["ETag"]))
    order = await created(buyer.post(f"{path}/purchase-orders", etag=approved.headers["ETag"], json={}))
    order_path = f"/purchase-orders/{order.json()['id']}"
    await ok(buyer.post(f"{order_path}/issue", etag=order.headers["ETag"]))
    assert (await ok(buyer.get(f"{order_path}/document.pdf"))).content.startswith(b"%PDF")
    history = (await ok(buyer.get(f"{path}/history"))).json()["items"]
    assert {item["actor_id"] for item in history} == {
        organisation.requester.user_id,
        organisation.approver.user_id,
        organisation.buyer.user_id,
    }


async def test_a_key_is_limited_to_its_scopes(organisation: TestOrganisation) -> None:
    script = _script(organisation.admin, await _made(organisation.admin, "porfs:read"))
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    await ok(script.get(path))
    await refused(script.post("/porfs", json={"title": "x"}), 403, "missing_scope")
    await refused(script.post(f"{path}/submit", etag="*"), 403, "missing_scope")
    await refused(script.get("/users"), 403, "missing_scope")
    await refused(script.get("/purchase-orders"), 403, "missing_scope")


async def test_reading_members_requires_the_scope_users_read_everywhere(organisation: TestOrganisation) -> None:
    path = f"/organisations/{organisation.organisation_id}"
    for scopes, status in ((["organisations:read"], 403), (["organisations:read", "users:read"], 200)):
        script = _script(organisation.admin, await _made(organisation.admin, *scopes))
        await ok(script.get(path))
        await ok(script.get(f"{path}?include=users"), status)


async def test_a_key_is_limited_to_its_users_roles(organisation: TestOrganisation) -> None:
    script = _script(organisation.auditor, await _made(organisation.auditor))
    await ok(script.get("/porfs"))
    await refused(script.post("/porfs", json={"title": "x"}), 403, "missing_role")
    await refused(script.get("/organisations"), 403, "operators_only")


async def test_a_key_follows_its_users_roles_at_once(tenant: Tenant) -> None:
    admin, member = await tenant.member(Role.ADMIN), await tenant.member()
    script = _script(member, await _made(member))
    await refused(script.post("/suppliers", json={"name": "Mine"}), 403, "missing_role")
    await ok(admin.patch(f"/users/{member.user_id}", etag="*", json={"roles": ["buyer"]}))
    await created(script.post("/suppliers", json={"name": "Mine"}))


async def test_allowed_actions_name_the_missing_scope(organisation: TestOrganisation) -> None:
    """A representation lists the caller's allowed actions, with the code that an action would return."""
    pending = await organisation.pending()
    script = _script(organisation.approver, await _made(organisation.approver, "porfs:read", "porfs:write"))
    path = f"/porfs/{pending.json()['id']}"
    shown = (await ok(script.get(path))).json()["allowed_actions"]
    assert shown["approve"] == {"allowed": False, "reason": "missing_scope"}
    await refused(script.post(f"{path}/approve", etag="*"), 403, "missing_scope")
    assert (await ok(organisation.approver.get(path))).json()["allowed_actions"]["approve"]["allowed"]


async def test_keys_and_sessions_cannot_be_managed_with_a_key(tenant: Tenant) -> None:
    member = await tenant.member(*Role)
    made = await _made(member)
    script = _script(member, made)
    for method, path in (
        ("GET", "/api-keys"),
        ("GET", f"/api-keys/{made['id']}"),
        ("DELETE", f"/api-keys/{made['id']}"),
        ("POST", f"/api-keys/{made['id']}/rotate"),
        ("GET", "/sessions"),
        ("GET", "/sessions/current"),
        ("DELETE", "/sessions/current"),
        ("DELETE", "/sessions"),
    ):
        await refused(script.request(method, path), 403, "key_not_accepted")
    body = {"name": "Another", "scopes": EVERYTHING}
    await refused(script.post("/api-keys", json=body), 403, "key_not_accepted")


async def test_a_key_is_ended_at_once(tenant: Tenant) -> None:
    member = await tenant.member()
    made = await _made(member)
    script = _script(member, made)
    await ok(script.get("/porfs"))
    await ok(member.delete(f"/api-keys/{made['id']}"), 204)
    await refused(script.get("/porfs"), 401, "unauthenticated")
    await refused(member.get(f"/api-keys/{made['id']}"), 404, "api_key_not_found")
    await refused(member.delete(f"/api-keys/{made['id']}"), 404, "api_key_not_found")
    assert (await ok(member.get("/api-keys"))).json()["items"] == []


async def test_a_key_expires(tenant: Tenant) -> None:
    member = await tenant.member()
    made = await _made(member, expires_in_days=1)
    await _change(tenant, made["id"], expires_at=utc_now())
    await refused(_script(member, made).get("/porfs"), 401, "unauthenticated")
    assert (await ok(member.get("/api-keys"))).json()["items"] == []


async def test_a_key_of_a_deactivated_user_is_ended_for_good(tenant: Tenant) -> None:
    admin, member = await tenant.member(Role.ADMIN), await tenant.member()
    script = _script(member, await _made(member))
    await ok(admin.post(f"/users/{member.user_id}/deactivate", etag="*"))
    await refused(script.get("/porfs"), 401, "unauthenticated")
    await ok(admin.post(f"/users/{member.user_id}/activate", etag="*"))
    await refused(script.get("/porfs"), 401, "unauthenticated")


async def test_rotation_lets_both_keys_work_for_the_overlap(tenant: Tenant) -> None:
    member = await tenant.member()
    old = await _made(member, "porfs:read", expires_in_days=30)
    path = f"/api-keys/{old['id']}/rotate"
    new = (await created(member.post(path, json={"overlap_seconds": 3600}))).json()
    assert (new["name"], new["scopes"]) == (old["name"], old["scopes"])
    for key in (old, new):
        await ok(_script(member, key).get("/porfs"))
    shown = {item["id"]: item for item in (await ok(member.get("/api-keys"))).json()["items"]}
    assert shown[old["id"]]["expires_at"] < shown[new["id"]]["expires_at"]
    await _change(tenant, old["id"], expires_at=utc_now())
    await refused(_script(member, old).get("/porfs"), 401, "unauthenticated")
    await ok(_script(member, new).get("/porfs"))


async def test_a_rotation_without_overlap_ends_the_old_key(tenant: Tenant) -> None:
    member = await tenant.member()
    old = await _made(member)
    path = f"/api-keys/{old['id']}/rotate"
    new = (await created(member.post(path, json={"overlap_seconds": 0, "expires_in_days": 30}))).json()
    await refused(_script(member, old).get("/porfs"), 401, "unauthenticated")
    await refused(member.post(path), 404, "api_key_not_found")
    async with tenant.database.sessions() as session:
        row = await session.get(ApiKey, new["id"])
    assert row is not None
    assert row.expires_at - row.created_at == timedelta(days=30)


async def test_an_admin_sees_and_ends_members_keys_but_gets_none_of_them(tenant: Tenant) -> None:
    admin, member, bystander = await tenant.member(Role.ADMIN), await tenant.member(), await tenant.member()
    made = await _made(member)
    path = f"/api-keys/{made['id']}"
    assert [item["user_id"] for item in (await ok(admin.get("/api-keys"))).json()["items"]] == [member.user_id]
    await refused(bystander.get(path), 404, "api_key_not_found")
    await refused(bystander.delete(path), 404, "api_key_not_found")
    await refused(admin.post(f"{path}/rotate"), 404, "api_key_not_found")
    await ok(_script(member, made).get("/porfs"))
    await ok(admin.delete(path), 204)
    await refused(_script(member, made).get("/porfs"), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\x07b"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": ["porfs:read"] * 99}, "/scopes"),
        ({"expires_in_days": 0}, "/expires_in_days"),
        ({"expires_in_days": 367}, "/expires_in_days"),
        ({"expires_in_days": "30"}, "/expires_in_days"),
        ({"expires_in_days": None}, "/expires_in_days"),
        ({"user_id": 1}, ""),
    ],
)
async def test_a_wrong_field_is_pointed_at(tenant: Tenant, change: dict[str, Any], pointer: str) -> None:
    member = await tenant.member()
    body = {"name": "Script", "scopes": ["porfs:read"]} | change
    problem = await refused(member.post("/api-keys", json=body), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("overlap", [-1, 604_801, "1", 1.5, None])
async def test_a_wrong_overlap_is_refused(tenant: Tenant, overlap: Any) -> None:
    member = await tenant.member()
    made = await _made(member)
    pending = member.post(f"/api-keys/{made['id']}/rotate", json={"overlap_seconds": overlap})
    await refused(pending, 422, "validation_failed")


async def test_a_mistyped_or_foreign_key_is_refused(tenant: Tenant) -> None:
    member = await tenant.member()
    first, second = (await _made(member))["key"], (await _made(member))["key"]
    mixed = second[: second.rindex("_")] + first[first.rindex("_") :]
    for key in (first[:-1], first + "x", first.swapcase(), mixed, "po_", "po_1_x", "po_" + "9" * 4000):
        await refused(Member(member.client, 0, "", key).get("/porfs"), 401, "unauthenticated")


async def test_last_use_is_noted_once_a_minute(tenant: Tenant) -> None:
    member = await tenant.member()
    made = await _made(member)
    assert made["last_used_at"] is None
    script = _script(member, made)
    path = f"/api-keys/{made['id']}"
    await ok(script.get("/porfs"))
    first = (await ok(member.get(path))).json()["last_used_at"]
    await ok(script.get("/porfs"))
    assert (await ok(member.get(path))).json()["last_used_at"] == first is not None
    await _change(tenant, made["id"], last_used_at=utc_now() - timedelta(seconds=61))
    await ok(script.get("/porfs"))
    assert (await ok(member.get(path))).json()["last_used_at"] > first


async def test_the_check_is_one_query_on_indexes(tenant: Tenant) -> None:
    member = await tenant.member()
    made = await _made(member)
    await ok(_script(member, made).get("/porfs"))
    async with sent_to(tenant.database) as sent:
        await ok(_script(member, made).get("/state-machines/porf"))
    (check,) = sent
    plan = await plan_of(tenant.database, check)
    assert "Seq Scan" not in plan
    assert "pk_users" in plan


async def test_changes_of_keys_are_audited(tenant: Tenant) -> None:
    member = await tenant.member()
    made = await _made(member)
    new = (await created(member.post(f"/api-keys/{made['id']}/rotate"))).json()
    await ok(member.delete(f"/api-keys/{new['id']}"), 204)
    async with tenant.database.sessions() as session:
        await enter_tenant(session, tenant.organisation_id)
        events = await session.scalars(select(AuditEvent).where(AuditEvent.entity == "api_key").order_by(AuditEvent.id))
        found = [(event.action, event.entity_id, str(event.after)) for event in events]
    assert [(action, key_id) for action, key_id, _ in found] == [
        ("api_key.create", made["id"]),
        ("api_key.rotate", made["id"]),
        ("api_key.revoke", new["id"]),
    ]
    assert not any(secret in after for _, _, after in found for secret in (made["key"], new["key"]))


async def test_a_user_without_an_organisation_may_have_keys(stranger: Member) -> None:
    made = await _made(stranger, "users:read")
    script = _script(stranger, made)
    assert (await ok(script.get("/users/me"))).json()["id"] == stranger.user_id
    await refused(script.get("/users"), 403, "no_organisation")


async def test_keys_are_paged(tenant: Tenant) -> None:
    member = await tenant.member()
    ids = [(await _made(member, "porfs:read"))["id"] for _ in range(3)]
    first = await ok(member.get("/api-keys", params={"limit": 2}))
    rest = await ok(member.get("/api-keys", params={"limit": 2, "cursor": first.json()["next_cursor"]}))
    assert [item["id"] for page in (first, rest) for item in page.json()["items"]] == ids[::-1]
