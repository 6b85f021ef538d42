"""Revision 054 on steps that are there: open ones get the limit that they take, if that is known."""

from support.clusters import Cluster
from support.migrations import marks_of, migrated_database

pytestmark = marks_of("054")

_STEPS = """
    INSERT INTO organisations (name) VALUES ('Company'), ('Other');
    INSERT INTO members (organisation_id, user_id, email, roles, joined_at)
        SELECT o, o, 'm@o' || o, '{approver}', now() FROM generate_series(1, 2) o;
    INSERT INTO porfs (organisation_id, number, title, requester_id)
        SELECT o, 'P' || n, 'x', o FROM generate_series(1, 2) o, generate_series(1, 4) n;
    INSERT INTO approval_runs (organisation_id, porf_id, run_no, round, submitted_by_id, submitted_version, opened_at,
        base_ceiling)
        SELECT organisation_id, id, 1, 1, organisation_id, 1, now(),
            (ARRAY[99.99, 0.50, NULL, 1e20])[substr(number, 2)::integer]
        FROM porfs ORDER BY id;
    INSERT INTO approval_steps (organisation_id, run_id, seq, stage, position, source, name, kind, pool_role,
        required_count, enforce_limit, comment_required, status, activated_at, closed_at, skip_reason)
        SELECT r.organisation_id, r.id, n, n, n, 'default', 's' || n, 'pool', 'approver', 1, n <> 2, false,
            (ARRAY['active', 'active', 'waiting', 'approved'])[n], now(), CASE n WHEN 4 THEN now() END, NULL
        FROM approval_runs r, generate_series(1, 4) n;
"""
_LIMITS = """
    SELECT p.number, array_agg(s.least_limit ORDER BY s.position) AS limits
    FROM approval_steps s JOIN approval_runs r ON r.organisation_id = s.organisation_id AND r.id = s.run_id
    JOIN porfs p ON p.organisation_id = r.organisation_id AND p.id = r.porf_id
    GROUP BY p.organisation_id, p.number ORDER BY p.organisation_id, p.number
"""


async def test_open_steps_get_the_limit_that_they_take(cluster: Cluster) -> None:
    async with migrated_database(cluster, "053") as database:
        await database.connection.execute(_STEPS)
        for _ in range(2):
            await database.to("054")
            limits = [list(row["limits"]) for row in await database.fetch(_LIMITS)]
            # 99.99, 0.50, not known, and more than the column holds.
            assert limits == 2 * [[99, 0, 99, 0], [0, 0, 0, 0], [0, 0, 0, 0], [2**63 - 1, 0, 2**63 - 1, 0]]
            await database.to("053")
