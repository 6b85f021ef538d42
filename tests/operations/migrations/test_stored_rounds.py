"""Revision 023 on requests in later rounds: times of former rounds go, and come back from the audit trail."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from support.clusters import Cluster
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AFTER = "022", "023"
pytestmark = marks_of(AFTER)

_REQUESTS = """
    INSERT INTO organisations (name) VALUES ('Company');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        VALUES (1, 1, 'ada@company.example', '{admin}', now());
    INSERT INTO porfs
        (organisation_id, number, title, requester_id, status, approval_round, submitted_at, decided_at)
    VALUES
        (1, 'revised', 'x', 1, 'draft', 2, '2026-01-01 10:00Z', '2026-01-01 11:00Z'),
        (1, 'submitted again', 'x', 1, 'pending', 2, '2026-01-01 13:00Z', '2026-01-01 11:00Z'),
        (1, 'decided again', 'x', 1, 'approved', 2, '2026-01-01 13:00Z', '2026-01-01 14:00Z'),
        (1, 'recalled again', 'x', 1, 'draft', 2, '2026-01-01 13:00Z', '2026-01-01 11:00Z'),
        (1, 'first round', 'x', 1, 'rejected', 1, '2026-01-01 10:00Z', '2026-01-01 11:00Z'),
        (1, 'without events', 'x', 1, 'draft', 2, '2026-01-01 10:00Z', '2026-01-01 11:00Z');
    INSERT INTO audit_events (organisation_id, action, entity, entity_id, created_at)
        SELECT 1, 'porf.' || action, 'porf', p.id, at::timestamptz FROM porfs p, (VALUES
            ('submit', '2026-01-01 10:00Z'), ('reject', '2026-01-01 11:00Z'), ('revise', '2026-01-01 12:00Z'),
            ('submit', '2026-01-01 13:00Z'), ('approve', '2026-01-01 14:00Z')) AS event (action, at)
        WHERE at <= CASE p.number WHEN 'revised' THEN '2026-01-01 12:00Z' WHEN 'first round' THEN '2026-01-01 11:00Z'
            WHEN 'decided again' THEN '2026-01-01 14:00Z' WHEN 'without events' THEN '' ELSE '2026-01-01 13:00Z' END;
"""
_EXPECTED = {
    "revised": (None, None),
    "submitted again": (13, None),
    "decided again": (13, 14),
    "recalled again": (13, None),
    "first round": (10, 11),
    "without events": (10, 11),
}


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster, BEFORE) as made:
        await made.connection.execute(_REQUESTS)
        yield made


def _hour(moment: datetime | None) -> int | None:
    return None if moment is None else moment.astimezone(UTC).hour


async def _times(database: Fresh) -> dict[str, tuple[int | None, int | None]]:
    rows = await database.fetch("SELECT number, submitted_at, decided_at FROM porfs ORDER BY id")
    return {row["number"]: (_hour(row["submitted_at"]), _hour(row["decided_at"])) for row in rows}


async def test_times_of_former_rounds_go_and_come_back(database: Fresh) -> None:
    before = await _times(database)
    await database.to(AFTER)
    assert await _times(database) == _EXPECTED
    await database.to(BEFORE)
    assert await _times(database) == before
    await database.to(AFTER)
    assert await _times(database) == _EXPECTED
