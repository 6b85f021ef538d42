"""The history of each entity: its readers, and what each of them sees."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from po_api.core.permissions import Role
from support.organisations import LINE, Member, TestOrganisation, act, created, ok, perform, refused
from support.pages import all_items

ROLES = ("requester", "approver", "buyer", "admin", "auditor")


async def _history(reader: Member, path: str) -> list[dict[str, Any]]:
    return await all_items(reader, f"{path}/history")


def _changes(events: list[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    return [(event["action"], event["before"], event["after"]) for event in events]


async def _patch(member: Member, path: str, **values: Any) -> httpx.Response:
    return await ok(member.patch(path, etag="*", json=values))


# Purchase orders


async def test_the_history_of_an_order_has_the_comments_on_its_actions(organisation: TestOrganisation) -> None:
    cancelled, closed = await organisation.issued(), await organisation.issued()
    await ok(perform(organisation.buyer, cancelled, "cancel", json={"comment": "Out of stock"}))
    await ok(perform(organisation.admin, closed, "close", json={"comment": "All is here"}))
    for order, action, member, comment in (
        (cancelled, "cancel", organisation.buyer, "Out of stock"),
        (closed, "close", organisation.admin, "All is here"),
    ):
        path = f"/purchase-orders/{order.json()['id']}"
        for role in ROLES:
            events = await _history(getattr(organisation, role), path)
            assert [event["action"].partition(".")[2] for event in events] == ["create", "issue", action]
            assert events[-1]["after"]["comment"] == comment
            assert (events[-1]["actor_id"], events[-1]["actor_kind"]) == (member.user_id, "member")
        issued = ("status", "number", "base_currency", "base_rate", "base_rate_date", "base_total")
        assert events[1]["after"] == {name: order.json()[name] for name in issued}


async def test_a_requester_of_a_part_sees_no_request_and_no_amount_of_others(organisation: TestOrganisation) -> None:
    other = await organisation.member(Role.REQUESTER)
    theirs = await created(other.post("/porfs", json={"title": "Secret", "lines": [LINE]}))
    theirs = await act(organisation.approver, await act(other, theirs, "submit"), "approve")
    own = await organisation.approved()
    ids = [own.json()["id"], theirs.json()["id"]]
    order = await created(organisation.buyer.post("/purchase-orders", json={"porf_ids": ids}))
    path = f"/purchase-orders/{order.json()['id']}"
    for reader in (organisation.requester, other):
        (event,) = await _history(reader, path)
        assert event["after"] == {"supplier": "Müller & Söhne GmbH"}
    for role in ("approver", "buyer", "admin", "auditor"):
        (event,) = await _history(getattr(organisation, role), path)
        numbers = [theirs.json()["number"], own.json()["number"]]
        assert event["after"] == {"supplier": "Müller & Söhne GmbH", "porfs": numbers, "total": order.json()["total"]}
    stranger = await organisation.member(Role.REQUESTER)
    await refused(stranger.get(f"{path}/history"), 404, "purchase_order_not_found")


# Suppliers and the organisation


async def test_the_history_of_a_supplier_has_each_change_once(organisation: TestOrganisation) -> None:
    path = f"/suppliers/{organisation.supplier_id}"
    await _patch(organisation.buyer, path, name="New  Name", tax_id="DE1")
    await _patch(organisation.buyer, path, tax_id="DE1")  # changes nothing
    await organisation.set_supplier(active=False)
    for role in ROLES:
        assert _changes(await _history(getattr(organisation, role), path)) == [
            ("supplier.create", None, {"name": "Müller & Söhne GmbH"}),
            (
                "supplier.update",
                {"name": "Müller & Söhne GmbH", "tax_id": None},
                {"name": "New  Name", "tax_id": "DE1"},
            ),
            ("supplier.deactivate", {"is_active": True}, {"is_active": False}),
        ]


async def test_the_history_of_the_organisation_has_its_settings(organisation: TestOrganisation) -> None:
    await _patch(organisation.admin, "/organisations/current", over_order_percent="5", name="Company")
    for role in ROLES:
        (event,) = await _history(getattr(organisation, role), "/organisations/current")
        assert (event["action"], event["before"], event["after"]) == (
            *("organisation.update", {"over_order_percent": "0.0000"}),
            {"over_order_percent": "5"},
        )
        assert event["actor_id"] == organisation.admin.user_id


# Members


async def _changed_member(organisation: TestOrganisation) -> Member:
    member = await organisation.member(Role.REQUESTER, Role.APPROVER, name="Max")
    path = f"/users/{member.user_id}"
    await _patch(organisation.admin, path, approval_limit="500.00")
    await _patch(organisation.admin, path, approval_limit="700.00", roles=["approver"])
    await _patch(member, path, name="Maxim")
    return member


async def test_limits_of_members_are_shown_to_those_who_see_them(organisation: TestOrganisation) -> None:
    member = await _changed_member(organisation)
    path = f"/users/{member.user_id}"
    for reader in (organisation.admin, organisation.auditor, member):
        assert _changes(await _history(reader, path))[1:] == [
            ("user.update", {"approval_limit": None}, {"approval_limit": "500.00"}),
            (
                "user.update",
                {"roles": ["approver", "requester"], "approval_limit": "500.00"},
                {"roles": ["approver"], "approval_limit": "700.00"},
            ),
            ("user.update", {"name": "Max"}, {"name": "Maxim"}),
        ]


async def test_colleagues_learn_nothing_about_limits(organisation: TestOrganisation) -> None:
    """Not even that one has been changed."""
    member = await _changed_member(organisation)
    for reader in (organisation.requester, organisation.approver, organisation.buyer):
        answer = await ok(reader.get(f"/users/{member.user_id}/history"))
        assert "limit" not in answer.text
        assert _changes(answer.json()["items"])[1:] == [
            ("user.update", {"roles": ["approver", "requester"]}, {"roles": ["approver"]}),
            ("user.update", {"name": "Max"}, {"name": "Maxim"}),
        ]


async def test_hidden_events_leave_no_gap_in_the_pages(organisation: TestOrganisation) -> None:
    member = await _changed_member(organisation)
    for limit in range(5):
        await _patch(organisation.admin, f"/users/{member.user_id}", approval_limit=f"{limit}.00")
    await _patch(member, f"/users/{member.user_id}", name="Max")
    path = f"/users/{member.user_id}/history"
    one_by_one = await all_items(organisation.buyer, path, limit=1)
    assert one_by_one == await all_items(organisation.buyer, path)
    assert [event["after"].get("name") for event in one_by_one[1:]] == [None, "Maxim", "Max"]


async def test_a_former_member_has_a_history(organisation: TestOrganisation) -> None:
    member = await organisation.member(Role.REQUESTER)
    await ok(member.post("/users/me/leave", etag="*"))
    events = await _history(organisation.buyer, f"/users/{member.user_id}")
    assert events[-1]["action"] == "user.leave"


# Invitations and API keys


async def test_the_history_of_an_invitation_is_for_admins(organisation: TestOrganisation) -> None:
    body = {"email": "new@history.example", "approval_limit": "10.00"}
    invitation = await created(organisation.admin.post("/invitations", json=body))
    path = f"/invitations/{invitation.json()['id']}"
    await ok(organisation.admin.post(f"{path}/revoke", etag="*"))
    events = await _history(organisation.admin, path)
    assert [event["action"] for event in events] == ["invitation.create", "invitation.revoke"]
    assert events[0]["after"] == {"email": "new@history.example", "roles": ["requester"], "approval_limit": "10.00"}
    for role in ("requester", "approver", "buyer", "auditor"):
        await refused(getattr(organisation, role).get(f"{path}/history"), 403, "missing_role")


async def test_the_history_of_a_key_is_for_its_owner_and_admins(organisation: TestOrganisation) -> None:
    body = {"name": "ERP", "scopes": ["porfs:read"]}
    key = (await created(organisation.buyer.post("/api-keys", json=body))).json()
    path = f"/api-keys/{key['id']}"
    await created(organisation.buyer.post(f"{path}/rotate", json={}))
    for reader in (organisation.buyer, organisation.admin):
        answer = await ok(reader.get(f"{path}/history"))
        assert [event["action"] for event in answer.json()["items"]] == ["api_key.create", "api_key.rotate"]
        assert key["key"] not in answer.text
    await refused(organisation.auditor.get(f"{path}/history"), 404, "api_key_not_found")


# Reading


@pytest.fixture
async def paths(organisation: TestOrganisation) -> dict[str, tuple[str, Callable[[], Awaitable[Any]]]]:
    """The path of each history that every admin reads, and a change that adds an event."""
    order = await organisation.ordered()
    order_path, supplier = f"/purchase-orders/{order.json()['id']}", f"/suppliers/{organisation.supplier_id}"
    member = f"/users/{organisation.buyer.user_id}"
    admin = organisation.admin
    return {
        "order": (order_path, lambda: _patch(admin, order_path, terms="30 days")),
        "supplier": (supplier, lambda: _patch(admin, supplier, address="Hafenstraße 1")),
        "member": (member, lambda: _patch(admin, member, name="Bo")),
        "organisation": ("/organisations/current", lambda: _patch(admin, "/organisations/current", tax_id="DE2")),
    }


@pytest.mark.parametrize("name", ["order", "supplier", "member", "organisation"])
async def test_a_history_is_paged_and_sorted(
    organisation: TestOrganisation, paths: dict[str, tuple[str, Callable[[], Awaitable[Any]]]], name: str
) -> None:
    path, change = paths[name]
    await change()
    events = await all_items(organisation.admin, f"{path}/history", limit=1)
    assert events[-1]["before"] is not None
    assert events[-1]["actor_id"] == organisation.admin.user_id
    latest_first = await all_items(organisation.admin, f"{path}/history", sort="-created_at")
    assert latest_first == events[::-1]
    await refused(organisation.admin.get(f"{path}/history?sort=action"), 400, "invalid_sort")
    await refused(organisation.admin.get(f"{path}/history?action=x"), 400, "unknown_parameter")


async def test_the_version_before_revision_014_named_no_kind(organisation: TestOrganisation, owner: Any) -> None:
    await owner.execute(
        "INSERT INTO audit_events (organisation_id, action, entity, entity_id, created_at)"
        " VALUES ($1, 'supplier.update', 'supplier', $2, now())",
        *(organisation.organisation_id, organisation.supplier_id),
    )
    event = (await _history(organisation.buyer, f"/suppliers/{organisation.supplier_id}"))[-1]
    assert [event[name] for name in ("actor_kind", "actor_id", "actor_name", "before", "after")] == [None] * 5
