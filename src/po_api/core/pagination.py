"""Keyset pages: a cursor says after which row to go on, so a deep page costs what the first costs."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Row, Select, and_, or_, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from po_api.core.errors import BadRequest, FieldError

T = TypeVar("T")

MAX_LIMIT = 100
DEFAULT_LIMIT = 50
MAX_CURSOR_LENGTH = 1024


class InvalidCursor(BadRequest):
    """The cursor is not one that this list gave for this sort and these filters: start again without it."""

    code = "invalid_cursor"
    title = "The cursor does not belong to this list"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/cursor", self.code, self.title, "query"),))


class InvalidSort(BadRequest):
    """The list cannot be sorted by this."""

    code = "invalid_sort"
    title = "The list cannot be sorted by this"

    def __init__(self, allowed: Sequence[str]) -> None:
        detail = f"sort by one of {', '.join(allowed)}, each with an optional leading minus"
        super().__init__(detail, errors=(FieldError("/sort", self.code, detail, "query"),))


@dataclass(frozen=True)
class PageRequest:
    """What the caller asked for: `sort` as in `-created_at,number`, `scope` what the cursor is bound to."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    sort: str | None = None
    scope: str = ""


@dataclass(frozen=True)
class PageOf(Generic[T]):
    """One page; `next_cursor` is None on the last."""

    items: Sequence[T]
    next_cursor: str | None


@dataclass(frozen=True)
class _Key:
    name: str
    column: InstrumentedAttribute[Any]
    descending: bool


class Keyset:
    """The sorts a list allows: names to columns that are never NULL and lead an index. Every sort ends in the id."""

    def __init__(
        self, sorts: Mapping[str, InstrumentedAttribute[Any]], *, id_column: InstrumentedAttribute[int], default: str
    ):
        self._sorts = sorts
        self._id = id_column
        self._default = default

    async def page(self, session: AsyncSession, statement: Select[Any], request: PageRequest) -> PageOf[Row[Any]]:
        """The page of `statement` that `request` asks for, in one query. The statement selects the sorts' columns."""
        keys = self._keys(request.sort or self._default)
        binding = _binding(request, keys)
        if request.cursor is not None:
            statement = statement.where(_after(keys, _decode(request.cursor, binding, keys)))
        ordered = statement.order_by(*(key.column.desc() if key.descending else key.column.asc() for key in keys))
        rows = (await session.execute(ordered.limit(request.limit + 1))).all()
        if len(rows) <= request.limit:
            return PageOf(rows, None)
        last = rows[request.limit - 1]
        values = [last._mapping[key.name] for key in keys]
        return PageOf(rows[: request.limit], _encode(binding, values))

    def _keys(self, sort: str) -> list[_Key]:
        names = sort.split(",")
        keys = [_Key(name.removeprefix("-"), self._id, name.startswith("-")) for name in names]
        known = all(key.name in self._sorts for key in keys)
        if not known or len({key.name for key in keys}) != len(keys):
            raise InvalidSort(sorted(self._sorts))
        keys = [_Key(key.name, self._sorts[key.name], key.descending) for key in keys]
        return [*keys, _Key("id", self._id, keys[-1].descending)]


def _after(keys: Sequence[_Key], values: Sequence[Any]) -> ColumnElement[bool]:
    """The rows behind the one with `values`: a row comparison where one index direction serves, else spelled out."""
    columns = [key.column for key in keys]
    if len({key.descending for key in keys}) == 1:
        row, last = tuple_(*columns), tuple_(*values)
        return row < last if keys[0].descending else row > last
    branches = []
    for position, key in enumerate(keys):
        equal = [columns[before] == values[before] for before in range(position)]
        behind = key.column < values[position] if key.descending else key.column > values[position]
        branches.append(and_(*equal, behind))
    return or_(*branches)


def _binding(request: PageRequest, keys: Sequence[_Key]) -> str:
    order = ",".join(f"{'-' if key.descending else ''}{key.name}" for key in keys)
    return hashlib.sha256(f"{order}|{request.scope}".encode()).hexdigest()[:16]


def _encode(binding: str, values: Sequence[Any]) -> str:
    texts = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps([binding, *texts]).encode()).decode().rstrip("=")


def _decode(cursor: str, binding: str, keys: Sequence[_Key]) -> list[Any]:
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise InvalidCursor
        found, *texts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if found != binding or len(texts) != len(keys):
            raise InvalidCursor
        return [_parse(key.column.type.python_type, text) for key, text in zip(keys, texts, strict=True)]
    except (ValueError, TypeError, OverflowError, InvalidOperation, RecursionError):
        raise InvalidCursor from None


def _parse(kind: type, text: object) -> Any:
    if not isinstance(text, str):
        raise TypeError("a cursor's values are texts")
    text.encode()  # a lone surrogate cannot be sent to PostgreSQL: UnicodeEncodeError
    if kind is datetime:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("a cursor's time has an offset")
        return moment.astimezone(UTC)
    if kind is int:
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError("beyond bigint")
        return number
    if kind is Decimal:
        amount = Decimal(text)
        if not amount.is_finite() or abs(amount.adjusted()) > 100:
            raise ValueError("no amount")
        return amount
    if "\x00" in text:
        raise ValueError("no text of PostgreSQL's")
    return str(text)
