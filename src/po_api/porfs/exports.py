"""Writing PORF lines as CSV or XLSX, in the form that the import reads.

Spreadsheets evaluate text that looks like a formula. In CSV such text gets an apostrophe, which the import removes;
also after a separator or a line break inside a cell: a program that splits at semicolons, or ignores quotation marks,
makes a cell of what follows. In XLSX the text is unchanged in a string cell of text format, where it does not become a
formula when it is edited.
"""

import csv
import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from io import BytesIO, StringIO

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from po_api.porfs.content import PositionedLine

# The beginnings of formulas (OWASP's list, with the full-width forms that Asian locales accept), after any white space
# and apostrophes: with the latter, the mark can be removed unambiguously. The error values are included, since nothing
# else distinguishes the text `#N/A` from the error in CSV.
_SIGNS = r"=+\-@＝＋－＠"
_FORMULA_LIKE = rf"[\s']*(?:[{_SIGNS}\t\r\n]|#(?:DIV/0!|N/A|NAME\?|NULL!|NUM!|REF!|VALUE!)\s*\Z)"
# Inside a text, a cell could begin after the separators that spreadsheets offer and the line breaks of any program.
_SEPARATORS = r",;|:\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029"
# Quotation marks are doubled in the file; a program that splits there reads an empty quotation before the sign.
_INNER_FORMULA_LIKE = rf"(?:['\"]|(?![{_SEPARATORS}])\s)*[{_SIGNS}]"
_NEEDS_MARK = re.compile(rf"\A(?={_FORMULA_LIKE})|(?<=[{_SEPARATORS}])(?={_INNER_FORMULA_LIKE})")
_HAS_MARK = re.compile(rf"\A'(?={_FORMULA_LIKE})|(?<=[{_SEPARATORS}])'(?={_INNER_FORMULA_LIKE})")

# The significant digits that a spreadsheet shows of a number, which is a binary double.
EXACT_DIGITS = 15
# Spreadsheets disagree about dates before March 1900, which some of them take for a leap year.
_FIRST_DATE = dt.date(1901, 1, 1)
# A constant, so that the same lines always make the same file.
CREATED = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class FileType(StrEnum):
    """The file formats of imports and exports."""

    CSV = "csv"
    XLSX = "xlsx"


@dataclass(frozen=True)
class ExportedLine(PositionedLine):
    """A line of an export; `net` is in the request's currency, `category` and `cost_centre` are codes."""

    net: Decimal
    category: str | None
    cost_centre: str | None


class Kind(Enum):
    """What a column has: the format of its cells in a workbook."""

    TEXT = "@"
    NUMBER = "General"
    DATE = "yyyy-mm-dd"


_LAYOUT = {  # in the export's order: kind and width in characters
    "position": (Kind.NUMBER, 9),
    "description": (Kind.TEXT, 50),
    "sku": (Kind.TEXT, 20),
    "quantity": (Kind.NUMBER, 12),
    "unit": (Kind.TEXT, 8),
    "unit_price": (Kind.NUMBER, 14),
    "discount_percent": (Kind.NUMBER, 17),
    "tax_rate": (Kind.NUMBER, 10),
    "net": (Kind.NUMBER, 16),
    "needed_by": (Kind.DATE, 13),
    "category": (Kind.TEXT, 20),
    "cost_centre": (Kind.TEXT, 20),
}
COLUMNS = tuple(_LAYOUT)
Value = str | int | Decimal | dt.date | None
# By column, the options of xlsxwriter's `data_validation`.
Validations = Mapping[str, Mapping[str, object]]


def write(lines: Iterable[ExportedLine], file_type: FileType) -> bytes:
    """A file with a header and a row for each line, in the order given."""
    return write_table(COLUMNS, ([getattr(line, name) for name in COLUMNS] for line in lines), file_type)


def write_table(
    names: Sequence[str],
    rows: Iterable[Sequence[Value]],
    file_type: FileType,
    *,
    validations: Validations | None = None,
    validated_rows: int = 0,
) -> bytes:
    """A file with the columns `names` of an export; `validations` is for XLSX only."""
    if file_type is FileType.CSV:
        return _csv(names, rows)
    return _xlsx(names, rows, validations or {}, validated_rows)


def neutralise(text: str) -> str:
    """`text` for a CSV cell, with an apostrophe before each part that a spreadsheet could evaluate."""
    return _NEEDS_MARK.sub("'", text)


def restore(cell: str) -> str:
    """The text of a CSV cell: the inverse of `neutralise`."""
    return _HAS_MARK.sub("", cell)


def significant_digits(value: Decimal) -> int:
    """The number of digits of a finite `value` from the first to the last that is not zero."""
    return len("".join(map(str, value.as_tuple().digits)).strip("0"))


def _csv(names: Sequence[str], rows: Iterable[Sequence[Value]]) -> bytes:
    """Comma, CRLF and quotation marks around each cell as in RFC 4180, and a byte order mark: without it Excel assumes
    the local legacy charset.

    In locales with a decimal comma, Excel shows such a file in one column. Other readers do not support the workarounds
    (a first line `sep=,`, semicolons); XLSX is the format for spreadsheets.
    """
    buffer = StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    for row in rows:
        writer.writerow([csv_cell(value) for value in row])
    return buffer.getvalue().encode("utf-8-sig")


def csv_cell(value: Value) -> str:
    """The text of a cell in CSV."""
    if isinstance(value, str):
        return neutralise(value)
    if isinstance(value, Decimal):
        return format(value, "f")  # str() may give an exponent
    return "" if value is None else str(value)


def _xlsx(
    names: Sequence[str], rows: Iterable[Sequence[Value]], validations: Validations, validated_rows: int
) -> bytes:
    buffer = BytesIO()
    workbook = Workbook(buffer, {"in_memory": True})
    workbook.set_properties({"created": CREATED})
    sheet = workbook.add_worksheet("Lines")
    formats = Formats(workbook)
    for column, name in enumerate(names):
        kind, width = _LAYOUT[name]
        sheet.set_column(column, column, width, formats.of(kind.value))
        sheet.write_string(0, column, name, formats.header)
        if name in validations:
            sheet.data_validation(1, column, validated_rows, column, validations[name])
    sheet.freeze_panes(1, 0)
    for row, values in enumerate(rows, start=1):
        for column, value in enumerate(values):
            write_cell(sheet, row, column, value, formats)
    workbook.close()
    return buffer.getvalue()


class Formats:
    """A workbook's formats, each created once."""

    def __init__(self, workbook: Workbook):
        self._workbook = workbook
        self._made: dict[str, Format] = {}
        self.header = workbook.add_format({"bold": True, "num_format": Kind.TEXT.value})

    def of(self, number_format: str) -> Format:
        if number_format not in self._made:
            self._made[number_format] = self._workbook.add_format({"num_format": number_format})
        return self._made[number_format]


def write_cell(sheet: Worksheet, row: int, column: int, value: Value, formats: Formats) -> None:
    """Always by the method for the type: xlsxwriter's `write` would guess from the text."""
    if isinstance(value, Decimal) and significant_digits(value) > EXACT_DIGITS:
        # As a number it would be rounded. The import also reads numbers in text cells.
        sheet.write_string(row, column, format(value, "f"), formats.of(Kind.TEXT.value))
    elif isinstance(value, Decimal):
        sheet.write_number(row, column, float(value), formats.of(_number_format(value)))
    elif isinstance(value, int):
        sheet.write_number(row, column, value)
    elif isinstance(value, str):
        sheet.write_string(row, column, value, formats.of(Kind.TEXT.value))
    elif value is not None and value >= _FIRST_DATE:
        sheet.write_datetime(row, column, value, formats.of(Kind.DATE.value))
    elif value is not None:
        sheet.write_string(row, column, value.isoformat(), formats.of(Kind.TEXT.value))


def _number_format(value: Decimal) -> str:
    """The format with the decimals of `value`: 12.50 and 3, not 12.5 and 3.00."""
    decimals = len(format(value, "f").partition(".")[2])
    return f"0.{'0' * decimals}" if decimals else "0"
