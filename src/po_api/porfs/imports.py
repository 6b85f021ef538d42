"""Reading PORF lines from a CSV or XLSX file: all lines, or all errors.

The first row names the columns, in any order; rows are numbered as in a spreadsheet. Nothing is rounded, guessed or
cut: a value that cannot be read exactly is an error with its row and column, without the content of the cell.
"""

import csv
import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from po_api.core.csv_table import ImportFailed, RowErrors, header_key, records
from po_api.core.errors import PayloadTooLarge
from po_api.core.text import has_forbidden_characters, is_visible, normalise
from po_api.porfs.cells import Cell, CellFailure
from po_api.porfs.content import LineInput
from po_api.porfs.exports import FileType, Validations, restore, write_table
from po_api.porfs.file_kinds import decoded, is_workbook
from po_api.porfs.import_columns import (
    COLUMNS,
    MAX_DESCRIPTION,
    MAX_SKU,
    BadCell,
    BadWorkbookCell,
    Column,
    Context,
    require_readable,
)
from po_api.porfs.units import DEFAULT_UNIT
from po_api.porfs.xlsx_reader import (
    MAX_COLUMNS,
    MAX_SHEET_ROWS,
    TooManyColumns,
    TooManyRows,
    column_letters,
    first_sheet,
)

# The interface of importing; columns and file types are shared with exports.
__all__ = ["COLUMNS", "MAX_FILE_BYTES", "MAX_ROWS", "Context", "FileType", "ImportFailed", "parse", "template"]

DEFAULT_CONTEXT = Context()
MAX_ROWS = 10_000
MAX_FILE_BYTES = 10 * 1024 * 1024

_MAX_NAME_SHOWN = 40

_CSV_FAILURES = frozenset("#DIV/0! #N/A #NAME? #NULL! #NUM! #REF! #VALUE!".split())


_BY_NAME = {header_key(column.name): column for column in COLUMNS}
_DEFAULTS = {column.of_line: column.default for column in COLUMNS if not column.required}
_NAMES = {column.of_line for column in COLUMNS}
_IGNORED = frozenset({"position", "net"})  # columns of an export that the server computes


def parse(content: bytes, context: Context = DEFAULT_CONTEXT) -> list[LineInput]:
    """The lines of a CSV or XLSX file, which is recognised by its content; an empty list if it has no lines.

    Prices that a workbook shows with a currency have to be in that of the context.

    Raises ImportFailed with all errors of cells, PayloadTooLarge, InvalidFile, TooManyRows or TooManyColumns.
    """
    if len(content) > MAX_FILE_BYTES:
        raise PayloadTooLarge(f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MB")
    rows: Iterable[list[Cell]] = first_sheet(content) if is_workbook(content) else _csv_rows(content)
    errors = RowErrors()
    lines = _lines(rows, context, errors)
    errors.raise_if_any()
    return lines


def template(file_type: FileType) -> bytes:
    """A file to fill in: the header, and one row as an example."""
    names = [column.name for column in COLUMNS]
    # Integers get the format General, in which a spreadsheet shows an entered 20% as such.
    example = ("Laptop, 14 inch", "LAP-14", Decimal(2), DEFAULT_UNIT, Decimal("1250.00"), 5, 20)
    rows = [(*example, dt.date(2030, 1, 31), None, None)]
    return write_table(names, rows, file_type, validations=_VALIDATIONS, validated_rows=MAX_ROWS)


# A percentage may be entered as 20 or as 20%, which is 0.2.
_PERCENT = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 100}
_VALIDATIONS: Validations = {
    "description": {"validate": "length", "criteria": "between", "minimum": 1, "maximum": MAX_DESCRIPTION},
    "sku": {"validate": "length", "criteria": "<=", "value": MAX_SKU},
    "quantity": {"validate": "decimal", "criteria": ">", "value": 0},
    "unit": {"validate": "length", "criteria": "between", "minimum": 2, "maximum": 3},
    "unit_price": {"validate": "decimal", "criteria": ">=", "value": 0},
    "discount_percent": _PERCENT,
    "tax_rate": _PERCENT,
    "needed_by": {"validate": "date", "criteria": ">=", "value": dt.date(2000, 1, 1)},
    "category": {"validate": "length", "criteria": "<=", "value": MAX_SKU},
    "cost_centre": {"validate": "length", "criteria": "<=", "value": MAX_SKU},
}


def _lines(rows: Iterable[list[Cell]], context: Context, errors: RowErrors) -> list[LineInput]:
    lines: list[LineInput] = []
    layout = _Layout({}, frozenset())
    used = number = 0
    try:
        for number, cells in enumerate(rows, start=1):
            if len(cells) > MAX_COLUMNS:
                raise TooManyColumns(f"Row {number} has more than {MAX_COLUMNS} columns")
            if number == 1:
                layout = _header(cells, errors)
                if not layout.columns:
                    break  # another kind of file; every row would be an error
                continue
            filled = {index: cell for index, cell in enumerate(cells) if not _is_blank(cell)}
            used += bool(filled)
            if used > MAX_ROWS or number > MAX_SHEET_ROWS:
                raise TooManyRows(f"A file may have {MAX_ROWS} rows, and none below row {MAX_SHEET_ROWS}")
            if filled:
                lines.extend(_line(number, filled, layout, context, errors))
    except csv.Error:
        # The ends of further rows are unknown.
        errors.add(number + 1, "", "invalid_row", "cannot be parsed: a quotation mark is missing or not doubled")
    else:
        if number == 0:
            _header([], errors)
    return lines


@dataclass(frozen=True)
class _Layout:
    """The columns by their index from 0; the values of the ignored ones are not read."""

    columns: dict[int, Column]
    ignored: frozenset[int]


def _header(cells: list[Cell], errors: RowErrors) -> _Layout:
    """The layout that the first row describes; its errors are added to `errors`."""
    columns: dict[int, Column] = {}
    ignored: set[int] = set()
    seen: set[str] = set()
    for index, cell in enumerate(cells):
        if _is_blank(cell):
            continue
        name = header_key(cell) if isinstance(cell, str) else ""
        shown = _shown(cell)
        letters = column_letters(index + 1)
        try:
            require_readable(cell)
        except BadCell as error:
            errors.add(1, letters, error.code, _located(error, 1, index))
            continue
        if name and name in seen:
            errors.add(1, shown or letters, "duplicate_column", "appears twice")
        elif name in _BY_NAME:
            columns[index] = _BY_NAME[name]
        elif name not in _IGNORED:
            known = ", ".join(column.name for column in COLUMNS)
            errors.add(1, shown or letters, "unknown_column", f"is not one of {known}")
        if index not in columns:
            ignored.add(index)
        seen.add(name)
    for column in COLUMNS:
        if column.required and header_key(column.name) not in seen:
            errors.add(1, column.name, "missing_column", "is missing")
    return _Layout(columns, frozenset(ignored))


def _line(
    row: int, filled: dict[int, Cell], layout: _Layout, context: Context, errors: RowErrors
) -> Iterator[LineInput]:
    """The line of a row, none if the row has an error."""
    values: dict[str, Any] = dict(_DEFAULTS)
    before = errors.count
    for index, column in layout.columns.items():
        cell = filled.get(index)
        try:
            if cell is not None:
                require_readable(cell)
                values[column.of_line] = column.read(cell, context)
            elif column.required:
                raise BadCell("required", "must not be empty")
        except BadCell as error:
            errors.add(row, column.name, error.code, _located(error, row, index))
    for index in sorted(filled.keys() - layout.columns.keys() - layout.ignored):
        errors.add(row, column_letters(index + 1), "unexpected_cell", "has a value but no column name in row 1")
    if errors.count == before and values.keys() >= _NAMES:
        yield LineInput(**values)


def _located(error: BadCell, row: int, index: int) -> str:
    """The detail of an error, with the name of the cell in the spreadsheet where it is about that."""
    return (
        f"cell {column_letters(index + 1)}{row} {error.detail}" if isinstance(error, BadWorkbookCell) else error.detail
    )


def _shown(cell: Cell) -> str:
    """A column name of the file in lower case, cut and without characters that are not printable."""
    name = normalise(cell).lower() if isinstance(cell, str) else ""
    return "".join(character for character in name[:_MAX_NAME_SHOWN] if character.isprintable())


def _is_blank(cell: Cell) -> bool:
    # Control characters, some of which are white space, are errors.
    return isinstance(cell, str) and not is_visible(cell) and not has_forbidden_characters(cell)


def _csv_rows(content: bytes) -> Iterator[list[Cell]]:
    """The records of CSV text. Raises csv.Error for one that cannot be parsed, and InvalidFile for other encodings.

    The parser is strict: otherwise a quotation mark that is not closed would make one cell of the rest of the file.
    """
    text = decoded(content)
    for record in records(text, _BY_NAME):
        yield [CellFailure.ERROR if cell.strip() in _CSV_FAILURES else restore(cell) for cell in record]
