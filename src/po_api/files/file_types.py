"""The types of files, by their content.

Libraries that recognise types (puremagic, filetype, libmagic) know hundreds, among them programs: what is accepted here
are eight: by their first bytes, two of them also by the table of contents of a ZIP archive, and three kinds of texts.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from po_api.core.archives import entry_count, read_part

_MAX_ENTRIES = 10_000
# Of the list of content types in an Office document; nothing else is unpacked.
_MAX_LISTED_BYTES = 1024 * 1024
_OFFICE = "application/vnd.openxmlformats-officedocument"
_CONTENT_TYPES = "[Content_Types].xml"
# What a text has neither in UTF-8 nor in an older encoding: programs and archives do.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9-]{0,75}):[ \t]")
_HEADERS_OF_MAILS = frozenset({b"from", b"date"})
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class FileType:
    """A type that is accepted, and the extensions of its names."""

    media_type: str
    extensions: tuple[str, ...]


PDF = FileType("application/pdf", ("pdf",))
PNG = FileType("image/png", ("png",))
JPEG = FileType("image/jpeg", ("jpg", "jpeg"))
XLSX = FileType(f"{_OFFICE}.spreadsheetml.sheet", ("xlsx",))
DOCX = FileType(f"{_OFFICE}.wordprocessingml.document", ("docx",))
EML = FileType("message/rfc822", ("eml",))
CSV = FileType("text/csv", ("csv",))
TXT = FileType("text/plain", ("txt",))
FILE_TYPES = (PDF, PNG, JPEG, XLSX, DOCX, EML, CSV, TXT)

_SIGNATURES: Mapping[bytes, FileType] = {b"%PDF-": PDF, b"\x89PNG\r\n\x1a\n": PNG, b"\xff\xd8\xff": JPEG}
_ZIP = b"PK\x03\x04"
# The part that has the document, and its type: another one for documents with macros.
_PARTS: Mapping[str, FileType] = {"xl/workbook.xml": XLSX, "word/document.xml": DOCX}


def file_type(name: str, content: bytes) -> FileType | None:
    """The type of a file; None if it is not accepted. The name only tells kinds of texts apart."""
    found = next((kind for signature, kind in _SIGNATURES.items() if content.startswith(signature)), None)
    if found is not None:
        return found
    if content.startswith(_ZIP):
        return _office_type(content)
    if not _is_text(content):
        return None
    extension = name.rpartition(".")[2].lower()
    return next((kind for kind, is_kind in _TEXTS.items() if extension in kind.extensions and is_kind(content)), TXT)


def _office_type(content: bytes) -> FileType | None:
    """The type of an Office document without macros, by its table of contents."""
    if entry_count(content) > _MAX_ENTRIES:
        return None
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = archive.namelist()
            if any(name.lower().endswith("vbaproject.bin") for name in names):
                return None
            found = next((kind for part, kind in _PARTS.items() if part in names), None)
            types = read_part(archive, archive.getinfo(_CONTENT_TYPES), _MAX_LISTED_BYTES)
    except Exception:
        # zipfile raises various errors for random bytes; the file is the only input here, so all are caused by it.
        return None
    return found if found is not None and f'"{found.media_type}.main+xml"'.encode() in types else None


def _is_text(content: bytes) -> bool:
    """Whether the content is a text: UTF-8, a code page of eight bits, or UTF-16 with a byte order mark."""
    if content.startswith(_UTF_16):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeDecodeError:
            return False
    return bool(content.strip()) and _CONTROL.search(content) is None


def _is_mail(content: bytes) -> bool:
    """Whether a text begins with the headers of a mail (RFC 5322)."""
    head = re.split(rb"\r?\n\r?\n", content[:65536], maxsplit=1)[0]
    names = {found[1].lower() for line in head.splitlines() if (found := _HEADER.match(line))}
    return names >= _HEADERS_OF_MAILS


_TEXTS: Mapping[FileType, Callable[[bytes], bool]] = {EML: _is_mail, CSV: lambda _: True}
