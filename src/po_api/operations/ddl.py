"""The steps that revisions are made of: safe on tables in use, and safe to take again.

Landed revisions use this module, so what its functions do is frozen: add new ones, never change what one means.

Whoever migrates has set a `lock_timeout` and a `statement_timeout`: no statement may hold up others for long. What
takes long by its nature and holds up nobody is let off the second (`_at_leisure`).

An upgrade is `with ddl.steps():` and one last transaction. In `steps` every statement commits by itself, so no lock
outlives its statement; after a process was killed there, all steps are taken again, which is why each can be repeated.
What cannot be repeated comes after the block, in the transaction that also stamps the revision: all of it happens, or
nothing. A downgrade is that one transaction alone, since half of it would be taken for the whole revision; it only
takes things away or renames them, which locks a table for a moment.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.schema import CreateColumn


def steps() -> AbstractContextManager[None]:
    """A block whose statements commit one by one; first in a revision, so that there is nothing to commit before it."""
    return op.get_context().autocommit_block()


@contextmanager
def _at_leisure() -> Iterator[None]:
    """Statements in here may take as long as they take. After one that failed, the connection is reset anyway."""
    op.execute("SET statement_timeout = 0")
    yield
    op.execute("RESET statement_timeout")


def add_columns(table: str, *columns: sa.Column[Any]) -> None:
    """Add columns that are nullable or have a constant default: neither rewrites the table.

    Locks the table against everything for a moment, once: hence one statement.
    """
    dialect = op.get_context().dialect
    described = [CreateColumn(column).compile(dialect=dialect) for column in sa.Table(table, sa.MetaData(), *columns).c]
    op.execute(f"ALTER TABLE {table} {', '.join(f'ADD COLUMN IF NOT EXISTS {column}' for column in described)}")


def add_checks(table: str, checks: Mapping[str, str]) -> None:
    """Add checks, conditions by name, to a table that holds rows."""
    _add_constraints(table, {name: f"CHECK ({condition})" for name, condition in checks.items()})


def add_check(table: str, name: str, condition: str) -> None:
    """Add one check to a table that holds rows, with one subcommand in each statement, as Citus requires.

    New rows are bound at once; the old ones are read afterwards, under a lock that lets readers and writers go on.
    """
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
    with _at_leisure():
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def add_tenant_reference(table: str, column: str, referred: str) -> None:
    """Add the foreign key that `tenant_reference` declares, to a table that holds rows.

    For the moment in which it is added, `table` is locked against everything and `referred` against writers; for the
    validation, neither is.
    """
    definition = f"FOREIGN KEY (organisation_id, {column}) REFERENCES {referred} (organisation_id, id)"
    _add_constraints(table, {f"fk_{table}_organisation_id_{column}": definition})


def _add_constraints(table: str, constraints: Mapping[str, str]) -> None:
    """Added NOT VALID, they bind new rows and cost a moment's exclusive lock; the old rows are read in a second
    transaction, once for all of them, under a lock that lets readers and writers go on.
    """
    adding = ", ".join(
        f"DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {definition} NOT VALID"
        for name, definition in constraints.items()
    )
    op.execute(f"ALTER TABLE {table} {adding}")
    with _at_leisure():
        op.execute(f"ALTER TABLE {table} {', '.join(f'VALIDATE CONSTRAINT {name}' for name in constraints)}")


def create_index(name: str, on: str, *, unique: bool = False) -> None:
    """Build an index on a table that holds rows; `on` is what CREATE INDEX has after ON.

    CONCURRENTLY locks out only other changes of the schema. It waits for older transactions to end, which holds up
    nobody else: so there is no lock time-out here, which would throw away a long build. An interrupted build leaves
    an invalid index, to which IF NOT EXISTS would say that all is well: hence dropped first.
    """
    with _at_leisure():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {name} ON {on}")
        op.execute("RESET lock_timeout")


def add_unique(name: str, table: str, columns: str) -> None:
    """Add a unique constraint to a table that holds rows, by way of an index of the same name.

    The index is built as in `create_index`; to make a constraint of it takes a moment's exclusive lock. The index of
    a finished constraint can only be dropped with it, so that goes first when the step is repeated.
    """
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    create_index(name, f"{table} ({columns})", unique=True)
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")


def backfill(table: str, assignments: str, *, where: str, pages: int = 128) -> None:
    """Fill in rows that were there before a column: `assignments` is what UPDATE has after SET.

    `where` is true of the rows still to be done and false of those that are, so that the step can be repeated. Batches
    of some pages each (of 8 kB) commit one by one and are told as INFO. They follow where rows lie on disk, which takes
    no index; a row that is in use or moves away meanwhile is left to a second round, which waits for rows. New rows
    are the business of the version that runs: the column has a default, or that version fills it in.
    """
    with _at_leisure():
        # Rows that others have locked are skipped first: who waits for no one takes part in no deadlock.
        for title, skip in (("backfill", " SKIP LOCKED"), ("second round", "")):
            op.execute(
                f"""
                DO $do$
                DECLARE
                    batch_bytes CONSTANT numeric := {pages} * current_setting('block_size')::numeric;
                    all_batches CONSTANT integer := ceil(pg_relation_size('{table}') / batch_bytes);
                BEGIN
                    FOR this_batch IN 1..all_batches LOOP
                        UPDATE {table} SET {assignments} WHERE ctid = ANY (ARRAY(
                            SELECT ctid FROM {table}
                            WHERE ctid >= format('(%s,0)', (this_batch - 1) * {pages})::tid
                              AND ctid < format('(%s,0)', this_batch * {pages})::tid
                              AND ({where})
                            FOR NO KEY UPDATE{skip}));
                        COMMIT;
                        RAISE INFO '{table}, {title}: % of % batches', this_batch, all_batches;
                    END LOOP;
                END
                $do$
                """
            )


def backfill_by_key(
    table: str, assignments: str, *, where: str, key: Sequence[str] = ("organisation_id", "id"), rows: int = 1000
) -> None:
    """Fill in rows that were there before a column, as `backfill` does, but by the primary key.

    The last column of `key` is a bigint from 1 on; what is before it, one column or none, says which organisation's
    rows are done together. So no statement is about several organisations, or about where rows lie on disk: of a table
    that is distributed over several servers, each is about one of them. A batch has `rows` rows at the most.
    """
    *group, column = key
    groups = f"SELECT DISTINCT {group[0]} FROM {table} WHERE {where} ORDER BY 1" if group else "SELECT 0"
    of_group = f"{group[0]} = this_group" if group else "true"
    with _at_leisure():
        # The same two rounds as in `backfill`, for the same reasons.
        for title, skip in (("backfill", " SKIP LOCKED"), ("second round", "")):
            op.execute(
                f"""
                DO $do$
                DECLARE
                    all_rows CONSTANT bigint := (SELECT count(*) FROM {table} WHERE {where});
                    all_groups CONSTANT bigint[] := ARRAY({groups});
                    this_group bigint;
                    last_key bigint;
                    this_key bigint;
                    batch_rows bigint;
                    done_rows bigint := 0;
                BEGIN
                    FOREACH this_group IN ARRAY all_groups LOOP
                        last_key := 0;
                        LOOP
                            SELECT max(batch.{column}) INTO this_key FROM (
                                SELECT {column} FROM {table} WHERE {of_group} AND {column} > last_key AND ({where})
                                ORDER BY {column} LIMIT {rows}) batch;
                            EXIT WHEN this_key IS NULL;
                            UPDATE {table} SET {assignments} WHERE {of_group} AND {column} = ANY (ARRAY(
                                SELECT {column} FROM {table}
                                WHERE {of_group} AND {column} > last_key AND {column} <= this_key AND ({where})
                                FOR NO KEY UPDATE{skip}));
                            GET DIAGNOSTICS batch_rows = ROW_COUNT;
                            COMMIT;
                            done_rows := done_rows + batch_rows;
                            last_key := this_key;
                            RAISE INFO '{table}, {title}: % of % rows', done_rows, all_rows;
                        END LOOP;
                    END LOOP;
                END
                $do$
                """
            )


def require(table: str, *columns: str) -> None:
    """Make columns NOT NULL that hold no NULL any more.

    SET NOT NULL would read all rows with the table locked against everything; a valid check that says the same spares
    it that, and goes when it has served.
    """
    checks = {f"ck_{table}_{column}_required": f"{column} IS NOT NULL" for column in columns}
    add_checks(table, checks)
    op.execute(f"ALTER TABLE {table} {', '.join(f'ALTER COLUMN {column} SET NOT NULL' for column in columns)}")
    op.execute(f"ALTER TABLE {table} {', '.join(f'DROP CONSTRAINT {name}' for name in checks)}")


def as_one(*statements: str) -> None:
    """Run statements that make sense only together in one transaction, among `steps`."""
    op.execute(f"DO $do$ BEGIN {'; '.join(statements)}; END $do$")


# What new tables are made of. They are created in the last transaction, with their indexes and constraints: a foreign
# key of an empty table locks the table it refers to against writers until the transaction ends, which is soon.


def timestamps() -> list[sa.Column[Any]]:
    """When a row was made and last changed."""
    return [
        sa.Column(name, TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False)
        for name in ("created_at", "updated_at")
    ]


def tenant_columns() -> list[sa.Column[Any]]:
    """The primary key's columns of a table whose rows belong to an organisation."""
    return [
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
    ]


def tenant_constraints(table: str) -> list[sa.Constraint]:
    """The primary key of such a table, and the reference to the organisation."""
    return [
        sa.PrimaryKeyConstraint("organisation_id", "id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name=f"fk_{table}_organisation_id"),
    ]


def tenant_reference(table: str, column: str, referred: str, *, ondelete: str | None = None) -> sa.Constraint:
    """A reference to a row of the same organisation's."""
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        [f"{referred}.organisation_id", f"{referred}.id"],
        name=f"fk_{table}_organisation_id_{column}",
        ondelete=ondelete,
    )
