"""The inbox finds the steps that a member's limit permits without reading all others.

`least_limit` has the whole units of the limit that a step takes, 0 where that is not known or none counts; the version
before writes 0.

Revises: 053
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "054"
down_revision = "053"
branch_labels = None
depends_on = None

expands = True
loses = "limits of steps that are not those of their runs"

STEPS = "approval_steps"
HIGHEST = 2**63 - 1
KNOWN = f"""(SELECT floor(least(r.base_ceiling, {HIGHEST}))::bigint FROM approval_runs r
    WHERE r.organisation_id = {STEPS}.organisation_id AND r.id = {STEPS}.run_id AND r.base_ceiling IS NOT NULL)"""
lost_rows = (f"{STEPS} WHERE least_limit > 0 AND least_limit IS DISTINCT FROM {KNOWN}",)
IS_OPEN = "status IN ('active', 'waiting')"
FOUND = "status, activated_at, id, least_limit"


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(STEPS, sa.Column("least_limit", sa.BigInteger, server_default="0", nullable=False))
        ddl.backfill_by_key(
            STEPS,
            f"least_limit = {KNOWN}",
            where=f"{IS_OPEN} AND enforce_limit AND least_limit = 0 AND {KNOWN} > 0",
        )
        ddl.create_index(
            f"ix_{STEPS}_open_roles",
            f"{STEPS} (organisation_id, {FOUND}) WHERE {IS_OPEN} AND pool_role IS NOT NULL",
        )
        ddl.create_index(
            f"ix_{STEPS}_open_groups",
            f"{STEPS} (organisation_id, pool_group_id, {FOUND}) WHERE {IS_OPEN} AND pool_group_id IS NOT NULL",
        )
        for name in ("pools", "roles"):
            ddl.drop_index(f"ix_{STEPS}_active_{name}")


def downgrade() -> None:
    op.drop_column(STEPS, "least_limit")
    op.create_index(
        f"ix_{STEPS}_active_pools",
        STEPS,
        ["organisation_id", "pool_group_id"],
        postgresql_where=sa.text("status = 'active' AND kind = 'pool'"),
    )
    op.create_index(
        f"ix_{STEPS}_active_roles",
        STEPS,
        ["organisation_id", "activated_at", "id"],
        postgresql_where=sa.text("status = 'active' AND pool_role IS NOT NULL"),
    )
