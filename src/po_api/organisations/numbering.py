"""The numbers of documents, taken in the statement that writes the document: other documents of the organisation wait
for the series from then on until the transaction ends, and for nothing that is read or computed before.

The counter is part of the transaction, so that a rollback leaves no gap. Its row is the last lock (domain.md, lock
order).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import CTE, Text, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert

from po_api.db.query import ORGANISATION_ID, Query, TransactionExecutor
from po_api.organisations.domain import (
    NUMBER_DIGITS,
    DocumentType,
    NumberingRules,
    format_number,
    period_of,
    prefix_of,
)
from po_api.organisations.models import NumberSeries


class _Value(NamedTuple):
    value: int


@dataclass(frozen=True)
class Numbering:
    """A series of numbers, and the prefix that they have now: the parameters of `taken_number`."""

    document_type: str
    period: str
    prefix: str

    @classmethod
    def of(cls, rules: NumberingRules, document_type: DocumentType, moment: datetime) -> "Numbering":
        """The series of the year of `moment` in the organisation's time zone."""
        return cls(document_type, period_of(moment, rules.timezone), prefix_of(document_type, rules))


_SERIES = {"organisation_id": ORGANISATION_ID} | {
    name: bindparam(name, type_=Text) for name in ("document_type", "period")
}
_PREFIX = bindparam("prefix", type_=Text)


def _taken_value() -> ReturningInsert[int]:
    return (
        insert(NumberSeries)
        .values(**_SERIES, next_value=2)
        .on_conflict_do_update(index_elements=list(_SERIES), set_={"next_value": NumberSeries.next_value + 1})
        .returning((NumberSeries.next_value - 1).label("value"))
    )


def taken_number() -> CTE:
    """The part of a statement that takes the next number of a `Numbering`; its only row is the `number`, as
    `domain.format_number` writes it."""
    digits = cast(_taken_value().cte("taken_value").c.value, Text)
    padded = func.lpad(digits, func.greatest(func.length(digits), NUMBER_DIGITS), "0")
    return select(func.concat(_PREFIX, "-", _SERIES["period"], "-", padded).label("number")).cte("taken_number")


_TAKE = Query("organisations.take_number", _taken_value(), _Value)


async def next_number(executor: TransactionExecutor, organisation_id: int, numbering: Numbering) -> str:
    """The next number, taken by a statement of its own, as a distributed database needs it."""
    series = {"document_type": numbering.document_type, "period": numbering.period}
    taken = await executor.row(_TAKE, organisation_id=organisation_id, **series)
    assert taken is not None
    return format_number(numbering.prefix, numbering.period, taken.value)
