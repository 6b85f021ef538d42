"""Events get numbers without gaps in the order of their commits, with seals that show later changes.

A new event is written with a row in the outbox; the relay numbers it, seals it, and deletes that row. The log refers to
the events, so that none of them can be deleted by mistake. Events have the version of their entity.

The version before goes on: revision 034 adds its events to the outbox, and the worker those that it writes afterwards.

Revises: 032
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "033"
down_revision = "032"
branch_labels = None
depends_on = None

TABLES = ("event_outbox", "event_feeds", "event_log")

expands = True
loses = "the numbers and seals of events, and the versions of entities in them"
lost_rows = (*TABLES, "audit_events WHERE entity_version IS NOT NULL")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"

# With the owner's rights, since no tenant is entered: the time of one event, of all organisations. Of each only the
# first is looked at: a backlog of many events is not read as a whole.
OLDEST = f"""
    CREATE FUNCTION oldest_waiting_event() RETURNS timestamptz LANGUAGE sql STABLE {AS_OWNER} AS $$
        SELECT min(e.created_at)
        FROM (SELECT organisation_id, min(event_id) AS id FROM public.event_outbox GROUP BY organisation_id) AS first
        JOIN public.audit_events e ON e.organisation_id = first.organisation_id AND e.id = first.id
    $$
"""


def _of_event(table: str) -> sa.Constraint:
    return ddl.tenant_reference(table, "event_id", "audit_events")


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("audit_events", sa.Column("entity_version", sa.Integer))

    ddl.create_tenant_table(
        "event_outbox",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "event_id", name="pk_event_outbox"),
        _of_event("event_outbox"),
    )
    ddl.create_tenant_table(
        "event_feeds",
        *ddl.tenant_columns(),
        sa.Column(
            "feed",
            sa.Text,
            server_default=sa.text("left(replace(gen_random_uuid()::text, '-', ''), 16)"),
            nullable=False,
        ),
        sa.Column("last_number", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("last_seal", sa.Text, server_default="0" * 64, nullable=False),
        sa.Column("sealed_at", TIMESTAMP(timezone=True)),
        sa.Column("ended_at", TIMESTAMP(timezone=True)),
        *ddl.tenant_constraints("event_feeds"),
        sa.UniqueConstraint("organisation_id", "feed", name="uq_event_feeds_organisation_id_feed"),
        sa.CheckConstraint("last_number >= 0", name=op.f("ck_event_feeds_last_number")),
        sa.Index(
            "uq_event_feeds_current", "organisation_id", unique=True, postgresql_where=sa.text("ended_at IS NULL")
        ),
    )
    ddl.create_tenant_table(
        "event_log",
        sa.Column("organisation_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "number", name="pk_event_log"),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name="fk_event_log_organisation_id"),
        _of_event("event_log"),
        sa.UniqueConstraint("organisation_id", "event_id", name="uq_event_log_organisation_id_event_id"),
        sa.CheckConstraint("number > 0", name=op.f("ck_event_log_number")),
    )
    for table in TABLES:
        op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(OLDEST)
    op.execute("REVOKE ALL ON FUNCTION oldest_waiting_event() FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION oldest_waiting_event()")
    for table in TABLES:
        op.drop_table(table)
    op.drop_column("audit_events", "entity_version")
