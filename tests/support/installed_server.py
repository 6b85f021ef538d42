"""The tests that `make test-server` runs: those whose result depends on the version of PostgreSQL.

The others only use what is the same in every supported version, such as row locks; `make test` runs them on the
embedded server. Exhaustive tests run here anyway, among them repeated races and row-level security with two roles. A
new test belongs here by its place, or by a word in its name.
"""

import pytest

# The fixtures that lead to the tests' server: without them, there is nothing to run on another one.
_FIXTURES = {"cluster", "database_urls"}

_PLACES = (
    # Revisions, functions, statistics, backups. What invariants find, the compatibility of versions, new files of
    # revisions, the demo and readiness are the same on any server.
    "operations/backups/",
    "operations/migrations/test_backfill_by_key.py",
    "operations/migrations/test_interrupted.py",
    "operations/migrations/test_migrate_command.py",
    "operations/migrations/test_revisions.py",
    "operations/test_capacity.py",
    "operations/test_citus_conversion.py",
    "audit/",
    "observability/test_statistics.py",
    # The driver, pools, standbys, the statements themselves; errors of the server
    "db/",
    "resilience/test_failover.py",
    "resilience/test_refusals.py",
    "resilience/test_time_outs.py",
    # Plans and search
    "history/test_audit_events.py",
    "porfs/test_porf_search.py",
    "purchase_orders/test_order_search.py",
    "web/test_pagination.py",
    # What SQL computes like Python, or prints like a schema
    "porfs/test_approval.py",
    "porfs/test_tolerance.py",
    "porfs/test_porf_read_service.py",
    "purchase_orders/test_order_read_service.py",
    # Snapshots: which transactions have ended
    "events/",
)
# In the names of tests of plans among those of a feature.
_WORD = "index"


def depends_on_version(item: pytest.Item) -> bool:
    """Whether the test is one of them; exhaustive tests run nowhere else, but for `make coverage`."""
    if item.get_closest_marker("thorough") is not None:
        return False
    if any(item.get_closest_marker(name) is not None for name in ("installed", "exhaustive")):
        return True
    if _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return False
    place = item.path.relative_to(item.config.rootpath / "tests").as_posix()
    function = item.name.partition("[")[0]
    return place.startswith(_PLACES) or _WORD in function
