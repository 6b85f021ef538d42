"""Imports: accepted and refused files; every file gives lines or an application error."""

import codecs
import csv
import datetime as dt
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from po_api.core.errors import AppError, FieldError, PayloadTooLarge
from po_api.porfs import imports
from po_api.porfs.content import LineInput
from po_api.porfs.imports import (
    COLUMNS,
    MAX_FILE_BYTES,
    MAX_ROWS,
    FileType,
    ImportFailed,
    parse,
    template,
)
from po_api.porfs.units import is_unit
from po_api.porfs.xlsx_parts import InvalidFile
from po_api.porfs.xlsx_reader import (
    MAX_COLUMNS,
    MAX_SHEET_ROWS,
    TooManyColumns,
    TooManyRows,
    column_letters,
)

HEADER = ["description", "sku", "quantity", "unit", "unit_price", "discount_percent", "tax_rate", "needed_by"]
GOOD = ["Laptop", "LAP-1", "2", "C62", "999.90", "5", "20", "2026-12-31"]
LINE = LineInput(
    description="Laptop",
    sku="LAP-1",
    quantity=Decimal(2),
    unit="C62",
    unit_price=Decimal("999.90"),
    discount_percent=Decimal(5),
    tax_rate=Decimal(20),
    needed_by=dt.date(2026, 12, 31),
    category_id=None,
    cost_centre_id=None,
)


def csv_file(*rows: Sequence[str], header: Sequence[str] = HEADER, delimiter: str = ",") -> bytes:
    """A CSV file of these cells, all quoted."""
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in (header, *rows)]
    return "\r\n".join(quoted).encode()


def row(**cells: Any) -> list[Any]:
    """A valid row except for these cells."""
    return [cells.get(name, value) for name, value in zip(HEADER, GOOD, strict=True)]


def xlsx_file(*rows: Sequence[Any], header: Sequence[str] = HEADER, first_row: int = 0) -> bytes:
    """An XLSX file of these cells, each with its type; a function writes its cell itself."""
    buffer = BytesIO()
    workbook = xlsxwriter.Workbook(buffer, {"in_memory": True})
    sheet = workbook.add_worksheet()
    date = workbook.add_format({"num_format": "yyyy-mm-dd"})
    for row_index, cells in enumerate((header, *rows), start=first_row):
        for column, cell in enumerate(cells):
            if callable(cell):
                cell(sheet, row_index, column)
            elif isinstance(cell, bool):
                sheet.write_boolean(row_index, column, cell)
            elif isinstance(cell, int | float):
                sheet.write_number(row_index, column, cell)
            elif isinstance(cell, dt.date | dt.time):
                sheet.write_datetime(row_index, column, cell, date)
            else:
                sheet.write_string(row_index, column, cell)
    workbook.close()
    return buffer.getvalue()


def formula(value: Any) -> Callable[..., None]:
    """A cell with a formula whose cached value is `value`."""
    return lambda sheet, row_index, column: sheet.write_formula(row_index, column, "=A1", None, value)


SHEET = "xl/worksheets/sheet1.xml"


def repacked(
    content: bytes,
    changes: dict[str, Callable[[str], str]] | None = None,
    *,
    extra: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
    drop: Sequence[str] = (),
) -> bytes:
    """The archive with some parts changed, added or left out."""
    changes = changes or {}
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", compression) as target:
        for name in source.namelist():
            if name not in drop:
                text = source.read(name).decode()
                target.writestr(name, changes[name](text) if name in changes else text)
        for name, data in (extra or {}).items():
            target.writestr(name, data)
    return buffer.getvalue()


def failure(content: bytes) -> ImportFailed:
    """The error of importing the file."""
    with pytest.raises(ImportFailed) as caught:
        parse(content)
    return caught.value


def only(content: bytes) -> FieldError:
    """The single error in the file."""
    errors = failure(content).errors
    assert len(errors) == 1, errors
    return errors[0]


def lines_or_error(content: bytes) -> list[LineInput] | AppError:
    """The result of parsing any bytes; other exceptions fail the test."""
    try:
        return parse(content)
    except AppError as error:
        return error


# --- what is taken


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_a_full_row_is_a_line(make: Callable[..., bytes]) -> None:
    assert parse(make(GOOD)) == [LINE]


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_what_is_left_out_has_its_default(make: Callable[..., bytes]) -> None:
    expected = [
        LineInput(
            description="Pen",
            sku=None,
            quantity=Decimal(1),
            unit="C62",
            unit_price=Decimal(0),
            discount_percent=Decimal(0),
            tax_rate=Decimal(0),
            needed_by=None,
            category_id=None,
            cost_centre_id=None,
        )
    ]
    assert parse(make(["Pen", "", "1", "", "0", "", "", ""])) == expected
    assert parse(make(["1", "Pen", "0"], header=["quantity", "description", "unit_price"])) == expected
    assert expected[0].unit == "C62"


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
@pytest.mark.parametrize("text", ["\u200b", "\u00a0\ufeff", "\u2800"])
def test_a_cell_without_visible_characters_is_blank(make: Callable[..., bytes], text: str) -> None:
    assert parse(make([text] * len(HEADER))) == []
    assert parse(make([*GOOD[:1], text, *GOOD[2:]])) == [replace(LINE, sku=None)]
    error = only(make([text, *GOOD[1:]]))
    assert (error.pointer, error.code) == ("/rows/2/description", "required")


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_a_file_with_no_rows_has_no_lines(make: Callable[..., bytes]) -> None:
    assert parse(make()) == []


def test_an_xlsx_takes_numbers_and_dates() -> None:
    cells = ["Laptop", "LAP-1", 2, "C62", 999.9, 5, 20, dt.date(2026, 12, 31)]
    assert parse(xlsx_file(cells)) == [LINE]
    assert parse(xlsx_file([*cells[:-1], dt.datetime(2026, 12, 31)])) == [LINE]  # noqa: DTZ001


@pytest.mark.parametrize("value", [0.1, 0.0001, 1234.5678, 99999999999, 10000000000000])
def test_a_double_is_the_decimal_that_people_see(value: float) -> None:
    assert parse(xlsx_file(row(unit_price=value)))[0].unit_price == Decimal(str(value))


def test_a_formula_gives_its_last_value() -> None:
    (line,) = parse(xlsx_file(row(quantity=formula(4), description=formula("Chair"))))
    assert (line.quantity, line.description) == (Decimal(4), "Chair")


def test_an_article_number_may_be_a_number() -> None:
    (line,) = parse(xlsx_file(row(sku=4711, description=12.5)))
    assert (line.sku, line.description) == ("4711", "12.5")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_seen_from_the_header(delimiter: str) -> None:
    bare = delimiter.join(HEADER) + "\n" + delimiter.join(GOOD)
    assert parse(csv_file(GOOD, delimiter=delimiter)) == [LINE]
    assert parse(bare.encode()) == [LINE]


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ],
)
def test_the_encoding_is_seen_from_the_byte_order_mark(encode: Callable[[str], bytes]) -> None:
    text = csv_file(row(description="Büro – 机 🪑 כיסא")).decode()
    assert parse(encode(text))[0].description == "Büro – 机 🪑 כיסא"


@pytest.mark.parametrize(
    "spelling",
    [
        lambda name: name.replace("_", " ").capitalize(),
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("_", "").upper(),
        lambda name: name.replace("_", "-"),
        lambda name: name.replace("_", "\u00a0"),
        lambda name: f"\u200b{name}\u200b",
        lambda name: f"__{name.replace('_', ' _ ')} ",
        lambda name: "".join(chr(ord(letter) + 0xFEE0) for letter in name),  # full width
    ],
    ids=range(8),
)
@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_header_names_are_compared_as_people_write_them(
    make: Callable[..., bytes], spelling: Callable[[str], str]
) -> None:
    assert parse(make(GOOD, header=[spelling(name) for name in HEADER])) == [LINE]
    own = ["Position", *[spelling(name) for name in HEADER], " NET "]
    assert parse(make(["1", *GOOD, "5"], header=own)) == [LINE]


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_two_spellings_of_one_column_are_a_duplicate(make: Callable[..., bytes]) -> None:
    error = only(make([*GOOD, "1"], header=[*HEADER, "Unit price"]))
    assert (error.pointer, error.code) == ("/rows/1/unit price", "duplicate_column")


def test_header_names_are_trimmed_and_in_any_case() -> None:
    assert parse(csv_file(GOOD, header=[f" {name.title()} " for name in HEADER])) == [LINE]


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_text_is_composed_and_trimmed(make: Callable[..., bytes]) -> None:
    assert parse(make(row(description="  Cafe\u0301  ")))[0].description == "Caf\u00e9"


def test_a_quoted_cell_may_have_lines_and_rows_keep_their_number() -> None:
    content = csv_file(row(description='a\nb, "c"\r\nd'), row(quantity="x"))
    assert only(content).pointer == "/rows/3/quantity"
    assert parse(csv_file(row(description='a\nb, "c"\r\nd')))[0].description == 'a\nb, "c"\r\nd'


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_blank_rows_are_skipped_but_counted(make: Callable[..., bytes]) -> None:
    blank = [" "] * len(HEADER)
    assert parse(make(blank, GOOD, [], blank, GOOD, blank)) == [LINE, LINE]
    assert only(make(blank, [], GOOD, row(unit_price=""))).pointer == "/rows/5/unit_price"


def test_units_are_codes_in_any_case() -> None:
    assert [parse(csv_file(row(unit=unit)))[0].unit for unit in ("kgm", "XBX", "H87")] == ["KGM", "XBX", "H87"]
    assert is_unit("C62")
    assert not is_unit("kgm")


def test_an_export_s_own_columns_are_ignored() -> None:
    header = ["position", *HEADER, "net"]
    assert parse(csv_file(["nonsense", *GOOD, "=1"], header=header)) == [LINE]


def test_the_first_visible_sheet_is_read() -> None:
    buffer = BytesIO()
    workbook = xlsxwriter.Workbook(buffer, {"in_memory": True})
    hidden, shown = workbook.add_worksheet("Notes"), workbook.add_worksheet("Lines")
    hidden.write_string(0, 0, "nothing to import")
    for index, cells in enumerate((HEADER, GOOD)):
        shown.write_row(index, 0, cells)
    shown.activate()
    hidden.hide()
    workbook.close()
    assert parse(buffer.getvalue()) == [LINE]


@pytest.mark.parametrize("quantity", ["0.0001", "99999999999999.9999", "+5", ".5", " 7 ", "007"])
def test_numbers_within_the_column_are_taken_exactly(quantity: str) -> None:
    assert parse(csv_file(row(quantity=quantity)))[0].quantity == Decimal(quantity.strip())


def test_a_price_may_be_zero() -> None:
    (line,) = parse(csv_file(row(unit_price="-0.00")))
    assert str(line.unit_price) == "0"


# --- what is refused in a cell


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
@pytest.mark.parametrize(
    ("column", "text", "code"),
    [
        ("description", "", "required"),
        ("description", "\u2003", "required"),
        ("description", "x" * 2001, "too_long"),
        ("description", "a\x00b", "control_character"),
        ("description", "tail\x1f", "control_character"),
        ("description", "\x85", "control_character"),
        ("sku", "x" * 101, "too_long"),
        ("sku", "a\nb", "control_character"),
        ("quantity", "", "required"),
        ("quantity", "0", "out_of_range"),
        ("quantity", "-0", "out_of_range"),
        ("quantity", "-1", "out_of_range"),
        ("quantity", "100000000000000", "out_of_range"),
        ("quantity", "9" * 5000, "out_of_range"),
        ("quantity", "1.00001", "too_many_decimals"),
        ("quantity", "1.00000", "too_many_decimals"),
        ("quantity", "NaN", "invalid_number"),
        ("quantity", "Infinity", "invalid_number"),
        ("quantity", "1e400", "invalid_number"),
        ("quantity", "1e2", "invalid_number"),
        ("quantity", "ten", "invalid_number"),
        ("quantity", "1,5", "invalid_number"),
        ("quantity", "1,000.00", "invalid_number"),
        ("quantity", "1.000.000", "invalid_number"),
        ("quantity", "1 000", "invalid_number"),
        ("quantity", "1_000", "invalid_number"),
        ("quantity", "٣", "invalid_number"),
        ("quantity", "5.", "invalid_number"),
        ("unit", "piece", "invalid_unit"),
        ("unit", "C6\u01c5", "invalid_unit"),
        ("unit_price", "", "required"),
        ("unit_price", "-0.01", "out_of_range"),
        ("unit_price", "€5", "invalid_number"),
        ("discount_percent", "100.0001", "out_of_range"),
        ("discount_percent", "-1", "out_of_range"),
        ("discount_percent", "5%%", "invalid_number"),
        ("discount_percent", "%5", "invalid_number"),
        ("discount_percent", "-5%", "out_of_range"),
        ("tax_rate", "101 %", "out_of_range"),
        ("tax_rate", "%", "invalid_number"),
        ("tax_rate", "20 percent", "invalid_number"),
        ("quantity", "5%", "invalid_number"),
        ("unit_price", "5%", "invalid_number"),
        ("tax_rate", "101", "out_of_range"),
        ("tax_rate", "7.12345", "too_many_decimals"),
        ("needed_by", "31.12.2026", "invalid_date"),
        ("needed_by", "20261231", "invalid_date"),
        ("needed_by", "2026-02-30", "invalid_date"),
        ("needed_by", "2026-12-31T00:00", "invalid_date"),
    ],
)
def test_a_bad_text_is_an_error_of_its_cell(make: Callable[..., bytes], column: str, text: str, code: str) -> None:
    error = only(make(GOOD, row(**{column: text})))
    assert (error.pointer, error.code, error.location) == (f"/rows/3/{column}", code, "file")
    assert error.detail.startswith(f"Row 3, column {column}: ")


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("quantity", 1e-7, "too_many_decimals"),
        ("quantity", 12345678901234.5, "rounded_display"),
        ("quantity", 12345678901234.56, "too_many_digits"),
        ("quantity", 1e300, "out_of_range"),
        ("quantity", True, "invalid_number"),
        ("quantity", dt.date(2026, 5, 1), "invalid_number"),
        ("quantity", formula("#DIV/0!"), "spreadsheet_error"),
        ("description", formula("#REF!"), "spreadsheet_error"),
        ("sku", formula("#N/A"), "spreadsheet_error"),
        ("needed_by", formula("#VALUE!"), "spreadsheet_error"),
        ("sku", dt.date(2026, 4, 3), "invalid_text"),
        ("sku", False, "invalid_text"),
        ("sku", 1234567890123450, "too_many_digits"),
        ("needed_by", 46387, "invalid_date"),
        ("needed_by", dt.datetime(2026, 12, 31, 8, 30), "invalid_date"),  # noqa: DTZ001
        ("needed_by", dt.time(8, 30), "invalid_date"),
    ],
)
def test_a_bad_spreadsheet_cell_is_an_error_of_its_cell(column: str, cell: Any, code: str) -> None:
    content = xlsx_file(GOOD, row(**{column: cell}))
    assert (only(content).pointer, only(content).code) == (f"/rows/3/{column}", code)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "nan", "inf"])
def test_what_is_no_finite_number_in_a_workbook_is_refused(number: str) -> None:
    for column in ("quantity", "sku"):
        original = xlsx_file(row(**{column: 77}))
        content = repacked(original, {SHEET: lambda xml: xml.replace("<v>77</v>", f"<v>{number}</v>")})
        assert only(content).code in {"invalid_number", "too_many_digits"}


@pytest.mark.parametrize(
    ("number", "code"), [("12345678901234.5678", "too_many_digits"), ("0.30000000000000004", "too_many_decimals")]
)
def test_what_a_double_cannot_hold_is_not_rounded_silently(number: str, code: str) -> None:
    content = repacked(xlsx_file(row(quantity=77)), {SHEET: lambda xml: xml.replace("<v>77</v>", f"<v>{number}</v>")})
    assert only(content).code == code


def test_a_csv_has_a_spreadsheet_s_errors_as_text() -> None:
    assert only(csv_file(row(description="#REF!"))).code == "spreadsheet_error"
    assert parse(csv_file(row(description="#REFUSE bags")))[0].description == "#REFUSE bags"


def test_a_comma_in_a_number_is_explained() -> None:
    assert "dot as decimal mark" in only(csv_file(row(quantity="1,5"))).detail


def test_a_marked_formula_loses_its_mark_in_csv_only() -> None:
    assert parse(csv_file(row(description="'=1+1", sku="'plain")))[0] == replace(LINE, description="=1+1", sku="'plain")
    assert parse(xlsx_file(row(description="'=1+1")))[0].description == "'=1+1"


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_a_value_is_never_repeated(make: Callable[..., bytes]) -> None:
    canary = "canary-5ecret"
    error = failure(make([canary] + [canary * 20] * 7))
    assert len(error.errors) == 7
    assert all(canary not in part.detail + part.pointer for part in error.errors)
    assert canary not in error.detail


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_every_error_is_told_at_once(make: Callable[..., bytes]) -> None:
    rows = [GOOD] * 1000
    rows[6] = row(quantity="0", unit="nope")
    rows[998] = row(needed_by="soon")
    error = failure(make(*rows))
    assert [part.pointer for part in error.errors] == ["/rows/8/quantity", "/rows/8/unit", "/rows/1000/needed_by"]
    assert error.errors[0].detail == "Row 8, column quantity: must be greater than 0"
    assert error.code == "import_failed"
    assert error.status == 422


def test_a_thousand_errors_are_listed_and_the_others_counted() -> None:
    error = failure(csv_file(*[row(quantity="0", unit_price="-1")] * 700))
    assert len(error.errors) == 1001
    assert error.errors[-1] == FieldError("/rows", "more_errors", "Errors not listed: 400", "file")
    assert "1400" in error.detail


# --- what is refused in the header and in a row's shape


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_unknown_missing_and_duplicate_columns_are_named(make: Callable[..., bytes]) -> None:
    error = failure(make(["a", "b", "c", "d"], header=["Description", "quantity", "colour/size", "QUANTITY"]))
    found = {(part.pointer, part.code) for part in error.errors}
    assert found >= {
        ("/rows/1/colour~1size", "unknown_column"),
        ("/rows/1/quantity", "duplicate_column"),
        ("/rows/1/unit_price", "missing_column"),
        ("/rows/2/quantity", "invalid_number"),
    }
    assert any("colour/size" in part.detail for part in error.errors)


def test_a_column_s_name_is_shown_short_and_printable() -> None:
    error = only(csv_file([*GOOD, ""], header=[*HEADER, "\x1b[31m" + "x" * 500]))
    assert (error.code, len(error.pointer)) == ("unknown_column", len("/rows/1/") + 39)
    assert error.detail.isprintable()


@pytest.mark.parametrize("content", [b"hello\nworld", b",\n", xlsx_file(header=[])])
def test_a_file_without_the_header_misses_its_columns(content: bytes) -> None:
    missing = [error.pointer for error in failure(content).errors if error.code == "missing_column"]
    assert missing == ["/rows/1/description", "/rows/1/quantity", "/rows/1/unit_price"]


def test_another_kind_of_file_is_told_of_its_header_only() -> None:
    assert {error.pointer.split("/")[2] for error in failure(b"a,b\n" + b"1,2\n" * 5000).errors} == {"1"}


def test_the_header_is_in_row_1() -> None:
    assert {error.code for error in failure(xlsx_file(GOOD, first_row=1)).errors} == {"missing_column"}


def test_a_header_that_cannot_be_read_is_an_error_of_row_1() -> None:
    errors = failure(b"x" * 200_000).errors
    assert [(error.pointer, error.code) for error in errors] == [("/rows/1", "invalid_row")]


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_a_value_without_a_column_is_an_error(make: Callable[..., bytes]) -> None:
    error = only(make([*GOOD, "", "stray"], header=[*HEADER, ""]))
    assert (error.pointer, error.code) == ("/rows/2/J", "unexpected_cell")
    assert parse(make([*GOOD, "", " "])) == [LINE]


def test_a_decimal_comma_between_commas_is_not_taken_for_two_cells() -> None:
    content = ",".join(HEADER) + "\n" + "Pen,,1,5,C62,3,0,0,2026-12-31"
    assert "unexpected_cell" in {error.code for error in failure(content.encode()).errors}


@pytest.mark.parametrize("rest", ['"open', '"a"b,1', '"' + "x" * 200_000 + '"', "x" * 200_000])
def test_a_row_that_cannot_be_read_ends_the_reading(rest: str) -> None:
    content = csv_file(row(quantity="0")) + b"\r\n" + rest.encode()
    errors = failure(content).errors
    assert [(error.pointer, error.code) for error in errors] == [
        ("/rows/2/quantity", "out_of_range"),
        ("/rows/3", "invalid_row"),
    ]


def test_columns_are_called_as_spreadsheets_do() -> None:
    assert [column_letters(number) for number in (1, 26, 27, 702, 703, 16384)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]


# --- limits


def test_a_file_over_the_limit_is_not_looked_at() -> None:
    with pytest.raises(PayloadTooLarge):
        parse(b"x" * (MAX_FILE_BYTES + 1))


@pytest.mark.heavy
@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_as_many_rows_as_allowed_and_no_more(make: Callable[..., bytes]) -> None:
    short = ["Pen", "1", "2"]
    header = ["description", "quantity", "unit_price"]
    assert len(parse(make(*[short] * MAX_ROWS, header=header))) == MAX_ROWS
    with pytest.raises(TooManyRows) as caught:
        parse(make(*[short] * (MAX_ROWS + 1), header=header))
    assert (caught.value.code, caught.value.status) == ("too_many_rows", 422)


def test_blank_rows_without_end_are_refused() -> None:
    with pytest.raises(TooManyRows):
        parse(csv_file(GOOD) + b"\n" * (MAX_SHEET_ROWS + 1))


@pytest.mark.parametrize("make", [csv_file, xlsx_file])
def test_too_many_columns_are_refused(make: Callable[..., bytes]) -> None:
    with pytest.raises(TooManyColumns) as caught:
        parse(make(GOOD, header=[*HEADER, *["x"] * MAX_COLUMNS]))
    assert caught.value.code == "too_many_columns"


# --- hostile workbooks


def refusal(content: bytes) -> AppError:
    """The error for a workbook that is refused."""
    with pytest.raises(AppError) as caught:
        parse(content)
    return caught.value


WORKBOOK = xlsx_file(GOOD)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ('<row r="1048576"><c r="A1048576"><v>1</v></c></row>', "too_many_rows"),
        ('<row r="9"><c r="XFD9"><v>1</v></c></row>', "too_many_columns"),
        ('<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row>', "too_many_columns"),
        ('<row r="9999999"><c><v>1</v></c></row>', "too_many_rows"),
        ('<row r="4294967295"><c><v>1</v></c></row>', "invalid_file"),
        ('<row r="9"><c r="ZZZZZZ9"><v>1</v></c></row>', "invalid_file"),
        ('<row r="9"><c r="9"><v>1</v></c></row>', "invalid_file"),
        ('<row r="9">' + "<c/>" * 60 + "<c><v>1</v></c></row>", "too_many_columns"),
    ],
)
def test_one_value_far_away_does_not_allocate_the_grid(cell: str, code: str) -> None:
    content = repacked(WORKBOOK, {SHEET: lambda xml: xml.replace("</sheetData>", cell + "</sheetData>")})
    assert refusal(content).code == code


def test_formatted_but_empty_cells_far_away_do_no_harm() -> None:
    far = '<row r="1048576"><c r="XFD1048576" s="1"/></row></sheetData>'
    content = repacked(WORKBOOK, {SHEET: lambda xml: xml.replace("</sheetData>", far)})
    assert parse(content) == [LINE]


def test_cells_may_leave_their_position_out() -> None:
    bare = '<row><c t="inlineStr"><is><t>{}</t></is></c><c><v>{}</v></c><c><v>{}</v></c></row>'
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row><c t="inlineStr"><is><t>description</t></is></c><c t="inlineStr"><is><t>quantity</t></is></c>'
        '<c t="inlineStr"><is><t>unit_price</t></is></c></row>'
        + bare.format("Pen", 1, 2)
        + '<row/><row><c t="inlineStr"><is><t>Ink</t></is></c><c/><c t="e"><v>#REF!</v></c></row>'
        + "</sheetData></worksheet>"
    )
    errors = failure(repacked(WORKBOOK, {SHEET: lambda _: sheet})).errors
    assert [(error.pointer, error.code) for error in errors] == [
        ("/rows/4/quantity", "required"),
        ("/rows/4/unit_price", "spreadsheet_error"),
    ]


def test_a_long_string_in_every_cell_is_refused() -> None:
    cells = "".join(f'<row r="{number}"><c t="s"><v>0</v></c></row>' for number in range(3, 5000))
    content = repacked(
        WORKBOOK,
        {
            SHEET: lambda xml: xml.replace("</sheetData>", cells + "</sheetData>"),
            "xl/sharedStrings.xml": lambda xml: xml.replace("<t>description", f"<t>{'x' * 10_000}", 1),
        },
    )
    assert refusal(content).code == "invalid_file"


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("xl/sharedStrings.xml", "<si>", "<si><si/>"),
        ("xl/workbook.xml", "<sheets>", "<sheets><unclosed>"),
        ("xl/workbook.xml", "<sheet ", '<sheet state="hidden" '),
        ("xl/workbook.xml", "r:id=", "r:ix="),
        ("xl/_rels/workbook.xml.rels", "worksheets/sheet1.xml", "sharedStrings.xml"),
        ("xl/_rels/workbook.xml.rels", "worksheets/sheet1.xml", "worksheets/../worksheets/sheet1.xml"),
        ("xl/_rels/workbook.xml.rels", "relationships/worksheet", "relationships/macrosheet"),
        ("_rels/.rels", "xl/workbook.xml", "elsewhere/workbook.xml"),
        (SHEET, "<worksheet", '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><worksheet'),
        (SHEET, "</sheetData>", ""),
        (SHEET, 't="s"><v>0', 't="s"><v>999999'),
        (SHEET, 't="s"><v>0', 't="nonsense"><v>0'),
    ],
)
def test_a_workbook_that_is_not_in_order_is_refused(part: str, old: str, new: str) -> None:
    content = repacked(WORKBOOK, {part: lambda xml: xml.replace(old, new, 1)})
    assert content != WORKBOOK
    assert refusal(content).code == "invalid_file"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_part_in_another_encoding_is_refused(encoding: str) -> None:
    with zipfile.ZipFile(BytesIO(WORKBOOK)) as source:
        sheet = source.read(SHEET).decode().replace("UTF-8", encoding).encode(encoding)
    assert refusal(repacked(WORKBOOK, drop=[SHEET], extra={SHEET: sheet})).code == "invalid_file"


@pytest.mark.parametrize(
    "content",
    [
        repacked(WORKBOOK, extra={"xl/media/zeros.bin": bytes(2 * 1024 * 1024)}),
        repacked(WORKBOOK, extra={f"xl/{number}.xml": b"<a/>" for number in range(1000)}),
        repacked(WORKBOOK, compression=zipfile.ZIP_BZIP2),
        repacked(WORKBOOK, compression=zipfile.ZIP_LZMA),
        repacked(WORKBOOK, drop=["xl/workbook.xml"]),
        repacked(WORKBOOK, drop=["_rels/.rels"]),
        repacked(WORKBOOK, drop=[SHEET]),
        WORKBOOK[: len(WORKBOOK) // 2],
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"PK\x03\x04" + b"nonsense" * 100,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        b"\xff\xff\xff",
        codecs.BOM_UTF16_LE + b"\x00\xd8\x00",
        b"%PDF-1.7\n\xe2\xe3",
    ],
)
def test_what_is_no_csv_and_no_xlsx_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidFile) as caught:
        parse(content)
    assert (caught.value.code, caught.value.status) == ("invalid_file", 422)


@pytest.mark.heavy
def test_the_unpacked_size_counts_and_not_the_file_s() -> None:
    many = {f"xl/{number}.bin": bytes(1024 * 1024) for number in range(101)}
    assert refusal(repacked(WORKBOOK, extra=many)).code == "invalid_file"


@pytest.mark.heavy
def test_a_single_part_may_not_be_that_large() -> None:
    noise = "".join(f"{number * 2654435761:x}{' ' * 900}" for number in range(58_000))
    content = repacked(WORKBOOK, {"xl/styles.xml": lambda xml: xml.replace("</styleSheet>", noise + "</styleSheet>")})
    assert len(content) < MAX_FILE_BYTES
    assert "unpacked" in refusal(content).detail


@pytest.mark.parametrize("number", ["-1e18", "-1", "1e300", "46387.5", "60", "2958466"])
def test_a_date_cell_with_an_impossible_number_is_refused(number: str) -> None:
    original = xlsx_file(row(needed_by=dt.date(2026, 12, 31)))
    content = repacked(original, {SHEET: lambda xml: xml.replace("<v>46387</v>", f"<v>{number}</v>")})
    assert (only(content).pointer, only(content).code) == ("/rows/2/needed_by", "invalid_date")


def test_a_workbook_needs_neither_styles_nor_shared_strings() -> None:
    cells = "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in HEADER)
    values = "".join(f'<c t="str"><v>{cell}</v></c>' for cell in GOOD)
    sheet = f"<worksheet><sheetData><row>{cells}</row><row>{values}</row></sheetData></worksheet>"
    content = repacked(WORKBOOK, {SHEET: lambda _: sheet}, drop=["xl/styles.xml", "xl/sharedStrings.xml"])
    assert parse(content) == [LINE]


@pytest.mark.heavy
def test_more_elements_than_any_sheet_of_lines_has_are_refused() -> None:
    noise = "".join(f'<row><c s="{number * 2654435761 % 99991}"/></row>' for number in range(300_000))
    content = repacked(WORKBOOK, {SHEET: lambda xml: xml.replace("</sheetData>", noise * 2 + "</sheetData>")})
    assert len(content) < MAX_FILE_BYTES
    assert refusal(content).code == "invalid_file"


def test_an_encrypted_entry_is_refused() -> None:
    content = bytearray(WORKBOOK)
    start = content.index(b"PK\x01\x02")
    content[start + 8] |= 1
    assert "password" in refusal(bytes(content)).detail


def test_other_parts_of_a_workbook_are_not_read() -> None:
    content = repacked(WORKBOOK, extra={"xl/vbaProject.bin": b"\x00macro", "docProps/broken.xml": b"<"})
    assert parse(content) == [LINE]


# --- any bytes

FUZZ = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(st.binary(max_size=2000) | st.binary(max_size=500).map(lambda tail: b"PK\x03\x04" + tail))
def test_any_bytes_give_lines_or_an_error(content: bytes) -> None:
    assert isinstance(lines_or_error(content), list | AppError)


@pytest.mark.heavy
@FUZZ
@given(st.lists(st.lists(st.text(max_size=20), max_size=9), max_size=6), st.sampled_from(["utf-8", "utf-16"]))
def test_any_text_gives_lines_or_an_error(cells: list[list[str]], encoding: str) -> None:
    text = "\n".join([",".join(HEADER), *(",".join(line) for line in cells)])
    found = lines_or_error(text.encode(encoding, errors="surrogatepass"))
    assert isinstance(found, list | AppError)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(WORKBOOK) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_workbook_with_changed_bytes_gives_lines_or_an_error(changes: list[tuple[int, int]]) -> None:
    content = bytearray(WORKBOOK)
    for index, value in changes:
        content[index] = value
    assert isinstance(lines_or_error(bytes(content)), list | AppError)


PARTS = ["_rels/.rels", "xl/_rels/workbook.xml.rels", "xl/workbook.xml", "xl/sharedStrings.xml", "xl/styles.xml", SHEET]
SNIPPETS = st.sampled_from(
    """<v>|</v>|<c/>|<c t="e"><v>?</v></c>|<is/>|&amp;|9|-1|"|r="|XFD|99999999|<row/>|<row r="0">|<si/>|<!-- -->|
    <![CDATA[1]]>|\ufffe|_x0000_|t="d"|t="b"|\x00|é|""".split("|")
)


@pytest.mark.heavy
@FUZZ
@given(st.sampled_from(PARTS), st.floats(0, 1), st.integers(0, 12), SNIPPETS | st.text(max_size=5))
def test_a_workbook_with_changed_xml_gives_lines_or_an_error(part: str, where: float, cut: int, new: str) -> None:
    def change(xml: str) -> str:
        start = int(where * len(xml))
        return xml[:start] + new.encode(errors="replace").decode() + xml[start + cut :]

    assert isinstance(lines_or_error(repacked(WORKBOOK, {part: change})), list | AppError)


# --- the template


@pytest.mark.parametrize("file_type", list(FileType))
def test_the_template_can_be_imported(file_type: FileType) -> None:
    (line,) = parse(template(file_type))
    assert line.quantity == 2
    assert line.needed_by is not None


def test_the_template_names_every_column_in_order() -> None:
    header = next(csv.reader(StringIO(template(FileType.CSV).decode("utf-8-sig"))))
    assert header == [*HEADER, "category", "cost_centre"] == [column.name for column in COLUMNS]
    assert [column.name for column in COLUMNS if column.required] == ["description", "quantity", "unit_price"]


def test_the_template_has_examples_and_validations() -> None:
    with zipfile.ZipFile(BytesIO(template(FileType.XLSX))) as archive:
        sheet, styles = archive.read(SHEET).decode(), archive.read("xl/styles.xml").decode()
    assert 'state="frozen"' in sheet
    assert sheet.count("<dataValidation ") == len(COLUMNS)
    assert "<cols>" in sheet
    assert "<b/>" in styles
    assert 'formatCode="@"' in styles  # the format Text


def test_the_interface_is_all_there() -> None:
    assert set(imports.__all__) >= {"COLUMNS", "FileType", "ImportFailed", "parse", "template"}
