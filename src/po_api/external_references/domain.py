"""The kinds of entities that may have external ids."""

from enum import StrEnum


class ReferencedEntity(StrEnum):
    """What an external id identifies."""

    SUPPLIER = "supplier"
    PORF = "porf"
    PURCHASE_ORDER = "purchase_order"
