"""The current schema of a database: its revision, the versions of the application that work with it, its defects."""

from collections.abc import Sequence
from dataclasses import dataclass

from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from po_api.db.schema_info import SchemaInfo
from po_api.observability.logging import get_logger
from po_api.operations.revisions import head_revision, is_known

_HAS_NO_INFO = text(f"SELECT to_regclass('{SchemaInfo.__tablename__}') IS NULL")
_HAS_CITUS = text("SELECT to_regclass('pg_dist_partition') IS NOT NULL")
# Those with a policy are the tables of organisations.
_NOT_DISTRIBUTED = text(
    """
    SELECT format('table %s is not distributed (SELECT create_distributed_table(%L, %L, colocate_with => %L))',
                  tablename, tablename, 'organisation_id', 'members')
    FROM pg_policies
    WHERE schemaname = current_schema()
      AND EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('members'))
      AND NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass(tablename))
      AND tablename !~ '_\\d{6,}$'
    ORDER BY tablename
    """
)

_log = get_logger(__name__)


class StaleSchema(Exception):
    """This version of the application does not work with the schema of the database."""


@dataclass(frozen=True)
class Schema:
    """A schema's revision, None if it is empty, and the oldest revision whose application works with it, if known."""

    revision: str | None
    compatible_since: str | None = None

    @property
    def is_later(self) -> bool:
        """Whether it is a later version's, and compatible with this version.

        This version has its own revision and all before: if it has the oldest compatible one, it is compatible.
        """
        oldest = self.compatible_since
        return not is_known(self.revision) and oldest is not None and is_known(oldest)

    @property
    def problem(self) -> str | None:
        """The reason why this version of the application does not work with it; None if it does."""
        if self.revision == head_revision() or self.is_later:
            return None
        remedy = (
            "run `po-api migrate`" if is_known(self.revision) else "it belongs to a later version: deploy that version"
        )
        return f"the database is at revision {self.revision or 'none'}, this version needs {head_revision()}: {remedy}"


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision the database is at; None for an empty one."""
    return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def read_schema(connection: AsyncConnection) -> Schema:
    """The schema of a database."""
    revision = await current_revision(connection)
    if is_known(revision):
        return Schema(revision)  # the compatibility only matters to earlier versions
    if await connection.scalar(_HAS_NO_INFO):
        return Schema(revision)
    return Schema(revision, await connection.scalar(select(SchemaInfo.compatible_since)))


def write_compatibility(context: MigrationContext, compatible_since: str) -> None:
    """Store the oldest revision whose application works with the schema, in the transaction of the migration."""
    context.execute(delete(SchemaInfo))
    context.execute(
        insert(SchemaInfo).values(is_only_row=True, compatible_since=compatible_since, updated_at=text("now()"))
    )


async def require_head(connection: AsyncConnection) -> None:
    """Raise StaleSchema, naming both revisions, unless this version of the application works with the schema."""
    schema = await read_schema(connection)
    if schema.problem is not None:
        raise StaleSchema(schema.problem)
    if schema.is_later:
        _log.warning(
            "schema_later_than_application",
            revision=schema.revision,
            expected=head_revision(),
            compatible_since=schema.compatible_since,
        )


async def find_defects(connection: AsyncConnection) -> Sequence[str]:
    """Invalid indexes, which PostgreSQL does not use, constraints that were not validated, and tables of organisations
    that are not distributed like the others (Citus); each with its remedy."""
    query = text(
        """
        SELECT format('index %s is invalid (REINDEX INDEX CONCURRENTLY %1$s)', indexrelid::regclass)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT format('constraint %s was never validated (ALTER TABLE %s VALIDATE CONSTRAINT %1$I)', conname,
                      conrelid::regclass)
        FROM pg_constraint WHERE NOT convalidated AND connamespace = current_schema()::regnamespace
        ORDER BY 1
        """
    )
    defects = [*(await connection.scalars(query)).all()]
    if await connection.scalar(_HAS_CITUS):
        defects += (await connection.scalars(_NOT_DISTRIBUTED)).all()
    return defects
