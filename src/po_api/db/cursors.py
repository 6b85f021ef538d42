"""Cursors of keyset pages: the sort values of the last row, bound to the list, its order and its filters."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement

from po_api.core.errors import BadRequest, FieldError

MAX_CURSOR_LENGTH = 1024


class InvalidCursor(BadRequest):
    """The cursor was not issued by this list for this sort and these filters: start again without it."""

    code = "invalid_cursor"
    title = "Invalid cursor"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/cursor", self.code, self.title, "query"),))


def binding_of(order: str, scope: str) -> str:
    """What a cursor is bound to: the order of the list, and its path and filters."""
    return hashlib.sha256(f"{order}|{scope}".encode()).hexdigest()[:16]


def encoded_cursor(binding: str, values: Sequence[Any]) -> str:
    """The cursor after a row with these sort values."""
    texts = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps([binding, *texts]).encode()).decode().rstrip("=")


def decoded_cursor(cursor: str, binding: str, columns: Sequence[ColumnElement[Any]]) -> list[Any]:
    """The sort values in a cursor, which are of the types of `columns`. Raises InvalidCursor."""
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise InvalidCursor
        found, *texts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if found != binding or len(texts) != len(columns):
            raise InvalidCursor
        return [_parse(column.type.python_type, text) for column, text in zip(columns, texts, strict=True)]
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
    if kind is date:
        return date.fromisoformat(text)
    if kind is int:
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError("beyond bigint")
        return number
    if kind is Decimal:
        amount = Decimal(text)
        if not amount.is_finite() or abs(amount.adjusted()) > 100:
            raise ValueError("not an amount")
        return amount
    if "\x00" in text:
        raise ValueError("PostgreSQL's texts have no NUL")
    return str(text)
