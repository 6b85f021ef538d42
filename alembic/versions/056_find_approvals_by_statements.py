"""The worker finds approvals with due timers and vacancies in distributed databases, too.

Revises: 055
"""

from alembic import op

revision = "056"
down_revision = "055"
branch_labels = None
depends_on = None

expands = True
loses = None
lost_rows = ()

TIMERS, VACANCIES = "organisations_with_due_timers(at timestamptz)", "organisations_with_vacancies(deciding text[])"
# Only in PL/pgSQL may a statement on a distributed table have the parameters of its function (Citus).
STATEMENTS = {
    TIMERS: """
        BEGIN
            RETURN QUERY SELECT DISTINCT t.organisation_id FROM public.approval_timers t
                WHERE t.done_at IS NULL AND t.due_at <= at;
        END
    """,
    VACANCIES: """
        BEGIN
            RETURN QUERY SELECT DISTINCT s.organisation_id FROM public.approval_slots s
                JOIN public.members m ON m.organisation_id = s.organisation_id AND m.user_id = s.user_id
                WHERE s.status = 'open' AND NOT (m.is_active AND m.roles && deciding);
        END
    """,
}
EARLIER = {
    TIMERS: """
        SELECT DISTINCT organisation_id FROM public.approval_timers WHERE done_at IS NULL AND due_at <= at
    """,
    VACANCIES: """
        SELECT DISTINCT s.organisation_id FROM public.approval_slots s
        JOIN public.members m ON m.organisation_id = s.organisation_id AND m.user_id = s.user_id
        WHERE s.status = 'open' AND NOT (m.is_active AND m.roles && deciding)
    """,
}


def upgrade() -> None:
    _replace("plpgsql", STATEMENTS)


def downgrade() -> None:
    _replace("sql", EARLIER)


def _replace(language: str, bodies: dict[str, str]) -> None:
    for signature, body in bodies.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {signature} RETURNS SETOF bigint LANGUAGE {language} STABLE"
            f" SECURITY DEFINER SET search_path = pg_catalog, public AS $${body}$$"
        )
