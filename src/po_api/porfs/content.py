"""The content of a request: the fields of its header and of its lines, and the hash that an approval covers.

The fields are listed here once. Insert, copy, import, conversion, hash and projection take them from here. Their
columns are in models.py, their types in the API in schemas.py.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from po_api.core.records import field_names

MAX_LINES = 10_000


@dataclass(frozen=True)
class PorfHeader:
    """The fields that a requester enters for a request as a whole; each is a column of `porfs`."""

    title: str
    justification: str | None
    cost_centre: str | None
    needed_by: date | None
    supplier_id: int | None


@dataclass(frozen=True)
class PorfContent(PorfHeader):
    """The part of a header that is approved: the requester's fields, and those that the amounts depend on."""

    currency: str
    tax_rounding: str


@dataclass(frozen=True)
class LineContent:
    """The fields that a requester enters for a line; each is a column of `porf_lines` and of `purchase_order_lines`.

    Percentages are 0–100, `unit` is a code of UN/ECE Recommendation 20.
    """

    description: str
    sku: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal
    needed_by: date | None


@dataclass(frozen=True)
class PositionedLine(LineContent):
    """The part of a line that is approved; positions ascend, with gaps where lines were deleted."""

    position: int


@dataclass(frozen=True)
class LineInput(LineContent):
    """A requested line. `net`, if given, must equal the computed net."""

    net: Decimal | None = None


@dataclass(frozen=True)
class PorfInput(PorfHeader):
    """A new request. `currency` None is the organisation's; `total`, if given, must equal the computed total."""

    currency: str | None = None
    total: Decimal | None = None
    lines: Sequence[LineInput] = ()


HEADER_FIELDS = field_names(PorfHeader)
LINE_FIELDS = field_names(LineContent)
# Fields of the summary; the other fields of the header are only in the full representation.
LISTED_FIELDS = ("title", "supplier_id", "cost_centre", "needed_by")

# The fields that every hash covers, in this order. Never change them: the hashes of existing approvals depend on them.
_HASHED = ("title", "justification", "cost_centre", "needed_by", "currency", "tax_rounding", "supplier_id")
_HASHED_OF_LINE = (
    "position",
    "description",
    "sku",
    "quantity",
    "unit",
    "unit_price",
    "discount_percent",
    "tax_rate",
    "needed_by",
)

# Fields that were added later.
_ADDED = tuple(name for name in field_names(PorfContent) if name not in _HASHED)
_ADDED_TO_LINE = tuple(name for name in field_names(PositionedLine) if name not in _HASHED_OF_LINE)

_Canonical = str | int | None | Mapping[str, "_Canonical"]


def content_hash(porf: PorfContent, lines: Iterable[PositionedLine]) -> str:
    """SHA-256 (hex) of the approved content: the header and every line, in a canonical form."""
    content = {
        "porf": hashed_values(porf, _HASHED, _ADDED),
        "lines": [hashed_values(line, _HASHED_OF_LINE, _ADDED_TO_LINE) for line in lines],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hashed_values(source: object, first: Iterable[str], added: Iterable[str]) -> list[_Canonical]:
    """The values of the `first` fields in this order, then by name those of the `added` fields that are set.

    Adding a field thus does not change the hash of content that does not use it.
    """
    values = [_canonical(getattr(source, name)) for name in first]
    given = {name: _canonical(value) for name in added if (value := getattr(source, name)) is not None}
    return [*values, given] if given else values


def _canonical(value: str | int | Decimal | date | None) -> _Canonical:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.isoformat() if isinstance(value, date) else value
