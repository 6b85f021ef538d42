"""Number formats of workbooks: format codes, parsed into sections (ECMA-376 part 1, 18.8.31).

No maintained Python library interprets them. Only what every spreadsheet program shows alike is interpreted; all else
is `Unclear`, so that nothing is guessed. `shown_numbers` says what a number is shown as.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne

MAX_CODE_LENGTH = 255  # as in Excel
_MAX_SECTIONS = 4
_FIRST_FOUR_DIGITS = 0xFFFF
# None, those of the euro's formats in Excel, and American English.
_NEUTRAL_LOCALES = frozenset({0, 1, 2, 0x409})
_NEUTRAL_TAGS = frozenset({"", "x-sysdate", "x-systime", "en", "en-us"})
# Arabic, Thai, Persian, Pashto and Dari, by number and by tag: some programs show their dates in another calendar.
_OTHER_CALENDARS = frozenset({0x01, 0x1E, 0x29, 0x63, 0x8C})
_OTHER_CALENDAR_TAGS = frozenset({"ar", "th", "fa", "ps", "prs"})
_LANGUAGE = 0x3FF  # the bits of a locale's number that are its language


class Unclear(Exception):
    """What a cell shows depends on the program or its settings, or is not known here."""


class Kind(Enum):
    """The parts of a section."""

    LITERAL = "literal"
    CURRENCY = "currency"
    SPACE = "space"  # `_x`, as wide as x
    FILL = "fill"  # `*x`, repeated to the width of the column
    DIGIT = "digit"
    POINT = "point"
    COMMA = "comma"
    PERCENT = "percent"
    EXPONENT = "exponent"
    SLASH = "slash"
    DENOMINATOR = "denominator"
    GENERAL = "general"
    TEXT = "text"
    DATE = "date"
    ELAPSED = "elapsed"


_OF_NUMBERS = (Kind.DIGIT, Kind.DENOMINATOR, Kind.POINT, Kind.COMMA, Kind.PERCENT, Kind.EXPONENT, Kind.SLASH)


@dataclass(frozen=True)
class Part:
    """A part of a section, with its text in the code or, of literals and currencies, the text that is shown."""

    kind: Kind
    text: str


# Compared by identity, so that what is computed of it can be kept.
@dataclass(frozen=True, eq=False)
class Section:
    """A section of a code. `condition` is None for the usual choice by sign.

    `has_locale`: the code names a language, whose separators some programs use.
    """

    parts: tuple[Part, ...]
    condition: Callable[[Decimal], bool] | None = None
    has_locale: bool = False
    is_unclear: bool = False

    def has(self, *kinds: Kind) -> bool:
        return any(part.kind in kinds for part in self.parts)

    @property
    def is_date(self) -> bool:
        """Whether it shows a number as a date or a time."""
        return self.has(Kind.DATE, Kind.ELAPSED)


@dataclass(frozen=True)
class NumberFormat:
    """A format code: the sections for numbers, and the one for text if there is one.

    `by_locale`: the signs that are shown and their order are those of the program.
    """

    code: str
    numbers: tuple[Section, ...]
    text: Section | None
    by_locale: bool = False

    def section(self, value: Decimal) -> tuple[Section, bool]:
        """The section for a number, and whether a minus sign is put before it. Raises Unclear."""
        if not self.numbers:
            return GENERAL.numbers[0], value < 0
        chosen = self._by_condition(value) if any(item.condition for item in self.numbers) else self._by_sign(value)
        if chosen.is_unclear:
            raise Unclear
        return chosen, value < 0 and len(self.numbers) == 1

    def _by_sign(self, value: Decimal) -> Section:
        index = 1 if value < 0 else 2 if value == 0 else 0
        return self.numbers[index] if index < len(self.numbers) else self.numbers[0]

    def _by_condition(self, value: Decimal) -> Section:
        """The first section whose condition is met, and the last one otherwise.

        Programs differ where there is a condition only after a section without one, and in the signs of negative
        numbers.
        """
        first, *others = self.numbers
        if value < 0 or first.condition is None or any(item.condition is None for item in others[:-1]):
            raise Unclear
        for section in self.numbers:
            if section.condition is None or section.condition(value):
                return section
        raise Unclear


@lru_cache(maxsize=4096)
def number_format(code: str) -> NumberFormat:
    """The format with this code, in its form in files: with the names and separators of American English."""
    if not code or len(code) > MAX_CODE_LENGTH:
        return unclear(code)
    sections = [_section(tokens) for tokens in _split(code)]
    if len(sections) > _MAX_SECTIONS or (sections[-1].has(Kind.TEXT) and sections[-1].has(*_OF_NUMBERS)):
        return unclear(code)
    # A text's place is in the last section only.
    has_text = len(sections) == _MAX_SECTIONS or sections[-1].has(Kind.TEXT)
    numbers = sections[:-1] if has_text else sections
    numbers = [_UNCLEAR if section.has(Kind.TEXT) else section for section in numbers]
    return NumberFormat(code, tuple(numbers), sections[-1] if has_text else None)


_TOKEN = re.compile(
    r"""
      "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | _(?P<space>.) | \*(?P<fill>.) | \[(?P<bracket>[^\]]*)\]
    | (?P<general>General) | (?P<exponent>E[+-]) | (?P<half>AM/PM|A/P) | (?P<date>y+|m+|d+|h+|s+)
    | (?P<digit>[0\#?]) | (?P<denominator>[1-9])
    | (?P<point>\.) | (?P<comma>,) | (?P<percent>%) | (?P<text>@) | (?P<slash>/) | (?P<end>;)
    | (?P<plain>[-+$():^&'~{}<>=\ ]|[^\x00-\x7f]) | (?P<unknown>.)
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_KINDS = {
    "quoted": Kind.LITERAL,
    "escaped": Kind.LITERAL,
    "plain": Kind.LITERAL,
    "space": Kind.SPACE,
    "fill": Kind.FILL,
    "general": Kind.GENERAL,
    "exponent": Kind.EXPONENT,
    "half": Kind.DATE,
    "date": Kind.DATE,
    "digit": Kind.DIGIT,
    "point": Kind.POINT,
    "comma": Kind.COMMA,
    "percent": Kind.PERCENT,
    "text": Kind.TEXT,
    "slash": Kind.SLASH,
    "denominator": Kind.DENOMINATOR,
}
_COLOUR = re.compile(r"black|blue|cyan|green|magenta|red|white|yellow|color ?[0-9]{1,2}", re.IGNORECASE)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=) *(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)")
# A number, or a tag such as en-US.
_CURRENCY = re.compile(
    r"\$([^-]*)(?:-(?:(?P<number>[0-9A-F]{1,8})|(?P<tag>x-[a-z]+|[A-Z]{2,3}(?:-[A-Z0-9]{2,8})*)))?", re.IGNORECASE
)
_ELAPSED = re.compile(r"h+|m+|s+", re.IGNORECASE)
_COMPARE = {"<=": le, ">=": ge, "<>": ne, "<": lt, ">": gt, "=": eq}


def built_in(number: int) -> NumberFormat | None:
    """The built-in format with this number, None if there is none that all programs have."""
    code = BUILT_IN.get(number)
    return None if code is None else replace(number_format(code), by_locale=number in BY_LOCALE)


def unclear(name: str) -> NumberFormat:
    """A format of which nothing is known."""
    return NumberFormat(name, (_UNCLEAR,), _UNCLEAR)


def _split(code: str) -> Iterator[list[tuple[str, str]]]:
    """The tokens of each section, as name in `_TOKEN` and text."""
    tokens: list[tuple[str, str]] = []
    for match in _TOKEN.finditer(code):
        name = match.lastgroup or ""
        if name == "end":
            yield tokens
            tokens = []
        else:
            tokens.append((name, match[name]))
    yield tokens


def _section(tokens: list[tuple[str, str]]) -> Section:
    parts: list[Part] = []
    condition = None
    has_locale = has_calendar = is_unclear = False
    for name, text in tokens:
        if name == "bracket":
            if match := _CONDITION.fullmatch(text):
                is_unclear |= condition is not None
                condition = _condition(match[1], Decimal(match[2]))
            elif match := _CURRENCY.fullmatch(text):
                number, tag = int(match["number"] or "0", 16), (match["tag"] or "").lower()
                # The digits before the last four name calendars and shapes of digits.
                is_unclear |= number > _FIRST_FOUR_DIGITS
                has_locale |= number not in _NEUTRAL_LOCALES or tag not in _NEUTRAL_TAGS
                has_calendar |= number & _LANGUAGE in _OTHER_CALENDARS and number not in _NEUTRAL_LOCALES
                has_calendar |= tag.partition("-")[0] in _OTHER_CALENDAR_TAGS
                if match[1]:
                    parts.append(Part(Kind.CURRENCY, match[1]))
            elif _ELAPSED.fullmatch(text):
                parts.append(Part(Kind.ELAPSED, text.lower()))
            else:
                is_unclear |= not _COLOUR.fullmatch(text)
        elif name in _KINDS:
            parts.append(Part(_KINDS[name], text))
        else:
            is_unclear = True
    section = Section(tuple(parts), condition, has_locale, is_unclear)
    return replace(section, is_unclear=True) if has_calendar and section.is_date else section


def _condition(operator: str, limit: Decimal) -> Callable[[Decimal], bool]:
    compare = _COMPARE[operator]
    return lambda value: bool(compare(value, limit))


_UNCLEAR = Section((), is_unclear=True)
GENERAL = number_format("General")

# The formats that files refer to by number. Those below 164 that are missing are of single languages. Of those in
# BY_LOCALE the shape is known, not the text; ¤ is the currency of the program.
BUILT_IN: dict[int, str] = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    5: "[$¤]#,##0_);([$¤]#,##0)",
    6: "[$¤]#,##0_);[Red]([$¤]#,##0)",
    7: "[$¤]#,##0.00_);([$¤]#,##0.00)",
    8: "[$¤]#,##0.00_);[Red]([$¤]#,##0.00)",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "mm-dd-yy",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yy h:mm",
    37: "#,##0_);(#,##0)",
    38: "#,##0_);[Red](#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);[Red](#,##0.00)",
    41: '_(* #,##0_);_(* (#,##0);_(* "-"_);_(@_)',
    42: '_([$¤]* #,##0_);_([$¤]* (#,##0);_([$¤]* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)',
    44: '_([$¤]* #,##0.00_);_([$¤]* (#,##0.00);_([$¤]* "-"??_);_(@_)',
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mmss.0",
    48: "##0.0E+0",
    49: "@",
}
ANY_CURRENCY = "¤"
BY_LOCALE = frozenset((*range(5, 9), *range(14, 23), *range(37, 45)))
