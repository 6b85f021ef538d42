"""Statements and revisions that a database distributed by organisation (Citus) refuses are found without one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import create_async_engine

from po_api.db.query import PlanCacheMode, enter_tenant_sql
from po_api.operations import ddl
from po_api.operations.migrations import find_status
from po_api.porfs.models import Porf
from support.checked_statements import CheckedStatements
from support.clusters import Cluster
from support.distribution import obstacles, revision_obstacles
from support.migrations import REVISIONS, Fresh, migrated_database, printed_sql
from support.organisations import TestOrganisation, ok


@pytest.fixture
async def fresh(cluster: Cluster) -> AsyncIterator[Fresh]:
    async with migrated_database(cluster) as database:
        yield database


# The revisions before were written for one server.
SINCE = "030"

DISTRIBUTABLE = [
    "SELECT id FROM porfs WHERE organisation_id = $1",
    "SELECT p.id FROM porfs AS p JOIN suppliers AS s ON s.organisation_id = $1::bigint AND s.id = p.supplier_id"
    " WHERE p.organisation_id = $1::bigint",
    "SELECT p.id, (SELECT name FROM suppliers WHERE suppliers.organisation_id = $1 AND suppliers.id = p.supplier_id)"
    " FROM (SELECT * FROM porfs WHERE porfs.organisation_id = $1 LIMIT 3) AS p",
    "WITH a AS (INSERT INTO porf_lines (organisation_id, net) SELECT $1, 1 RETURNING id) SELECT id FROM a",
    "INSERT INTO porf_lines (organisation_id, net) VALUES ($1, $2)",
    "INSERT INTO porf_lines (organisation_id, net) SELECT $1, r.net FROM json_to_recordset($2) AS r(net numeric)"
    " ON CONFLICT (organisation_id, id) DO UPDATE SET net = excluded.net RETURNING id",
    "INSERT INTO event_outbox (organisation_id, event_id) SELECT e.organisation_id, e.id FROM audit_events AS e"
    " WHERE e.organisation_id = $1 RETURNING event_id",
    "INSERT INTO webhook_messages (organisation_id, created_at) VALUES ($1, $2) ON CONFLICT (organisation_id, event_id)"
    " DO UPDATE SET created_at = excluded.created_at"
    " WHERE excluded.created_at - webhook_messages.created_at > interval '1 day'",
    "UPDATE porfs SET decided_at = now(), version = CASE WHEN version = $2 THEN 1 END WHERE organisation_id = $1",
    "UPDATE porfs SET version = 2 WHERE organisation_id = $1 AND id = $2",
    "DELETE FROM porfs WHERE porfs.organisation_id = $1",
    "SELECT roles FROM members WHERE organisation_id = $1 AND user_id = $2 FOR SHARE",
    "SELECT id FROM users WHERE id = $1 FOR SHARE",
    "SELECT id FROM organisations WHERE id = $1 FOR NO KEY UPDATE",
    "SELECT o.id, (SELECT name FROM suppliers WHERE organisation_id = $1 AND id = $2) FROM organisations AS o",
    "SELECT p.id FROM porfs p JOIN organisations ON organisations.id = $1 WHERE p.organisation_id = $1",
    "SELECT p.id FROM porfs p LEFT JOIN suppliers s ON s.organisation_id = $1 AND s.id IS NOT DISTINCT FROM $2"
    " LEFT JOIN LATERAL (SELECT FROM teams t WHERE t.organisation_id = $1 AND t.id = $2) AS t ON true"
    " WHERE p.organisation_id = $1",
    "SELECT sessions.id, enter_tenant($1) FROM sessions LEFT JOIN member_of(1, 2) AS m ON true",
    "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan; SELECT enter_tenant('1')",
]

OBSTACLES = {
    "SELECT set_config('app.organisation_id', $1, true)": "set_config",
    "BEGIN READ ONLY; SET LOCAL app.organisation_id = '1'": "SET of the tenant",
    "SELECT enter_tenant('1'); SET LOCAL plan_cache_mode = force_generic_plan": "after enter_tenant",
    "SELECT id FROM organisations WHERE id = $1 FOR SHARE": "locks the table on all servers",
    "SELECT o.id FROM organisations o JOIN members m ON m.organisation_id = $1 WHERE o.id = $1 FOR KEY SHARE OF o": (
        "locks the table on all servers"
    ),
    "SELECT u.id FROM users u JOIN members m ON m.organisation_id = $1 AND m.user_id = u.id FOR SHARE OF u": (
        "together with tables of organisations"
    ),
    "WITH a AS (INSERT INTO porf_lines (organisation_id, net) SELECT $1, 1) SELECT 1": "without RETURNING",
    "INSERT INTO porf_lines (net) VALUES ($1)": "without organisation_id",
    "INSERT INTO event_feeds (organisation_id) SELECT $1 WHERE NOT EXISTS (SELECT FROM event_feeds WHERE"
    " organisation_id = $1) RETURNING id": "would take ids from another server",
    "INSERT INTO event_outbox (organisation_id, event_id) SELECT $1::bigint, id FROM audit_events"
    " WHERE organisation_id = $1 RETURNING event_id": "from a parameter instead",
    "INSERT INTO porf_lines (organisation_id, net) SELECT $1, r.net FROM json_to_recordset($2) AS r(net numeric)"
    " ON CONFLICT (organisation_id, id) DO UPDATE SET net = $3 RETURNING id": "use excluded",
    "INSERT INTO webhook_messages (organisation_id, created_at) VALUES ($1, $2) ON CONFLICT (organisation_id, event_id)"
    " DO UPDATE SET created_at = excluded.created_at"
    " WHERE webhook_messages.created_at < excluded.created_at - interval '1 day'": "compare the difference",
    "UPDATE porfs SET decided_at = CASE WHEN version = $2 THEN now() END WHERE organisation_id = $1": "of the time",
    "UPDATE porfs SET decided_at = coalesce(decided_at, CURRENT_TIMESTAMP) WHERE organisation_id = $1": "of the time",
    "SELECT p.id, l.net FROM (SELECT * FROM porfs WHERE organisation_id = $1 LIMIT 3) AS p JOIN LATERAL (SELECT net"
    " FROM porf_lines WHERE porf_lines.organisation_id = p.organisation_id AND porf_id = p.id) AS l ON true": (
        "porf_lines (porf_lines) is not compared"
    ),
    "SELECT id FROM porfs WHERE id = $1": "porfs (porfs) is not compared",
    "SELECT id FROM porfs WHERE organisation_id = $1 OR id = $2": "porfs (porfs) is not compared",
    "SELECT 1 WHERE EXISTS (SELECT FROM porfs WHERE id = $1)": "porfs (porfs) is not compared",
    "UPDATE porfs SET version = 2 FROM suppliers WHERE porfs.organisation_id = $1": "suppliers (suppliers) is not",
    "DELETE FROM porfs WHERE id = $1": "porfs (porfs) is not compared",
    "WITH a AS (SELECT id FROM porfs) SELECT id FROM a": "porfs (porfs) is not compared",
    "SELECT id FROM porfs WHERE organisation_id = $1 UNION SELECT id FROM suppliers": "suppliers (suppliers) is not",
    "SELECT o.id, s.name FROM organisations o LEFT JOIN suppliers s ON s.organisation_id = $1 AND s.id = $2": (
        "LEFT JOIN suppliers"
    ),
    "SELECT p.id FROM porfs p LEFT JOIN suppliers s ON s.organisation_id = $1 AND s.id = $2"
    " WHERE p.organisation_id = $1": "an outer join by a parameter",
    "SELECT p.id FROM porfs p LEFT JOIN suppliers s ON s.organisation_id = $1 AND $2::bigint IS NOT NULL"
    " WHERE p.organisation_id = $1": "tests a parameter for NULL",
    "SELECT m.name FROM members m JOIN users ON users.id = m.user_id WHERE m.organisation_id = $1": "are not on",
    "SELECT p.id FROM porfs p, member_of(1, 2) WHERE p.organisation_id = $1": "from another server",
}


@pytest.mark.parametrize("sql", DISTRIBUTABLE)
def test_a_statement_that_can_be_distributed_has_no_obstacle(sql: str) -> None:
    assert obstacles(sql) == []


@pytest.mark.parametrize("sql", OBSTACLES)
def test_an_obstacle_is_found(sql: str) -> None:
    found = obstacles(sql)
    assert any(OBSTACLES[sql] in obstacle for obstacle in found), found


def test_a_search_function_is_no_part_of_a_statement_where_the_database_is_distributed() -> None:
    sql = "SELECT id FROM porfs WHERE organisation_id = $1 AND id = ANY (ARRAY(SELECT search_porfs($2)))"
    assert obstacles(sql) == []
    assert obstacles(sql, is_distributed=True) == ["['search_porfs'] would read distributed tables from another server"]


@pytest.mark.parametrize("mode", PlanCacheMode)
def test_a_tenant_is_entered_by_the_last_statement_of_a_message(mode: PlanCacheMode) -> None:
    assert obstacles(f"BEGIN READ ONLY; {enter_tenant_sql(1, plan_cache_mode=mode, distributed=True)}") == []


async def test_the_statements_of_the_application_are_looked_at(
    organisation: TestOrganisation, _checked_statements: CheckedStatements
) -> None:
    """By SQLAlchemy and by executors; those of tests are not."""
    known = _checked_statements.known
    await ok(organisation.admin.patch("/organisations/current", json={"name": "Renamed"}, etag='"1"'))
    assert any(sql.startswith("UPDATE organisations") for sql in known)
    await ok(organisation.admin.get("/porfs"))
    assert any("FROM porfs" in sql for sql in known)
    async with organisation.database.sessions.begin() as session:
        mine = select(func.count()).select_from(select(Porf.id).subquery("sent_by_a_test"))
        await session.execute(mine)
    assert not any("sent_by_a_test" in sql for sql in known)


TENANT_TABLE = "CREATE TABLE x (organisation_id bigint, id bigint, porf_id bigint, PRIMARY KEY (organisation_id, id)"
DISTRIBUTES = "DO $$ BEGIN PERFORM create_distributed_table('x', 'organisation_id'); END $$"
REFERENCE = "FOREIGN KEY (organisation_id, porf_id) REFERENCES porfs (organisation_id, id)"
FUNCTION = "CREATE FUNCTION f(own bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM porfs WHERE {}; END $$"
OBSTACLES_IN_REVISIONS = {
    "ALTER TABLE porfs DROP CONSTRAINT a, ADD CONSTRAINT a CHECK (id > 0)": "ADD CONSTRAINT with other subcommands",
    "DO $$ BEGIN UPDATE porfs SET id = 1 WHERE ctid = '(0,0)'; END $$": "backfill by ctid",
    f"{TENANT_TABLE})": "x is not distributed",
    f"{TENANT_TABLE}, {REFERENCE}); {DISTRIBUTES}": "before it is distributed",
    "CREATE TABLE y (id bigint PRIMARY KEY, organisation_id bigint REFERENCES organisations)": "the global table y",
    "ALTER TABLE users ADD CONSTRAINT a FOREIGN KEY (b) REFERENCES organisations": "the global table users",
    "CREATE TRIGGER t AFTER INSERT ON porfs FOR EACH ROW EXECUTE FUNCTION f()": "trigger t",
    FUNCTION.format("id = own"): "porfs (porfs) is not compared",
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT FROM porfs WHERE id = $1'; END $$": (
        "porfs (porfs) is not compared"
    ),
    "CREATE FUNCTION organisations_of(own bigint) RETURNS SETOF bigint LANGUAGE sql AS"
    " $$ SELECT organisation_id FROM porfs WHERE id = own $$": "organisations_of reads ['porfs'] with parameters",
    FUNCTION.format("true; PERFORM set_config('app.organisation_id', '1', true)"): "set_config",
}
ALLOWED_IN_REVISIONS = (
    "ALTER TABLE porfs ADD CONSTRAINT a CHECK (id > 0) NOT VALID; ALTER TABLE porfs VALIDATE CONSTRAINT a",
    f"{TENANT_TABLE}); {DISTRIBUTES}; ALTER TABLE x ADD {REFERENCE}",
    "CREATE TABLE y (id bigint PRIMARY KEY, user_id bigint REFERENCES users)",
    FUNCTION.format("organisation_id = own"),
    "CREATE FUNCTION organisations_of(own bigint) RETURNS SETOF bigint LANGUAGE plpgsql AS"
    " $$ BEGIN RETURN QUERY SELECT organisation_id FROM porfs WHERE id = own; END $$",
)


@pytest.mark.parametrize("sql", OBSTACLES_IN_REVISIONS)
def test_an_obstacle_in_a_revision_is_found(sql: str) -> None:
    found = revision_obstacles(sql)
    assert any(OBSTACLES_IN_REVISIONS[sql] in obstacle for obstacle in found), found


@pytest.mark.parametrize("sql", ALLOWED_IN_REVISIONS)
def test_what_a_revision_may_do_is_no_obstacle(sql: str) -> None:
    assert revision_obstacles(sql) == []


# The parts of Citus that migrations look at and call.
CATALOGUE = """
    CREATE TABLE pg_dist_partition (logicalrelid regclass);
    INSERT INTO pg_dist_partition SELECT to_regclass(tablename) FROM pg_policies WHERE tablename <> 'porfs';
    CREATE FUNCTION create_distributed_table(r regclass, k text, colocate_with text) RETURNS void LANGUAGE sql AS $$
        INSERT INTO pg_dist_partition SELECT r WHERE k = 'organisation_id' AND colocate_with = 'members' $$;
"""


@pytest.mark.parametrize("catalogue", ["", CATALOGUE])
async def test_a_new_table_of_organisations_has_its_references(fresh: Fresh, catalogue: str) -> None:
    await fresh.connection.execute(f"SELECT 1; {catalogue}")

    def create(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            column = sa.Column("porf_id", sa.BigInteger)
            reference = ddl.tenant_reference("notes", "porf_id", "porfs", ondelete="CASCADE")
            constraints = (*ddl.tenant_constraints("notes"), reference)
            ddl.create_tenant_table("notes", *ddl.tenant_columns(), column, *constraints)

    engine = create_async_engine(fresh.owner.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(create)
    await engine.dispose()
    rows = await fresh.fetch(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conrelid = 'notes'::regclass"
    )
    references = sorted(row["text"] for row in rows if row["text"].startswith("FOREIGN"))
    assert references == [
        "FOREIGN KEY (organisation_id) REFERENCES organisations(id)",
        "FOREIGN KEY (organisation_id, porf_id) REFERENCES porfs(organisation_id, id) ON DELETE CASCADE",
    ]
    if catalogue:
        assert await fresh.fetch("SELECT FROM pg_dist_partition WHERE logicalrelid = 'notes'::regclass") != []


async def test_a_table_that_is_not_distributed_like_the_others_is_a_defect(fresh: Fresh) -> None:
    assert (await find_status(fresh.owner)).defects == []
    await fresh.connection.execute(CATALOGUE)
    (defect,) = (await find_status(fresh.owner)).defects
    assert defect.startswith("table porfs is not distributed (SELECT create_distributed_table('porfs'")


@pytest.mark.heavy
def test_revisions_can_be_run_on_a_distributed_database(tmp_path: Path) -> None:
    before = REVISIONS[REVISIONS.index(SINCE) - 1]
    assert revision_obstacles(printed_sql(tmp_path, f"{before}:head").read_text()) == []
