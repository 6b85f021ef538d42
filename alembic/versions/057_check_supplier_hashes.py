"""Cheaper checks of the hashes of suppliers.

The earlier checks count the digits with a regular expression, which takes PostgreSQL up to 0.3 ms for each row.

Revises: 056
"""

from alembic import op

from po_api.operations import ddl

revision = "057"
down_revision = "056"
branch_labels = None
depends_on = None

expands = True
loses = None

DIGITS = "supplier_hash ~ '^[0-9a-f]+$'"
EITHER = ("length(supplier_hash) IN (128, 512)", "supplier_hash ~ '^(([0-9a-f]{64}){2}|([0-9a-f]{64}){8})$'")
# By table, the condition on the length, and the check before.
CHECKS = {
    "approval_runs": EITHER,
    "approval_decisions": EITHER,
    "purchase_orders": ("length(supplier_hash) = 512", "supplier_hash ~ '^([0-9a-f]{64}){8}$'"),
}


def upgrade() -> None:
    with ddl.steps():
        for table, (length, _) in CHECKS.items():
            ddl.add_check(table, f"ck_{table}_supplier_digests", f"{length} AND {DIGITS}")
    for table in CHECKS:
        op.drop_constraint(op.f(f"ck_{table}_supplier_hash"), table)


def downgrade() -> None:
    for table, (_, earlier) in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{table}_supplier_hash"), table, earlier)
        op.drop_constraint(op.f(f"ck_{table}_supplier_digests"), table)
