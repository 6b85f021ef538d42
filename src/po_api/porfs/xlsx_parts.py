"""The parts of an XLSX file, from untrusted bytes: an archive of XML within limits.

expat accepts only well-formed XML. Document types, which could declare entities, are refused, and so is every part
that is not UTF-8: it would be read differently by readers that regard its declaration and those that do not.
"""

import codecs
from io import BytesIO
from typing import TypeVar
from xml.parsers import expat
from zipfile import ZipFile, ZipInfo

from po_api.core.archives import entry_count, read_part
from po_api.core.errors import FieldError, Unprocessable

MAX_ENTRIES = 1_000
MAX_UNPACKED_BYTES = 100 * 1024 * 1024
MAX_PART_BYTES = 50 * 1024 * 1024
MAX_RATIO = 200
_RATIO_MATTERS_ABOVE = 1024 * 1024
# Elements and pieces of text. Ten thousand lines have about 400,000; the rest is for white space, long texts of many
# lines, and sheets that are not read but whose strings are in the same table.
MAX_EVENTS = 1_200_000

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DAMAGED = "The workbook is damaged or not valid; open it in a spreadsheet program and save it as .xlsx again"
_TOO_LARGE = "The workbook is too large when unpacked; keep only the sheet with the lines"


class InvalidFile(Unprocessable):
    """The file cannot be read as CSV or XLSX. `errors` contains what kind of file it is, and what to send instead. Its
    codes: damaged_file, file_too_large, no_sheet, empty_file, encrypted_file, unknown_encoding, and pdf_file, ods_file,
    numbers_file, xls_file, xlsb_file, office_file, archive_file, html_file, xml_file, json_file, image_file,
    binary_file.
    """

    code = "invalid_file"
    title = "Unreadable file"

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail, errors=(FieldError("/file", kind, detail),))


class DamagedFile(InvalidFile):
    """The same, for a workbook with errors in its structure."""

    def __init__(self) -> None:
        super().__init__("damaged_file", _DAMAGED)


class UnpackedTooLarge(InvalidFile):
    """The same, for a workbook that exceeds the limits on its unpacked size."""

    def __init__(self) -> None:
        super().__init__("file_too_large", _TOO_LARGE)


class PartReader:
    """Receives the elements and texts of a part, with the local names of elements."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        pass

    def text(self, data: str) -> None:
        pass

    def end(self, name: str) -> None:
        pass


_R = TypeVar("_R", bound=PartReader)


class Parts:
    """The parts of a workbook by name. Raises InvalidFile if its directory exceeds the limits."""

    def __init__(self, content: bytes) -> None:
        if entry_count(content) > MAX_ENTRIES:
            raise UnpackedTooLarge
        self._archive = ZipFile(BytesIO(content))
        entries = self._archive.infolist()
        if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
            raise UnpackedTooLarge
        for entry in entries:
            _check_entry(entry)
        self._entries = {_folded(entry.filename): entry for entry in entries}
        self._events = 0

    def has(self, name: str) -> bool:
        return _folded(name) in self._entries

    def read(self, name: str, reader: _R) -> _R:
        """Pass the part to the reader, and return it. Raises InvalidFile if it is missing, malformed or too large."""
        entry = self._entries.get(_folded(name))
        if entry is None:
            raise DamagedFile
        if entry.file_size > MAX_PART_BYTES:
            raise UnpackedTooLarge
        data = read_part(self._archive, entry, entry.file_size)  # raises if the checksum is that of more
        # Byte order marks and zero bytes make expat switch to UTF-16.
        if b"\0" in data or data.startswith(_UTF_16):
            raise DamagedFile
        self._parser(reader).Parse(data, True)
        return reader

    def _parser(self, reader: PartReader) -> expat.XMLParserType:
        def start(name: str, attributes: dict[str, str]) -> None:
            self._count()
            reader.start(local_name(name), attributes)

        def text(data: str) -> None:
            self._count()
            reader.text(data)

        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = start
        parser.CharacterDataHandler = text
        parser.EndElementHandler = lambda name: reader.end(local_name(name))
        return parser

    def _count(self) -> None:
        self._events += 1
        if self._events > MAX_EVENTS:
            raise UnpackedTooLarge


def local_name(name: str) -> str:
    """A name of XML without its prefix."""
    return name.rpartition(":")[2]


def _check_entry(entry: ZipInfo) -> None:
    if entry.file_size > _RATIO_MATTERS_ABOVE and entry.file_size > MAX_RATIO * entry.compress_size:
        raise UnpackedTooLarge


def _folded(name: str) -> str:
    """Names of parts are compared regardless of case; some programs write the other kind of slash."""
    return name.replace("\\", "/").lower()


def _refuse_doctype(*_: object) -> None:
    raise DamagedFile
