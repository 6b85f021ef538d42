"""Exported files: their content in a spreadsheet, and importing them again."""

import csv
import datetime as dt
import re
import unicodedata
import zipfile
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook

from po_api.core.records import extract
from po_api.core.text import has_forbidden_characters, is_visible, normalise
from po_api.porfs.content import LineInput
from po_api.porfs.exports import ExportedLine, FileType, neutralise, restore, write
from po_api.porfs.imports import parse
from po_api.porfs.units import UNITS

HEADER = (
    *("position", "description", "sku", "quantity", "unit", "unit_price", "discount_percent", "tax_rate", "net"),
    *("needed_by", "category", "cost_centre"),
)
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    " =1",
    "'=1",
    "''-1",
    '=HYPERLINK("http://x")',
]


def line(**changes: Any) -> ExportedLine:
    values: dict[str, Any] = {
        "position": 1,
        "description": "Desk",
        "sku": "D-1",
        "quantity": Decimal("2.0000"),
        "unit": "C62",
        "unit_price": Decimal("99.90"),
        "discount_percent": Decimal("0"),
        "tax_rate": Decimal("20"),
        "net": Decimal("199.80"),
        "needed_by": dt.date(2026, 12, 31),
        "category_id": None,
        "cost_centre_id": None,
        "category": None,
        "cost_centre": None,
    }
    return ExportedLine(**(values | changes))


def csv_rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(StringIO(content.decode("utf-8-sig"), newline="")))


def xlsx_rows(content: bytes) -> list[list[Any]]:
    return load_workbook(BytesIO(content)).get_sheet_by_index(0).to_python()


def part(content: bytes, name: str) -> str:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return archive.read(name).decode()


def test_csv_is_plain_and_opens_in_excel() -> None:
    content = write([line(category="IT")], FileType.CSV)
    assert content.startswith(b"\xef\xbb\xbf")
    assert csv_rows(content) == [
        [*HEADER],
        ["1", "Desk", "D-1", "2.0000", "C62", "99.90", "0", "20", "199.80", "2026-12-31", "IT", ""],
    ]
    assert content.count(b"\r\n") == 2


def test_xlsx_has_numbers_dates_and_text_of_their_types() -> None:
    content = write([line(category="IT")], FileType.XLSX)
    header, cells = xlsx_rows(content)
    assert header == [*HEADER]
    assert cells == [1.0, "Desk", "D-1", 2.0, "C62", 99.9, 0.0, 20.0, 199.8, dt.date(2026, 12, 31), "IT", ""]
    assert 'state="frozen"' in part(content, "xl/worksheets/sheet1.xml")


def test_numbers_are_shown_with_the_decimals_they_have() -> None:
    styles = part(write([line(quantity=Decimal("2.000"), net=Decimal(3))], FileType.XLSX), "xl/styles.xml")
    assert 'formatCode="0.000"' in styles


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_text_that_looks_like_a_formula_is_marked(text: str) -> None:
    (_, cells) = csv_rows(write([line(description=text, sku=text)], FileType.CSV))
    # After a line break or a tab another program could begin a cell.
    marked = f"'{text[0]}'{text[1:]}" if text[0] in "\t\r\n" else f"'{text}"
    assert cells[1:3] == [marked, marked]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize(
    "separator", [*",;|:\t", "\n", "\r", "\r\n", "\n\n", "; ", ";\u00a0", ";'", ';"', "\u2028", "\u2029", ",;"]
)
def test_a_formula_after_a_separator_inside_a_cell_is_marked(separator: str, sign: str) -> None:
    text = f"lamp{separator}{sign}1+cmd|' /C calc'!A0"
    content = write([line(description=text)], FileType.CSV)
    (_, cells) = csv_rows(content)
    pieces = re.split(r"[,;|:\t\r\n\u2028\u2029]", cells[1])
    assert [piece for piece in pieces if piece.lstrip(" \u00a0")[:1] == sign] == []
    assert parse(content)[0].description == normalise(text)


def test_no_delimiter_makes_a_cell_that_is_a_formula() -> None:
    """The file as it is, opened with each separator that spreadsheets offer, with quotation marks and without."""
    between = ["", " ", '"', '""', "'", "\"'", ' "', '" "']
    texts = [f"lamp{at}{and_then}=1+1{end}" for at in ",;|:\t\n" for and_then in between for end in ("", '"', ';"')]
    content = write([line(description=text, sku=text) for text in texts], FileType.CSV)
    assert [row[1] for row in csv_rows(content)[1:]] == [neutralise(text) for text in texts]
    for delimiter in ",;|:\t":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            read = csv.reader(StringIO(content.decode("utf-8-sig")), delimiter=delimiter, quoting=quoting)
            assert [cell for row in read for cell in row if cell.lstrip()[:1] in ("=", "+", "-", "@")] == []


def test_every_cell_is_quoted() -> None:
    content = write([line(description='lamp;"=1', sku=None)], FileType.CSV).decode("utf-8-sig")
    header, row, end = content.split("\r\n")
    assert header == ",".join(f'"{name}"' for name in HEADER)
    assert row == '"1","lamp;\'""=1","","2.0000","C62","99.90","0","20","199.80","2026-12-31","",""'
    assert end == ""


def test_marking_takes_no_time_that_grows_with_the_square() -> None:
    for text in (
        "\n" * 200_000 + "x",
        "; " * 100_000 + "x",
        "'" * 200_000,
        "\u2028" * 200_000 + "x",
        ";" + " " * 200_000,
    ):
        assert restore(neutralise(text)) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_xlsx_text_that_looks_like_a_formula_is_text(text: str) -> None:
    content = write([line(description=text, sku=text)], FileType.XLSX)
    sheet = part(content, "xl/worksheets/sheet1.xml")
    assert xlsx_rows(content)[1][1:3] == [text, text]
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert 'formatCode="@"' in part(content, "xl/styles.xml")


@pytest.mark.parametrize(
    "text", ["http://example.org", "mailto:a@example.org", "00123", "1e5", "TRUE", "{=1}", "internal:A1"]
)
def test_xlsx_does_not_guess_from_text(text: str) -> None:
    content = write([line(sku=text)], FileType.XLSX)
    assert xlsx_rows(content)[1][2] == text


@pytest.mark.parametrize(
    "text", ["a=b", "1-2", "'tis", "#1 choice", "#REFUSE", "naïve", "a\n\nb", "size -5", "a; b", "a;'b"]
)
def test_other_text_is_left_alone(text: str) -> None:
    assert neutralise(text) == text
    assert restore(text) == text


def test_text_like_a_spreadsheet_error_survives() -> None:
    for file_type in FileType:
        assert parse(write([line(description="#N/A")], file_type))[0].description == "#N/A"


def test_csv_numbers_have_no_exponent() -> None:
    (_, cells) = csv_rows(write([line(quantity=Decimal("1E+10"), unit_price=Decimal("1E-4"))], FileType.CSV))
    assert (cells[3], cells[5]) == ("10000000000", "0.0001")


def test_a_number_with_more_digits_than_a_double_keeps_is_text() -> None:
    exact = Decimal("12345678901234.5678")
    content = write([line(quantity=exact, net=Decimal("123456789012345"))], FileType.XLSX)
    cells = xlsx_rows(content)[1]
    assert (cells[3], cells[8]) == ("12345678901234.5678", 123456789012345.0)
    assert parse(content)[0].quantity == exact


def test_nothing_is_an_empty_cell() -> None:
    empty = line(sku=None, needed_by=None)
    assert csv_rows(write([empty], FileType.CSV))[1][2] == ""
    assert xlsx_rows(write([empty], FileType.XLSX))[1][2] == ""
    for file_type in FileType:
        (read,) = parse(write([empty], file_type))
        assert (read.sku, read.needed_by) == (None, None)


@pytest.mark.parametrize("file_type", list(FileType))
def test_the_same_lines_give_the_same_bytes(file_type: FileType) -> None:
    lines = [line(), line(position=2, description="Chair")]
    assert write(lines, file_type) == write(iter(lines), file_type)


def test_the_workbook_does_not_contain_its_creation_time() -> None:
    assert "2000-01-01T00:00:00Z" in part(write([line()], FileType.XLSX), "docProps/core.xml")


@pytest.mark.parametrize("file_type", list(FileType))
def test_no_lines_are_a_header(file_type: FileType) -> None:
    assert parse(write([], file_type)) == []


@pytest.mark.parametrize("file_type", list(FileType))
@pytest.mark.parametrize(
    "text",
    [
        "Ünï çødé",
        "机 🪑",
        "كرسي مكتب",
        "a\r\nb\rc\nd",
        'quote " and ,\t;',
        "_x0041_ _x000D_",
        "\ufffd\U0001f6d2\u200d",
        "a\u2028b",
    ],
)
def test_text_survives(file_type: FileType, text: str) -> None:
    assert parse(write([line(description=text)], file_type))[0].description == text


def decimals(whole: int) -> st.SearchStrategy[Decimal]:
    """Decimals with up to four places and at most `whole` before the point."""
    return st.builds(
        lambda units, places: Decimal(units).scaleb(-places), st.integers(0, 10**whole - 1), st.integers(0, 4)
    )


def texts(limit: int, *, multiline: bool) -> st.SearchStrategy[str]:
    """Text as it is stored: composed, trimmed, not empty, without control characters; often like a formula."""
    pieces = st.text(max_size=20) | st.sampled_from([*FORMULAS, "'", "''", "#REF!", "_x000D_", "\r\n", '"', ";", ","])
    return (
        st.lists(pieces, min_size=1, max_size=4)
        .map(lambda parts: unicodedata.normalize("NFC", normalise("".join(parts))[:limit]).strip())
        .filter(lambda text: is_visible(text) and len(text) <= limit and normalise(text) == text)
        .filter(lambda text: not has_forbidden_characters(text, multiline=multiline))
        .filter(lambda text: not {"\ufffe", "\uffff"} & set(text))  # no characters, and XML cannot have them
    )


PERCENTS = st.integers(0, 1_000_000).map(lambda value: Decimal(value).scaleb(-4))
LINES = st.lists(
    st.builds(
        ExportedLine,
        position=st.integers(1, 10_000),
        description=texts(2000, multiline=True),
        sku=st.none() | texts(100, multiline=False),
        quantity=decimals(14).filter(bool),
        unit=st.sampled_from(sorted(UNITS)),
        unit_price=decimals(14),
        discount_percent=PERCENTS,
        tax_rate=PERCENTS,
        net=decimals(19),
        needed_by=st.none() | st.dates(),
        category_id=st.none(),
        cost_centre_id=st.none(),
        category=st.none(),
        cost_centre=st.none(),
    ),
    max_size=4,
)


@pytest.mark.heavy
@pytest.mark.parametrize("file_type", list(FileType))
@settings(deadline=None, max_examples=150)
@given(lines=LINES)
def test_what_is_exported_is_imported_again(file_type: FileType, lines: list[ExportedLine]) -> None:
    expected = [extract(LineInput, exported, net=None) for exported in lines]
    assert parse(write(lines, file_type)) == expected
