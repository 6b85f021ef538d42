"""The kinds of entries in the timeline of a request or an order."""

from enum import StrEnum


class TimelineKind(StrEnum):
    """What an entry is: a change in the audit trail, a decision of an approver, a comment, a file, an event of an order
    of the request, or of a delivery of the order."""

    EVENT = "event"
    DECISION = "decision"
    COMMENT = "comment"
    FILE = "file"
    ORDER = "order"
    DELIVERY = "delivery"
