"""Actors: the audit events of members, API keys, the command line and the application itself."""

from typing import Any

import asyncpg
import pytest

from po_api.core.actor import Actor, NotAMember
from po_api.core.permissions import Scope
from po_api.db.database import enter_tenant
from po_api.listeners import all_listeners
from po_api.members.service import MemberService
from po_api.porfs.content import HEADER_FIELDS, PorfInput
from po_api.porfs.service import PorfService
from po_api.suppliers.service import SupplierService
from support.organisations import LINE, TestOrganisation, created


async def _actors(
    owner: asyncpg.Connection, organisation: TestOrganisation, action: str
) -> list[tuple[str, int | None]]:
    rows = await owner.fetch(
        "SELECT actor_kind, actor_id FROM audit_events WHERE organisation_id = $1 AND action = $2 ORDER BY id",
        organisation.organisation_id,
        action,
    )
    return [(row["actor_kind"], row["actor_id"]) for row in rows]


async def test_members_and_their_api_keys_are_told_apart(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    requester = organisation.requester
    body = {"name": "ERP", "scopes": [Scope.PORFS_WRITE]}
    key = (await created(requester.post("/api-keys", json=body))).json()["key"]
    porf = {"title": "Lamps", "lines": [LINE]}
    await created(requester.post("/porfs", json=porf))
    await created(requester.post("/porfs", json=porf, headers={"Authorization": f"Bearer {key}"}))
    assert await _actors(owner, organisation, "porf.create") == [
        ("member", requester.user_id),
        ("api_key", requester.user_id),
    ]


@pytest.mark.parametrize("make", [Actor.command_line, Actor.system])
async def test_actors_that_are_no_members_leave_events(
    organisation: TestOrganisation, owner: asyncpg.Connection, make: type[Actor]
) -> None:
    actor = make(organisation.organisation_id)  # type: ignore[call-arg]
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        await SupplierService(session, actor).create(name=f"Supplier of {actor.kind}")
        members = MemberService(session, actor, all_listeners())
        await members.update(organisation.buyer.user_id, expected=None, values={"name": "Bo"})
    assert (await _actors(owner, organisation, "supplier.create"))[-1] == (str(actor.kind), None)
    assert await _actors(owner, organisation, "user.update") == [(str(actor.kind), None)]


async def test_only_a_member_raises_requests(organisation: TestOrganisation) -> None:
    header: dict[str, Any] = dict.fromkeys(HEADER_FIELDS) | {"title": "Lamps"}
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        service = PorfService(session, Actor.system(organisation.organisation_id))
        with pytest.raises(NotAMember):
            await service.create(PorfInput(**header))


async def test_an_event_names_a_member_exactly_if_a_member_or_a_key_acted(
    organisation: TestOrganisation, owner: asyncpg.Connection
) -> None:
    insert = (
        "INSERT INTO audit_events (organisation_id, actor_kind, actor_id, action, entity, entity_id, created_at)"
        " VALUES ($1, $2, $3, 'test', 'test', 1, now())"
    )
    member = organisation.admin.user_id
    for kind, actor_id in (("member", None), ("api_key", None), ("system", member), ("command_line", member)):
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.execute(insert, organisation.organisation_id, kind, actor_id)
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute(insert, organisation.organisation_id, "stranger", None)
