"""What comments are about."""

from dataclasses import dataclass
from enum import StrEnum


class CommentedEntity(StrEnum):
    """The kinds of documents that have comments."""

    PORF = "porf"
    PURCHASE_ORDER = "purchase_order"


@dataclass(frozen=True)
class Document:
    """The request or the order that a comment is about."""

    entity: CommentedEntity
    id: int

    @property
    def column(self) -> str:
        """The column of a comment that refers to it."""
        return f"{self.entity}_id"
