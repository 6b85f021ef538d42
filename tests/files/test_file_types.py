"""Types by content, and names that are safe anywhere."""

import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.files import file_types
from po_api.files.file_types import CSV, DOCX, EML, FILE_TYPES, JPEG, PDF, PNG, TXT, XLSX, FileType, file_type
from po_api.files.names import MAX_NAME_BYTES, attachment_header, safe_name
from support import files
from support.files import office


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("quote.pdf", files.PDF, PDF),
        ("quote.exe", files.PDF, PDF),
        ("photo.png", files.PNG, PNG),
        ("photo.jpeg", files.JPEG, JPEG),
        ("prices.xlsx", office("xlsx"), XLSX),
        ("letter.docx", office("docx"), DOCX),
        ("mail.eml", files.EML, EML),
        ("mail.txt", files.EML, TXT),
        ("note.eml", b"No headers\n", TXT),
        ("prices.csv", files.CSV, CSV),
        ("prices", files.CSV, TXT),
        ("prices.csv", "a;b\n".encode("utf-16"), CSV),
        ("x.pdf", files.EXE, None),
        ("x.txt", files.EXE, None),
        ("prices.xlsm", office("xlsm"), None),
        ("prices.xlsx", office("xlsx", xl__vbaProject__bin=b"").replace(b"vbaProject/bin", b"vbaProject.bin"), None),
        ("archive.zip", b"PK\x03\x04" + bytes(30), None),
        ("prices.xlsx", office("xlsx")[:-30], None),
        ("empty.txt", b"", None),
        ("blank.txt", b" \n", None),
        ("x.txt", b"\xff\xfe\x00", None),
        ("x.txt", "a\x01".encode("utf-16"), None),
        ("blank.txt", "\n".encode("utf-16"), None),
    ],
)
def test_the_content_decides(name: str, content: bytes, expected: FileType | None) -> None:
    assert file_type(name, content) == expected


@pytest.mark.parametrize(
    "make",
    [
        *(
            partial(files.understated, "[Content_Types].xml", method)
            for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ),
        files.with_entries,
    ],
)
def test_no_more_of_an_archive_is_unpacked_than_is_read(make: Callable[[], bytes]) -> None:
    content = make()
    with little_memory():
        assert file_type("prices.xlsx", content) is None


def test_nothing_but_the_list_of_types_is_unpacked() -> None:
    content = office("xlsx", xl__media__1=bytes(50_000_000))
    with little_memory():
        assert file_type("prices.xlsx", content) == XLSX


@pytest.mark.parametrize("content", files.damaged("[Content_Types].xml").values())
def test_a_damaged_archive_is_refused(content: bytes) -> None:
    assert file_type("prices.xlsx", content) is None


def test_an_archive_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_types, "_MAX_ENTRIES", 2)
    assert file_type("a.xlsx", office("xlsx")) == XLSX
    assert file_type("a.xlsx", office("xlsx", more=b"")) is None


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("quote.pdf", "quote.pdf"),
        ("Angebot Müller & Söhne.PDF", "Angebot Müller & Söhne.PDF"),
        ("../../etc/passwd", "passwd.pdf"),
        (r"C:\Users\me\quote.pdf", "quote.pdf"),
        ("quote.exe", "quote.exe.pdf"),
        # A right-to-left override would show "quotefdp.exe" as "quoteexe.pdf".
        ("quote\u202efdp.exe", "quotefdp.exe.pdf"),
        ('a<b>c:d"e|f?g*h.pdf', "a_b_c_d_e_f_g_h.pdf"),
        ("line\r\nbreak.pdf", "line break.pdf"),
        ("CON.pdf", "file CON.pdf"),
        ("nul.txt.pdf", "file nul.txt.pdf"),
        (" . .pdf", "pdf.pdf"),
        ("", "file.pdf"),
        ("...", "file.pdf"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
        ("株" * 300 + ".pdf", "株" * 78 + ".pdf"),
    ],
)
def test_names_are_safe(given_name: str, safe: str) -> None:
    assert safe_name(given_name, ("pdf",)) == safe


@given(st.text(max_size=400), st.sampled_from(FILE_TYPES))
def test_every_name_is_safe(name: str, kind: FileType) -> None:
    safe = safe_name(name, kind.extensions)
    assert safe_name(safe, kind.extensions) == safe
    assert safe.rpartition(".")[2].lower() in kind.extensions
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert not set('/\\<>:"|?*\r\n\x00') & set(safe)
    assert not safe.startswith((".", " "))
    header = attachment_header(safe)
    assert header.isascii()
    assert header.count('"') == 2
    assert "\r" not in header
