"""The rules of files: limits, who sees them outside of the organisation, and what they are attached to."""

from dataclasses import dataclass
from enum import StrEnum

MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_FILES = 50
# Of one order: base64 adds a third, and many servers refuse mails of more than 20 or 25 MB.
MAX_SUPPLIER_BYTES = 10 * 1024 * 1024


class FileVisibility(StrEnum):
    """Who sees a file: the organisation, or also the supplier, who gets it with the order."""

    INTERNAL = "internal"
    SUPPLIER = "supplier"


class FileOwner(StrEnum):
    """The kinds of entities that have files; each is the prefix of a column."""

    PORF = "porf"
    PURCHASE_ORDER = "purchase_order"
    COMMENT = "comment"


@dataclass(frozen=True)
class Place:
    """The entity that a file is attached to."""

    owner: FileOwner
    id: int

    @property
    def column(self) -> str:
        """The column of an attachment that refers to it."""
        return f"{self.owner}_id"


@dataclass(frozen=True)
class CheckedFile:
    """A file that was accepted: its type is that of its content, its name is safe, and no virus was found.

    `digest` is the SHA-256 (hex) of the content.
    """

    name: str
    media_type: str
    content: bytes
    digest: str

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content)
