"""Approvals of before become runs with one step, and several decisions of a round may be approvals.

Each decision becomes a run of its own, each pending request has one that is open. The version before goes on: what it
submits gets a run once it is locked, and so does what it recalls or decides. It does not convert requests that need
more than one approval: publish approval policies when it has been replaced.

Revises: 047
"""

import sqlalchemy as sa
from alembic import op

from po_api.operations import ddl

revision = "048"
down_revision = "047"
branch_labels = None
depends_on = None

DECISIONS = "approval_decisions"
# An approval before the last one of its round.
EARLIER = f"""{DECISIONS} WHERE decision = 'approved' AND EXISTS (SELECT FROM {DECISIONS} later
    WHERE later.organisation_id = {DECISIONS}.organisation_id AND later.porf_id = {DECISIONS}.porf_id
      AND later.round = {DECISIONS}.round AND later.decision = 'approved' AND later.id > {DECISIONS}.id)"""

expands = True
loses = (
    "of each round of a request, all approvals but the last; approvals by policies, which the version before ignores"
)
lost_rows = (EARLIER, "approval_runs WHERE status = 'approved' AND policy_id IS NOT NULL")

REFERRED = {"run_id": "approval_runs", "step_id": "approval_steps", "slot_id": "approval_slots"}
ROWS = 500

STEP = """
    INSERT INTO approval_steps (organisation_id, run_id, seq, stage, position, source, name, kind, pool_role,
        required_count, enforce_limit, comment_required, status, activated_at, closed_at)
    VALUES (this_organisation, this_run, 1, 1, 1, 'default', 'any approver', 'pool', 'approver', 1, true, false,
        {status}, {activated}, {closed})
"""
RUN_NO = """
    (SELECT coalesce(max(run_no), 0) + 1 FROM approval_runs
     WHERE organisation_id = this_organisation AND porf_id = {porf_id})
"""

# Row by row: in a distributed database, ids are those of the coordinator, where the values are.
OF_DECISIONS = f"""
    DO $do$
    DECLARE
        organisations CONSTANT bigint[] := ARRAY(SELECT DISTINCT organisation_id FROM {DECISIONS} ORDER BY 1);
        this_organisation bigint;
        last_id bigint;
        this_run bigint;
        this_step bigint;
        done_rows bigint := 0;
        in_batch integer;
        item record;
    BEGIN
        FOREACH this_organisation IN ARRAY organisations LOOP
            last_id := 0;
            LOOP
                in_batch := 0;
                FOR item IN
                    SELECT d.*, p.requester_id AS of_requester,
                        CASE WHEN d.round = p.approval_round AND d.decision <> 'returned'
                            THEN least(p.submitted_at, d.decided_at) ELSE d.decided_at END AS opened_at
                    FROM {DECISIONS} d JOIN porfs p ON p.organisation_id = d.organisation_id AND p.id = d.porf_id
                    WHERE d.organisation_id = this_organisation AND d.id > last_id AND d.run_id IS NULL
                    ORDER BY d.id LIMIT {ROWS}
                LOOP
                    INSERT INTO approval_runs (organisation_id, porf_id, run_no, round, content_hash, hash_version,
                        supplier_hash, submitted_by_id, submitted_version, status, opened_at, closed_at)
                    VALUES (this_organisation, item.porf_id, {RUN_NO.format(porf_id="item.porf_id")}, item.round,
                        item.content_hash, item.hash_version, item.supplier_hash, item.of_requester, 1, item.decision,
                        item.opened_at, item.decided_at)
                    RETURNING id INTO this_run;
                    {
    STEP.format(
        status="CASE item.decision WHEN 'returned' THEN 'cancelled' ELSE item.decision END",
        activated="item.opened_at",
        closed="item.decided_at",
    )
} RETURNING id INTO this_step;
                    UPDATE {DECISIONS}
                    SET run_id = this_run, step_id = this_step, principal_id = item.approver_id, source = 'given'
                    WHERE organisation_id = this_organisation AND id = item.id;
                    last_id := item.id;
                    in_batch := in_batch + 1;
                END LOOP;
                COMMIT;
                EXIT WHEN in_batch = 0;
                done_rows := done_rows + in_batch;
                RAISE INFO 'approvals: % decisions', done_rows;
            END LOOP;
        END LOOP;
    END
    $do$
"""

# A request that is locked is being decided by the version before, which is waited for.
OF_PENDING = f"""
    DO $do$
    DECLARE
        organisations CONSTANT bigint[] := ARRAY(
            SELECT DISTINCT organisation_id FROM porfs WHERE status = 'pending' ORDER BY 1);
        this_organisation bigint;
        last_id bigint;
        this_run bigint;
        in_batch integer;
        item record;
    BEGIN
        FOREACH this_organisation IN ARRAY organisations LOOP
            last_id := 0;
            LOOP
                in_batch := 0;
                FOR item IN
                    SELECT id, requester_id, approval_round, submitted_at, version FROM porfs
                    WHERE organisation_id = this_organisation AND status = 'pending' AND id > last_id
                      AND id NOT IN (SELECT porf_id FROM approval_runs
                          WHERE organisation_id = this_organisation AND status = 'open')
                    ORDER BY id LIMIT {ROWS} FOR NO KEY UPDATE OF porfs
                LOOP
                    INSERT INTO approval_runs (organisation_id, porf_id, run_no, round, submitted_by_id,
                        submitted_version, opened_at)
                    VALUES (this_organisation, item.id, {RUN_NO.format(porf_id="item.id")}, item.approval_round,
                        item.requester_id, item.version, item.submitted_at)
                    RETURNING id INTO this_run;
                    {STEP.format(status="'active'", activated="item.submitted_at", closed="NULL")};
                    last_id := item.id;
                    in_batch := in_batch + 1;
                END LOOP;
                COMMIT;
                EXIT WHEN in_batch = 0;
            END LOOP;
        END LOOP;
    END
    $do$
"""


def upgrade() -> None:
    with ddl.steps():
        for column, table in REFERRED.items():
            ddl.add_reference(DECISIONS, column, f"{table} (organisation_id, id)")
        # These take long, and block nobody for it.
        op.execute("SET statement_timeout = 0")
        op.execute(OF_DECISIONS)
        op.execute(OF_PENDING)
        op.execute("RESET statement_timeout")
        ddl.drop_index(f"uq_{DECISIONS}_approved")


def downgrade() -> None:
    for column in REFERRED:
        op.drop_constraint(f"fk_{DECISIONS}_organisation_id_{column}", DECISIONS)
    op.execute(
        f"UPDATE {DECISIONS} SET carried_from_id = NULL, source = 'given'"
        f" WHERE (organisation_id, carried_from_id) IN (SELECT organisation_id, id FROM {EARLIER})"
    )
    op.execute(f"DELETE FROM {EARLIER}")
    op.create_index(
        f"uq_{DECISIONS}_approved",
        DECISIONS,
        ["organisation_id", "porf_id", "round"],
        unique=True,
        postgresql_where=sa.text("decision = 'approved'"),
    )
