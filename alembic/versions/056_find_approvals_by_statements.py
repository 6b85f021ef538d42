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

# Only in PL/pgSQL may a statement on a distributed table have the parameters of its function (Citus).
FUNCTIONS = {
    "organisations_with_due_timers(at timestamptz)": """
        SELECT DISTINCT t.organisation_id FROM public.approval_timers t WHERE t.done_at IS NULL AND t.due_at <= at
    """,
    "organisations_with_vacancies(deciding text[])": """
        SELECT DISTINCT s.organisation_id FROM public.approval_slots s
        JOIN public.members m ON m.organisation_id = s.organisation_id AND m.user_id = s.user_id
        WHERE s.status = 'open' AND NOT (m.is_active AND m.roles && deciding)
    """,
}
BODIES = {"plpgsql": "BEGIN RETURN QUERY {}; END", "sql": "{}"}


def upgrade() -> None:
    _replace("plpgsql")


def downgrade() -> None:
    _replace("sql")


def _replace(language: str) -> None:
    for signature, query in FUNCTIONS.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {signature} RETURNS SETOF bigint LANGUAGE {language} STABLE"
            " SECURITY DEFINER SET search_path = pg_catalog, public"
            f" AS $$ {BODIES[language].format(query.strip())} $$"
        )
