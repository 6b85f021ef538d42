"""The steps of revisions: safe on tables in use, and safe to repeat.

Released revisions use this module, so the effect of its functions is frozen: add new functions, never change one.

Migrations run with a `lock_timeout` and a `statement_timeout`, so that no statement blocks others for long. Statements
that take long but block no others run without the latter (`_without_statement_timeout`).

An upgrade is `with ddl.steps():` and one last transaction. In `steps` every statement commits by itself, so that no
lock outlives its statement; if the process is killed, all steps are executed again, so each must be repeatable. Other
statements come after the block, in the transaction that also stamps the revision. A downgrade is that one transaction
alone, since a part of it would be taken for the whole revision; it only drops or renames, which locks a table for a
moment.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.schema import CreateColumn


def steps() -> AbstractContextManager[None]:
    """A block whose statements commit one by one. It must be the first in a revision."""
    return op.get_context().autocommit_block()


@contextmanager
def _without_statement_timeout() -> Iterator[None]:
    """Lift the statement time-out. After a failed statement the connection is reset by the caller."""
    op.execute("SET statement_timeout = 0")
    yield
    op.execute("RESET statement_timeout")


def add_columns(table: str, *columns: sa.Column[Any]) -> None:
    """Add columns that are nullable or have a constant default: neither rewrites the table.

    One statement, so that the table is locked exclusively only once, for a moment.
    """
    dialect = op.get_context().dialect
    described = [CreateColumn(column).compile(dialect=dialect) for column in sa.Table(table, sa.MetaData(), *columns).c]
    op.execute(f"ALTER TABLE {table} {', '.join(f'ADD COLUMN IF NOT EXISTS {column}' for column in described)}")


def add_checks(table: str, checks: Mapping[str, str]) -> None:
    """Add checks, conditions by name, to a table with rows."""
    _add_constraints(table, {name: f"CHECK ({condition})" for name, condition in checks.items()})


def add_check(table: str, name: str, condition: str) -> None:
    """Add one check to a table with rows, with one subcommand in each statement, as Citus requires.

    It applies to new rows at once; old rows are validated afterwards, under a lock that permits reads and writes.
    """
    _add_constraint(table, name, f"CHECK ({condition})")


def add_reference(table: str, column: str, referred: str) -> None:
    """Add a foreign key of tenant rows to a table with rows, as `add_check` adds a check: `referred` names the table
    and its key.

    While it is added, for a moment, `table` is locked exclusively and `referred` against writes.
    """
    definition = f"FOREIGN KEY (organisation_id, {column}) REFERENCES {referred}"
    _add_constraint(table, f"fk_{table}_organisation_id_{column}", definition)


def _add_constraint(table: str, name: str, definition: str) -> None:
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID")
    with _without_statement_timeout():
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def require_column(table: str, column: str) -> None:
    """Make a column without NULLs NOT NULL, as `require` does, with one subcommand in each statement."""
    name = f"ck_{table}_{column}_required"
    add_check(table, name, f"{column} IS NOT NULL")
    op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def add_tenant_reference(table: str, column: str, referred: str) -> None:
    """Add the foreign key that `tenant_reference` declares, to a table with rows.

    While it is added, for a moment, `table` is locked exclusively and `referred` against writes; the validation permits
    both.
    """
    definition = f"FOREIGN KEY (organisation_id, {column}) REFERENCES {referred} (organisation_id, id)"
    _add_constraints(table, {f"fk_{table}_organisation_id_{column}": definition})


def move_tenant_reference(table: str, column: str, referred: str) -> None:
    """Let an existing foreign key of tenant rows refer to another table: `referred` names it and its key.

    The new one is validated beside the old one, as in `add_tenant_reference`, and then takes its name. Both referred
    tables are locked against writes for a moment.
    """
    name = f"fk_{table}_organisation_id_{column}"
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}_moved")
    op.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT {name}_moved FOREIGN KEY (organisation_id, {column})"
        f" REFERENCES {referred} NOT VALID"
    )
    with _without_statement_timeout():
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}_moved")
    as_one(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}",
        f"ALTER TABLE {table} RENAME CONSTRAINT {name}_moved TO {name}",
    )


def _add_constraints(table: str, constraints: Mapping[str, str]) -> None:
    """Added NOT VALID, they apply to new rows, and lock the table exclusively for a moment; old rows are validated in a
    second transaction, once for all constraints, under a lock that permits reads and writes.
    """
    adding = ", ".join(
        f"DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {definition} NOT VALID"
        for name, definition in constraints.items()
    )
    op.execute(f"ALTER TABLE {table} {adding}")
    with _without_statement_timeout():
        op.execute(f"ALTER TABLE {table} {', '.join(f'VALIDATE CONSTRAINT {name}' for name in constraints)}")


def create_index(name: str, on: str, *, unique: bool = False) -> None:
    """Build an index on a table with rows; `on` is the part of CREATE INDEX after ON.

    CONCURRENTLY blocks only other changes of the schema. It waits for older transactions to end, which blocks no other
    session: so there is no lock time-out, which could discard a long build. An interrupted build leaves an invalid
    index, which IF NOT EXISTS would accept: hence it is dropped first.
    """
    with _without_statement_timeout():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {name} ON {on}")
        op.execute("RESET lock_timeout")


def drop_index(name: str) -> None:
    """Drop an index that another one replaces. CONCURRENTLY blocks nobody, and waits as in `create_index`."""
    with _without_statement_timeout():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute("RESET lock_timeout")


def add_unique(name: str, table: str, columns: str) -> None:
    """Add a unique constraint to a table with rows, using an index of the same name.

    The index is built as in `create_index`; turning it into a constraint locks the table exclusively for a moment. If
    the step is repeated, the constraint is dropped first, since its index cannot be dropped alone.
    """
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    create_index(name, f"{table} ({columns})", unique=True)
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")


def replace_primary_key(table: str, columns: str) -> None:
    """Give a table with rows another primary key of columns that are NOT NULL.

    Its index is built as in `create_index`; it takes the place of the old one with the table locked exclusively for a
    moment.
    """
    create_index(f"pk_{table}_replaced", f"{table} ({columns})", unique=True)
    as_one(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS pk_{table}",
        f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY USING INDEX pk_{table}_replaced",
    )


def backfill(table: str, assignments: str, *, where: str, pages: int = 128) -> None:
    """Fill a new column of existing rows: `assignments` is the part of UPDATE after SET.

    `where` must be true for the remaining rows and false for updated ones, so that the step can be repeated. Batches of
    `pages` pages (of 8 kB) commit one by one and report their progress as INFO. They are in physical order, which needs
    no index; rows that are locked or moved meanwhile are updated in a second round, which waits for locks. New rows are
    filled by the default of the column or by the running version.
    """
    with _without_statement_timeout():
        # Locked rows are skipped first: a statement that does not wait cannot be part of a deadlock.
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
    """Fill a new column of existing rows as `backfill` does, but in the order of the primary key.

    The last column of `key` is a bigint from 1 on; the one before it, if there is one, groups the rows, such as by
    organisation. No statement concerns several groups or depends on the physical order: on a distributed table, each
    runs on one server. A batch has at most `rows` rows.
    """
    *group, column = key
    groups = f"SELECT DISTINCT {group[0]} FROM {table} WHERE {where} ORDER BY 1" if group else "SELECT 0"
    of_group = f"{group[0]} = this_group" if group else "true"
    with _without_statement_timeout():
        # Two rounds, as in `backfill`.
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


def copy_by_key(insert: str, *, of: str, rows: int = 1000) -> None:
    """Copy the rows of a table with an `id` into another: `insert` is an INSERT … SELECT that ends in its WHERE.

    Batches of at most `rows` ids commit one by one and report their progress as INFO. Rows that are there already stay
    as they are, so that the step can be repeated, and a trigger may write newer ones meanwhile.
    """
    with _without_statement_timeout():
        op.execute(
            f"""
            DO $do$
            DECLARE
                all_ids CONSTANT bigint := (SELECT coalesce(max(id), 0) FROM {of});
                last_id bigint := 0;
            BEGIN
                WHILE last_id < all_ids LOOP
                    {insert} AND id > last_id AND id <= last_id + {rows} ON CONFLICT DO NOTHING;
                    COMMIT;
                    last_id := last_id + {rows};
                    RAISE INFO 'copy of {of}: % of % ids', least(last_id, all_ids), all_ids;
                END LOOP;
            END
            $do$
            """
        )


def require(table: str, *columns: str) -> None:
    """Make columns without NULLs NOT NULL.

    SET NOT NULL would read all rows with the table locked exclusively, unless there is an equivalent valid check, which
    is dropped afterwards.
    """
    checks = {f"ck_{table}_{column}_required": f"{column} IS NOT NULL" for column in columns}
    add_checks(table, checks)
    op.execute(f"ALTER TABLE {table} {', '.join(f'ALTER COLUMN {column} SET NOT NULL' for column in columns)}")
    op.execute(f"ALTER TABLE {table} {', '.join(f'DROP CONSTRAINT {name}' for name in checks)}")


def as_one(*statements: str) -> None:
    """Execute several statements in one transaction within `steps`."""
    op.execute(f"DO $do$ BEGIN {'; '.join(statements)}; END $do$")


# Parts of new tables. These are created in the last transaction, with their indexes and constraints: a foreign key of
# an empty table locks the referenced table against writes only until the end of that short transaction.


def timestamps() -> list[sa.Column[Any]]:
    """The columns for the times of a row's creation and last change."""
    return [
        sa.Column(name, TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False)
        for name in ("created_at", "updated_at")
    ]


def tenant_columns() -> list[sa.Column[Any]]:
    """The columns of the primary key of a tenant table."""
    return [
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
    ]


def tenant_constraints(table: str) -> list[sa.Constraint]:
    """The primary key of a tenant table, and its reference to the organisation."""
    return [
        sa.PrimaryKeyConstraint("organisation_id", "id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name=f"fk_{table}_organisation_id"),
    ]


def tenant_reference(table: str, column: str, referred: str, *, ondelete: str | None = None) -> sa.Constraint:
    """A reference to a row of the same organisation."""
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        [f"{referred}.organisation_id", f"{referred}.id"],
        name=f"fk_{table}_organisation_id_{column}",
        ondelete=ondelete,
    )


def create_tenant_table(table: str, *items: sa.Column[Any] | sa.Constraint) -> None:
    """Create a table of organisations, in the last transaction.

    In a distributed database it is distributed like the other ones; only then may it refer to them. Its parts on a
    server are created on one connection, since what follows in the transaction changes them on one.
    """
    keys = [item for item in items if isinstance(item, sa.ForeignKeyConstraint)]
    op.create_table(table, *(item for item in items if not isinstance(item, sa.ForeignKeyConstraint)))
    op.execute(
        f"""
        DO $do$
        BEGIN
            IF to_regclass('pg_dist_partition') IS NOT NULL THEN
                IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'members'::regclass) THEN
                    SET LOCAL citus.multi_shard_modify_mode = 'sequential';
                    PERFORM create_distributed_table('{table}', 'organisation_id', colocate_with => 'members');
                END IF;
            END IF;
        END
        $do$
        """
    )
    for key in keys:
        referred = [element.target_fullname.split(".") for element in key.elements]
        (target,), columns = {name for name, _ in referred}, [column for _, column in referred]
        op.create_foreign_key(str(key.name), table, target, [*key.column_keys], columns, ondelete=key.ondelete)
