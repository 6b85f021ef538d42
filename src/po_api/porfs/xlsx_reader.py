"""The cells of an XLSX file's first sheet, from untrusted bytes.

calamine reads the cells; this module limits its input. A small file can make calamine allocate the whole grid (a value
in A1 and one in XFD1048576 span 17 thousand million cells), as many strings as an attribute states, or one long string
for every cell, and a failed allocation ends the process without an exception. Hence every part that calamine will read
is first parsed by expat, which accepts only well-formed XML, and measured. calamine then gets a new archive of only
these parts: no other sheet, no macros, nothing that two readers of archives could interpret differently.
"""

import codecs
import datetime as dt
import re
from enum import Enum
from io import BytesIO
from typing import TypeVar, cast
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from python_calamine import load_workbook

from po_api.core.errors import AppError, Unprocessable

MAX_SHEET_ROWS = 20_000
MAX_COLUMNS = 50
MAX_ENTRIES = 1_000
MAX_UNPACKED_BYTES = 100 * 1024 * 1024
MAX_PART_BYTES = 50 * 1024 * 1024
MAX_RATIO = 200
_RATIO_MATTERS_ABOVE = 1024 * 1024
# Elements and pieces of text. Ten thousand lines have about 400,000; the rest is for white space, long texts of many
# lines, and sheets that are not read but whose strings are in the same table.
MAX_EVENTS = 1_200_000
MAX_STRINGS = 1_000_000
# Of all cells together, before their own limits are checked; ten thousand of the longest lines have 21 million.
MAX_CHARACTERS = 32 * 1024 * 1024

_ENCRYPTED = 0x1
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CELL_REFERENCE = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})")
_COUNT = re.compile(r"[0-9]{1,7}")
_DAMAGED = "The file is damaged or is not an XLSX workbook"
_TOO_LARGE = "The workbook is too large when unpacked; keep only the sheet with the lines"


class InvalidFile(Unprocessable):
    """The file is not a valid CSV or XLSX file, or exceeds the limits on its unpacked size."""

    code = "invalid_file"
    title = "Unreadable file"


class TooManyRows(Unprocessable):
    """The file has more rows than an import accepts."""

    code = "too_many_rows"
    title = "Too many rows"


class TooManyColumns(Unprocessable):
    """The file has more columns than an import accepts."""

    code = "too_many_columns"
    title = "Too many columns"


class CellFailure(Enum):
    """The value of a cell with an error of the spreadsheet, such as #REF!."""

    FAILED = "failed"


Cell = str | int | float | bool | dt.date | dt.time | dt.timedelta | CellFailure


def first_sheet(content: bytes) -> list[list[Cell]]:
    """The rows of the first visible sheet from A1 on; empty cells are empty strings.

    Raises InvalidFile, TooManyRows or TooManyColumns.
    """
    vetted = BytesIO()
    try:
        with ZipFile(BytesIO(content)) as archive, ZipFile(vetted, "w", ZIP_STORED) as parts:
            index, failures = _vet(_Copier(archive, parts))
        rows = _read(vetted, index)
        for row, column in failures:
            rows[row][column] = CellFailure.FAILED
    except AppError:
        raise
    except Exception as error:
        # zipfile and expat raise various errors for random bytes, from struct.error to NotImplementedError. The file is
        # the only input here, so every error is caused by it.
        raise InvalidFile(_DAMAGED) from error
    return rows


def column_letters(number: int) -> str:
    """The letters of column `number` (from 1) in a spreadsheet: A, Z, AA."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


class _Reader:
    """Receives expat's events for a part, with the local names of elements."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        pass

    def text(self, data: str) -> None:
        pass

    def end(self, name: str) -> None:
        pass


_R = TypeVar("_R", bound=_Reader)


class _Copier:
    """Copies parts of an archive whose directory is within the limits, and passes their elements to a reader."""

    def __init__(self, source: ZipFile, target: ZipFile):
        entries = source.infolist()
        if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
            raise InvalidFile(_TOO_LARGE)
        for entry in entries:
            _check_entry(entry)
        self._entries = {_folded(entry.filename): entry for entry in entries}
        self._source = source
        self._target = target
        self._events = 0

    def has(self, name: str) -> bool:
        """Whether the archive has such a part that was not copied yet."""
        return _folded(name) in self._entries

    def copy(self, name: str, reader: _R) -> _R:
        """Copy the part and return the reader. Raises InvalidFile if it is missing, malformed or too large."""
        entry = self._entries.pop(_folded(name), None)
        if entry is None:
            raise InvalidFile(_DAMAGED)
        if entry.file_size > MAX_PART_BYTES:
            raise InvalidFile(_TOO_LARGE)
        data = self._source.read(entry)  # raises if there is more than the directory states

        def start(name: str, attributes: dict[str, str]) -> None:
            self._count()
            reader.start(_local(name), attributes)

        def text(data: str) -> None:
            self._count()
            reader.text(data)

        # calamine always decodes as UTF-8, so expat must, too, whatever encoding the file declares. Byte order marks
        # and zero bytes are refused, as they make expat switch to UTF-16.
        if b"\0" in data or data.startswith(_UTF_16):
            raise InvalidFile(_DAMAGED)
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = start
        parser.CharacterDataHandler = text
        parser.EndElementHandler = lambda name: reader.end(_local(name))
        parser.Parse(data, True)
        self._target.writestr(ZipInfo(name), data)
        return reader

    def _count(self) -> None:
        self._events += 1
        if self._events > MAX_EVENTS:
            raise InvalidFile(_TOO_LARGE)


def _check_entry(entry: ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise InvalidFile("The file is encrypted; save it without a password")
    # Other methods have no limit to the output of one step, and no spreadsheet program uses them.
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise InvalidFile(_DAMAGED)
    if entry.file_size > _RATIO_MATTERS_ABOVE and entry.file_size > MAX_RATIO * entry.compress_size:
        raise InvalidFile(_TOO_LARGE)


def _folded(name: str) -> str:
    """Part names as calamine compares them: regardless of case and of the kind of slash."""
    return name.replace("\\", "/").lower()


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse_doctype(*_: object) -> None:
    raise InvalidFile(_DAMAGED)


def _vet(parts: _Copier) -> tuple[int, set[tuple[int, int]]]:
    """Copy the parts that the first visible sheet needs; returns its index and the (row, column) of its failed cells.

    Indices begin at 0. Paths are composed as calamine does it; if it used others, it would not find the part and raise.
    """
    package = parts.copy("_rels/.rels", _Relationships())
    folder = "".join(package.office_document().removeprefix("/").rpartition("/")[:2])
    document = parts.copy(f"{folder}_rels/workbook.xml.rels", _Relationships())
    book = parts.copy(f"{folder}workbook.xml", _Book())
    if parts.has(f"{folder}styles.xml"):
        parts.copy(f"{folder}styles.xml", _Reader())
    strings = _Strings()
    if parts.has(f"{folder}sharedStrings.xml"):
        parts.copy(f"{folder}sharedStrings.xml", strings)
    for index, identifier in book.visible:
        kind, target = document.by_id.get(identifier, ("", ""))
        if kind == "worksheet":
            name = target[1:] if target.startswith("/") else folder + target
            sheet = parts.copy(name, _Sheet(strings.lengths))
            sheet.check_extent()
            return index, sheet.failures
    raise InvalidFile("The workbook has no visible sheet")


def _read(vetted: BytesIO, index: int) -> list[list[Cell]]:
    try:
        vetted.seek(0)
        # Empty rows and columns before the first value are kept, so that positions are those in the spreadsheet.
        rows = load_workbook(vetted).get_sheet_by_index(index).to_python(skip_empty_area=False)
    except BaseException as error:
        # A panic in Rust is raised as a BaseException that cannot be imported; it is also caused by the file.
        if type(error).__name__ == "PanicException":
            raise InvalidFile(_DAMAGED) from error
        raise
    return cast("list[list[Cell]]", rows)


class _Relationships(_Reader):
    """A .rels part: kind (the last word of the type) and target by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.by_id[attributes.get("Id", "")] = (kind, attributes.get("Target", ""))

    def office_document(self) -> str:
        """The path of the workbook; empty if there is none."""
        return next((target for kind, target in self.by_id.values() if kind == "officeDocument"), "")


class _Book(_Reader):
    """The visible sheets in workbook.xml: their index among all sheets and their relationship's id."""

    def __init__(self) -> None:
        self.visible: list[tuple[int, str]] = []
        self._sheets = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            if attributes.get("state", "visible") == "visible":
                identifier = next((value for key, value in attributes.items() if _local(key) == "id"), "")
                self.visible.append((self._sheets, identifier))
            self._sheets += 1


class _Strings(_Reader):
    """The lengths of the shared strings. Refuses structures that calamine would count differently."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._is_first = True
        self._is_inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if (name == "sst") is not self._is_first or (name == "si" and self._is_inside):
            raise InvalidFile(_DAMAGED)
        self._is_first = False
        # calamine allocates this number of strings before it reads one.
        claim = attributes.get("uniqueCount", "0")
        if not _COUNT.fullmatch(claim) or int(claim) > MAX_STRINGS:
            raise InvalidFile(_TOO_LARGE)
        if name == "si":
            self._is_inside = True
            self.lengths.append(0)

    def text(self, data: str) -> None:
        if self._is_inside:
            self.lengths[-1] += len(data)

    def end(self, name: str) -> None:
        if name == "si":
            self._is_inside = False


class _Sheet(_Reader):
    """The extent of a sheet's values, counted as calamine does: the positions of rows and cells are optional."""

    def __init__(self, string_lengths: list[int]) -> None:
        self.failures: set[tuple[int, int]] = set()
        self._string_lengths = string_lengths
        self._longest = max(string_lengths, default=0)
        self._rows = self._columns = self._characters = 0
        self._row = self._column = 0
        self._cell: tuple[int, int] | None = None
        self._type = ""
        self._texts: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._texts = []
        if name == "row" and "r" in attributes:
            if not _COUNT.fullmatch(attributes["r"]):
                raise InvalidFile(_DAMAGED)
            self._row = int(attributes["r"]) - 1
        elif name == "c":
            self._cell = self._position(attributes.get("r"))
            self._type = attributes.get("t", "")
        elif self._cell is not None and name in ("v", "is"):  # calamine ignores cells with neither, too
            self._rows = max(self._rows, self._cell[0] + 1)
            self._columns = max(self._columns, self._cell[1] + 1)
            if self._type == "e":
                self.failures.add(self._cell)

    def text(self, data: str) -> None:
        self._texts.append(data)

    def end(self, name: str) -> None:
        if name == "row":
            self._row += 1
            self._column = 0
        elif name == "c":
            self._column += 1
            self._cell = None
        elif name == "v" and self._type == "s":
            self._characters += self._string_length()
            if self._characters > MAX_CHARACTERS:
                raise InvalidFile(_TOO_LARGE)

    def check_extent(self) -> None:
        """Raise TooManyColumns or TooManyRows for a large grid: one value in a distant cell is enough."""
        if self._columns > MAX_COLUMNS:
            raise TooManyColumns(f"There are values to the right of column {column_letters(MAX_COLUMNS)}")
        if self._rows > MAX_SHEET_ROWS:
            raise TooManyRows(f"There are values below row {MAX_SHEET_ROWS}: the last is in row {self._rows}")

    def _string_length(self) -> int:
        """The length of the cell's shared string, or that of the longest if calamine might read another index.

        calamine reads the text only up to a comment or an entity, where expat starts another piece of text.
        """
        if len(self._texts) == 1 and _COUNT.fullmatch(self._texts[0]):
            index = int(self._texts[0])
            if index < len(self._string_lengths):
                return self._string_lengths[index]
        return self._longest

    def _position(self, reference: str | None) -> tuple[int, int]:
        if reference is None:
            return self._row, self._column
        match = _CELL_REFERENCE.fullmatch(reference)
        if match is None:
            raise InvalidFile(_DAMAGED)
        column = 0
        for letter in match[1].upper():
            column = column * 26 + ord(letter) - ord("A") + 1
        self._column = column - 1
        return int(match[2]) - 1, self._column
