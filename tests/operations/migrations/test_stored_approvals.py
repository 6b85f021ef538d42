"""Revision 048 on requests and decisions that are there: each decision becomes a run, each pending request has one."""

import pytest

from po_api.operations import migrations
from support.clusters import Cluster
from support.migrations import Fresh, marks_of, migrated_database

BEFORE, AFTER = "046", "048"
pytestmark = marks_of(AFTER)

_REQUESTS = """
    INSERT INTO organisations (name) VALUES ('Company'), ('Other');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        SELECT o, 10 * o + n, 'm' || n || '@o' || o, '{approver}', now()
        FROM generate_series(1, 2) o, generate_series(1, 2) n;
    INSERT INTO porfs (organisation_id, number, title, requester_id, status, approval_round, version, submitted_at,
        decided_at)
        SELECT o, 'P' || n, 'x', 10 * o + 1,
            (ARRAY['pending', 'approved', 'rejected', 'draft', 'cancelled'])[1 + n % 5], 1 + n % 2, 7,
            TIMESTAMPTZ '2026-03-04 10:00+00', CASE WHEN n % 5 IN (1, 2) THEN TIMESTAMPTZ '2026-03-04 12:00+00' END
        FROM generate_series(1, 2) o, generate_series(1, 50) n;
"""
# Two returns of the same person in each round, and what decided those that are decided.
_DECISIONS = """
    INSERT INTO approval_decisions (organisation_id, porf_id, round, approver_id, decision, comment, content_hash,
        decided_at)
    SELECT organisation_id, id, approval_round, 10 * organisation_id + 2, decision, 'Why', repeat('a', 64), at
    FROM porfs CROSS JOIN LATERAL (
        SELECT 'returned' AS decision, TIMESTAMPTZ '2026-03-04 09:00+00' + n * interval '1 min' AS at
        FROM generate_series(1, 2) n
        UNION ALL SELECT status, decided_at WHERE status IN ('approved', 'rejected')
        UNION ALL SELECT 'approved', decided_at WHERE false
    ) given ORDER BY organisation_id, at, id
"""
_RUNS = """
    SELECT p.status, r.run_no, r.round = p.approval_round, r.status, r.opened_at = p.submitted_at,
        r.content_hash IS NULL, r.submitted_version, s.status, d.decision, d.principal_id = d.approver_id, d.source
    FROM porfs p JOIN approval_runs r ON r.organisation_id = p.organisation_id AND r.porf_id = p.id
    JOIN approval_steps s ON s.organisation_id = p.organisation_id AND s.run_id = r.id
    LEFT JOIN approval_decisions d ON d.organisation_id = p.organisation_id AND d.step_id = s.id AND d.run_id = r.id
    WHERE p.number = $1 ORDER BY p.organisation_id, r.run_no
"""
_OF_DECISIONS = "SELECT id, porf_id, round, approver_id, decision, content_hash FROM approval_decisions ORDER BY id"


async def _runs(database: Fresh, number: str) -> list[tuple[object, ...]]:
    """The runs of the requests with this number, of which each organisation has one."""
    rows = [tuple(row) for row in await database.fetch(_RUNS, number)]
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
    return rows[: len(rows) // 2]


def _returns(status: str) -> list[tuple[object, ...]]:
    returned = ("returned", False, False, 1, "cancelled", "returned", True, "given")
    return [(status, number, True, *returned) for number in (1, 2)]


async def test_decisions_become_runs_and_stay(cluster: Cluster) -> None:
    async with migrated_database(cluster, BEFORE) as database:
        await database.connection.execute(_REQUESTS)
        await database.connection.execute(_DECISIONS)
        before = await database.fetch(_OF_DECISIONS)
        await database.to(AFTER)
        assert await database.fetch(_OF_DECISIONS) == before
        opened = ("pending", 3, True, "open", True, True, 7, "active", None, None, None)
        assert await _runs(database, "P5") == [*_returns("pending"), opened]
        for number, status in (("P1", "approved"), ("P2", "rejected")):
            decided = (status, 3, True, status, True, False, 1, status, status, True, "given")
            assert await _runs(database, number) == [*_returns(status), decided]
        assert await _runs(database, "P3") == _returns("draft")
        assert await database.fetch("SELECT FROM approval_decisions WHERE run_id IS NULL") == []
        # What the version before does meanwhile is done again by the upgrade, and nothing twice.
        count = "SELECT count(*), (SELECT count(*) FROM approval_steps) AS steps FROM approval_runs"
        (runs,) = await database.fetch(count)
        await migrations.upgrade(owner_url=database.owner, app_url=database.app, to=BEFORE)
        assert await database.fetch(_OF_DECISIONS) == before
        await database.to(AFTER)
        assert await database.fetch(count) == [runs]


async def test_of_several_approvals_the_version_before_keeps_the_last(cluster: Cluster) -> None:
    async with migrated_database(cluster, BEFORE) as database:
        await database.connection.execute(_REQUESTS)
        await database.to(AFTER)
        await database.fetch(
            "INSERT INTO approval_decisions (organisation_id, porf_id, round, approver_id, decision, content_hash,"
            " decided_at) SELECT 1, 1, 1, 10 + n, 'approved', repeat('a', 64), now() FROM generate_series(1, 2) n"
        )
        with pytest.raises(migrations.MigrationError, match="all approvals but the last"):
            await migrations.upgrade(owner_url=database.owner, app_url=database.app, to=BEFORE)
        await database.to(BEFORE)
        assert [row["approver_id"] for row in await database.fetch(_OF_DECISIONS)] == [12]
