"""Number formats: the texts and numbers that cells show. The texts are those of Excel and of LibreOffice."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.porfs.number_formats import BUILT_IN, Unclear, built_in, number_format
from po_api.porfs.shown_numbers import Shape, shape_of, shown_number, shown_text, text_of_text


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        ("General", "12.5", "12.5"),
        ("General", "-12.5", "-12.5"),
        ("General", "12345678901", "12345678901"),
        ('General" pcs"', "5", "5 pcs"),
        ("@", "123", "123"),
        ("0", "12.5", "13"),
        ("0.00", "12.5", "12.50"),
        ("0.00", "1.005", "1.01"),
        ("0.00", "-1", "-1.00"),
        ("00000", "123", "00123"),
        ("000-0000", "5551234", "555-1234"),
        ("000\\-00\\-0000", "123456789", "123-45-6789"),
        ("###-####", "123", "-123"),
        ('"SKU-"00000', "42", "SKU-00042"),
        ('"a""b"0', "1", "ab1"),
        ("\\A0", "1", "A1"),
        ("#,##0.00", "1234567.5", "1,234,567.50"),
        ("#,##0", "123", "123"),
        ("0,000", "5", "0,005"),
        ("0,", "1234567", "1235"),
        ('0.0,,"M"', "1500000", "1.5M"),
        ("0%", "0.2", "20%"),
        ("0.00%", "0.1234", "12.34%"),
        ("% 0", "0.2", "% 20"),
        ("0.0#", "1", "1.0"),
        ("0.0#", "1.25", "1.25"),
        ("#.00", "0.5", ".50"),
        (".00", "12", "12.00"),
        ("0.???", "1.5", "1.5"),
        ("0.00E+00", "12345", "1.23E+04"),
        ("0.00E-00", "12345", "1.23E04"),
        ("0.0E+0", "0.00012", "1.2E-4"),
        ("0.00E+00", "9.999", "1.00E+01"),
        ('0;-0;"none"', "0", "none"),
        ("0.00_);(0.00)", "-5", "(5.00)"),
        ("0_);[Red](0)", "5", "5"),
        ('[Red][<1000]0;[>=1000]0.0,"k"', "1500", "1.5k"),
        ('[=0]"zero";0.00', "0", "zero"),
        ('[=0]"zero";0.00', "3", "3.00"),
        ("[>100]0;[>10]0.0;0.00", "5", "5.00"),
        ("[$€-2] 0.00", "5", "€ 5.00"),
        ("[$USD] 0", "5", "USD 5"),
        ("[Color 5]0", "5", "5"),
        ("0 €", "5", "5 €"),
        ("+0;-0;0", "5", "+5"),
        ("# ##0.00", "1234.5", "1 234.50"),
        ('00":"00', "1230", "12:30"),
        ("* 0", "7", "7"),
        ("0;[Red]-0;0;@", "7", "7"),
    ],
)
def test_a_number_is_shown_as_its_format_says(code: str, value: str, text: str) -> None:
    assert shown_text(Decimal(value), number_format(code)) == text


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("General", "123456789012"),  # 1.23457E+11 in Excel
        ("General", "0.00001"),  # 1E-05 in Excel
        ("General", "1.23456789012"),
        ("0.##", "5"),  # "5." in Excel, "5" in LibreOffice
        ("0.00", "-0.001"),  # -0.00 or 0.00
        ("0%", "1.005"),  # 101% or 100%
        ("0.0%%", "0.2"),
        ("##0.0E+0", "12345"),
        ("# ?/?", "0.5"),
        (";;;", "5"),
        ("0;;", "-5"),
        ('"x"* 0', "5"),
        ("0*-", "5"),
        ("[$-D07041E]0", "5"),  # Thai digits
        ("[$-407]0.00", "5"),  # a decimal comma in LibreOffice
        ("[DBNum1]0", "5"),
        ("[Rot]0", "5"),
        ("[<5]0;[>10]0", "7"),
        ("0;[>10]0", "7"),
        ("[>10]0;0", "-7"),
        ("0a", "5"),
        ('0"', "5"),
        ("0\\", "5"),
        ("0.0.0", "5"),
        ("0,0 0", "5"),
        (",0", "5"),
        ("0.0,0", "5"),
        ("1", "5"),
        ("", "5"),
        ("0;0;0;0;0", "5"),
        ("yyyy-mm-dd", "46000"),
        ("0 General", "5"),
        ("0@0", "5"),
        ("@;0", "5"),
        ("0" * 256, "5"),
    ],
)
def test_what_programs_show_differently_is_unclear(code: str, value: str) -> None:
    with pytest.raises(Unclear):
        shown_text(Decimal(value), number_format(code))


@pytest.mark.parametrize(
    ("code", "value", "number", "is_exact"),
    [
        ("General", "99999999999", "99999999999", True),
        ("General", "10000000000000", "10000000000000", True),
        ("General", "123456789012", "123456789012", False),
        ("0.00", "12.345", "12.35", False),
        ("0.00", "12.34", "12.34", True),
        ("0", "0.2", "0", False),
        ("0%", "0.2", "20", True),
        ("0%", "0.081", "8", False),
        ("0.0%", "0.081", "8.1", True),
        ("0.00E+00", "12300", "12300", True),
        ("0.00E+00", "12345", "12300", False),
        ("# ?/?", "2.5", "2.5", True),
        ("# ?/?", "0.3333", "0.3333", False),
        ("# ?/16", "0.0625", "0.0625", True),
        ("# ?/16", "0.03125", "0.03125", False),
        ("# ??/??", "0.0625", "0.0625", True),
        ('_-* #,##0.00\\ "€"_-;-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-', "0", "0", True),
        ('_-* #,##0.00\\ "€"_-;-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-', "1234.5", "1234.50", True),
    ],
)
def test_a_number_that_is_shown_rounded_is_not_exact(code: str, value: str, number: str, is_exact: bool) -> None:
    shown = shown_number(Decimal(value), number_format(code))
    assert (shown.number, shown.is_exact) == (Decimal(number), is_exact)


@pytest.mark.parametrize(
    ("code", "shape"),
    [
        ("yyyy-mm-dd", Shape.DATE),
        ("[$-409]d\\-mmm\\-yy;@", Shape.DATE),
        ("[$-F800]dddd\\,\\ mmmm\\ dd\\,\\ yyyy", Shape.DATE),
        ('d"." m"." yyyy', Shape.DATE),
        ("yyyy-mm-dd hh:mm", Shape.DATE),
        ("YYYY/M/D", Shape.DATE),
        ("mmm-yy", Shape.PARTIAL_DATE),
        ("d-mmm", Shape.PARTIAL_DATE),
        ("dddd, mmmm yyyy", Shape.PARTIAL_DATE),
        ("d mmmmm yyyy", Shape.PARTIAL_DATE),
        ("yyyy hh:mm", Shape.PARTIAL_DATE),
        ("yyyy d h:mm", Shape.PARTIAL_DATE),
        ("h:mm AM/PM", Shape.TIME),
        ("[h]:mm:ss", Shape.TIME),
        ("[mm]:ss", Shape.TIME),
        ("mm:ss.0", Shape.TIME),
        ('"day" 0', Shape.NUMBER),
        ("\\d0", Shape.NUMBER),
        ("General", Shape.NUMBER),
    ],
)
def test_dates_and_times_are_recognised(code: str, shape: Shape) -> None:
    assert shape_of(Decimal(46000), number_format(code)) is shape


@pytest.mark.parametrize("code", ['[$-411]ggge"年"m"月"d"日"', "b2yyyy-mm-dd", "[$-1070000]d/m/yyyy"])
def test_dates_of_other_calendars_are_unclear(code: str) -> None:
    with pytest.raises(Unclear):
        shape_of(Decimal(46000), number_format(code))


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("General", "x"),
        ("@", "x"),
        ("0.00", "x"),
        ('"ID "@', "ID x"),
        ('0;0;0;"-"@"-"', "-x-"),
        ("0_);(0);0;_(@_)", " x "),
    ],
)
def test_a_text_is_shown_as_its_section_says(code: str, shown: str) -> None:
    assert text_of_text("x", number_format(code)) == shown


@pytest.mark.parametrize("code", [";;;", "0;0;0;", '0;0;0;"hidden"', "@*-", "@0"])
def test_a_text_that_is_hidden_or_changed_is_unclear(code: str) -> None:
    with pytest.raises(Unclear):
        text_of_text("x", number_format(code))


def test_every_built_in_format_is_understood() -> None:
    for number in BUILT_IN:
        found = built_in(number)
        assert found is not None
        assert not found.section(Decimal(1))[0].is_unclear
    assert built_in(59) is None


@given(
    st.text('0#?.,%@;/\\"_*[]$-€E+hmsyd><=1General ', max_size=20), st.decimals(allow_nan=False, allow_infinity=False)
)
def test_any_code_is_shown_or_unclear(code: str, value: Decimal) -> None:
    for show in (shown_text, shown_number, shape_of):
        try:
            show(value, number_format(code))
        except Unclear:
            continue


@given(st.integers(0, 10**9), st.integers(0, 4), st.booleans())
def test_a_number_shown_in_full_is_the_number_itself(units: int, decimals: int, groups: bool) -> None:
    value = Decimal(units).scaleb(-decimals)
    code = ("#,##0" if groups else "0") + ("." + "0" * decimals if decimals else "")
    shown = shown_number(value, number_format(code))
    assert (shown.number, shown.is_exact) == (value, True)
    assert Decimal(shown_text(value, number_format(code)).replace(",", "")) == value
