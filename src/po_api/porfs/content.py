"""The content of a request: the fields of its header and of its lines, and the hash that an approval covers.

The fields are listed here once. Insert, copy, import, conversion, hash and projection take them from here. Their
columns are in models.py, their types in the API in schemas.py.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from po_api.core.records import field_names

MAX_LINES = 10_000


@dataclass(frozen=True)
class PorfHeader:
    """The fields that a requester enters for a request as a whole; each is a column of `porfs`."""

    title: str
    justification: str | None
    # The code of the cost centre, or another text; and the cost centre, if there is one with this code.
    cost_centre: str | None
    cost_centre_id: int | None
    needed_by: date | None
    supplier_id: int | None
    # One of these, or none: an address of the organisation, or a text.
    delivery_address_id: int | None
    delivery_address: str | None


@dataclass(frozen=True)
class PorfContent(PorfHeader):
    """The part of a header that is approved: the requester's fields, and those that the amounts depend on."""

    currency: str
    tax_rounding: str


@dataclass(frozen=True)
class LineContent:
    """The fields that a requester enters for a line; each is a column of `porf_lines` and of `purchase_order_lines`.

    Percentages are 0–100, `unit` is a code of UN/ECE Recommendation 20. `cost_centre_id` is that of the request if it
    is None; a line of an order has one of both.
    """

    description: str
    sku: str | None
    quantity: Decimal
    unit: str
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal
    needed_by: date | None
    category_id: int | None
    cost_centre_id: int | None


@dataclass(frozen=True)
class PositionedLine(LineContent):
    """A line at its place; positions ascend, with gaps where lines were deleted."""

    position: int


@dataclass(frozen=True)
class ApprovedLine(PositionedLine):
    """The part of a line that is approved.

    Orders may exceed the quantity by `over_order_percent`, the organisation's tolerance at the last submission.
    """

    over_order_percent: Decimal


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


class HashedFields(NamedTuple):
    """The fields of the header and of each line that a hash covers, in the order in which it covers them."""

    header: tuple[str, ...]
    line: tuple[str, ...]


_FIRST = HashedFields(
    header=("title", "justification", "cost_centre", "needed_by", "currency", "tax_rounding", "supplier_id"),
    line=(
        "position",
        "description",
        "sku",
        "quantity",
        "unit",
        "unit_price",
        "discount_percent",
        "tax_rate",
        "needed_by",
    ),
)

_SECOND = HashedFields(_FIRST.header, (*_FIRST.line, "over_order_percent"))
_THIRD = HashedFields((*_SECOND.header, "delivery_address_id", "delivery_address"), _SECOND.line)
# The code in the header stands for its cost centre, whose code never changes.
_FOURTH = HashedFields(_THIRD.header, (*_THIRD.line, "category_id", "cost_centre_id"))

# By version. Never change one, add the next: decisions keep the version of their hash, and are compared with it.
HASHED_FIELDS = {1: _FIRST, 2: _SECOND, 3: _THIRD, 4: _FOURTH}
# The version of new decisions.
HASH_VERSION = max(HASHED_FIELDS)

_MAY_DIFFER = frozenset({"quantity", "unit_price", "discount_percent", "tax_rate", "needed_by", "over_order_percent"})

_Canonical = str | int | None


def content_hash(porf: PorfContent, lines: Iterable[ApprovedLine], *, version: int = HASH_VERSION) -> str:
    """SHA-256 (hex) of the approved content: the header and every line, in a canonical form."""
    return _digest(porf, lines, HASHED_FIELDS[version])


def fixed_hash(porf: PorfContent, lines: Iterable[ApprovedLine]) -> str:
    """SHA-256 (hex) of the content without quantities, prices, discounts, taxes and dates: what may not differ if an
    earlier approval is to stand for a new submission."""
    fields = HashedFields(
        tuple(name for name in HASHED_FIELDS[HASH_VERSION].header if name not in _MAY_DIFFER),
        tuple(name for name in HASHED_FIELDS[HASH_VERSION].line if name not in _MAY_DIFFER),
    )
    return _digest(porf, lines, fields)


def _digest(porf: PorfContent, lines: Iterable[ApprovedLine], fields: HashedFields) -> str:
    content = {
        "porf": [_canonical(getattr(porf, name)) for name in fields.header],
        "lines": [[_canonical(getattr(line, name)) for name in fields.line] for line in lines],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_approved_content(
    porf: PorfContent, lines: Iterable[ApprovedLine], *, approved_hash: str | None, version: int | None
) -> bool:
    """Whether the content has this hash. A version that this release does not know is not comparable: False."""
    return version in HASHED_FIELDS and content_hash(porf, lines, version=version) == approved_hash


def _canonical(value: str | int | Decimal | date | None) -> _Canonical:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.isoformat() if isinstance(value, date) else value
