"""The chain of seals: the canonical form of an event, and what a verification finds."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api import audit
from po_api.audit.chain import NO_SEAL, SEALED_COLUMNS, canonical_json, seal
from po_api.core.actor import Actor
from po_api.db.database import enter_tenant, libpq_url
from po_api.operations.audit_chain import ChainResult, NotedSeal, verify_chains
from support.feeds import relayed
from support.organisations import TestOrganisation

EVENT: Mapping[str, object] = {
    "organisation_id": 3,
    "id": 812,
    "actor_kind": "member",
    "actor_id": 7,
    "action": "porf.create",
    "entity": "porf",
    "entity_id": 5,
    "entity_version": None,
    "before": None,
    "after": '{"total": "12.50", "title": "Größe \\u2028 \\"5\\"", "line_ids": [1, 2], "is_new": true, "weight": 1.10}',
    "request_id": "6f1c2d",
    "created_at": datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
}
# Never changed: the seals that are noted down depend on it.
CANONICAL = (
    '{"action":"porf.create","actor_id":7,"actor_kind":"member",'
    '"after":{"is_new":true,"line_ids":[1,2],"title":"Größe \u2028 \\"5\\"","total":"12.50","weight":"1.10"},'
    '"created_at":"2026-11-22T10:00:00.000000Z","entity":"porf","entity_id":5,"id":812,"organisation_id":3,'
    '"request_id":"6f1c2d"}'
)
SEAL = "c55965e8c2a50b941559117295862a85e4f583a424e29dbfc92d03e94a34e30d"


def test_the_canonical_form_and_its_seal_never_change() -> None:
    assert canonical_json(EVENT).decode() == CANONICAL
    assert seal(NO_SEAL, EVENT) == SEAL


def test_a_later_column_that_is_null_changes_no_seal() -> None:
    assert b"entity_version" not in canonical_json(EVENT)
    assert canonical_json({**EVENT, "entity_version": 1}) != canonical_json(EVENT)


@pytest.mark.parametrize("name", [name for name in SEALED_COLUMNS if name != "created_at"])
def test_every_column_counts(name: str) -> None:
    other: object = '{"total": "12.5"}' if name in ("before", "after") else 99
    assert seal(NO_SEAL, {**EVENT, name: other}) != seal(NO_SEAL, EVENT)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.heavy
@given(st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3))
def test_neither_order_nor_white_space_nor_escapes_count(change: dict[str, Any]) -> None:
    forms = (json.dumps(change), json.dumps(dict(reversed(change.items())), indent=2, ensure_ascii=False))
    assert len({canonical_json({**EVENT, "after": form}) for form in forms}) == 1
    assert json.loads(canonical_json({**EVENT, "after": forms[0]}))["after"] == change


@pytest.fixture
async def damaging(urls: tuple[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner for damages, which are undone: others of the process verify the same database."""
    connection = await asyncpg.connect(libpq_url(urls[0]))
    yield connection
    await connection.close()


class _Undone:
    """A connection in a transaction that is rolled back, in which a verification can begin its own."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def transaction(self, **_options: Any) -> Any:
        return self._connection.transaction()


async def _verified(connection: Any, organisation_id: int, noted: NotedSeal | None = None) -> ChainResult:
    (result,) = [item async for item in verify_chains(connection, organisation_id, noted)]
    return result


async def _numbered(organisation: TestOrganisation) -> None:
    await organisation.issued()
    await relayed(organisation.database, organisation.organisation_id)


async def test_an_unchanged_trail_has_no_fault(organisation: TestOrganisation, owner: asyncpg.Connection) -> None:
    await _numbered(organisation)
    await organisation.draft()
    result = await _verified(owner, organisation.organisation_id)
    shown = (await organisation.auditor.get("/audit-events/seal")).json()
    assert result == (organisation.organisation_id, shown["number"], shown["seal"], 1, [])
    noted = NotedSeal.parse(f"{shown['number']}:{shown['seal']}")
    assert noted is not None
    await owner.execute("SET TIME ZONE 'Asia/Kolkata'")
    await relayed(organisation.database, organisation.organisation_id)
    later = await _verified(owner, organisation.organisation_id, noted)
    assert (later.number, later.waiting, later.faults) == (shown["number"] + 1, 0, [])


@pytest.mark.parametrize(
    "after",
    [
        {"total": "1.10", "amounts": ["1.1", "1.100", "1e2"], "count": 10**30, "negative": -1},
        {"title": "Größe\u2028\u2029 \x7f\u200b \U0001f600 \\ / \" <>&'", "": None, "é": {"b": [], "a": {}}},
    ],
)
async def test_what_was_sealed_is_found_again(
    organisation: TestOrganisation, owner: asyncpg.Connection, after: dict[str, object]
) -> None:
    tenant = organisation.organisation_id
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, tenant)
        change = audit.Change("supplier.update", "supplier", organisation.supplier_id, None, after)
        await audit.record(session, Actor.system(tenant), change)
    await relayed(organisation.database, tenant)
    assert (await _verified(owner, tenant)).faults == []


_OF = "organisation_id = $1"
_THIRD = f"(SELECT event_id FROM event_log WHERE {_OF} AND number = 3)"
# What Python or the driver cannot represent.
_UNREADABLE = (
    "after = jsonb_build_object('x', repeat('9', 5000)::numeric)",
    "after = (repeat('[', 2000) || repeat(']', 2000))::jsonb",
    *(f"created_at = '{time}'" for time in ("infinity", "-infinity", "0044-03-15 BC", "12000-01-01")),
    "created_at = (created_at AT TIME ZONE 'UTC' - interval '4051 years') AT TIME ZONE 'UTC'",
)
# By a clock that does not depend on the session: Citus refuses others in an UPDATE.
_LATER = "(created_at AT TIME ZONE 'UTC' + interval '1 microsecond') AT TIME ZONE 'UTC'"
_FREE = "ALTER TABLE event_log DROP CONSTRAINT fk_event_log_organisation_id_event_id"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (f"UPDATE audit_events SET request_id = 'x' WHERE {_OF} AND id = {_THIRD}", "event {third} (number 3)"),
        (f"UPDATE audit_events SET after = after || '{{\"x\": 1}}' WHERE {_OF} AND id = {_THIRD}", "event {third}"),
        (
            f"UPDATE audit_events SET created_at = {_LATER} WHERE {_OF} AND id = {_THIRD}",
            "event {third}",
        ),
        (
            f"UPDATE audit_events SET actor_kind = 'system', actor_id = NULL WHERE {_OF} AND id = {_THIRD}",
            "event {third} (number 3)",
        ),
        (
            f"WITH found AS (DELETE FROM event_log WHERE {_OF} AND number IN (3, 4) RETURNING *)"
            " INSERT INTO event_log (organisation_id, number, event_id, seal)"
            " SELECT organisation_id, 7 - number, event_id, seal FROM found ORDER BY number",
            "(number 3) or its seal was changed",
        ),
        *(
            (f"UPDATE audit_events SET {change} WHERE {_OF} AND id = {_THIRD}", "event {third} (number 3)")
            for change in _UNREADABLE
        ),
        (f"DELETE FROM audit_events WHERE {_OF} AND id = {_THIRD}", "event {third} (number 3) was removed"),
        (f"DELETE FROM event_log WHERE {_OF} AND number = 3", "the number 3 was removed"),
        (
            f"DELETE FROM event_log WHERE {_OF} AND number > 4",
            "the events after number 4 were removed",
        ),
        (
            "INSERT INTO audit_events (organisation_id, actor_kind, action, entity, entity_id, created_at)"
            " VALUES ($1, 'system', 'porf.approve', 'porf', 1, '2026-01-01T00:00:00Z')",
            "was inserted",
        ),
        (
            f"UPDATE event_log SET seal = repeat('0', 64) WHERE {_OF} AND number = 3",
            "event {third} (number 3) or its seal was changed",
        ),
        (f"UPDATE event_feeds SET last_seal = repeat('0', 64) WHERE {_OF}", "the seal of the feed was changed"),
        (
            f"UPDATE event_feeds SET last_number = 4 WHERE {_OF}",
            "the event with the number 5 was inserted",
        ),
        (
            f"INSERT INTO event_outbox SELECT organisation_id, event_id FROM event_log WHERE {_OF} AND number = 3",
            "event {third} has a number, and waits for another one",
        ),
    ],
)
async def test_damage_is_found_and_named(
    organisation: TestOrganisation, damaging: asyncpg.Connection, damage: str, found: str
) -> None:
    await _numbered(organisation)
    tenant = organisation.organisation_id
    undone = damaging.transaction()
    await undone.start()
    try:
        third = await damaging.fetchval(
            "SELECT event_id FROM event_log WHERE organisation_id = $1 AND number = 3", tenant
        )
        # Citus changes tables in parallel otherwise, and then reads no other in the transaction.
        await damaging.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
        await damaging.execute(_FREE)
        await damaging.execute(damage, tenant)
        faults = (await _verified(_Undone(damaging), tenant)).faults
    finally:
        await undone.rollback()
    assert found.format(third=third) in " | ".join(faults)
    assert (await _verified(damaging, tenant)).faults == []


async def test_a_chain_that_was_computed_again_shows_against_a_noted_seal_only(
    organisation: TestOrganisation, damaging: asyncpg.Connection
) -> None:
    await _numbered(organisation)
    tenant = organisation.organisation_id
    before = await _verified(damaging, tenant)
    undone = damaging.transaction()
    await undone.start()
    try:
        await damaging.execute(
            f'UPDATE audit_events SET after = after || \'{{"total": "9.99"}}\' WHERE {_OF} AND id = {_THIRD}', tenant
        )
        columns = ", ".join(
            f"e.{name}::text" if name in ("before", "after") else f"e.{name}" for name in SEALED_COLUMNS
        )
        rows = await damaging.fetch(
            f"SELECT l.number, {columns} FROM event_log l JOIN audit_events e ON e.id = l.event_id"
            " WHERE e.organisation_id = $1 AND l.organisation_id = $1 ORDER BY number",
            tenant,
        )
        last = NO_SEAL
        for row in rows:
            last = seal(last, row)
            await damaging.execute(
                f"UPDATE event_log SET seal = $2 WHERE {_OF} AND number = $3", tenant, last, row["number"]
            )
        await damaging.execute(f"UPDATE event_feeds SET last_seal = $2 WHERE {_OF}", tenant, last)
        assert (await _verified(_Undone(damaging), tenant)).faults == []
        for noted, words in (
            (NotedSeal(before.number, before.seal), f"the seal of number {before.number} is not the noted one"),
            (NotedSeal(before.number + 1, before.seal), f"the chain ends at number {before.number}"),
        ):
            (fault,) = (await _verified(_Undone(damaging), tenant, noted)).faults
            assert words in fault
        # What was noted before the changed event is still right.
        second = await damaging.fetchval(f"SELECT seal FROM event_log WHERE {_OF} AND number = 2", tenant)
        assert (await _verified(_Undone(damaging), tenant, NotedSeal(2, second))).faults == []
    finally:
        await undone.rollback()


async def test_the_application_can_neither_change_nor_remove_numbers(
    organisation: TestOrganisation, urls: tuple[str, str]
) -> None:
    if urls[0] == urls[1]:
        pytest.skip("one role owns the tables and serves")
    await _numbered(organisation)
    connection = await asyncpg.connect(libpq_url(urls[1]))
    try:
        for statement in ("UPDATE event_log SET seal = ''", "DELETE FROM event_log", "DELETE FROM audit_events"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "text", ["", "1", "0:" + "a" * 64, "1:" + "A" * 64, "1:abc", "-1:" + "a" * 64, "1:" + "a" * 65]
)
def test_a_noted_seal_has_one_form(text: str) -> None:
    assert NotedSeal.parse(text) is None
