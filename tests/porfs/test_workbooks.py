"""Workbooks of several programs: what a cell shows is what is read, or an error that names the cell."""

import datetime as dt
import zipfile
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO
from typing import Any

import openpyxl
import pytest
import xlsxwriter

from po_api.core.errors import FieldError
from po_api.porfs.content import LineInput
from po_api.porfs.imports import Context, FileType, ImportFailed, parse, template
from po_api.porfs.xlsx_parts import InvalidFile

HEADER = ["description", "sku", "quantity", "unit_price", "discount_percent", "tax_rate", "needed_by"]
LETTERS = dict(zip(HEADER, "ABCDEFG", strict=True))
ROW = {"description": "Lamp", "quantity": 1, "unit_price": 1}
ACCOUNTING = '_-* #,##0.00\\ "€"_-;-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-'
Make = Callable[..., bytes]


def by_openpyxl(column: str, value: Any, code: str) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(HEADER)
    sheet.append([ROW.get(name) for name in HEADER])
    cell = sheet[f"{LETTERS[column]}2"]
    cell.value, cell.number_format = value, code
    buffer = BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def by_xlsxwriter(column: str, value: Any, code: str) -> bytes:
    buffer = BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    sheet = book.add_worksheet()
    for index, name in enumerate(HEADER):
        sheet.write(0, index, name)
        is_it = name == column
        form = book.add_format({"num_format": code}) if is_it else None
        found = value if is_it else ROW.get(name)
        if isinstance(found, dt.date):
            sheet.write_datetime(1, index, found, form)
        elif found is not None:
            sheet.write(1, index, found, form)
    book.close()
    return buffer.getvalue()


LIBRARIES = pytest.mark.parametrize("make", [by_openpyxl, by_xlsxwriter])


def by_hand(
    cells: str,
    *,
    styles: str = "",
    strings: str = "",
    workbook: str = "",
    after: str = "",
    views: str = "",
    code: str | None = None,
    properties: str = "",
) -> bytes:
    """A workbook with the header and `cells` in row 2; `styles` are elements, style 1 has the format `code`.

    `properties` is the path of a part with properties of the document.
    """
    if code is not None:
        escaped = code.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        styles = (
            f'<numFmts><numFmt numFmtId="164" formatCode="{escaped}"/></numFmts>'
            '<cellXfs><xf numFmtId="0"/><xf numFmtId="164" applyNumberFormat="1"/></cellXfs>'
        )
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    header = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in HEADER)
    parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": f'<Relationships xmlns="{package}">'
        f'<Relationship Id="a" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
        + (f'<Relationship Id="p" Type="{office}/extended-properties" Target="{properties}"/>' if properties else "")
        + "</Relationships>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">'
        f'<Relationship Id="a" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="b" Type="{office}/styles" Target="styles.xml"/>'
        f'<Relationship Id="c" Type="{office}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns:r="{office}">{workbook}<sheets>'
        '<sheet name="Lines" sheetId="1" r:id="a"/></sheets></workbook>',
        "xl/styles.xml": f"<styleSheet>{styles}</styleSheet>",
        "xl/sharedStrings.xml": f"<sst>{strings}</sst>",
        "xl/worksheets/sheet1.xml": f'<worksheet>{views}<sheetData><row r="1">{header}</row><row r="2">{cells}</row>'
        f"</sheetData>{after}</worksheet>",
    }
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def cell(column: str, value: str, *, style: int = 0, type_: str = "", formula: bool = False) -> str:
    """The cells of row 2 with this one, of which `value` is the content of `v`."""
    own = f'<c r="{LETTERS[column]}2" s="{style}"' + (f' t="{type_}"' if type_ else "")
    own += ">" + ("<f>A1</f>" if formula else "") + f"<v>{value}</v></c>"
    others = {
        "description": '<c r="A2" t="inlineStr"><is><t>Lamp</t></is></c>',
        "quantity": '<c r="C2"><v>1</v></c>',
        "unit_price": '<c r="D2"><v>1</v></c>',
    }
    return "".join((others | {column: own}).values())


def only(content: bytes) -> LineInput:
    (line,) = parse(content)
    return line


def error_of(content: bytes, currency: str = "EUR") -> FieldError:
    with pytest.raises(ImportFailed) as caught:
        parse(content, Context(currency))
    (error,) = caught.value.errors
    return error


@LIBRARIES
@pytest.mark.parametrize("column", ["tax_rate", "discount_percent"])
@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        (0.2, "0%", "20"),
        (0.2, "0.00%", "20"),
        (0.07, "0%", "7"),
        (0.081, "0.0%", "8.1"),
        (0.2, "0%;[Red]-0%;0%", "20"),
        (0, '0%;-0%;"-"', "0"),
        (0.2, "[<1]0%;0", "20"),
        (5, "[<1]0%;0", "5"),
        (0.2, "0 %", "20"),
        (0.2, "%0", "20"),
        (0.2, '"" 0%', "20"),
        (20, "General", "20"),
        (0.2, "General", "0.2"),
        (20, '0"%"', "20"),
        (20, "0\\%", "20"),
        (1, "0%", "100"),
        ("20%", "General", "20"),
        ("20 %", "@", "20"),
        ("7.5\u00a0%", "@", "7.5"),
    ],
)
def test_a_percentage_is_read_as_it_is_shown(make: Make, column: str, value: Any, code: str, expected: str) -> None:
    assert getattr(only(make(column, value, code)), column) == Decimal(expected)


@LIBRARIES
@pytest.mark.parametrize(
    ("column", "value", "code", "error"),
    [
        ("tax_rate", 0.0775, "0%", "rounded_display"),
        ("tax_rate", 0.2, "0", "rounded_display"),
        ("tax_rate", 0.2, "0%%", "unclear_number_format"),
        ("tax_rate", 0.2, '0%" VAT"', "unclear_number_format"),
        ("tax_rate", 0.2, '0%"%"', "unclear_number_format"),
        ("tax_rate", 2, "0%", "out_of_range"),
        ("tax_rate", 0.000000123, "0.00000%", "too_many_decimals"),
        ("quantity", 0.2, "0%", "unclear_number_format"),
        ("unit_price", 0.2, "0%", "unclear_number_format"),
        ("unit_price", 1.005, "0.00", "rounded_display"),
        ("unit_price", 12.345, "#,##0.00", "rounded_display"),
        ("unit_price", 1500000, '0.0,,"M"', "unclear_number_format"),
        ("unit_price", 5000, "0,", "unclear_number_format"),
        ("unit_price", 5, '0"000"', "unclear_number_format"),
        ("unit_price", 5551234, "000-0000", "unclear_number_format"),
        ("unit_price", 5, "-0", "unclear_number_format"),
        ("unit_price", -5, "0;0", "out_of_range"),
        ("unit_price", 5, ";;;", "unclear_number_format"),
        ("unit_price", 123456789012.5, "General", "rounded_display"),
        ("unit_price", 5, "0.00 $", "other_currency"),
        ("unit_price", 5, "[$CHF] 0.00", "other_currency"),
        ("unit_price", 5, '0.00 "each"', "unclear_number_format"),
        ("quantity", 5, "0.00 €", "unclear_number_format"),
        ("quantity", 5, '0 "pcs"', "unclear_number_format"),
        ("quantity", 12345, "0.0E+0", "rounded_display"),
        ("quantity", 0.3333, "# ?/?", "rounded_display"),
        ("quantity", 46000, "yyyy-mm-dd", "invalid_number"),
        ("sku", 5, ";;;", "unclear_number_format"),
        ("sku", "x", ";;;", "unclear_number_format"),
        ("sku", 123456789012, "General", "unclear_number_format"),
        ("sku", 0.5, "# ?/?", "unclear_number_format"),
        ("sku", 46000, "d-mmm", "invalid_text"),
        ("needed_by", 46000, "mmm-yy", "invalid_date"),
        ("needed_by", 46000, "d-mmm", "invalid_date"),
        ("needed_by", 46000.5, "yyyy-mm-dd", "invalid_date"),
        ("needed_by", 46000, "h:mm", "invalid_date"),
        ("needed_by", 46000, "General", "invalid_date"),
        ("needed_by", 46000, "@", "invalid_date"),
        ("needed_by", 46000, '[$-411]ggge"年"m"月"d"日"', "unclear_number_format"),
        ("needed_by", 46000, "[$-41E]d mmmm yyyy", "unclear_number_format"),
        ("needed_by", 46000, "[$-401]dd/mm/yyyy", "unclear_number_format"),
        ("needed_by", 46000, "[$-fa-IR]yyyy-mm-dd", "unclear_number_format"),
        ("needed_by", 46000, "[$-th-TH,107]d mmmm yyyy", "unclear_number_format"),
        ("unit_price", 1250, "0'00", "unclear_number_format"),
        ("unit_price", 1250, "0\\ 00", "unclear_number_format"),
        ("unit_price", 1250000, "0\\ 000\\ 00", "unclear_number_format"),
    ],
)
def test_what_is_shown_differently_is_refused(make: Make, column: str, value: Any, code: str, error: str) -> None:
    found = error_of(make(column, value, code))
    assert (found.pointer, found.code) == (f"/rows/2/{column}", error)


def test_the_error_names_the_cell_and_its_format() -> None:
    error = error_of(by_openpyxl("quantity", 5, '0 "pcs"'))
    assert error.detail.startswith('Row 2, column quantity: cell C2 has the number format 0 "pcs", so that')
    assert "use General" in error.detail
    assert "cell D2 contains more digits" in error_of(by_openpyxl("unit_price", 1.005, "0.00")).detail


@LIBRARIES
@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (123, "00000", "00123"),
        (5551234, "000-0000", "555-1234"),
        (12.5, "0.00", "12.50"),
        (1.005, "0.00", "1.01"),
        (42, '"SKU-"00000', "SKU-00042"),
        (4006381333931, "0", "4006381333931"),
        (4711, "General", "4711"),
        (4711, "@", "4711"),
        (0.2, "0%", "20%"),
        (1234, "#,##0", "1,234"),
        ("123", '"ID "@', "ID 123"),
        ("00123", "@", "00123"),
        ("00123", "0", "00123"),
        (5, "0.00 €", "5.00 €"),
    ],
)
def test_a_number_in_a_column_of_text_is_the_text_that_is_shown(make: Make, value: Any, code: str, text: str) -> None:
    content = make("sku", value, code) if value != "00123" or make is by_openpyxl else by_openpyxl("sku", value, code)
    assert only(content).sku == text


@LIBRARIES
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1234.5, "0.00"),
        (1234.5, "#,##0.00"),
        (1234.5, "# ##0.00"),
        (1234.5, "#'##0.00"),
        (1234.5, ACCOUNTING),
        (0, ACCOUNTING),
        (1234.5, "[$€-407] #,##0.00"),
        (1234.5, "#,##0.00 [$€-1]"),
        (1234.5, "[$EUR] 0.00"),
        (1234.5, "0.00 €"),
        (1234.5, "+0.00;-0.00"),
        (1234.5, "0.0_);(0.0)"),
        (1234.5, "[Blue]0.0"),
        (1230000, "0.00E+00"),
        (2.5, "# ?/?"),
        (10000000000000, "General"),
    ],
)
def test_a_number_that_is_shown_in_full_is_read_exactly(make: Make, value: Any, code: str) -> None:
    assert only(make("unit_price", value, code)).unit_price == Decimal(str(value))


@pytest.mark.parametrize(
    ("currency", "code"),
    [
        ("USD", "[$$-409]#,##0.00"),
        ("GBP", '"£"0.00'),
        ("PLN", '0.00\\ "zł"'),
        ("SEK", '0.00 "kr"'),
        ("CHF", '"Fr." 0.00'),
    ],
)
def test_a_price_is_shown_in_the_request_s_currency(currency: str, code: str) -> None:
    content = by_openpyxl("unit_price", 5, code)
    assert parse(content, Context(currency))[0].unit_price == 5
    assert error_of(content, "JPY").code in {"other_currency", "unclear_number_format"}


@LIBRARIES
@pytest.mark.parametrize(
    "code",
    [
        "yyyy-mm-dd",
        "d/m/yyyy;@",
        "mm-dd-yy",
        "[$-F800]dddd, mmmm dd, yyyy",
        "m/d/yy h:mm",
        "[$-en-US]d-mmm-yy;@",
        "[$-de-DE]d. mmmm yyyy",
    ],
)
def test_a_date_is_read_from_any_format_that_shows_all_of_it(make: Make, code: str) -> None:
    assert only(make("needed_by", dt.date(2026, 12, 31), code)).needed_by == dt.date(2026, 12, 31)


@pytest.mark.parametrize("number", range(50))
def test_all_built_in_formats_are_honoured(number: int) -> None:
    styles = f'<cellXfs><xf numFmtId="0"/><xf numFmtId="{number}"/></cellXfs>'
    content = by_hand(cell("quantity", "46000", style=1), styles=styles)
    if number in {0, 1, 2, 3, 4, 11, 12, 13, 37, 38, 39, 40, 41, 43, 49}:
        assert only(content).quantity == 46000
    else:
        others = {9, 10, 5, 6, 7, 8, 42, 44, 48}
        is_date = 14 <= number <= 22 or 45 <= number <= 47
        code = error_of(content).code
        assert code == ("invalid_number" if is_date else "unclear_number_format")
        assert is_date or number in others or 23 <= number <= 36
    if number in {9, 10}:
        assert only(by_hand(cell("tax_rate", "0.19", style=1), styles=styles)).tax_rate == 19
    if number in {5, 6, 7, 8, 42, 44}:
        assert only(by_hand(cell("unit_price", "5", style=1), styles=styles)).unit_price == 5
    if number in {14, 15, 22}:
        assert only(by_hand(cell("needed_by", "46387", style=1), styles=styles)).needed_by == dt.date(2026, 12, 31)


@pytest.mark.parametrize(
    "styles",
    [
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="200"/></cellXfs>',
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="59"/></cellXfs>',
        '<cellXfs><xf numFmtId="0"/></cellXfs>',
        '<numFmts><numFmt numFmtId="1" formatCode="0%"/></numFmts><cellXfs><xf/><xf numFmtId="1"/></cellXfs>',
        '<cellStyleXfs><xf numFmtId="9"/></cellStyleXfs>'
        '<cellXfs><xf/><xf numFmtId="1" xfId="0" applyNumberFormat="0"/></cellXfs>',
    ],
    ids=["undefined", "Thai", "no style", "redefined", "switched off"],
)
def test_a_style_whose_format_is_uncertain_is_refused(styles: str) -> None:
    for column in ("quantity", "sku"):
        error = error_of(by_hand(cell(column, "5", style=1), styles=styles))
        assert error.code == "unclear_number_format"
        assert f"cell {LETTERS[column]}2" in error.detail


def test_excel_writes_the_currency_of_its_user_into_the_format() -> None:
    styles = (
        '<numFmts><numFmt numFmtId="44" formatCode="_-* #,##0.00\\ &quot;€&quot;_-"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="44" applyNumberFormat="1"/></cellXfs>'
    )
    content = by_hand(cell("unit_price", "5", style=1), styles=styles)
    assert only(content).unit_price == 5
    assert error_of(content, "USD").code == "other_currency"


@pytest.mark.parametrize(
    ("date1904", "number", "date"),
    [("0", 46387, dt.date(2026, 12, 31)), ("1", 44925, dt.date(2026, 12, 31)), ("true", 0, dt.date(1904, 1, 1))],
)
def test_days_are_counted_as_the_workbook_says(date1904: str, number: int, date: dt.date) -> None:
    cells = cell("needed_by", str(number), style=1)
    content = by_hand(cells, code="yyyy-mm-dd", workbook=f'<workbookPr date1904="{date1904}"/>')
    assert only(content).needed_by == date


@pytest.mark.parametrize(
    ("type_", "value", "sku"),
    [
        ("s", "0", "rich text"),
        ("s", "1", "\u6771\u4eac"),
        ("s", "2", "a_x000D_b"),
        ("str", "A-1", "A-1"),
        ("str", "_x0041_1", "A1"),
        ("d", "2026-12-31", None),
    ],
)
def test_every_type_of_cell_is_read(type_: str, value: str, sku: str | None) -> None:
    strings = (
        "<si><r><t>rich </t></r><r><rPr><b/></rPr><t>text</t></r></si>"
        '<si><t>\u6771\u4eac</t><rPh sb="0" eb="2"><t>\u30c8\u30a6\u30ad\u30e7\u30a6</t></rPh></si>'
        "<si><t>a_x005F_x000D_b</t></si>"
    )
    if sku is None:
        cells = cell("needed_by", value, style=1, type_=type_)
        assert only(by_hand(cells, code="yyyy-mm-dd")).needed_by == dt.date(2026, 12, 31)
    else:
        assert only(by_hand(cell("sku", value, type_=type_), strings=strings)).sku == sku


def test_an_excel_number_with_17_digits_is_the_one_that_was_entered() -> None:
    content = by_hand(cell("tax_rate", "8.1000000000000003E-2", style=1), code="0.0%")
    assert only(content).tax_rate == Decimal("8.1")


@pytest.mark.parametrize("column", ["quantity", "unit_price", "sku", "description", "tax_rate", "needed_by"])
def test_a_formula_without_a_stored_value_is_refused(column: str) -> None:
    for content in (by_openpyxl(column, "=1+1", "General"), by_xlsxwriter(column, "=1+1", "General")):
        error = error_of(content)
        assert (error.pointer, error.code) == (f"/rows/2/{column}", "formula_without_value")
        assert f"cell {LETTERS[column]}2 has a formula" in error.detail
        assert "open the file in a spreadsheet program, save it there" in error.detail


COMPUTE = '<calcPr fullCalcOnLoad="1"/>'


@pytest.mark.parametrize(
    ("value", "book", "properties"),
    [("0.0", "", "docProps/app.xml"), ("0.0", COMPUTE, ""), ("0", COMPUTE, "docProps/app.xml"), ("", "", "")],
)
def test_what_libraries_store_for_a_formula_that_they_have_not_computed_is_no_value(
    value: str, book: str, properties: str
) -> None:
    """Apache POI stores 0.0, XlsxWriter 0."""
    content = by_hand(cell("tax_rate", value, formula=True), workbook=book, properties=properties)
    assert error_of(content).code == "formula_without_value"
    assert only(by_hand(cell("tax_rate", value or "0"), workbook=book, properties=properties)).tax_rate == 0


def test_a_computed_zero_without_properties_of_the_document_is_a_value() -> None:
    assert only(by_hand(cell("tax_rate", "0.0", formula=True))).tax_rate == 0


def test_a_row_of_formulas_does_not_vanish() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(HEADER)
    sheet.append([f"=Other!{letter}2" for letter in LETTERS.values()])
    buffer = BytesIO()
    book.save(buffer)
    with pytest.raises(ImportFailed) as caught:
        parse(buffer.getvalue())
    assert {error.code for error in caught.value.errors} == {"formula_without_value"}
    assert len(caught.value.errors) == len(HEADER)


def test_a_header_by_formula_is_refused_with_its_cell() -> None:
    book = openpyxl.Workbook()
    book.active.append(["description", "quantity", "=1", "unit_price"])
    buffer = BytesIO()
    book.save(buffer)
    assert "cell C1 has a formula" in error_of(buffer.getvalue()).detail


@pytest.mark.parametrize(
    ("type_", "value", "sku"), [("str", "", None), ("str", "A-1", "A-1"), ("", "5", "5"), ("", "0", "0")]
)
def test_a_formula_with_a_stored_value_is_that_value(type_: str, value: str, sku: str | None) -> None:
    assert only(by_hand(cell("sku", value, type_=type_, formula=True))).sku == sku


@pytest.mark.parametrize("value", ["#REF!", "#N/A", "#SPILL!"])
def test_an_error_of_the_spreadsheet_is_refused(value: str) -> None:
    assert error_of(by_hand(cell("quantity", value, type_="e", formula=True))).code == "spreadsheet_error"


def test_zeros_that_the_sheet_does_not_show_are_refused() -> None:
    views = '<sheetViews><sheetView showZeros="0"/></sheetViews>'
    assert error_of(by_hand(cell("unit_price", "0"), views=views)).code == "hidden_value"
    assert only(by_hand(cell("unit_price", "1"), views=views)).unit_price == 1


@pytest.mark.parametrize(
    ("where", "is_refused"),
    [
        ("C2:D9", True),
        ("A1 C2", True),
        ("$C$9:$C$2", True),
        ("C:C", True),
        ("B:D", True),
        ("2:2", True),
        ("B2:B9", False),
        ("C3", False),
        ("E:G", False),
        ("3:9", False),
    ],
)
def test_a_conditional_number_format_is_refused(where: str, is_refused: bool) -> None:
    styles = '<dxfs><dxf/><dxf><numFmt numFmtId="164" formatCode="0%"/></dxf></dxfs>'
    rule = f'<conditionalFormatting sqref="{where}"><cfRule type="cellIs" dxfId="1"/></conditionalFormatting>'
    content = by_hand(cell("quantity", "5"), styles=styles, after=rule)
    if is_refused:
        with pytest.raises(ImportFailed) as caught:
            parse(content)
        assert "unclear_number_format" in {error.code for error in caught.value.errors}
    else:
        assert only(content).quantity == 5
    assert only(by_hand(cell("quantity", "5"), styles=styles, after=rule.replace('"1"', '"0"'))).quantity == 5


@pytest.mark.parametrize("where", ["C2:C9", "C:C"])
def test_a_conditional_number_format_of_excel_2010_is_refused(where: str) -> None:
    """It contains its style, and its range is an element."""
    rule = (
        '<extLst><ext xmlns:x14="x" xmlns:xm="y"><x14:conditionalFormattings><x14:conditionalFormatting>'
        '<x14:cfRule type="expression"><xm:f>TRUE</xm:f><x14:dxf><numFmt numFmtId="9" formatCode="0%"/></x14:dxf>'
        f"</x14:cfRule><xm:sqref>{where}</xm:sqref></x14:conditionalFormatting></x14:conditionalFormattings></ext></extLst>"
    )
    assert error_of(by_hand(cell("quantity", "0.2"), after=rule)).code == "unclear_number_format"
    colour = rule.replace('<numFmt numFmtId="9" formatCode="0%"/>', "<font/>")
    assert only(by_hand(cell("quantity", "0.2"), after=colour)).quantity == Decimal("0.2")


@pytest.mark.parametrize("kind", ["dataBar", "iconSet"])
def test_a_number_that_a_bar_or_an_icon_replaces_is_refused(kind: str) -> None:
    rule = f'<cfRule type="{kind}"><{kind} showValue="0"/></cfRule>'
    rule = f'<conditionalFormatting sqref="C2">{rule}</conditionalFormatting>'
    assert error_of(by_hand(cell("quantity", "5"), after=rule)).code == "unclear_number_format"
    assert only(by_hand(cell("quantity", "5"), after=rule.replace(' showValue="0"', ""))).quantity == 5


def test_a_sheet_with_too_many_conditional_formats_is_refused() -> None:
    styles = '<dxfs><dxf><numFmt numFmtId="164" formatCode="0%"/></dxf></dxfs>'
    ranges = " ".join(f"A{row}:G9999" for row in range(3, 100_000))
    rule = f'<conditionalFormatting sqref="{ranges}"><cfRule type="cellIs" dxfId="0"/></conditionalFormatting>'
    with pytest.raises(InvalidFile) as caught:
        parse(by_hand(cell("quantity", "5"), styles=styles, after=rule))
    assert caught.value.errors[0].code == "file_too_large"


def test_a_cell_with_two_values_is_refused() -> None:
    content = by_hand(cell("quantity", "5</v><v>9"))
    with pytest.raises(InvalidFile):
        parse(content)


def test_hidden_rows_are_read_and_merged_cells_have_the_value_of_the_first() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(HEADER)
    for description in ("Lamp", "Bulb"):
        sheet.append([description, None, 1, 1])
    sheet.row_dimensions[2].hidden = True
    sheet.merge_cells("A3:B3")
    buffer = BytesIO()
    book.save(buffer)
    assert [(line.description, line.sku) for line in parse(buffer.getvalue())] == [("Lamp", None), ("Bulb", None)]


@pytest.mark.parametrize(("value", "code"), [("20%", None), (0.2, "0%"), (20, None), ("20 %", None)])
def test_the_template_is_filled_in_with_percentages(value: Any, code: str | None) -> None:
    book = openpyxl.load_workbook(BytesIO(template(FileType.XLSX)))
    sheet = book.active
    for row in (2, 3):
        for column, text in zip("ACDE", ("Lamp", 1, "C62", 100), strict=True):
            sheet[f"{column}{row}"] = text
        for column in "FG":
            sheet[f"{column}{row}"] = value
            assert sheet[f"{column}{row}"].number_format == "General"
            if code is not None:
                sheet[f"{column}{row}"].number_format = code
    buffer = BytesIO()
    book.save(buffer)
    assert [(line.discount_percent, line.tax_rate) for line in parse(buffer.getvalue())] == [
        (Decimal(20), Decimal(20))
    ] * 2


@pytest.mark.parametrize("text", ["20%", "20 %", "20\u00a0%", "20\u202f%", " 20% "])
def test_a_percentage_in_csv_may_have_its_sign(text: str) -> None:
    content = f'description,quantity,unit_price,tax_rate,discount_percent\nLamp,1,1,"{text}","{text}"'.encode()
    (line,) = parse(content)
    assert (line.tax_rate, line.discount_percent) == (Decimal(20), Decimal(20))
