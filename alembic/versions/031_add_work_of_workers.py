"""Documents of orders are rendered by a worker soon after the issue; the periodic tasks of the worker.

The version before goes on: the worker queues the documents of the orders that it issues meanwhile.

Revises: 030
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "031"
down_revision = "030"
branch_labels = None
depends_on = None

expands = True
loses = "which documents could not be rendered, and which tasks of the worker have failed"
lost_rows = ("document_renderings WHERE status = 'failed'", "worker_tasks WHERE failures > 0")

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public"

# The owner's rights: a worker has entered no tenant when it looks for work. Only ids of organisations are returned.
# Rows without a next attempt of their own are work as long as they exist.
ORGANISATIONS_WITH_WORK = f"""
    CREATE FUNCTION organisations_with_work(of_table text) RETURNS SETOF bigint
    LANGUAGE plpgsql STABLE {AS_OWNER} AS $$
    DECLARE
        condition text := 'true';
    BEGIN
        IF EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = format('public.%I', of_table)::regclass AND attname = 'next_attempt_at'
        ) THEN
            condition := 'next_attempt_at <= now() AND (leased_until IS NULL OR leased_until <= now())';
        END IF;
        RETURN QUERY EXECUTE format('SELECT DISTINCT organisation_id FROM public.%I WHERE %s', of_table, condition);
    END $$
"""
# The same rights, and sums of all organisations only.
WORK_IN = f"""
    CREATE FUNCTION work_in(of_table text)
    RETURNS TABLE (due bigint, oldest_due_at timestamptz, failed bigint)
    LANGUAGE plpgsql STABLE {AS_OWNER} AS $$
    BEGIN
        RETURN QUERY EXECUTE format($work$
            SELECT count(*) FILTER (WHERE is_due), min(next_attempt_at) FILTER (WHERE is_due),
                count(*) FILTER (WHERE status = 'failed')
            FROM public.%I
            CROSS JOIN LATERAL (
                SELECT next_attempt_at <= now() AND (leased_until IS NULL OR leased_until <= now()) AS is_due) AS due
            WHERE next_attempt_at IS NOT NULL OR status = 'failed'
        $work$, of_table);
    END $$
"""
FUNCTIONS = {"organisations_with_work(text)": ORGANISATIONS_WITH_WORK, "work_in(text)": WORK_IN}


def upgrade() -> None:
    ddl.create_tenant_table(
        "document_renderings",
        *ddl.tenant_columns(),
        sa.Column("purchase_order_id", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("next_attempt_at", TIMESTAMP(timezone=True)),
        sa.Column("leased_until", TIMESTAMP(timezone=True)),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("finished_at", TIMESTAMP(timezone=True)),
        sa.Column("created_at", TIMESTAMP(timezone=True), nullable=False),
        *ddl.tenant_constraints("document_renderings"),
        ddl.tenant_reference("document_renderings", "purchase_order_id", "purchase_orders"),
        sa.UniqueConstraint(
            "organisation_id", "purchase_order_id", "revision", "kind", name="uq_document_renderings_kind"
        ),
        sa.CheckConstraint("kind IN ('issued', 'cancelled', 'superseded')", name=op.f("ck_document_renderings_kind")),
        sa.CheckConstraint("status IN ('queued', 'done', 'failed')", name=op.f("ck_document_renderings_status")),
        sa.CheckConstraint(
            "(status = 'queued') = (next_attempt_at IS NOT NULL)", name=op.f("ck_document_renderings_next_attempt_at")
        ),
        sa.CheckConstraint(
            "status = 'queued' OR leased_until IS NULL", name=op.f("ck_document_renderings_leased_until")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_document_renderings_attempts")),
    )
    op.create_index(
        "ix_document_renderings_next_attempt_at",
        "document_renderings",
        ["organisation_id", "next_attempt_at", "id"],
        postgresql_where="next_attempt_at IS NOT NULL OR status = 'failed'",
    )
    op.execute(f"CREATE POLICY tenant ON document_renderings USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute("ALTER TABLE document_renderings ENABLE ROW LEVEL SECURITY")
    op.create_table(
        "worker_tasks",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("next_run_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("leased_until", TIMESTAMP(timezone=True)),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("started_at", TIMESTAMP(timezone=True)),
        sa.Column("succeeded_at", TIMESTAMP(timezone=True)),
        sa.Column("failures", sa.Integer, server_default="0", nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("name", name="pk_worker_tasks"),
        sa.CheckConstraint("attempts >= 0 AND failures >= 0", name=op.f("ck_worker_tasks_counts")),
    )
    for signature, definition in FUNCTIONS.items():
        op.execute(definition)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")


def downgrade() -> None:
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("worker_tasks")
    op.drop_table("document_renderings")
