"""Approvals of requests: runs, steps, people, delegations, timers; decisions name theirs.

The version before goes on: its decisions name none.

Revises: 046
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

from po_api.operations import ddl

revision = "047"
down_revision = "046"
branch_labels = None
depends_on = None

DECISIONS = "approval_decisions"

expands = True
loses = (
    "approval runs with their steps and people, delegations, timers, whether an administrator may override; on whose"
    " behalf and on whose requests decisions were made"
)
# The runs of earlier decisions, and of requests that no policy concerns, are made again by revision 048.
lost_rows = (
    "approval_runs WHERE policy_id IS NOT NULL",
    "approval_steps WHERE source <> 'default'",
    "approval_slots",
    "approval_delegations",
    "approval_timers",
    "organisations WHERE allow_override",
    f"{DECISIONS} WHERE num_nonnulls(slot_id, on_behalf_of_id, requester_id, self_allowed, carried_from_id) > 0"
    " OR source <> 'given' OR principal_id <> approver_id OR (run_id IS NULL) <> (step_id IS NULL)",
)

TENANT = "organisation_id = nullif(current_setting('app.organisation_id', true), '')::bigint"
HASH = "~ '^[0-9a-f]{64}$'"

# The owner's rights: a worker has entered no tenant when it looks for work. Only ids of organisations are returned.
DUE = """
    CREATE FUNCTION organisations_with_due_timers(at timestamptz) RETURNS SETOF bigint LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = pg_catalog, public AS $$
        SELECT DISTINCT organisation_id FROM public.approval_timers WHERE done_at IS NULL AND due_at <= at
    $$
"""

CHECKS = {
    "approval_runs": {
        "run_no": "run_no >= 1",
        "status": "status IN ('open', 'approved', 'rejected', 'returned', 'recalled', 'cancelled')",
        "closed_at": "(status = 'open') = (closed_at IS NULL)",
        "hashes": f"content_hash {HASH} AND fixed_hash {HASH}",
        "hash_version": "hash_version >= 1 AND (hash_version IS NULL) = (content_hash IS NULL)",
        "content_hash": "status <> 'approved' OR content_hash IS NOT NULL",
        "supplier_hash": "supplier_hash ~ '^(([0-9a-f]{64}){2}|([0-9a-f]{64}){8})$'",
    },
    "approval_steps": {
        "seq": "seq >= 1 AND stage BETWEEN 1 AND 99 AND position >= 1",
        "source": "source IN ('rule', 'added', 'override', 'default')",
        "rule_id": "(source = 'rule') = (rule_id IS NOT NULL)",
        "added_by_id": "(source IN ('added', 'override')) = (added_by_id IS NOT NULL)",
        "name": "name <> '' AND length(name) <= 255",
        "kind": "kind IN ('people', 'pool') AND pool_role IN ('approver')"
        " AND num_nonnulls(pool_group_id, pool_role) = CASE kind WHEN 'pool' THEN 1 ELSE 0 END",
        "required_count": "required_count >= 1",
        "status": "status IN ('waiting', 'active', 'approved', 'rejected', 'skipped', 'cancelled')",
        "skip_reason": "skip_reason IN ('on_empty', 'override', 'removed')"
        " AND (status = 'skipped') = (skip_reason IS NOT NULL)",
        "closed_at": "(status IN ('waiting', 'active')) = (closed_at IS NULL)",
        "activated_at": "status NOT IN ('active', 'approved') OR activated_at IS NOT NULL",
    },
    "approval_slots": {
        "origin": "origin IN ('named', 'owner', 'manager', 'chain', 'escalated', 'added', 'vacancy')",
        "status": "status IN ('open', 'approved', 'carried', 'vacant', 'closed')",
    },
    "approval_delegations": {
        "delegate_id": "delegator_id <> delegate_id",
        "ends_at": "ends_at > starts_at AND ends_at <= starts_at + interval '366 days'",
        "reason": "length(reason) BETWEEN 1 AND 1000",
    },
    "approval_timers": {"kind": "kind IN ('remind', 'escalate')", "n": "n >= 1"},
    DECISIONS: {
        "run_id": "num_nonnulls(run_id, step_id, principal_id, source) IN (0, 4)",
        "source": "source IN ('given', 'carried', 'override')",
        "carried_from_id": "(source = 'carried') = (carried_from_id IS NOT NULL)",
        "on_behalf_of_id": "on_behalf_of_id IS NULL OR on_behalf_of_id = principal_id",
        "requester_id": "self_allowed OR (approver_id <> requester_id AND principal_id <> requester_id)",
    },
}

ADDED = (
    *("run_id", "step_id", "slot_id", "principal_id", "on_behalf_of_id", "requester_id", "self_allowed", "source"),
    "carried_from_id",
)
# The next revision adds the others: a reference to a new table would lock this one while it is read.
REFERRED = {
    "principal_id": "members (organisation_id, user_id)",
    "on_behalf_of_id": "members (organisation_id, user_id)",
    "requester_id": "members (organisation_id, user_id)",
    "carried_from_id": "approval_decisions (organisation_id, id)",
}
TYPES = {"self_allowed": sa.Boolean, "source": sa.Text}


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns(
            "organisations", sa.Column("allow_override", sa.Boolean, server_default=sa.false(), nullable=False)
        )
        ddl.add_columns(DECISIONS, *(sa.Column(name, TYPES.get(name, sa.BigInteger)) for name in ADDED))
        for name, check in CHECKS[DECISIONS].items():
            ddl.add_check(DECISIONS, f"ck_{DECISIONS}_{name}", check)
        for name in ("run_id", "slot_id", *REFERRED):
            ddl.create_index(
                f"ix_{DECISIONS}_organisation_id_{name}",
                f"{DECISIONS} (organisation_id, {name}) WHERE {name} IS NOT NULL",
            )
        for who in ("principal_id", "approver_id"):
            ddl.create_index(
                f"uq_{DECISIONS}_step_id_{who}",
                f"{DECISIONS} (organisation_id, step_id, {who}) WHERE step_id IS NOT NULL",
                unique=True,
            )
        for name, referred in REFERRED.items():
            ddl.add_reference(DECISIONS, name, referred)
    add_runs("approval_runs")
    add_steps("approval_steps")
    add_slots("approval_slots")
    add_delegations("approval_delegations")
    add_timers("approval_timers")
    op.execute(DUE)
    op.execute("REVOKE ALL ON FUNCTION organisations_with_due_timers(timestamptz) FROM PUBLIC")


def add_table(table: str, *columns: sa.Column[object], constraints: tuple[sa.Constraint, ...]) -> None:
    ddl.create_tenant_table(
        table,
        *ddl.tenant_columns(),
        *columns,
        *ddl.tenant_constraints(table),
        *constraints,
        *(sa.CheckConstraint(check, name=op.f(f"ck_{table}_{name}")) for name, check in CHECKS[table].items()),
    )
    op.execute(f"CREATE POLICY tenant ON {table} USING ({TENANT}) WITH CHECK ({TENANT})")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def ids(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def moment(name: str, *, required: bool = False) -> sa.Column[object]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=not required)


def member(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organisation_id", column],
        ["members.organisation_id", "members.user_id"],
        name=f"fk_{table}_organisation_id_{column}",
    )


def add_index(table: str, column: str, *, where: str | None = None) -> None:
    op.create_index(f"ix_{table}_organisation_id_{column}", table, ["organisation_id", column], postgresql_where=where)


def add_runs(table: str) -> None:
    add_table(
        table,
        *ids("porf_id"),
        sa.Column("run_no", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("policy_id", sa.BigInteger),
        sa.Column("content_hash", sa.Text),
        sa.Column("hash_version", sa.Integer),
        sa.Column("fixed_hash", sa.Text),
        sa.Column("supplier_hash", sa.Text),
        sa.Column("base_total", sa.Numeric),
        sa.Column("base_ceiling", sa.Numeric),
        sa.Column("base_rate", sa.Numeric(20, 10)),
        *ids("submitted_by_id"),
        sa.Column("submitted_version", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, server_default="open", nullable=False),
        moment("opened_at", required=True),
        moment("closed_at"),
        constraints=(
            ddl.tenant_reference(table, "porf_id", "porfs"),
            ddl.tenant_reference(table, "policy_id", "approval_policies"),
            member(table, "submitted_by_id"),
            sa.UniqueConstraint("organisation_id", "porf_id", "run_no", name=f"uq_{table}_run_no"),
        ),
    )
    op.create_index(
        f"uq_{table}_open", table, ["organisation_id", "porf_id"], unique=True, postgresql_where="status = 'open'"
    )
    add_index(table, "policy_id", where="policy_id IS NOT NULL")
    add_index(table, "submitted_by_id")


def add_steps(table: str) -> None:
    add_table(
        table,
        *ids("run_id"),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("rule_id", sa.BigInteger),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("pool_group_id", sa.BigInteger),
        sa.Column("pool_role", sa.Text),
        sa.Column("required_count", sa.Integer, nullable=False),
        sa.Column("enforce_limit", sa.Boolean, nullable=False),
        sa.Column("comment_required", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("skip_reason", sa.Text),
        sa.Column("added_by_id", sa.BigInteger),
        moment("activated_at"),
        moment("closed_at"),
        constraints=(
            ddl.tenant_reference(table, "run_id", "approval_runs"),
            ddl.tenant_reference(table, "rule_id", "approval_rules"),
            ddl.tenant_reference(table, "pool_group_id", "approval_groups"),
            member(table, "added_by_id"),
        ),
    )
    op.create_index(f"ix_{table}_organisation_id_run_id", table, ["organisation_id", "run_id", "seq", "position", "id"])
    op.create_index(
        f"ix_{table}_active_pools",
        table,
        ["organisation_id", "pool_group_id"],
        postgresql_where="status = 'active' AND kind = 'pool'",
    )
    op.create_index(
        f"ix_{table}_active_roles",
        table,
        ["organisation_id", "activated_at", "id"],
        postgresql_where="status = 'active' AND pool_role IS NOT NULL",
    )
    add_index(table, "rule_id", where="rule_id IS NOT NULL")
    for column in ("pool_group_id", "added_by_id"):
        add_index(table, column, where=f"{column} IS NOT NULL")


def add_slots(table: str) -> None:
    add_table(
        table,
        *ids("step_id", "user_id"),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("status", sa.Text, server_default="open", nullable=False),
        constraints=(
            ddl.tenant_reference(table, "step_id", "approval_steps"),
            member(table, "user_id"),
            sa.UniqueConstraint("organisation_id", "step_id", "user_id", name=f"uq_{table}_user_id"),
        ),
    )
    op.create_index(
        f"ix_{table}_open", table, ["organisation_id", "user_id", "step_id"], postgresql_where="status = 'open'"
    )
    add_index(table, "user_id")


def add_delegations(table: str) -> None:
    members = ("delegator_id", "delegate_id", "created_by_id")
    add_table(
        table,
        *ids("delegator_id", "delegate_id"),
        moment("starts_at", required=True),
        moment("ends_at", required=True),
        sa.Column("reason", sa.Text),
        *ids("created_by_id"),
        moment("revoked_at"),
        constraints=tuple(member(table, column) for column in members),
    )
    for who in ("delegator", "delegate"):
        op.create_index(
            f"ix_{table}_{who}",
            table,
            ["organisation_id", f"{who}_id", "ends_at"],
            postgresql_where="revoked_at IS NULL",
        )
    for column in members:
        add_index(table, column)
    op.create_index(f"ix_{table}_organisation_id_starts_at", table, ["organisation_id", "starts_at", "id"])


def add_timers(table: str) -> None:
    add_table(
        table,
        *ids("step_id"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        moment("due_at", required=True),
        moment("done_at"),
        constraints=(
            ddl.tenant_reference(table, "step_id", "approval_steps"),
            sa.UniqueConstraint("organisation_id", "step_id", "kind", "n", name=f"uq_{table}_n"),
        ),
    )
    op.create_index(f"ix_{table}_due", table, ["organisation_id", "due_at", "id"], postgresql_where="done_at IS NULL")


def downgrade() -> None:
    op.execute("DROP FUNCTION organisations_with_due_timers(timestamptz)")
    for name in reversed(ADDED):
        op.drop_column(DECISIONS, name)
    for table in ("timers", "delegations", "slots", "steps", "runs"):
        op.drop_table(f"approval_{table}")
    op.drop_column("organisations", "allow_override")
