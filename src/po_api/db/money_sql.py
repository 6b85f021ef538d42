"""Money in SQL: the rounding of core/money.py, for amounts that lists sort by. A test compares both."""

from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, literal_column

from po_api.core.money import TaxRounding

# Multiplied by, since the decimals of a quotient are limited.
_PERCENT: ColumnElement[Any] = literal_column("0.01")


def tax_at_rate(
    nets: SQLColumnExpression[Decimal],
    rate: SQLColumnExpression[Decimal],
    *,
    tax_rounding: SQLColumnExpression[str],
    digits: ColumnElement[int],
) -> ColumnElement[Decimal]:
    """The tax on all lines with one rate, as an aggregate in a statement that is grouped by the rate.

    `digits` are the currency's minor units. PostgreSQL rounds half away from zero, which is half-up for amounts.
    """
    by_line = func.sum(func.round(nets * rate * _PERCENT, digits))
    together = func.round(func.sum(nets) * rate * _PERCENT, digits)
    return case((tax_rounding == TaxRounding.LINE, by_line), else_=together)
