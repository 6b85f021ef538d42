"""The events of before are the first backlog of the feeds: each gets a row in the outbox, in the order of their ids.

Revises: 033
"""

from po_api.operations import ddl

revision = "034"
down_revision = "033"
branch_labels = None
depends_on = None

expands = True
loses = None

COPY = """
    INSERT INTO event_outbox (organisation_id, event_id)
    SELECT organisation_id, id FROM audit_events
    WHERE NOT EXISTS (
        SELECT FROM event_log l WHERE l.organisation_id = audit_events.organisation_id AND l.event_id = audit_events.id
    )
"""


def upgrade() -> None:
    with ddl.steps():
        ddl.copy_by_key(COPY, of="audit_events")


def downgrade() -> None:
    """Rows of the outbox may stay: the table goes with revision 033."""
