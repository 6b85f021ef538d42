"""The columns of an import, and how each reads a cell.

A reader takes a cell that is not blank, text or a value of a spreadsheet, and returns the value of the line. It raises
BadCell if it cannot.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from po_api.core.currencies import CURRENCIES, symbols
from po_api.core.text import has_forbidden_characters, name_key, normalise
from po_api.porfs.cells import Cell, CellFailure, NumberCell, UnclearCell
from po_api.porfs.exports import EXACT_DIGITS, significant_digits
from po_api.porfs.number_formats import ANY_CURRENCY, NumberFormat, Unclear
from po_api.porfs.shown_numbers import Shape, is_percent, shape_of, shown_number, shown_text
from po_api.porfs.units import DEFAULT_UNIT, is_unit

MAX_DESCRIPTION = 2_000
MAX_SKU = 100
_MAX_DECIMALS = 4
_MAX_NUMBER = Decimal("99999999999999.9999")  # numeric(18,4)

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_PERCENT_SIGN = re.compile(r"\s*%\s*\Z")
_FIRST_DATE = dt.date(1900, 3, 1)
_MAX_CODE_SHOWN = 60
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Context:
    """What the meaning of cells depends on: the request's currency, and the ids of active categories and cost centres
    by the keys of their codes (core/text.name_key)."""

    currency: str = "EUR"
    categories: Mapping[str, int] = field(default_factory=dict)
    cost_centres: Mapping[str, int] = field(default_factory=dict)


class BadCell(Exception):
    """A cell cannot be read; `code` is stable and `detail` completes "Row 7, column quantity: "."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code = code
        self.detail = detail


class BadWorkbookCell(BadCell):
    """A cell of a workbook cannot be read; `detail` completes "cell C7 "."""


_FAILURES = {
    CellFailure.ERROR: ("spreadsheet_error", "is a spreadsheet error, such as #REF!"),
    CellFailure.NO_VALUE: (
        "formula_without_value",
        "has a formula whose result is not in the file; open the file in a spreadsheet program, save it there, and"
        " import it again",
    ),
    CellFailure.HIDDEN_ZERO: (
        "hidden_value",
        "contains a zero that the sheet does not show; enter it as text, or show zeros in the sheet's options",
    ),
}


def require_readable(cell: Cell) -> None:
    """Raise BadCell for a cell whose value is not in the file, or not what the cell shows."""
    if isinstance(cell, CellFailure):
        code, detail = _FAILURES[cell]
        raise BadCell(code, detail) if cell is CellFailure.ERROR else BadWorkbookCell(code, detail)
    if isinstance(cell, UnclearCell):
        raise _unclear(cell.format)


_NUMBERS = "General, 0.00, 0%, yyyy-mm-dd or Text"
# General shows long numbers, such as those of articles, with an exponent.
_TEXTS = "0 or Text"


def _unclear(code: str, formats: str = _NUMBERS) -> BadCell:
    """`formats` are those that can be read."""
    name = "".join(character for character in code[:_MAX_CODE_SHOWN] if character.isprintable())
    return BadWorkbookCell(
        "unclear_number_format",
        f"has the number format {name}, so that what it shows cannot be read with certainty; use {formats}",
    )


def _text(cell: Cell, limit: int, *, multiline: bool) -> str:
    if isinstance(cell, NumberCell):
        text = _text_of_number(cell)
    elif isinstance(cell, str):
        # Before normalisation, too: it removes some control characters at the ends.
        _require_allowed(cell, multiline=True)
        text = normalise(cell)
    else:
        raise BadCell("invalid_text", _NO_TEXT)
    _require_allowed(text, multiline=multiline)
    if len(text) > limit:
        raise BadCell("too_long", f"must have at most {limit} characters")
    return text


# Spreadsheets turn article numbers such as 3-4 into dates; the entered text is lost.
_NO_TEXT = "is not text; give the cell the format Text and enter it again"


def _require_allowed(text: str, *, multiline: bool) -> None:
    if has_forbidden_characters(text, multiline=multiline):
        also = "" if multiline else " or line breaks"
        raise BadCell("control_character", f"must not have control characters{also}")


def _text_of_number(cell: NumberCell) -> str:
    """The text that a cell with a number shows, such as an article number."""
    value = _finite(cell)
    _require_exact_digits(value)
    if abs(value) >= 10**EXACT_DIGITS:
        raise _too_many_digits()
    try:
        if shape_of(value, cell.format) is not Shape.NUMBER:
            raise BadCell("invalid_text", _NO_TEXT)
        return shown_text(value, cell.format)
    except Unclear:
        raise _unclear(cell.format.code, _TEXTS) from None


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


def _price(cell: Cell, context: Context) -> Decimal:
    return _not_negative(_number(cell, currency=context.currency), _MAX_NUMBER)


def _percent(cell: Cell) -> Decimal:
    if isinstance(cell, str):
        cell = _PERCENT_SIGN.sub("", cell)
    return _not_negative(_number(cell, is_percentage=True), Decimal(100))


def _not_negative(value: Decimal, limit: Decimal) -> Decimal:
    if value < 0:
        raise BadCell("out_of_range", "must not be less than 0")
    return _at_most(value, limit) or Decimal(0)  # there is a Decimal("-0")


def _at_most(value: Decimal, limit: Decimal) -> Decimal:
    if value > limit:
        raise BadCell("out_of_range", f"must not be greater than {limit}")
    return value


def _number(cell: Cell, *, currency: str | None = None, is_percentage: bool = False) -> Decimal:
    """The cell's number with at most four decimals; of a percentage as percent, of a price, which has a `currency`,
    without its sign.
    """
    if isinstance(cell, str):
        return _number_of_text(cell)
    if not isinstance(cell, NumberCell):
        raise BadCell("invalid_number", "must be a number")
    value = _finite(cell)
    try:
        if shape_of(value, cell.format) is not Shape.NUMBER:
            raise BadCell("invalid_number", "must be a number")
        if is_percentage and is_percent(value, cell.format):
            value *= 100
        _require_decimals(len(format(value, "f").partition(".")[2].rstrip("0")))
        _require_exact_digits(value)
        shown = shown_number(_finite(cell), cell.format)
    except Unclear:
        raise _unclear(cell.format.code) from None
    # A minus, which may be shown in several ways, is an error in all columns.
    around = shown.around.removeprefix("+") if value >= 0 else ""
    if around and not (is_percentage and around == "%"):
        _require_currency(around, currency, cell.format)
    if not shown.is_exact:
        raise BadWorkbookCell(
            "rounded_display",
            "contains more digits than its number format shows; show all of them, or round the value in the file",
        )
    return value


def _require_currency(shown: str, currency: str | None, number_format: NumberFormat) -> None:
    """Raise BadCell unless `shown`, which is beside a number, is a sign of the currency."""
    if currency is None:
        raise _unclear(number_format.code)
    if shown == ANY_CURRENCY or shown in symbols(currency):
        return
    if shown in CURRENCIES or any(unicodedata.category(character) == "Sc" for character in shown):
        raise BadWorkbookCell(
            "other_currency",
            f"shows an amount in another currency than {currency}, the currency of the request; give it the format"
            " 0.00, or state the currency in the form",
        )
    raise _unclear(number_format.code)


def _number_of_text(cell: str) -> Decimal:
    """The number in a text. No exponents: spreadsheets drop digits when they write one."""
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        hint = "with a dot as decimal mark and no thousands separators" if "," in text else "such as 1250 or 0.5"
        raise BadCell("invalid_number", f"must be a number {hint}")
    _require_decimals(len(text.partition(".")[2]))
    return Decimal(text)


def _finite(cell: NumberCell) -> Decimal:
    """The number that a spreadsheet shows for the double, if it shows all digits.

    The result of a formula (0.30000000000000004) is not rounded here; that has to be done in the file.
    """
    if not cell.value.is_finite():
        raise BadCell("invalid_number", "must be a number")
    return cell.value


def _require_decimals(count: int) -> None:
    if count > _MAX_DECIMALS:
        raise BadCell("too_many_decimals", f"must have at most {_MAX_DECIMALS} decimals; round it in the file")


def _require_exact_digits(value: Decimal) -> None:
    """Raise BadCell for digits that spreadsheets do not show of a number."""
    if significant_digits(value) > EXACT_DIGITS:
        raise _too_many_digits()


def _too_many_digits() -> BadCell:
    return BadCell("too_many_digits", f"has more than {EXACT_DIGITS} digits; give the cell the format Text")


def _date(cell: Cell) -> dt.date:
    if isinstance(cell, NumberCell) and cell.value.is_finite():
        return _date_of_number(cell)
    if isinstance(cell, str) and _ISO_DATE.fullmatch(cell.strip()):
        try:
            return dt.date.fromisoformat(cell.strip())
        except ValueError:
            pass
    raise _not_a_date()


def _date_of_number(cell: NumberCell) -> dt.date:
    try:
        shape = shape_of(cell.value, cell.format)
    except Unclear:
        raise _unclear(cell.format.code) from None
    if shape is Shape.PARTIAL_DATE:
        raise BadWorkbookCell("invalid_date", "does not show day, month and year; use the format yyyy-mm-dd")
    # A time of day would have to be cut off. Before March 1900 days are counted in two ways.
    is_day = 0 <= cell.value <= (dt.date.max - cell.epoch).days and cell.value % 1 == 0
    if shape is not Shape.DATE or not is_day:
        raise _not_a_date()
    date = cell.epoch + dt.timedelta(days=int(cell.value))
    if date < _FIRST_DATE:
        raise _not_a_date()
    return date


def _not_a_date() -> BadCell:
    return BadCell("invalid_date", "must be a date such as 2026-12-31")


def _category(cell: Cell, context: Context) -> int:
    return _coded(cell, context.categories, "unknown_category", "category")


def _cost_centre(cell: Cell, context: Context) -> int:
    return _coded(cell, context.cost_centres, "unknown_cost_centre", "cost centre")


def _coded(cell: Cell, known: Mapping[str, int], code: str, what: str) -> int:
    found = known.get(name_key(_text(cell, MAX_SKU, multiline=False)))
    if found is None:
        raise BadCell(code, f"must be the code of an active {what}")
    return found


@dataclass(frozen=True)
class Column:
    """A column of the file; `convert` reads a cell that is not blank, blank cells have the value `default`.

    `attribute` is that of a line, if it has another name; such a column has codes. `in_context`: `convert` has the
    context as its second parameter.
    """

    name: str
    convert: Callable[..., object]
    required: bool = False
    default: object = None
    in_context: bool = False
    attribute: str | None = None

    @property
    def of_line(self) -> str:
        """The attribute of a line."""
        return self.attribute or self.name

    def read(self, cell: Cell, context: Context) -> object:
        return self.convert(cell, context) if self.in_context else self.convert(cell)


_NO_PERCENT = Decimal(0)
COLUMNS = (
    Column("description", _description, required=True),
    Column("sku", _sku),
    Column("quantity", _quantity, required=True),
    Column("unit", _unit, default=DEFAULT_UNIT),
    Column("unit_price", _price, required=True, in_context=True),
    Column("discount_percent", _percent, default=_NO_PERCENT),
    Column("tax_rate", _percent, default=_NO_PERCENT),
    Column("needed_by", _date),
    Column("category", _category, in_context=True, attribute="category_id"),
    Column("cost_centre", _cost_centre, in_context=True, attribute="cost_centre_id"),
)
