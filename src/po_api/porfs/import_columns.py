"""The columns of an import, and how each reads a cell.

A reader takes a cell that is not blank, text or a value of a spreadsheet, and returns the value of the line. It raises
BadCell if it cannot.
"""

import datetime as dt
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from po_api.core.text import has_forbidden_characters, normalise
from po_api.porfs.exports import EXACT_DIGITS, significant_digits
from po_api.porfs.units import DEFAULT_UNIT, is_unit
from po_api.porfs.xlsx_reader import Cell

MAX_DESCRIPTION = 2_000
MAX_SKU = 100
_MAX_DECIMALS = 4
_MAX_NUMBER = Decimal("99999999999999.9999")  # numeric(18,4)

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class BadCell(Exception):
    """A cell cannot be read; `code` is stable and `detail` completes "Row 7, column quantity: "."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _text(cell: Cell, limit: int, *, multiline: bool) -> str:
    if isinstance(cell, float | int) and not isinstance(cell, bool):
        if abs(cell) >= 10**EXACT_DIGITS:
            raise BadCell("too_many_digits", f"has more than {EXACT_DIGITS} digits; give the cell the format Text")
        text = format(_exact(cell), "f").removesuffix(".0")  # such as an article number in a cell of no text format
    elif isinstance(cell, str):
        text = normalise(cell)
    else:
        # Spreadsheets turn article numbers such as 3-4 into dates; the entered text is lost.
        raise BadCell("invalid_text", "is not text; give the cell the format Text and enter it again")
    # Both, because strip() also removes some control characters.
    if has_forbidden_characters(str(cell)) or has_forbidden_characters(text, multiline=multiline):
        raise BadCell(
            "control_character", "must not have control characters" + ("" if multiline else " or line breaks")
        )
    if len(text) > limit:
        raise BadCell("too_long", f"must have at most {limit} characters")
    return text


def _description(cell: Cell) -> str:
    return _text(cell, MAX_DESCRIPTION, multiline=True)


def _sku(cell: Cell) -> str:
    return _text(cell, MAX_SKU, multiline=False)


def _unit(cell: Cell) -> str:
    unit = _text(cell, MAX_SKU, multiline=False).upper()
    if not is_unit(unit):
        raise BadCell("invalid_unit", "must be a unit code of UN/ECE Recommendation 20, such as C62, KGM or HUR")
    return unit


def _quantity(cell: Cell) -> Decimal:
    value = _number(cell)
    if value <= 0:
        raise BadCell("out_of_range", "must be greater than 0")
    return _at_most(value, _MAX_NUMBER)


def _price(cell: Cell) -> Decimal:
    return _not_negative(_number(cell), _MAX_NUMBER)


def _percent(cell: Cell) -> Decimal:
    return _not_negative(_number(cell), Decimal(100))


def _not_negative(value: Decimal, limit: Decimal) -> Decimal:
    if value < 0:
        raise BadCell("out_of_range", "must not be less than 0")
    return _at_most(value, limit) or Decimal(0)  # there is a Decimal("-0")


def _at_most(value: Decimal, limit: Decimal) -> Decimal:
    if value > limit:
        raise BadCell("out_of_range", f"must not be greater than {limit}")
    return value


def _number(cell: Cell) -> Decimal:
    """The cell's number with at most four decimals. No exponents: spreadsheets drop digits when they write one."""
    if isinstance(cell, str):
        text = cell.strip()
        if not _NUMBER.fullmatch(text):
            hint = "with a dot as decimal mark and no thousands separators" if "," in text else "such as 1250 or 0.5"
            raise BadCell("invalid_number", f"must be a number {hint}")
        value = Decimal(text)
        decimals = len(text.partition(".")[2])
    elif isinstance(cell, float | int) and not isinstance(cell, bool):
        value = _exact(cell)
        decimals = len(format(value, "f").partition(".")[2].rstrip("0"))
    else:
        raise BadCell("invalid_number", "must be a number")
    if decimals > _MAX_DECIMALS:
        raise BadCell("too_many_decimals", f"must have at most {_MAX_DECIMALS} decimals; round it in the file")
    if not isinstance(cell, str) and significant_digits(value) > EXACT_DIGITS:
        raise BadCell("too_many_digits", f"has more than {EXACT_DIGITS} digits; give the cell the format Text")
    return value


def _exact(cell: float) -> Decimal:
    """The number that a spreadsheet shows for a double.

    Decimal(0.1) would be 0.1000000000000000055…. repr() returns the shortest decimal of the same double, so numbers
    entered with up to 15 digits are read as entered. The result of a formula (0.30000000000000004) is not rounded here;
    that has to be done in the file.
    """
    if not math.isfinite(cell):
        raise BadCell("invalid_number", "must be a number")
    return Decimal(repr(cell))


def _date(cell: Cell) -> dt.date:
    # calamine returns a datetime only for a cell with a time of day, which would have to be cut off.
    if isinstance(cell, dt.date) and not isinstance(cell, dt.datetime):
        return cell
    if isinstance(cell, str) and _ISO_DATE.fullmatch(cell.strip()):
        try:
            return dt.date.fromisoformat(cell.strip())
        except ValueError:
            pass
    raise BadCell("invalid_date", "must be a date such as 2026-12-31")


@dataclass(frozen=True)
class Column:
    """A column of the file; `read` converts a cell that is not blank, blank cells have the value `default`."""

    name: str
    read: Callable[[Cell], object]
    required: bool = False
    default: object = None


_NO_PERCENT = Decimal(0)
COLUMNS = (
    Column("description", _description, required=True),
    Column("sku", _sku),
    Column("quantity", _quantity, required=True),
    Column("unit", _unit, default=DEFAULT_UNIT),
    Column("unit_price", _price, required=True),
    Column("discount_percent", _percent, default=_NO_PERCENT),
    Column("tax_rate", _percent, default=_NO_PERCENT),
    Column("needed_by", _date),
)
