"""Files that are neither XLSX nor CSV: what they are, and what to send instead."""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from zipfile import ZipFile

from po_api.core.archives import entry_count, read_part
from po_api.core.errors import AppError
from po_api.porfs.xlsx_parts import MAX_ENTRIES, InvalidFile

ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# UTF-32 first: what is valid in it may be so in UTF-16, with zeros between the characters.
_WIDE = {"utf-32-le": "UTF-32", "utf-32-be": "UTF-32"} | dict.fromkeys(
    ("utf-16-le", "utf-16-be"), "UTF-16 without a byte order mark"
)
_ENCRYPTED = 0x1
_MAX_TYPE_BYTES = 200
_MAX_LISTED = 10_000
_PROBED = 4096
_HTML = re.compile(
    rb"(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype html|html|head|body|meta|style|table|div|p)\b",
    re.IGNORECASE | re.DOTALL,
)
_SEND = "; save the lines as .xlsx or as CSV in UTF-8, and send that file"


@dataclass(frozen=True)
class _Kind:
    """A kind of file: its stable code, and what it is."""

    code: str
    name: str

    def error(self) -> InvalidFile:
        return InvalidFile(self.code, f"The file is {self.name}{_SEND}")


_PDF = _Kind("pdf_file", "a PDF document")
_OPEN_DOCUMENT = _Kind("ods_file", "an OpenDocument file such as .ods")
_NUMBERS = _Kind("numbers_file", "a document of Apple Numbers or Pages")
_BINARY_WORKBOOK = _Kind("xlsb_file", "a binary workbook (.xlsb)")
_OFFICE = _Kind("office_file", "an Office document that is not a workbook")
_ARCHIVE = _Kind("archive_file", "an archive such as .zip")
_OLD_EXCEL = _Kind("xls_file", "a workbook of the old format .xls")
_OLD_OFFICE = _Kind("office_file", "an old Office document")
_WEB_PAGE = _Kind("html_file", "a web page, whatever its name ends in")
_XML = _Kind("xml_file", "an XML file, such as an XML spreadsheet")
_JSON = _Kind("json_file", "JSON")
_RICH_TEXT = _Kind("office_file", "a document in Rich Text Format")
_IMAGE = _Kind("image_file", "an image")
_BINARY = _Kind("binary_file", "neither a workbook nor text")

_BEGINNINGS: dict[bytes, _Kind] = {
    b"%PDF-": _PDF,
    b"{\\rtf": _RICH_TEXT,
    b"\x89PNG": _IMAGE,
    b"\xff\xd8\xff": _IMAGE,
    b"GIF8": _IMAGE,
    b"II*\x00": _IMAGE,
    b"MM\x00*": _IMAGE,
    b"\x1f\x8b": _ARCHIVE,
    b"BZh": _ARCHIVE,
    b"7z\xbc\xaf\x27\x1c": _ARCHIVE,
    b"Rar!\x1a\x07": _ARCHIVE,
    b"\xfd7zXZ\x00": _ARCHIVE,
    b"\x28\xb5\x2f\xfd": _ARCHIVE,
    b"MIME-Version:": _WEB_PAGE,
}


def is_workbook(content: bytes) -> bool:
    """Whether the file is an XLSX workbook, rather than text. Raises InvalidFile for other kinds of files."""
    if not content.removeprefix(codecs.BOM_UTF8).strip():
        raise InvalidFile("empty_file", f"The file is empty{_SEND}")
    if content.startswith(ZIP):
        _require_workbook(content)
        return True
    kind = _kind(content)
    if kind is not None:
        raise kind.error()
    return False


def decoded(content: bytes) -> str:
    """The text of a CSV file. Raises InvalidFile for other encodings than UTF-8, and UTF-16 with a byte order mark."""
    if content.startswith(_UTF_32) or not content.startswith(_UTF_16):
        _require_8_bit(content)
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith(_UTF_16):
            raise InvalidFile("damaged_file", f"The file's UTF-16 text is damaged{_SEND}") from error
        name = next((name for name in _WIDE if _is_text_in(content, name)), None)
        if name is None and _is_binary(content[:_PROBED]):
            raise _BINARY.error() from error
        raise _encoded(_WIDE[name] if name else "another encoding than UTF-8, such as Windows-1252") from error


def _encoded(name: str) -> InvalidFile:
    detail = f"The file is text in {name}; save it as CSV in UTF-8, or as .xlsx, and send that file"
    return InvalidFile("unknown_encoding", detail)


def _require_8_bit(content: bytes) -> None:
    """Raise InvalidFile for UTF-32, UTF-16 without a byte order mark, and binary files, which may be valid UTF-8."""
    first_line = content[:_PROBED].partition(b"\n")[0]
    if b"\0" not in first_line:
        return
    name = next((name for name in _WIDE if _is_text_in(content, name)), None)
    raise _encoded(_WIDE[name]) if name else _BINARY.error()


def _is_text_in(content: bytes, encoding: str) -> bool:
    """Whether the beginning is text in an encoding whose characters have two or four bytes: names of columns.

    Other bytes, too, are characters of UTF-16, but hardly any of them have a separator or a line break.
    """
    beginning = content[: _PROBED - _PROBED % 4].removeprefix(codecs.BOM_UTF32_LE).removeprefix(codecs.BOM_UTF32_BE)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(beginning)
    except UnicodeDecodeError:
        return False
    is_printable = all(character.isprintable() or character in "\t\r\n" for character in text)
    return is_printable and any(character in ",;\t\r\n" for character in text)


def _is_binary(beginning: bytes) -> bool:
    """Whether there are bytes that no encoding with one byte a character has in text."""
    return any(byte < 0x20 and byte not in b"\t\n\v\f\r\x1a\x1b" for byte in beginning)


def _kind(content: bytes) -> _Kind | None:
    """The kind of a file that is not an archive of the ZIP format; None for text."""
    if content.startswith(_OLE):
        return _ole_kind(content)
    text = content.removeprefix(codecs.BOM_UTF8)
    for beginning, kind in _BEGINNINGS.items():
        if text.startswith(beginning):
            return kind
    text = text.lstrip()
    if text.startswith((b"{", b"[")):
        return _JSON
    if text.startswith(b"<"):
        return _markup_kind(text[:_PROBED])
    return _PDF if b"%PDF-" in content[:1024] and b"\0" in content else None


def _markup_kind(beginning: bytes) -> _Kind:
    """The kind of a file of elements, with or without a declaration of XML."""
    if b"opendocument" in beginning:
        return _OPEN_DOCUMENT
    return _WEB_PAGE if _HTML.match(beginning) else _XML


def _ole_kind(content: bytes) -> _Kind:
    """The kind of a compound file, by the names in its directory."""

    def has(name: str) -> bool:
        return name.encode("utf-16-le") in content

    if has("EncryptedPackage"):
        raise InvalidFile("encrypted_file", "The workbook has a password; save it without one, and send that file")
    return _OLD_OFFICE if has("WordDocument") or has("PowerPoint Document") else _OLD_EXCEL


def _require_workbook(content: bytes) -> None:
    if entry_count(content) > _MAX_LISTED:
        return  # for the reader of workbooks, which takes fewer
    try:
        with ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
            names = {entry.filename.lower().replace("\\", "/") for entry in entries[:MAX_ENTRIES]}
            if any(entry.flag_bits & _ENCRYPTED for entry in entries):
                detail = "The file is encrypted; save it without a password, and send that file"
                raise InvalidFile("encrypted_file", detail)
            kind = _archive_kind(names, _declared_type(archive))
    except AppError:
        raise
    except Exception:
        return  # a damaged workbook, for its reader to report: zipfile raises various errors for random bytes
    if kind is not None:
        raise kind.error()


def _declared_type(archive: ZipFile) -> bytes:
    """The media type that OpenDocument files begin with; empty for others."""
    entry = next((entry for entry in archive.infolist() if entry.filename == "mimetype"), None)
    return b"" if entry is None else read_part(archive, entry, _MAX_TYPE_BYTES)


def _archive_kind(names: Iterable[str], declared: bytes) -> _Kind | None:
    """The kind of an archive; None if it may be a workbook."""

    def has(*beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in names)

    if declared.startswith(b"application/vnd.oasis.opendocument"):
        return _OPEN_DOCUMENT
    if has("xl/workbook.bin"):
        return _BINARY_WORKBOOK
    if has("index/document.iwa", "index.zip") or any(name.endswith(".iwa") for name in names):
        return _NUMBERS
    if has("word/", "ppt/", "visio/"):
        return _OFFICE
    return None if has("[content_types].xml", "_rels/.rels", "xl/") else _ARCHIVE
