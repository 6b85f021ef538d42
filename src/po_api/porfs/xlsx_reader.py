"""The cells of an XLSX file's first visible sheet, as they are shown.

Readers of workbooks return values without number formats: 0.2 for a cell that shows 20 %. Hence the sheet is read here,
part by part. Hidden rows and columns are read like others; of merged cells the first has the value.
"""

import datetime as dt
import math
import re
from decimal import Decimal

from po_api.core.errors import AppError, Unprocessable
from po_api.porfs.cells import Cell, CellFailure, NumberCell, UnclearCell
from po_api.porfs.number_formats import Unclear
from po_api.porfs.shown_numbers import text_of_text
from po_api.porfs.xlsx_conditions import ConditionalFormats, column_index
from po_api.porfs.xlsx_parts import DamagedFile, InvalidFile, PartReader, Parts, UnpackedTooLarge, local_name
from po_api.porfs.xlsx_strings import SharedStrings, TextReader, unescaped
from po_api.porfs.xlsx_styles import Styles, number_of

MAX_SHEET_ROWS = 20_000
MAX_COLUMNS = 50
# Of all cells together, before their own limits are checked; ten thousand of the longest lines have 21 million.
MAX_CHARACTERS = 32 * 1024 * 1024

# Day 0 of the two ways of counting days. Of the first one, days before March 1900 are counted differently.
_EPOCH = dt.date(1899, 12, 30)
_EPOCH_1904 = dt.date(1904, 1, 1)

_CELL_REFERENCE = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TRUE = ("1", "true")
_SECONDS_OF_DAY = Decimal(86_400)


class TooManyRows(Unprocessable):
    """The file has more rows than an import accepts."""

    code = "too_many_rows"
    title = "Too many rows"


class TooManyColumns(Unprocessable):
    """The file has more columns than an import accepts."""

    code = "too_many_columns"
    title = "Too many columns"


def first_sheet(content: bytes) -> list[list[Cell]]:
    """The rows of the first visible sheet from A1 on; empty cells are empty strings.

    Raises InvalidFile, TooManyRows or TooManyColumns.
    """
    try:
        return _first_sheet(Parts(content))
    except AppError:
        raise
    except Exception as error:
        # zipfile and expat raise various errors for random bytes, from struct.error to NotImplementedError. The file is
        # the only input here, so every error is caused by it.
        raise DamagedFile from error


def column_letters(number: int) -> str:
    """The letters of column `number` (from 1) in a spreadsheet: A, Z, AA."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _first_sheet(parts: Parts) -> list[list[Cell]]:
    package = parts.read("_rels/.rels", _Relationships())
    workbook = package.office_document().removeprefix("/")
    folder = "".join(workbook.rpartition("/")[:2])
    name = workbook.removeprefix(folder)
    relationships = parts.read(f"{folder}_rels/{name}.rels", _Relationships())
    book = parts.read(workbook, _Book(has_properties=bool(package.first("extended-properties", ""))))
    styles = Styles()
    strings = SharedStrings()
    for kind, reader in (("styles", styles), ("sharedStrings", strings)):
        if parts.has(path := relationships.first(kind, folder)):
            parts.read(path, reader)
    for identifier in book.visible:
        kind, target = relationships.by_id.get(identifier, ("", ""))
        if kind == "worksheet":
            return parts.read(_path(target, folder), _Sheet(book, styles, strings.texts)).rows()
    raise InvalidFile("no_sheet", "The workbook has no visible sheet; put the lines into one")


def _path(target: str, folder: str) -> str:
    return target[1:] if target.startswith("/") else folder + target


class _Relationships(PartReader):
    """A .rels part: kind (the last word of the type) and target by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.by_id[attributes.get("Id", "")] = (kind, attributes.get("Target", ""))

    def office_document(self) -> str:
        """The path of the workbook; empty if there is none."""
        return self.first("officeDocument", "")

    def first(self, kind: str, folder: str) -> str:
        """The path of the part of a kind; empty if there is none."""
        return next((_path(target, folder) for found, target in self.by_id.values() if found == kind), "")


class _Book(PartReader):
    """workbook.xml: the relationships of the visible sheets, and how values are to be understood."""

    def __init__(self, *, has_properties: bool) -> None:
        self.visible: list[str] = []
        self.has_properties = has_properties
        self.epoch = _EPOCH
        # Libraries that do not compute formulas store 0 or nothing, and ask for computation on opening.
        self.is_uncomputed = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet" and attributes.get("state", "visible") == "visible":
            self.visible.append(next((value for key, value in attributes.items() if local_name(key) == "id"), ""))
        elif name == "workbookPr" and attributes.get("date1904") in _TRUE:
            self.epoch = _EPOCH_1904
        elif name == "calcPr":
            self.is_uncomputed = attributes.get("fullCalcOnLoad") in _TRUE


class _Sheet(PartReader):
    """The cells of a sheet by position, from 0; the positions of rows and cells are optional in the file."""

    def __init__(self, book: _Book, styles: Styles, strings: list[str]) -> None:
        self._book = book
        self._styles = styles
        self._strings = strings
        self._cells: dict[tuple[int, int], Cell] = {}
        self._row = self._column = self._characters = 0
        self._open: _OpenCell | None = None
        self._is_started = self._hides_zeros = False
        self._conditions = ConditionalFormats(styles.conditional)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._is_started and name != "worksheet":
            raise DamagedFile
        self._is_started = True
        if self._open is not None:
            self._open.start(name, attributes)
        elif name == "row" and "r" in attributes:
            self._row = number_of(attributes["r"]) - 1
        elif name == "c":
            self._place(attributes.get("r"))
            self._open = _OpenCell(attributes.get("t", "n"), number_of(attributes.get("s", "0")))
        elif name == "sheetView":
            self._hides_zeros |= attributes.get("showZeros", "1") not in _TRUE
        else:
            self._conditions.start(name, attributes)

    def text(self, data: str) -> None:
        (self._open or self._conditions).text(data)

    def end(self, name: str) -> None:
        if name == "c" and self._open is not None:
            cell = self._cell(self._open)
            if cell is not None:
                self._keep(cell)
            self._open = None
            self._column += 1
        elif self._open is not None:
            self._open.end(name)
        elif name == "row":
            self._row += 1
            self._column = 0
        else:
            self._conditions.end(name)

    def rows(self) -> list[list[Cell]]:
        """The rows from the first one on. Raises TooManyColumns or TooManyRows for a large grid: one value in a
        distant cell is enough.
        """
        rows = max((row for row, _ in self._cells), default=-1) + 1
        columns = max((column for _, column in self._cells), default=-1) + 1
        if columns > MAX_COLUMNS:
            raise TooManyColumns(f"There are values to the right of column {column_letters(MAX_COLUMNS)}")
        if rows > MAX_SHEET_ROWS:
            raise TooManyRows(f"There are values below row {MAX_SHEET_ROWS}: the last is in row {rows}")
        # Names of columns are read whatever their format.
        candidates = [(row, column) for (row, column), cell in self._cells.items() if row and cell != ""]
        for position in self._conditions.found(candidates):
            self._cells[position] = UnclearCell("by a conditional format")
        grid: list[list[Cell]] = [[""] * columns for _ in range(rows)]
        for (row, column), cell in self._cells.items():
            grid[row][column] = cell
        return grid

    def _place(self, reference: str | None) -> None:
        if reference is not None:
            match = _CELL_REFERENCE.fullmatch(reference)
            if match is None:
                raise DamagedFile
            self._row, self._column = int(match[2]) - 1, column_index(match[1])

    def _keep(self, cell: Cell) -> None:
        position = (self._row, self._column)
        if position in self._cells or min(position) < 0:
            raise DamagedFile
        self._cells[position] = cell
        if isinstance(cell, str):
            self._characters += len(cell)
            if self._characters > MAX_CHARACTERS:
                raise UnpackedTooLarge

    def _cell(self, source: "_OpenCell") -> Cell | None:
        """The cell, None without a value. Raises DamagedFile for an unknown type."""
        value = source.value
        if source.has_formula and self._is_uncomputed(value):
            return CellFailure.NO_VALUE
        if value is None:
            return None
        match source.type:
            case "n":
                return self._number(value.strip(), source)
            case "s":
                return self._shown(self._strings[number_of(value.strip())], source.style)
            case "str" | "inlineStr":
                return self._shown(value, source.style)
            case "b" if value.strip() in ("0", "1", "true", "false"):
                return value.strip() in _TRUE
            case "e":
                return CellFailure.ERROR
            case "d":
                days = _days(value.strip(), self._book.epoch)
                return NumberCell(days, self._styles.format_of(source.style), self._book.epoch)
        raise DamagedFile

    def _is_uncomputed(self, value: str | None) -> bool:
        # Apache POI writes 0.0 for what it has not computed. Excel and LibreOffice write 0 for a zero; Google Sheets,
        # whose files have no properties, may write 0.0.
        if value == "0.0":
            return self._book.has_properties or self._book.is_uncomputed
        return value is None or (self._book.is_uncomputed and value in ("", "0"))

    def _number(self, text: str, source: "_OpenCell") -> Cell | None:
        if not text:
            return CellFailure.NO_VALUE if source.has_formula else None
        # Programs read a double and show at most its shortest decimal.
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if value == 0 and self._hides_zeros:
            return CellFailure.HIDDEN_ZERO
        return NumberCell(Decimal(repr(value)), self._styles.format_of(source.style), self._book.epoch)

    def _shown(self, text: str, style: int) -> Cell:
        if not text:
            return text
        number_format = self._styles.format_of(style)
        try:
            return text_of_text(text, number_format)
        except Unclear:
            return UnclearCell(number_format.code)


class _OpenCell(PartReader):
    """A cell of the sheet while it is read; `value` is the text of `v`, or of an inline string."""

    def __init__(self, type_: str, style: int) -> None:
        self.type = type_
        self.style = style
        self.has_formula = False
        self.value: str | None = None
        self._inline = TextReader()
        self._is_value = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c" or (name == "v" and self.value is not None):
            raise DamagedFile
        if name == "f":
            self.has_formula = True
        elif name == "is":
            self.value = ""
        self._is_value = name == "v"
        if self._is_value:
            self.value = ""
        self._inline.start(name, attributes)

    def text(self, data: str) -> None:
        if self._is_value:
            self.value = (self.value or "") + data
        self._inline.text(data)

    def end(self, name: str) -> None:
        self._inline.end(name)
        if name == "is":
            self.value = self._inline.take()
        elif name == "v" and self.type == "str":
            self.value = unescaped(self.value or "")
        self._is_value = False


def _days(text: str, epoch: dt.date) -> Decimal:
    """The number of days for a date in ISO 8601, with or without a time."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise DamagedFile
    passed = moment - dt.datetime.combine(epoch, dt.time())
    return Decimal(passed.days) + Decimal(passed.seconds) / _SECONDS_OF_DAY
