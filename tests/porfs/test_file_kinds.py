"""Uploads that are no CSV and no XLSX: the answer says what the file is and what to send."""

import codecs
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from io import BytesIO
from typing import Any

import httpx
import pytest

from po_api.porfs.imports import parse
from po_api.porfs.xlsx_parts import InvalidFile
from support.files import damaged, understated, with_entries
from support.organisations import TestOrganisation, created, refused

TEXT = "description,quantity,unit_price\nLamp,1,24.90\n"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
XML = b'<?xml version="1.0"?>'
# What a message must not contain: words of libraries, and of the code.
INTERNAL = ("UploadFile", "zipfile", "expat", "calamine", "codec", "Starlette", "multipart data", "<class", "Errno")


def archive(**parts: str) -> bytes:
    """A ZIP archive; in the names of parts, `__` is a slash and a last `_` a dot."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, text in parts.items():
            target.writestr(name.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


def ole(name: str) -> bytes:
    return OLE + name.encode("utf-16-le") + bytes(64)


def encrypted_archive() -> bytes:
    content = bytearray(archive(xl__workbook_xml="<workbook/>"))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


FILES = {
    "empty": (b"", "empty_file", "empty"),
    "blank": (codecs.BOM_UTF8 + b"\r\n \n", "empty_file", "empty"),
    "ods": (archive(mimetype="application/vnd.oasis.opendocument.spreadsheet", content_xml="<x/>"), "ods_file", ".ods"),
    "fods": (
        XML + b'<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"/>',
        "ods_file",
        ".ods",
    ),
    "numbers": (archive(Index__Document_iwa="x", Metadata__Properties_plist="x"), "numbers_file", "Numbers"),
    "old numbers": (archive(Index_zip="x"), "numbers_file", "Numbers"),
    "xlsb": (archive(xl__workbook_bin="x"), "xlsb_file", ".xlsb"),
    "docx": (archive(word__document_xml="<x/>"), "office_file", "not a workbook"),
    "zip": (archive(lines_csv=TEXT), "archive_file", ".zip"),
    "gzip": (b"\x1f\x8b\x08\x00", "archive_file", "archive"),
    "xls": (ole("Workbook"), "xls_file", ".xls"),
    "doc": (ole("WordDocument"), "office_file", "Office"),
    "password": (ole("EncryptedPackage"), "encrypted_file", "password"),
    "encrypted zip": (encrypted_archive(), "encrypted_file", "password"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "pdf_file", "PDF"),
    "html": (b"\n<html><table><tr><td>1</td></tr></table></html>", "html_file", "web page"),
    "html of office": (b'<html xmlns:x="urn:schemas-microsoft-com:office:excel">', "html_file", "web page"),
    "xhtml": (XML + b"<html/>", "html_file", "web page"),
    "mhtml": (b"MIME-Version: 1.0\r\n", "html_file", "web page"),
    "xml": (XML + b'<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>', "xml_file", "XML"),
    "json": (b'{"lines": []}', "json_file", "JSON"),
    "rtf": (b"{\\rtf1}", "office_file", "Rich Text"),
    "png": (b"\x89PNG\r\n\x1a\n", "image_file", "image"),
    "jpeg": (b"\xff\xd8\xff\xe0", "image_file", "image"),
    "utf-16-le": (TEXT.encode("utf-16-le"), "unknown_encoding", "UTF-16 without a byte order mark"),
    "utf-16-be": (TEXT.encode("utf-16-be"), "unknown_encoding", "UTF-16 without a byte order mark"),
    "utf-32": (TEXT.encode("utf-32"), "unknown_encoding", "UTF-32"),
    "latin": (TEXT.replace("Lamp", "Stehlüster").encode("cp1252"), "unknown_encoding", "UTF-8"),
    "damaged utf-16": (codecs.BOM_UTF16_LE + b"\x00\xd8\x00", "damaged_file", "UTF-16"),
    "binary": (b"\x01\x02\xff\xfe\xfd", "binary_file", "neither"),
    "utf-16-le of others": ("品名,数量\n灯,1\n".encode("utf-16-le"), "unknown_encoding", "UTF-16"),
    "utf-32 without a mark": (TEXT.encode("utf-32-le"), "unknown_encoding", "UTF-32"),
    "bitmap": (b"BM" + b"\x36\0\0\0" * 40, "binary_file", "neither"),
    "zeros": (bytes(5_000), "binary_file", "neither"),
    "sqlite": (b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20", "binary_file", "neither"),
    "tar": (b"lines.csv" + bytes(91) + b"0000644\0" + bytes(400) + TEXT.encode(), "binary_file", "neither"),
    "json after white space": (b"\n [1, 2]", "json_file", "JSON"),
    "xml without a declaration": (
        b'<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"><Table/></Workbook>',
        "xml_file",
        "XML",
    ),
    "html after a comment": (b"<!-- saved from\n --><html><table></table></html>", "html_file", "web page"),
    "part of html": (b"<div><table></table></div>", "html_file", "web page"),
    "damaged": (b"PK\x03\x04" + b"nonsense" * 100, "damaged_file", "damaged"),
    "half": (archive(xl__workbook_xml="<workbook/>" * 100)[:80], "damaged_file", "damaged"),
}


@pytest.mark.parametrize(("content", "kind", "name"), FILES.values(), ids=FILES)
def test_the_message_says_what_the_file_is_and_what_to_send(content: bytes, kind: str, name: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        parse(content)
    problem = caught.value
    assert (problem.status, problem.code) == (422, "invalid_file")
    (error,) = problem.errors
    assert (error.pointer, error.code, error.detail) == ("/file", kind, problem.detail)
    assert name in problem.detail
    assert "save" in problem.detail
    assert not any(word in problem.detail for word in INTERNAL)
    assert kind in (InvalidFile.__doc__ or "")


@pytest.mark.parametrize(
    "make",
    [
        *(
            partial(understated, part, method)
            for part in ("mimetype", "_rels/.rels")
            for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ),
        with_entries,
    ],
)
def test_no_more_of_an_archive_is_unpacked_than_its_directory_states(make: Callable[[], bytes]) -> None:
    content = make()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidFile):
            parse(content)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [*damaged("mimetype").values(), *damaged("xl/workbook.xml").values()])
def test_damaged_archives_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidFile):
        parse(content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_in_these_encodings_is_read(encoding: str) -> None:
    assert len(parse(TEXT.replace("Lamp", "机 Lüster").encode(encoding))) == 1


async def test_the_kind_is_in_the_problem_and_in_the_docs(organisation: TestOrganisation) -> None:
    files = {"file": ("lines.ods", FILES["ods"][0])}
    pending = organisation.requester.post("/porfs/import", files=files, data={"title": "Lamps"})
    problem = await refused(pending, 422, "invalid_file")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/file", "ods_file")]
    page = await organisation.client.get("/docs/errors/invalid_file")
    assert "ods_file" in page.text
    assert (await organisation.client.get("/docs/errors/invalid_form")).status_code == 200


async def _post(organisation: TestOrganisation, body: bytes, content_type: str) -> httpx.Response:
    headers = {"Content-Type": content_type}
    return await organisation.requester.post("/porfs/import", content=body, headers=headers)


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


LINES = b'Content-Disposition: form-data; name="file"; filename="lines.csv"\r\n\r\n' + TEXT.encode()
CURRENCY = b'Content-Disposition: form-data; name="currency"\r\n\r\nUSD'
TITLE = b'Content-Disposition: form-data; name="title"\r\n\r\nLamps'


@pytest.mark.parametrize(
    ("body", "content_type", "explanation"),
    [
        (form(TITLE), "multipart/form-data", "no boundary"),
        (form(TITLE), "multipart/form-data; boundary=y", "separated and ended by the boundary"),
        (form(TITLE, end=b""), "multipart/form-data; boundary=x", "ends before the form does"),
        (form(TITLE, LINES, CURRENCY)[:-12], "multipart/form-data; boundary=x", "ends before the form does"),
        (form(TITLE, LINES, end=b"--x-"), "multipart/form-data; boundary=x", "ends before the form does"),
        (b"title=Lamps", "multipart/form-data; boundary=x", "separated and ended by the boundary"),
        (b"", "multipart/form-data; boundary=x", "ends before the form does"),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), "multipart/form-data; boundary=x", "has no name"),
        (form(b"nonsense"), "multipart/form-data; boundary=x", None),
        (
            form(b'Content-Disposition: form-data; name="file"\r\n\r\n' + b"x" * (1024 * 1024 + 1)),
            "multipart/form-data; boundary=x",
            "with a file name",
        ),
    ],
    ids=range(10),
)
async def test_a_malformed_form_is_explained(
    organisation: TestOrganisation, body: bytes, content_type: str, explanation: str | None
) -> None:
    answer = await _post(organisation, body, content_type)
    problem = answer.json()
    assert not any(word in answer.text for word in INTERNAL)
    if explanation is None:
        assert (answer.status_code, problem["code"]) in {(422, "validation_failed"), (400, "invalid_form")}
    else:
        assert (answer.status_code, problem["code"]) == (400, "invalid_form"), answer.text
        assert explanation in problem["detail"]


async def test_the_end_of_a_form_may_arrive_in_pieces(organisation: TestOrganisation) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in form(TITLE, LINES, CURRENCY):
            yield bytes([byte])

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    porf = await created(organisation.requester.post("/porfs/import", content=pieces(), headers=headers))
    assert porf.json()["currency"] == "USD"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/csv", "application/json"])
async def test_another_type_of_body_is_explained(organisation: TestOrganisation, content_type: str) -> None:
    pending = _post(organisation, TEXT.encode(), content_type)
    problem = await refused(pending, 415, "unsupported_media_type")
    assert "multipart/form-data" in problem["detail"]


@pytest.mark.parametrize("text", [TEXT, "x", "@lines.csv"])
async def test_a_file_that_is_sent_as_a_text_is_explained(organisation: TestOrganisation, text: str) -> None:
    parts: list[tuple[str, Any]] = [("title", (None, "Lamps")), ("file", (None, text))]
    problem = await refused(organisation.requester.post("/porfs/import", files=parts), 422, "validation_failed")
    (error,) = problem["errors"]
    assert (error["pointer"], error["code"]) == ("/file", "file_required")
    assert "with a file name" in error["detail"]
    assert not any(word in str(problem) for word in INTERNAL)


async def test_a_title_that_is_sent_as_a_file_is_explained(organisation: TestOrganisation) -> None:
    parts = [("title", ("title.txt", b"Lamps")), ("file", ("lines.csv", TEXT.encode()))]
    problem = await refused(organisation.requester.post("/porfs/import", files=parts), 422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == ["/title"]
    assert not any(word in str(problem) for word in INTERNAL)


async def test_percentages_of_a_workbook_are_taxed_as_they_are_shown(organisation: TestOrganisation) -> None:
    content = b"description,quantity,unit_price,tax_rate\nLamp,10,20,20%\n"
    files = {"file": ("lines.csv", content)}
    porf = await created(organisation.requester.post("/porfs/import", files=files, data={"title": "Lamps"}))
    assert (porf.json()["net"], porf.json()["tax"]) == ("200.00", "40.00")
