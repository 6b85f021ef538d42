"""Revision 022 on requests that exist: their authors are read from the audit trail."""

from collections.abc import AsyncIterator

import pytest

from support.clusters import Cluster
from support.forked import po_api
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AUTHORS = "021", "022"
pytestmark = marks_of(AUTHORS)

_REQUESTS = """
    INSERT INTO organisations (name) VALUES ('First'), ('Second');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        SELECT organisation, user_id, user_id || '@company.example', '{admin}', now()
        FROM generate_series(1, 2) organisation, generate_series(1, 9) user_id;
    INSERT INTO porfs (organisation_id, number, title, requester_id) VALUES
        (1, 'PORF-1', 'With a history', 3), (1, 'PORF-2', 'Without events', 2), (2, 'PORF-1', 'Elsewhere', 4);
    INSERT INTO audit_events
        (organisation_id, actor_kind, actor_id, action, entity, entity_id, before, after, created_at)
    VALUES
        (1, 'member', 1, 'porf.create', 'porf', 1, NULL, '{}', now()),
        (1, 'member', 8, 'porf.reassign', 'porf', 1, '{"requester_id": 1}', '{"requester_id": 2}', now()),
        (1, 'api_key', 4, 'porf.update_line', 'porf', 1, '{}', '{}', now()),
        (1, 'member', 8, 'porf.reassign', 'porf', 1, '{"requester_id": 2}', '{"requester_id": 3}', now()),
        (1, NULL, 5, 'porf.submit', 'porf', 1, '{}', '{}', now()),
        (1, 'command_line', NULL, 'porf.update', 'porf', 1, '{}', '{}', now()),
        (1, 'member', 6, 'porf.approve', 'porf', 1, '{}', '{}', now()),
        (1, 'member', 7, 'porf.create', 'purchase_order', 1, NULL, '{}', now()),
        (2, 'member', 7, 'porf.update', 'porf', 1, '{}', '{}', now());
"""
_FOUND = "SELECT id, author_ids FROM porfs ORDER BY id"
_EXPECTED = [(1, [1, 2, 3, 4, 5]), (2, [2]), (3, [4])]


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, BEFORE) as made:
        await made.connection.execute(_REQUESTS)
        yield made


async def _authors(database: Fresh) -> list[tuple[int, list[int]]]:
    return [tuple(row) for row in await database.fetch(_FOUND)]


async def _down(database: Fresh) -> tuple[int, str]:
    status, output, errors = await database.call(po_api, "migrate", "--no-backup", "--to", BEFORE)
    return status, output + errors


async def test_raiser_requesters_editors_and_submitters_become_authors(database: Fresh) -> None:
    await database.to(AUTHORS)
    assert await _authors(database) == _EXPECTED


async def test_what_the_audit_trail_has_is_not_lost_on_the_way_down(database: Fresh) -> None:
    await database.to(AUTHORS)
    status, printed = await _down(database)
    assert status == 0, printed
    await database.to(AUTHORS)
    assert await _authors(database) == _EXPECTED
    await database.fetch("UPDATE porfs SET author_ids = '{2,9}' WHERE id = 2")
    status, printed = await _down(database)
    assert status != 0
    assert "authors of requests" in printed


async def test_the_version_before_goes_on_writing(database: Fresh) -> None:
    await database.to(AUTHORS)
    await database.fetch(
        "INSERT INTO porfs (organisation_id, number, title, requester_id) VALUES (1, 'PORF-3', 'x', 5)"
    )
    await database.fetch("UPDATE porfs SET requester_id = 6 WHERE id = 2")
    assert await _authors(database) == [*_EXPECTED, (4, [])]
