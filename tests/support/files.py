"""Files for tests, and their upload."""

import struct
import zipfile
from io import BytesIO
from typing import Any

import httpx

from support.images import png
from support.organisations import Member, created

PDF = b"%PDF-1.7\n1 0 obj <<>> endobj\n%%EOF\n"
PNG = png()
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(20)
EXE = b"MZ\x90\x00\x03\x00\x00\x00" + bytes(100)
EML = b"From: a@b.example\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nSubject: Quote\r\n\r\nAs agreed.\r\n"
CSV = "Artikel;Preis\r\nLämpchen;24,90\r\n".encode("cp1252")
# What a test of antivirus programs finds here is no virus; the signature is in the tests' own database.
INFECTED = b"po-api test file that the scanner takes for infected\n"

_OFFICE = "application/vnd.openxmlformats-officedocument"
_KINDS = {
    "xlsx": ("xl/workbook.xml", f"{_OFFICE}.spreadsheetml.sheet.main+xml"),
    "docx": ("word/document.xml", f"{_OFFICE}.wordprocessingml.document.main+xml"),
    "xlsm": ("xl/workbook.xml", "application/vnd.ms-excel.sheet.macroEnabled.main+xml"),
}


def office(kind: str, **parts: bytes) -> bytes:
    """The bytes of an Office document with further parts, `/` in their names written as `__`."""
    part, content_type = _KINDS[kind]
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types><Override ContentType="{content_type}"/></Types>')
        archive.writestr(part, "<document/>")
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/"), content)
    return file.getvalue()


def understated(part: str, method: int) -> bytes:
    """An archive of one part of 20 MB, compressed by a method of `zipfile`, that states a size of 100 bytes for it."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(part, bytes(20_000_000))
    archived = bytearray(file.getvalue())
    size = archived.index(b"PK\x01\x02") + 24
    archived[size : size + 4] = (100).to_bytes(4, "little")
    return bytes(archived)


def with_entries() -> bytes:
    """An archive that lists one empty part 50,000 times."""
    name = b"a"
    part = struct.pack("<4s5H3L2H", b"PK\x03\x04", *(20, 0, 0, 0, 0), *(0, 0, 0), len(name), 0) + name
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *(20, 20, 0, 0, 0, 0), *(0, 0, 0), len(name), *(0,) * 6) + name
    directory = entry * 50_000
    return part + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, len(directory), len(part), 0)


def damaged(part: str) -> dict[str, bytes]:
    """Archives of one part for which the standard library raises errors of its own, by the kind of damage."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(part)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, bytes(range(100)))
    stream, directory = bytearray(file.getvalue()), bytearray(file.getvalue())
    stream[30 + len(part) : 36 + len(part)] = b"\xff" * 6
    # The offset of the part is in an extra field of 64 bits.
    at, extra = directory.index(b"PK\x01\x02"), struct.pack("<HHQ", 1, 8, 2**64 - 1)
    directory[at + 42 : at + 46] = b"\xff" * 4
    directory[at + 30] = len(extra)
    directory[at + 46 + len(part) : at + 46 + len(part)] = extra
    directory[directory.index(b"PK\x05\x06") + 12] += len(extra)
    return {"stream": bytes(stream), "offset": bytes(directory)}


def upload(member: Member, document: str, name: str, content: bytes, *, headers: Any = None, **fields: Any) -> Any:
    """The pending response to the upload of a file to the document at this path."""
    options = {"files": {"file": (name, content)}, "data": fields, "headers": headers or {}}
    return member.post(f"{document}/files", **options)


async def uploaded(member: Member, document: str, name: str = "quote.pdf", content: bytes = PDF, **fields: Any) -> Any:
    """The representation of a file that was uploaded."""
    response: httpx.Response = await created(upload(member, document, name, content, **fields))
    return response.json()
