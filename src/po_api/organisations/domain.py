"""The rules of an organisation: the numbers of its documents, the year in its time zone, and its folder."""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo


class DocumentType(StrEnum):
    """A kind of document with numbers of its own."""

    PORF = "porf"
    PURCHASE_ORDER = "purchase_order"


class Paper(StrEnum):
    """The format of printed documents."""

    A4 = "a4"
    LETTER = "letter"


class NumberingRules(Protocol):
    """The settings of an organisation that determine the numbers of its documents."""

    @property
    def id(self) -> int: ...

    @property
    def timezone(self) -> str: ...

    @property
    def porf_prefix(self) -> str: ...

    @property
    def po_prefix(self) -> str: ...


# Shorter ones are padded with zeros.
NUMBER_DIGITS = 6

# The settings with the prefixes, each with that of the other kind of document.
OTHER_PREFIX = {"porf_prefix": "po_prefix", "po_prefix": "porf_prefix"}


def clashing_prefixes(changed: Mapping[str, str], earlier: Mapping[str, Collection[str]]) -> list[str]:
    """The changed settings of `OTHER_PREFIX` whose value is or was the prefix of the other kind.

    With one prefix, a request and an order could have the same number. `earlier` are all present and former values of
    each setting, those of `changed` included.
    """
    return [name for name, prefix in changed.items() if prefix in earlier[OTHER_PREFIX[name]]]


def is_verified(folder_id: str | None, verified_id: str | None) -> bool:
    """Whether an organisation's folder is the one that it has proved to be its own."""
    return folder_id is not None and folder_id == verified_id


def period_of(moment: datetime, timezone: str) -> str:
    """The year in the organisation's time zone: 31 December 23:30 UTC is next year in Auckland."""
    return f"{moment.astimezone(ZoneInfo(timezone)).year:04d}"


def prefix_of(document_type: DocumentType, rules: NumberingRules) -> str:
    """The prefix of the numbers of a kind of document."""
    return rules.porf_prefix if document_type is DocumentType.PORF else rules.po_prefix


def format_number(prefix: str, period: str, value: int) -> str:
    """`PO-2026-000001`; values above a million take more digits."""
    return f"{prefix}-{period}-{value:0{NUMBER_DIGITS}d}"
