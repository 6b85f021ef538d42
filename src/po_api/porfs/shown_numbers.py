"""What a cell with a number shows, by its number format.

The text has the separators of American English. Numbers that a format shows rounded are found, so that no other number
is read than the one that is seen. The width of columns, to which programs fit some numbers, is not regarded.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from enum import Enum
from fractions import Fraction

from po_api.core.money import round_to_places
from po_api.porfs.number_formats import Kind, NumberFormat, Section, Unclear
from po_api.porfs.number_layouts import Layout, layout_of, literal

# Enough for each digit of a double, twice.
_EXACT = Context(prec=700)
_HUNDRED = Decimal(100)
_THOUSAND = Decimal(1000)
# A number of the format General is shown in at most eleven characters, otherwise rounded or with an exponent.
_GENERAL_WIDTH = 11
_GENERAL_SMALLEST = Decimal("0.0001")
_GENERAL_DIGITS = 6
_LONGEST = Decimal(10) ** 15
# Signs that stand for zero.
_DASHES = frozenset("-–—")
_MAX_DENOMINATOR_DIGITS = 3


class Shape(Enum):
    """What a number is shown as."""

    NUMBER = "number"
    DATE = "date"  # day, month and year, possibly with a time
    PARTIAL_DATE = "partial date"
    TIME = "time"


@dataclass(frozen=True)
class Shown:
    """A number as it is shown.

    `number` is the one that the digits state, without sign; it is `is_exact` if it is the value of the cell, as percent
    if there is a percent sign. `around` is what else is shown, such as a currency, without white space.
    """

    number: Decimal
    is_exact: bool
    around: str = ""


def shape_of(value: Decimal, number_format: NumberFormat) -> Shape:
    """What the number is shown as. Raises Unclear."""
    section, _ = number_format.section(value)
    if not section.is_date:
        return Shape.NUMBER
    letters = _date_letters(section)
    if "d" in letters and "M" in letters and "y" in letters:
        return Shape.DATE
    return Shape.PARTIAL_DATE if letters & {"d", "M", "y"} else Shape.TIME


def _date_letters(section: Section) -> set[str]:
    """The letters y, M, d, h, m, s of what is shown; `m` after hours or before seconds are minutes."""
    kinds = (Kind.DATE, Kind.ELAPSED)
    parts = [part for part in section.parts if part.kind in kinds and "/" not in part.text]  # without AM/PM
    letters = ["", *(part.text[0].lower() for part in parts), ""]
    found = set()
    for before, part, letter, after in zip(letters, parts, letters[1:], letters[2:], strict=False):
        is_month = letter == "m" and part.kind is Kind.DATE and before != "h" and after != "s"
        # Three letters or more of a day are a weekday, and five of a month are its first letter.
        if len(part.text) <= {"d": 2, "m": 4 if is_month else 2}.get(letter, len(part.text)):
            found.add("M" if is_month else letter)
    return found


def is_percent(value: Decimal, number_format: NumberFormat) -> bool:
    """Whether the number is shown as percent."""
    return number_format.section(value)[0].has(Kind.PERCENT)


def shown_number(value: Decimal, number_format: NumberFormat) -> Shown:
    """The number that a cell shows. Raises Unclear, also for one that is shown as a date."""
    section, _ = number_format.section(value)
    layout = layout_of(section)
    if section.has(Kind.GENERAL):
        return _general_number(abs(value), layout)
    if section.has(Kind.EXPONENT):
        shown = _Scientific(abs(value), layout).value
        return Shown(shown, shown == abs(value), layout.around)
    if section.has(Kind.SLASH):
        return Shown(abs(value), _is_exact_fraction(abs(value), layout), layout.around)
    digits = _Digits(abs(value), layout)
    if layout.thousands:
        raise Unclear
    around = layout.around
    if not digits.has_any:
        # A dash for zero, as in the formats of accounting.
        around = "".join(character for character in around if character not in _DASHES)
        if value != 0 or around == layout.around:
            raise Unclear
    return Shown(digits.rounded, digits.rounded == digits.scaled, around)


def shown_text(value: Decimal, number_format: NumberFormat) -> str:
    """The text of a cell with a number, without white space around it. Raises Unclear."""
    section, has_minus = number_format.section(value)
    layout = layout_of(section)
    if number_format.by_locale or section.has(Kind.SLASH) or not _is_filled_outside(section, has_minus=has_minus):
        raise Unclear
    if section.has(Kind.GENERAL):
        middle = _general_text(abs(value))
    elif section.has(Kind.EXPONENT):
        middle = _Scientific(abs(value), layout).text()
    else:
        middle = _text_of_digits(value, layout)
    if section.has_locale and any(character in middle for character in ",."):
        raise Unclear
    text = f"{layout.before}{middle}{layout.after}"
    if not text.strip():
        raise Unclear
    return (f"-{text}" if has_minus else text).strip()


def _is_filled_outside(section: Section, *, has_minus: bool) -> bool:
    """Whether spaces that fill the column are before or after all of the text, where they are not read."""
    kinds = [part.kind for part in section.parts if part.kind is not Kind.SPACE]
    return Kind.FILL not in (kinds[:-1] if has_minus else kinds[1:-1])


def _text_of_digits(value: Decimal, layout: Layout) -> str:
    """The digits with the point, where programs agree on them. Raises Unclear.

    They differ in the minus of a number that is rounded to zero, in a point without digits after it, in percent of
    percent, and in percent that is to be rounded in the middle between two numbers.
    """
    digits = _Digits(abs(value), layout)
    is_middle = abs(digits.scaled - digits.rounded) * 2 == Decimal(1).scaleb(-digits.places)
    if (value < 0 and digits.rounded == 0) or digits.text.endswith("."):
        raise Unclear
    if layout.percents > 1 or (layout.percents and is_middle):
        raise Unclear
    return digits.text


def text_of_text(text: str, number_format: NumberFormat) -> str:
    """What a cell with a text shows. Raises Unclear, also if nothing is shown."""
    section = number_format.text
    if section is None:
        return text
    others = (Kind.LITERAL, Kind.CURRENCY, Kind.SPACE, Kind.FILL)
    if section.is_unclear or any(part.kind not in (Kind.TEXT, *others) for part in section.parts):
        raise Unclear
    if not section.has(Kind.TEXT) or any(part.kind is Kind.FILL and part.text != " " for part in section.parts):
        raise Unclear
    return "".join(text if part.kind is Kind.TEXT else literal(part) for part in section.parts)


class _Digits:
    """A number without exponent: rounded to the decimals of the format, and its text."""

    def __init__(self, value: Decimal, layout: Layout) -> None:
        self.places = places = sum(part.kind is Kind.DIGIT for part in layout.decimals)
        with localcontext(_EXACT):
            self.scaled = value * _HUNDRED**layout.percents / _THOUSAND**layout.thousands
            if self.scaled >= _LONGEST:
                raise Unclear  # zeros follow the fifteenth digit in some programs
            self.rounded = round_to_places(self.scaled, places)
        whole, _, decimals = format(self.rounded, "f").partition(".")
        self._whole = _whole_places("" if whole == "0" else whole, layout)
        self._decimals = _decimal_places(decimals, layout)
        self.has_any = any(character.isdigit() for character in self._whole + self._decimals)
        self.text = self._whole + ("." if layout.has_point else "") + self._decimals


def _whole_places(digits: str, layout: Layout) -> str:
    """The digits in the places before the point; the first place takes those for which there is none."""
    places = sum(part.kind is Kind.DIGIT for part in layout.whole)
    if not places:
        return (digits if layout.has_point else "") + "".join(literal(part) for part in layout.whole)
    remaining = digits
    shown: list[str] = []
    for part in reversed(layout.whole):
        if part.kind is not Kind.DIGIT:
            shown.append(literal(part)[::-1])
            continue
        places -= 1
        taken = remaining if not places else remaining[-1:]
        remaining = "" if not places else remaining[:-1]
        shown.append(taken[::-1] or {"0": "0", "?": " "}.get(part.text, ""))
    text = "".join(shown)[::-1]
    return _grouped(text) if layout.has_groups else text


def _grouped(text: str) -> str:
    blanks = text[: len(text) - len(text.lstrip())]
    digits = text.lstrip()
    first = len(digits) % 3 or 3
    return blanks + ",".join([digits[:first], *(digits[index : index + 3] for index in range(first, len(digits), 3))])


def _decimal_places(digits: str, layout: Layout) -> str:
    """The digits in the places after the point; zeros at the end have a place only where the format has a zero."""
    shown: list[str] = []
    index = 0
    for part in layout.decimals:
        if part.kind is not Kind.DIGIT:
            shown.append(literal(part))
            continue
        is_needed = part.text == "0" or bool(digits[index:].strip("0")) or _has_zero_after(layout, index)
        shown.append(digits[index] if is_needed else {"?": " "}.get(part.text, ""))
        index += 1
    return "".join(shown)


def _has_zero_after(layout: Layout, index: int) -> bool:
    places = [part.text for part in layout.decimals if part.kind is Kind.DIGIT]
    return "0" in places[index + 1 :]


class _Scientific:
    """A number with an exponent, of a format with one digit before the point."""

    def __init__(self, value: Decimal, layout: Layout) -> None:
        whole = [part.kind for part in layout.whole]
        sign = layout.tail[0].text[1]
        places = [part.text for part in layout.tail[1:]]
        # Programs differ in the exponents of formats with more digits.
        if whole != [Kind.DIGIT] or any(place not in "0#?" for place in places) or layout.percents or layout.thousands:
            raise Unclear
        decimals = sum(part.kind is Kind.DIGIT for part in layout.decimals)
        with localcontext(_EXACT):
            exponent = value.adjusted() if value else 0
            mantissa = round_to_places(value.scaleb(-exponent), decimals)
            if mantissa >= 10:
                exponent += 1
                mantissa = round_to_places(mantissa.scaleb(-1), decimals)
            self.value = mantissa.scaleb(exponent)
        shown_sign = "-" if exponent < 0 else "+" if sign == "+" else ""
        self._exponent = f"E{shown_sign}{abs(exponent):0{places.count('0')}d}"
        self._mantissa = mantissa
        self._layout = layout

    def text(self) -> str:
        """The number without its sign. Raises Unclear."""
        mantissa = _text_of_digits(self._mantissa, self._layout)
        if not mantissa:
            raise Unclear
        return mantissa + self._exponent


def _is_exact_fraction(value: Decimal, layout: Layout) -> bool:
    """Whether a fraction with the format's denominator, or one of its number of digits, is the number itself."""
    if layout.percents or layout.thousands or layout.has_point:
        raise Unclear
    denominator = "".join(part.text for part in layout.tail[1:])
    if set(denominator) <= set("0#?") and len(denominator) <= _MAX_DENOMINATOR_DIGITS:
        return len(str(Fraction(value).denominator)) <= len(denominator)
    if denominator.isdigit() and denominator.isascii() and not denominator.startswith("0"):
        return int(denominator) % Fraction(value).denominator == 0
    raise Unclear


def _general_number(value: Decimal, layout: Layout) -> Shown:
    if layout.percents:
        raise Unclear
    plain = _plain(value)
    if plain is not None:
        return Shown(value, is_exact=True, around=layout.around)
    # Rounded either to eleven characters or, with an exponent, to six digits.
    with localcontext(_EXACT):
        is_short = value >= _THOUSAND and len(value.normalize().as_tuple().digits) <= _GENERAL_DIGITS
    return Shown(value, is_short or 0 < value < _GENERAL_SMALLEST, layout.around)


def _general_text(value: Decimal) -> str:
    plain = _plain(value)
    if plain is None:
        raise Unclear  # programs differ in the number of digits
    return plain


def _plain(value: Decimal) -> str | None:
    """The number in full, if that is how General shows it."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if len(text) <= _GENERAL_WIDTH and (value == 0 or value >= _GENERAL_SMALLEST) else None
