"""Times of submission and decision of former approval rounds are not shown as those of the current one.

The audit trail keeps them: from there, a downgrade restores them.

Revises: 022
"""

from alembic import op

from po_api.operations import ddl

revision = "023"
down_revision = "022"
branch_labels = None
depends_on = None

expands = True
loses = None

IS_LATER_ROUND = "approval_round > 1"
SUBMITTING = ("porf.submit",)
DECIDING = ("porf.approve", "porf.reject")
STARTING = ("porf.revise", "porf.reopen")


def last(actions: tuple[str, ...]) -> str:
    """The time of the last of these actions on a row of `porfs`."""
    names = ", ".join(f"'{action}'" for action in actions)
    return (
        "(SELECT max(e.created_at) FROM audit_events e WHERE e.organisation_id = porfs.organisation_id"
        f" AND e.entity = 'porf' AND e.entity_id = porfs.id AND e.action IN ({names}))"
    )


IS_BEFORE = f"least(submitted_at, decided_at) < {last(STARTING)}"


def upgrade() -> None:
    with ddl.steps():
        ddl.backfill_by_key(
            "porfs",
            f"submitted_at = CASE WHEN submitted_at < {last(STARTING)} THEN NULL ELSE submitted_at END,"
            f" decided_at = CASE WHEN decided_at < {last(STARTING)} THEN NULL ELSE decided_at END",
            where=f"{IS_LATER_ROUND} AND {IS_BEFORE}",
        )


def downgrade() -> None:
    op.execute(
        f"UPDATE porfs SET submitted_at = coalesce(submitted_at, {last(SUBMITTING)}),"
        f" decided_at = coalesce(decided_at, {last(DECIDING)})"
        f" WHERE {IS_LATER_ROUND} AND (submitted_at IS NULL OR decided_at IS NULL)"
    )
