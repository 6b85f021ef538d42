"""The rules of suppliers' contacts."""

from enum import StrEnum


class ContactPurpose(StrEnum):
    """What a contact receives."""

    ORDERS = "orders"
    INVOICES = "invoices"
    BOTH = "both"


# The purposes of contacts that orders are sent to.
FOR_ORDERS = (ContactPurpose.ORDERS, ContactPurpose.BOTH)
