"""Pending requests are found that ask members who may not decide any more.

Revises: 051
"""

from alembic import op

revision = "052"
down_revision = "051"
branch_labels = None
depends_on = None

expands = True
loses = None
lost_rows = ()

# The owner's rights: a worker has entered no tenant when it looks for work. Only ids of organisations are returned.
VACANCIES = """
    CREATE FUNCTION organisations_with_vacancies(deciding text[]) RETURNS SETOF bigint LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = pg_catalog, public AS $$
        SELECT DISTINCT s.organisation_id FROM public.approval_slots s
        JOIN public.members m ON m.organisation_id = s.organisation_id AND m.user_id = s.user_id
        WHERE s.status = 'open' AND NOT (m.is_active AND m.roles && deciding)
    $$
"""


def upgrade() -> None:
    op.execute(VACANCIES)
    op.execute("REVOKE ALL ON FUNCTION organisations_with_vacancies(text[]) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION organisations_with_vacancies(text[])")
