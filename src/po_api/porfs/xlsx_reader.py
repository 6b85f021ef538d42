"""The cells of an XLSX file's first sheet, from untrusted bytes.

calamine reads the cells; this module decides what calamine reads. A small file can ask it for the whole grid (a
value in A1 and one in XFD1048576 span 17 thousand million cells), for as many strings as an attribute claims or for one
long string in every cell, and when that memory is refused the process ends: nothing is raised. So every part that
calamine is going to read is read by expat first, which accepts well-formed XML only, and measured. calamine then gets a
new archive of just those parts: no other sheet, no macros, nothing that two readers of archives could see differently.
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
# Elements and pieces of text. Ten thousand lines have about 400,000; the rest is room for white space, long texts of
# many lines, and sheets that are not read but whose strings are in the same table.
MAX_EVENTS = 1_200_000
MAX_STRINGS = 1_000_000
# Of all cells together, before their own limits are looked at; ten thousand of the longest lines have 21 million.
MAX_CHARACTERS = 32 * 1024 * 1024

_ENCRYPTED = 0x1
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CELL_REFERENCE = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})")
_COUNT = re.compile(r"[0-9]{1,7}")
_DAMAGED = "The file is damaged or is not an XLSX workbook"
_TOO_LARGE = "The workbook is too large when unpacked; keep only the sheet with the lines"


class InvalidFile(Unprocessable):
    """The file is no valid CSV or XLSX file, or exceeds the limits on its unpacked size."""

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
    """Stands for the value of a cell that holds an error of the spreadsheet, such as #REF!."""

    FAILED = "failed"


Cell = str | int | float | bool | dt.date | dt.time | dt.timedelta | CellFailure


def first_sheet(content: bytes) -> list[list[Cell]]:
    """The rows from A1 on of the first visible sheet, an empty cell as an empty string; an AppError for other files."""
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
        # zipfile and expat raise anything from struct.error to NotImplementedError for random bytes. The file is the
        # only input here, so every error is about the file.
        raise InvalidFile(_DAMAGED) from error
    return rows


def column_letters(number: int) -> str:
    """What a spreadsheet calls its column `number` (from 1): A, Z, AA."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


class _Reader:
    """Receives expat's events for a part, with elements by their local names; subclasses collect what they need."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        pass

    def text(self, data: str) -> None:
        pass

    def end(self, name: str) -> None:
        pass


_R = TypeVar("_R", bound=_Reader)


class _Copier:
    """Copies parts of an archive whose directory is sane, letting a reader see their elements on the way."""

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
        """Whether there is such a part that was not copied yet."""
        return _folded(name) in self._entries

    def copy(self, name: str, reader: _R) -> _R:
        """Copy the part and return the reader that saw it; InvalidFile when it is missing or malformed."""
        entry = self._entries.pop(_folded(name), None)
        if entry is None:
            raise InvalidFile(_DAMAGED)
        if entry.file_size > MAX_PART_BYTES:
            raise InvalidFile(_TOO_LARGE)
        data = self._source.read(entry)  # never more than the directory says, else it raises

        def start(name: str, attributes: dict[str, str]) -> None:
            self._count()
            reader.start(_local(name), attributes)

        def text(data: str) -> None:
            self._count()
            reader.text(data)

        # calamine finds elements in the bytes, as UTF-8, so expat has to as well: whatever encoding the file declares,
        # and even where a byte order mark or a zero in every pair would make expat think of UTF-16.
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
    # Other methods unpack without a limit to what one step yields, and no spreadsheet program writes them.
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise InvalidFile(_DAMAGED)
    if entry.file_size > _RATIO_MATTERS_ABOVE and entry.file_size > MAX_RATIO * entry.compress_size:
        raise InvalidFile(_TOO_LARGE)


def _folded(name: str) -> str:
    """Part names as calamine compares them: neither case nor the kind of slash matters."""
    return name.replace("\\", "/").lower()


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse_doctype(*_: object) -> None:
    raise InvalidFile(_DAMAGED)


def _vet(parts: _Copier) -> tuple[int, set[tuple[int, int]]]:
    """Copy what reading the first visible sheet takes: its index, and the (row, column) from 0 of its failed cells.

    Paths are put together as calamine does it; where it should do otherwise, it does not find the part and says so.
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
        # Empty rows and columns before the first value stay, so that positions are those that the spreadsheet shows.
        rows = load_workbook(vetted).get_sheet_by_index(index).to_python(skip_empty_area=False)
    except BaseException as error:
        # A panic in Rust arrives as a BaseException that cannot be imported; it is about the file, too.
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
        """Where the workbook is."""
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
    """The lengths of the shared strings. Refuses what would let calamine count them differently."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._is_first = True
        self._is_inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if (name == "sst") is not self._is_first or (name == "si" and self._is_inside):
            raise InvalidFile(_DAMAGED)
        self._is_first = False
        # calamine makes room for as many strings as this says, before it has seen one.
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
    """How far a sheet's values reach, counted as calamine counts: rows and cells may leave their position out."""

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
        elif self._cell is not None and name in ("v", "is"):  # a cell with neither is not there for calamine either
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
        """Refuse a sheet whose grid would be large, for which one value far away is enough."""
        if self._columns > MAX_COLUMNS:
            raise TooManyColumns(f"There are values to the right of column {column_letters(MAX_COLUMNS)}")
        if self._rows > MAX_SHEET_ROWS:
            raise TooManyRows(f"There are values below row {MAX_SHEET_ROWS}: the last is in row {self._rows}")

    def _string_length(self) -> int:
        """How long the cell's shared string is, or the longest there is when calamine might read the index otherwise.

        calamine looks at the text up to a comment or an entity only; expat gives that in pieces.
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
