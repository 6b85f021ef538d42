"""The rules of an organisation: its calendar and its numbers."""

from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo


class DocumentType(StrEnum):
    """What is numbered."""

    PORF = "porf"
    PURCHASE_ORDER = "purchase_order"


def period_of(moment: datetime, timezone: str) -> str:
    """The year in the organisation's time zone: 31 December 23:30 UTC is next year in Auckland."""
    return f"{moment.astimezone(ZoneInfo(timezone)).year:04d}"


def format_number(prefix: str, period: str, value: int) -> str:
    """`PO-2026-000001`; a series of more than a million numbers just gets longer ones."""
    return f"{prefix}-{period}-{value:06d}"
