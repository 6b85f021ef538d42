"""The layout of a section of a number format: its digits before and after the point, and the text around them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from po_api.porfs.number_formats import Kind, Part, Section, Unclear

# Signs that separate groups of digits, besides the comma.
_GROUPING = frozenset(" '’\u00a0\u202f\u2009")
_GROUP = 3


@dataclass(frozen=True)
class Layout:
    """A section for numbers: its digits, and the text before, between and after them.

    `whole` and `decimals` are the places of digits (0, # or ?) and the literals between them; `exponent` follows E+ or
    E-. `thousands` and `percents` count the commas that divide and the percent signs.
    """

    before: str
    after: str
    whole: tuple[Part, ...]
    decimals: tuple[Part, ...]
    tail: tuple[Part, ...]
    has_point: bool
    has_groups: bool
    thousands: int
    percents: int
    around: str


_OF_NUMBER = (
    Kind.DIGIT,
    Kind.POINT,
    Kind.COMMA,
    Kind.EXPONENT,
    Kind.SLASH,
    Kind.DENOMINATOR,
    Kind.GENERAL,
)


@lru_cache(maxsize=4096)
def layout_of(section: Section) -> Layout:
    """Raises Unclear for a section of another form: digits, a point, digits, an exponent or a slash with digits."""
    if section.is_date:
        raise Unclear
    parts = section.parts
    places = [index for index, part in enumerate(parts) if part.kind in _OF_NUMBER]
    start, end = (places[0], places[-1] + 1) if places else (len(parts), len(parts))
    before, middle, after = parts[:start], list(parts[start:end]), parts[end:]
    commas = 0
    while middle and middle[-1].kind is Kind.COMMA:
        middle.pop()
        commas += 1
    whole, has_point, rest = _cut(middle, Kind.POINT)
    decimals, has_exponent, tail = _cut(rest if has_point else whole, Kind.EXPONENT, Kind.SLASH)
    if not has_point:
        whole, decimals = decimals, []
    while has_point and whole and whole[-1].kind is Kind.COMMA:
        whole.pop()
        commas += 1
    _require_form(whole, decimals, tail, has_tail=has_exponent, has_general=section.has(Kind.GENERAL))
    grouped = any(part.kind is Kind.COMMA for part in whole)
    # Groups of digits are counted from the point on. A fraction is separated from the whole number.
    strange = _strange(whole[::-1], is_fraction=section.has(Kind.SLASH)) + _strange(decimals)
    if grouped and any(part.kind is not Kind.DIGIT and part.kind is not Kind.COMMA for part in (*whole, *decimals)):
        raise Unclear
    return Layout(
        before="".join(literal(part) for part in before),
        after="".join(literal(part) for part in after),
        whole=tuple(part for part in whole if part.kind is not Kind.COMMA),
        decimals=tuple(decimals),
        tail=tuple(tail),
        has_point=has_point,
        has_groups=grouped,
        thousands=commas,
        percents=sum(part.kind is Kind.PERCENT for part in parts),
        around="".join("".join(literal(part).split()) for part in (*before, *after)) + strange,
    )


def _strange(places: Sequence[Part], *, is_fraction: bool = False) -> str:
    """The text between the places of digits that does not separate groups of three, or a fraction."""
    count = 0
    strange = ""
    for part in places:
        text = literal(part)
        separates = is_fraction or (count > 0 and count % _GROUP == 0)
        strange += "" if separates and set(text) <= _GROUPING else text
        count += part.kind is Kind.DIGIT
    return strange


def _cut(parts: Sequence[Part], *kinds: Kind) -> tuple[list[Part], bool, list[Part]]:
    """The parts before the first of these kinds, whether there is one, and the others: from it on, after a point."""
    for index, part in enumerate(parts):
        if part.kind in kinds:
            return list(parts[:index]), True, list(parts[index + (part.kind is Kind.POINT) :])
    return list(parts), False, []


def _require_form(
    whole: Sequence[Part], decimals: Sequence[Part], tail: Sequence[Part], *, has_tail: bool, has_general: bool
) -> None:
    inner = (Kind.DIGIT, Kind.LITERAL, Kind.CURRENCY, Kind.SPACE)
    if has_general:
        is_clear = [part.kind for part in whole] == [Kind.GENERAL] and not (decimals or tail)
    else:
        is_clear = (
            all(part.kind in (*inner, Kind.COMMA) for part in whole)
            and not (whole and whole[0].kind is Kind.COMMA)
            and all(part.kind in inner for part in decimals)
            and all(part.kind in (Kind.DIGIT, Kind.DENOMINATOR) for part in tail[1:])
            and (not has_tail or len(tail) > 1)
        )
        # A comma between digits groups them; elsewhere its meaning differs.
        is_clear &= all(
            whole[index - 1].kind in (Kind.DIGIT, Kind.COMMA) and whole[index + 1].kind in (Kind.DIGIT, Kind.COMMA)
            for index in range(1, len(whole) - 1)
            if whole[index].kind is Kind.COMMA
        ) and not (whole and whole[-1].kind is Kind.COMMA)
    if not is_clear:
        raise Unclear


def literal(part: Part) -> str:
    """What is shown of a part that is neither a digit nor a point."""
    if part.kind in (Kind.LITERAL, Kind.CURRENCY):
        return part.text
    if part.kind is Kind.PERCENT:
        return "%"
    if part.kind is Kind.SPACE:
        return " "
    if part.kind is Kind.FILL and part.text != " ":
        raise Unclear
    return " " if part.kind is Kind.FILL else ""
