"""The columns of exported lists: the fields of their items, in the order of the file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

Value = str | int | Decimal | date | None


class Kind(Enum):
    """What a column has, and how its JSON values are read."""

    TEXT = "text"
    INTEGER = "integer"
    AMOUNT = "amount"
    DATE = "date"
    MOMENT = "moment"
    FLAG = "flag"
    TEXTS = "texts"


@dataclass(frozen=True)
class Column:
    """A field; `width` is in characters, for workbooks."""

    name: str
    kind: Kind
    width: int


PORFS = (
    Column("id", Kind.INTEGER, 10),
    Column("number", Kind.TEXT, 18),
    Column("title", Kind.TEXT, 40),
    Column("status", Kind.TEXT, 16),
    Column("requester_id", Kind.INTEGER, 12),
    Column("requester_name", Kind.TEXT, 25),
    Column("supplier_id", Kind.INTEGER, 12),
    Column("supplier_name", Kind.TEXT, 30),
    Column("cost_centre", Kind.TEXT, 14),
    Column("needed_by", Kind.DATE, 12),
    Column("currency", Kind.TEXT, 9),
    Column("net", Kind.AMOUNT, 14),
    Column("tax", Kind.AMOUNT, 14),
    Column("total", Kind.AMOUNT, 14),
    Column("base_currency", Kind.TEXT, 14),
    Column("base_rate", Kind.AMOUNT, 14),
    Column("base_rate_date", Kind.DATE, 15),
    Column("base_net", Kind.AMOUNT, 14),
    Column("base_total", Kind.AMOUNT, 14),
    Column("submitted_at", Kind.MOMENT, 20),
    Column("decided_at", Kind.MOMENT, 20),
    Column("created_at", Kind.MOMENT, 20),
    Column("updated_at", Kind.MOMENT, 20),
)
PURCHASE_ORDERS = (
    Column("id", Kind.INTEGER, 10),
    Column("number", Kind.TEXT, 18),
    Column("status", Kind.TEXT, 12),
    Column("revision", Kind.INTEGER, 9),
    Column("supplier_id", Kind.INTEGER, 12),
    Column("supplier_name", Kind.TEXT, 30),
    Column("currency", Kind.TEXT, 9),
    Column("net", Kind.AMOUNT, 14),
    Column("tax", Kind.AMOUNT, 14),
    Column("total", Kind.AMOUNT, 14),
    Column("base_total", Kind.AMOUNT, 14),
    Column("line_count", Kind.INTEGER, 11),
    Column("is_partial", Kind.FLAG, 10),
    Column("cost_centres", Kind.TEXTS, 20),
    Column("delivery_date", Kind.DATE, 13),
    Column("created_by_id", Kind.INTEGER, 14),
    Column("created_by_name", Kind.TEXT, 25),
    Column("issued_at", Kind.MOMENT, 20),
    Column("created_at", Kind.MOMENT, 20),
    Column("updated_at", Kind.MOMENT, 20),
)
SUPPLIERS = (
    Column("id", Kind.INTEGER, 10),
    Column("name", Kind.TEXT, 30),
    Column("email", Kind.TEXT, 30),
    Column("tax_id", Kind.TEXT, 16),
    Column("address", Kind.TEXT, 40),
    Column("legal_name", Kind.TEXT, 30),
    Column("vat_id", Kind.TEXT, 16),
    Column("company_scheme", Kind.TEXT, 15),
    Column("company_id", Kind.TEXT, 16),
    Column("street", Kind.TEXT, 30),
    Column("street2", Kind.TEXT, 20),
    Column("city", Kind.TEXT, 20),
    Column("postal_code", Kind.TEXT, 12),
    Column("region", Kind.TEXT, 14),
    Column("country", Kind.TEXT, 8),
    Column("contact_name", Kind.TEXT, 25),
    Column("contact_email", Kind.TEXT, 30),
    Column("contact_phone", Kind.TEXT, 18),
    Column("endpoint_scheme", Kind.TEXT, 15),
    Column("endpoint_id", Kind.TEXT, 18),
    Column("language", Kind.TEXT, 9),
    Column("payment_days", Kind.INTEGER, 13),
    Column("payment_terms", Kind.TEXT, 30),
    Column("currency", Kind.TEXT, 9),
    Column("is_active", Kind.FLAG, 10),
    Column("created_at", Kind.MOMENT, 20),
    Column("updated_at", Kind.MOMENT, 20),
)


def _flag(value: bool) -> str:
    return "true" if value else "false"


_READ: Mapping[Kind, Callable[[Any], Value]] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.AMOUNT: Decimal,
    Kind.DATE: date.fromisoformat,
    Kind.MOMENT: datetime.fromisoformat,
    Kind.FLAG: _flag,
    Kind.TEXTS: ", ".join,
}


def values_of(item: Mapping[str, object], columns: Sequence[Column]) -> list[Value]:
    """The values of an item with the fields of `columns`, as its JSON representation has them."""
    found = ((item[column.name], _READ[column.kind]) for column in columns)
    return [None if value is None else read(value) for value, read in found]
