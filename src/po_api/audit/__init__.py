"""The audit trail: one event for each change of state, written in its transaction and numbered afterwards."""

from po_api.audit.events import (
    RELAY,
    AuditedEntity,
    AuditEvent,
    Change,
    EventOutbox,
    insert_events,
    insert_separately,
    parameters,
    record,
)
from po_api.audit.feed import EventFeed, EventLogEntry

__all__ = [
    "RELAY",
    "AuditEvent",
    "AuditedEntity",
    "Change",
    "EventFeed",
    "EventLogEntry",
    "EventOutbox",
    "insert_events",
    "insert_separately",
    "parameters",
    "record",
]
