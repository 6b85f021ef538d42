"""The authors of requests, who may not approve them: raiser, requesters, submitters and editors.

Those of existing requests are read from the audit trail. The version before goes on: it adds no authors to the requests
that it writes meanwhile, of which this version takes the requester as an author.

Revises: 021
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.operations import ddl

revision = "022"
down_revision = "021"
branch_labels = None
depends_on = None

WRITING = "'porf.create', 'porf.update', 'porf.add_line', 'porf.update_line', 'porf.delete_line', 'porf.submit'"
OF_PORF = "e.organisation_id = porfs.organisation_id AND e.entity = 'porf' AND e.entity_id = porfs.id"
# An expression on a row of `porfs`.
AUTHORS = (
    "ARRAY(SELECT porfs.requester_id"
    f" UNION SELECT e.actor_id FROM audit_events e WHERE {OF_PORF} AND e.action IN ({WRITING})"
    " AND e.actor_id IS NOT NULL"
    " UNION SELECT (state.of_event ->> 'requester_id')::bigint FROM audit_events e,"
    f" unnest(ARRAY[e.before, e.after]) AS state (of_event) WHERE {OF_PORF} AND e.action = 'porf.reassign'"
    " AND state.of_event ->> 'requester_id' IS NOT NULL"
    " ORDER BY 1)"
)

expands = True
loses = "authors of requests that are not in the audit trail"
lost_rows = (f"porfs WHERE NOT author_ids <@ {AUTHORS}",)


def upgrade() -> None:
    with ddl.steps():
        ddl.add_columns("porfs", sa.Column("author_ids", ARRAY(sa.BigInteger), server_default="{}", nullable=False))
        ddl.backfill_by_key("porfs", f"author_ids = {AUTHORS}", where="author_ids = '{}'")


def downgrade() -> None:
    op.drop_column("porfs", "author_ids")
