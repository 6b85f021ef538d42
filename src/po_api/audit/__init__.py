"""The audit trail: one event for each change of state, written in the transaction of the change."""

from po_api.audit.events import (
    AuditedEntity,
    AuditEvent,
    Change,
    insert_events,
    insert_separately,
    parameters,
    record,
)

__all__ = ["AuditEvent", "AuditedEntity", "Change", "insert_events", "insert_separately", "parameters", "record"]
