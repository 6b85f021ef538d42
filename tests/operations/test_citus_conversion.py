"""deploy/citus: each table of the models has a place, and the conversion executes what is missing.

Citus is on no machine that runs these tests: a schema with its tables that the conversion reads stands for it.
"""

import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from po_api.db.database import libpq_url
from po_api.operations.migrations import MIGRATION_LOCK
from po_api.settings import Settings
from po_api.tables import metadata
from support.clusters import Cluster, connected
from support.tenant_tables import GLOBAL_TABLES, TENANT_TABLES

CITUS = Path(__file__).parents[2] / "deploy" / "citus"
PLACES: list[tuple[str, str]] = re.findall(
    r"\('(\w+)', '(reference|distributed|local)'\)", (CITUS / "convert.sql").read_text()
)


def _placed(kind: str) -> list[str]:
    return [name for name, place in PLACES if place == kind]


def test_each_table_has_one_place() -> None:
    assert sorted(_placed("distributed")) == sorted(table.name for table in TENANT_TABLES)
    on_coordinator = {table.name for table in GLOBAL_TABLES} - {"organisations"} | {"alembic_version"}
    assert sorted(_placed("local")) == sorted(on_coordinator)
    assert _placed("reference") == ["organisations"]


def test_tables_follow_those_that_they_refer_to() -> None:
    order = [name for name, _ in PLACES]
    for table in TENANT_TABLES:
        for key in table.foreign_key_constraints:
            referred = key.referred_table
            # Mutual keys are those that are added afterwards.
            if referred is not table and not key.use_alter:
                assert order.index(referred.name) < order.index(table.name), key.name


def test_local_tables_are_referred_to_by_local_ones_only() -> None:
    referred = {
        key.referred_table.name
        for table in metadata.sorted_tables
        if table.name not in _placed("local")
        for key in table.foreign_key_constraints
    }
    assert referred.isdisjoint(_placed("local"))


def test_the_lock_is_that_of_migrations() -> None:
    assert f"pg_try_advisory_lock({MIGRATION_LOCK})" in (CITUS / "convert.sql").read_text()


def test_sessions_of_the_workers_wait_for_locks_as_long_as_those_of_the_application() -> None:
    (seconds,) = re.findall(r"ALTER ROLE po_app SET lock_timeout = '(\d+)s'", (CITUS / "roles.sql").read_text())
    assert Settings.model_fields["db_lock_timeout_ms"].default == int(seconds) * 1000


class Conversion:
    """convert.sh on the tests' database."""

    def __init__(self, cluster: Cluster, url: str) -> None:
        self._path = cluster.binaries
        self._url = url

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self._path}:/usr/bin:/bin", "PGOPTIONS": "-c search_path=public,catalogue_of_citus"}
        command = ["/bin/sh", str(CITUS / "convert.sh"), *options, libpq_url(self._url)]
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)

    def missing(self) -> list[str]:
        """The statements that it would execute."""
        ran = self.run("--dry-run")
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.splitlines()

    def refusal(self, *options: str) -> str:
        ran = self.run(*options)
        assert (ran.returncode, ran.stdout) == (3, "")
        return ran.stderr.rpartition("ERROR:  ")[2].strip()


@pytest.fixture
async def conversion(
    cluster: Cluster, database_urls: tuple[str, str], owner: asyncpg.Connection
) -> AsyncIterator[Conversion]:
    if "PO_TEST_CITUS_URL" in os.environ:
        pytest.skip("the database is distributed already")
    await owner.execute(
        "CREATE SCHEMA catalogue_of_citus;"
        "CREATE TABLE catalogue_of_citus.pg_dist_partition (logicalrelid regclass);"
        "CREATE TABLE catalogue_of_citus.pg_dist_node (groupid integer, isactive boolean, shouldhaveshards boolean);"
        "CREATE TABLE catalogue_of_citus.pg_dist_object (objid oid, distribution_argument_index integer);"
        "INSERT INTO catalogue_of_citus.pg_dist_node VALUES (0, true, false), (1, true, true)"
    )
    try:
        yield Conversion(cluster, database_urls[0])
    finally:
        await owner.execute("DROP SCHEMA catalogue_of_citus CASCADE")


async def test_a_dry_run_prints_what_is_missing(conversion: Conversion, owner: asyncpg.Connection) -> None:
    every = conversion.missing()
    first = next(n for n, line in enumerate(every) if line.startswith("SELECT create_"))
    assert "ALTER TABLE users DROP CONSTRAINT fk_users_organisation_id;" in every[:first]
    created = [re.findall(r"'(\w+)'", line)[0] for line in every if re.match(r"SELECT create_\w+_table", line)]
    assert created == ["organisations", *_placed("distributed")]
    assert "SELECT create_reference_table('organisations');" in every
    assert "SELECT create_distributed_table('members', 'organisation_id', colocate_with => 'none');" in every
    assert "SELECT create_distributed_table('porfs', 'organisation_id', colocate_with => 'members');" in every
    *_, definition, distribution = [line for line in every if "run_prepared(" in line]
    assert definition.startswith("CREATE OR REPLACE FUNCTION run_prepared(")
    assert distribution.startswith("SELECT create_distributed_function('run_prepared(bigint, text, text, text[])', ")

    await owner.execute(
        "INSERT INTO catalogue_of_citus.pg_dist_partition VALUES ('organisations'), ('members'), ('porfs')"
    )
    left = [
        line
        for line in every
        if not re.search(r"(create_\w+\('|ANALYZE |ALTER TABLE )(organisations|members|porfs)\b", line)
    ]
    assert conversion.missing() == left


async def test_it_refuses_to_run_beside_the_api_or_a_migration(
    conversion: Conversion, owner: asyncpg.Connection, urls: tuple[str, str]
) -> None:
    async with connected(urls[1]) as serving:
        await serving.execute("SET application_name = 'po-api'")
        assert conversion.refusal().startswith("stop po-api first: it has ")
    await owner.execute("SELECT pg_advisory_lock($1::bigint)", MIGRATION_LOCK)
    assert conversion.refusal("--dry-run") == "another process is migrating this database"


async def test_it_refuses_a_table_without_a_place(conversion: Conversion, owner: asyncpg.Connection) -> None:
    await owner.execute("CREATE TABLE departments (id bigint)")
    try:
        assert conversion.refusal("--dry-run").startswith("table departments has no place: ")
    finally:
        await owner.execute("DROP TABLE departments")


async def test_it_refuses_a_cluster_without_workers_and_a_server_without_citus(
    conversion: Conversion, owner: asyncpg.Connection
) -> None:
    await owner.execute("UPDATE catalogue_of_citus.pg_dist_node SET shouldhaveshards = false")
    assert conversion.refusal("--dry-run") == "there are no workers: see docs/citus.md"
    await owner.execute("DELETE FROM catalogue_of_citus.pg_dist_node WHERE groupid = 0")
    await owner.execute("UPDATE catalogue_of_citus.pg_dist_node SET shouldhaveshards = true")
    assert conversion.refusal("--dry-run").startswith("the coordinator is not in its own list of nodes")
    await owner.execute("DROP TABLE catalogue_of_citus.pg_dist_node")
    assert conversion.refusal("--dry-run") == "this database has no Citus: see docs/citus.md"
