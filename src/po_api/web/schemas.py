"""Types of all representations: strict models, decimal strings, texts without invisible characters."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from po_api.core.currencies import CURRENCIES, WITHDRAWN_CODE, WITHDRAWN_DETAIL, last_day
from po_api.core.email import MAX_EMAIL_LENGTH, canonical_email
from po_api.core.text import has_forbidden_characters, is_visible, normalise, plain

MAX_ID = 2**63 - 1
T = TypeVar("T", bound=StrEnum)


class Schema(BaseModel):
    """The base of all bodies: unknown fields are refused, attributes are read."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, frozen=True)


class FieldProblem(Schema):
    """An error in one part of the request."""

    location: str = Field(
        description="body, query, path, header, file; supplier or order: a field of those", examples=["body"]
    )
    pointer: str = Field(description="RFC 6901 JSON pointer into the location", examples=["/lines/0/quantity"])
    code: str = Field(examples=["greater_than"])
    detail: str = Field(examples=["must be greater than 0"])


class Problem(Schema):
    """A problem as defined by RFC 9457, with a stable code."""

    type: str = Field(description="Docs page of the code", examples=["/docs/errors/not_found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["Not found"])
    instance: str = Field(description="Identifies this occurrence", examples=["urn:request:6f1c2d"])
    code: str = Field(examples=["not_found"])
    request_id: str = Field(examples=["6f1c2d"])
    errors: list[FieldProblem] = Field(description="The invalid parts of the request, if they can be located")
    next: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Of a 410 only: the position to continue with",
        examples=["5f0c9d3e8b7a4c21:42"],
    )


class Page(Schema):
    """One page of a list; subclasses add `items`."""

    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last page", examples=["WyI0Y2E3IiwiNTAiXQ"]
    )
    has_more: bool


class GroupCount(Schema):
    """The number of items with one value."""

    value: str | None = Field(
        description="The value, as the filter with the name of `group_by` takes it; null for items without one",
        examples=["pending"],
    )
    count: int = Field(examples=[3])


class Counts(Schema):
    """How many items of a list there are, by their values. Values without items are omitted."""

    group_by: str = Field(examples=["status"])
    count: int = Field(description="The number of all items that match the filters", examples=[3])
    has_more: bool = Field(description="Whether there are more values than the 100 with the most items")
    items: list[GroupCount] = Field(description="The values with the most items first")


def _text(*, multiline: bool) -> Callable[[str], str]:
    def check(text: str) -> str:
        if has_forbidden_characters(text, multiline=multiline):
            raise PydanticCustomError("control_character", "must not contain control characters")
        return normalise(text)

    return check


# The length is checked before and after normalisation, which usually shortens a text.
def _not_empty(text: str) -> str:
    if not text:
        raise PydanticCustomError("string_too_short", "must not be empty")
    if not is_visible(text):
        raise PydanticCustomError("invisible", "must have visible characters")
    return text


SingleLine = Annotated[str, AfterValidator(_text(multiline=False)), AfterValidator(_not_empty)]
Multiline = Annotated[str, AfterValidator(_text(multiline=True)), AfterValidator(_not_empty)]
Title = Annotated[SingleLine, StringConstraints(min_length=1, max_length=255)]
ShortText = Annotated[SingleLine, StringConstraints(min_length=1, max_length=100)]
LongText = Annotated[Multiline, StringConstraints(min_length=1, max_length=5000)]
Search = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_text(multiline=False))]


def _email(text: str) -> str:
    try:
        return canonical_email(text)
    except ValueError:
        raise PydanticCustomError("invalid_email", "must be an e-mail address") from None


Email = Annotated[
    SingleLine,
    StringConstraints(max_length=MAX_EMAIL_LENGTH),
    AfterValidator(_email),
    Field(json_schema_extra={"format": "email"}, examples=["ada@example.com"]),
]


def _known_currency(code: str) -> str:
    if code not in CURRENCIES and last_day(code) is None:
        raise PydanticCustomError("unknown_currency", "must be an ISO 4217 currency code")
    return code


def _current_currency(code: str) -> str:
    if (last := last_day(code)) is not None:
        raise PydanticCustomError(WITHDRAWN_CODE, WITHDRAWN_DETAIL, {"last": last.isoformat()})
    return code


# Including withdrawn ones, in which there may be documents; a patch may repeat what was read.
KnownCurrency = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{3}$"),
    AfterValidator(_known_currency),
    Field(description="ISO 4217 code", examples=["EUR"]),
]
Currency = Annotated[KnownCurrency, AfterValidator(_current_currency)]


def require_file(value: object) -> object:
    """The part of a form, which has to be a file. Starlette takes a part without a file name for a text."""
    if isinstance(value, str):
        raise PydanticCustomError(
            "file_required", "must be a file: send the part with a file name, as curl does with -F file=@lines.xlsx"
        )
    return value


def unique(values: list[T]) -> list[T]:
    """Sorted values without duplicates, for sets that are sent as lists."""
    return sorted(set(values))


Id = Annotated[int, Field(ge=1, le=MAX_ID)]
# In JSON "1", 1.0 and true are not ids.
Reference = Annotated[Id, Strict()]


_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _iso_date(value: object) -> object:
    # Pydantic by itself also accepts numbers, as seconds since 1970, and times at midnight.
    if not isinstance(value, date) and not (isinstance(value, str) and _ISO_DATE.fullmatch(value)):
        raise PydanticCustomError("invalid_date", "must be a date such as 2026-12-31")
    # To the driver of the database the first and the last date are minus infinity and infinity.
    if str(value) in (str(date.min), str(date.max)):
        raise PydanticCustomError("invalid_date", f"must be after {date.min} and before {date.max}")
    return value


IsoDate = Annotated[date, BeforeValidator(_iso_date)]


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("out_of_range", "must be a valid date and time") from None


def _not_a_number(value: object) -> object:
    # Pydantic by itself also accepts numbers, as seconds since 1970.
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise PydanticCustomError("invalid_time", "must be a time such as 2026-12-31T12:00:00Z")
    return value


_NUMBER = re.compile(r"[-+]?[0-9.]+", re.ASCII)
Moment = Annotated[AwareDatetime, BeforeValidator(_not_a_number), AfterValidator(_to_utc)]


def _decimal(*, digits: int, places: int, minimum: Decimal, maximum: Decimal, exclusive: bool, example: str) -> Any:
    """A decimal as a plain string: digits before and after the point, no sign, no exponent."""
    pattern = rf"^[0-9]{{1,{digits}}}(\.[0-9]{{1,{places}}})?$"
    shape = re.compile(rf"\d{{1,{digits}}}(\.\d{{1,{places}}})?", re.ASCII)

    def parse(value: object) -> Decimal:
        if isinstance(value, Decimal):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("decimal_string", "must be a decimal number in a string")
        if not shape.fullmatch(value):
            raise PydanticCustomError(
                "decimal_string",
                f"must be a plain decimal without a sign: at most {digits} digits before and {places} after the point",
            )
        number = Decimal(value)
        if number < minimum or (exclusive and number == minimum):
            raise PydanticCustomError("greater_than", f"must be greater than {minimum}")
        if number > maximum:
            raise PydanticCustomError("less_than_equal", f"must be at most {maximum}")
        return number

    schema = {"type": "string", "format": "decimal", "pattern": pattern, "examples": [example]}
    return [BeforeValidator(parse), WithJsonSchema(schema)]


_quantity = _decimal(digits=14, places=4, minimum=Decimal(0), maximum=Decimal(10**14), exclusive=True, example="10")
_price = _decimal(digits=14, places=4, minimum=Decimal(0), maximum=Decimal(10**14), exclusive=False, example="24.90")
_remainder = _decimal(digits=14, places=4, minimum=Decimal(0), maximum=Decimal(10**14), exclusive=False, example="0")
_percent = _decimal(digits=3, places=4, minimum=Decimal(0), maximum=Decimal(100), exclusive=False, example="20")
_tolerance = _decimal(digits=3, places=4, minimum=Decimal(0), maximum=Decimal(999), exclusive=False, example="5")
_amount = _decimal(digits=18, places=4, minimum=Decimal(0), maximum=Decimal(10**18), exclusive=False, example="249.00")
_rate = _decimal(digits=10, places=10, minimum=Decimal(0), maximum=Decimal(10**10), exclusive=True, example="0.9215")
_plainly = PlainSerializer(plain, return_type=str, when_used="json")

QuantityString = Annotated[Decimal, *_quantity, _plainly]
PriceString = Annotated[Decimal, *_price, _plainly]
PercentString = Annotated[Decimal, *_percent, _plainly]
ToleranceString = Annotated[Decimal, *_tolerance, _plainly]
RateString = Annotated[Decimal, *_rate, _plainly]
# May be zero, such as a remaining quantity.
RemainderString = Annotated[Decimal, *_remainder, _plainly]
# Amounts have the currency's minor digits: "12.50", "1250", "1.250".
AmountString = Annotated[
    Decimal, *_amount, PlainSerializer(lambda amount: format(amount, "f"), return_type=str, when_used="json")
]
