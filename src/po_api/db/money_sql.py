"""Money in SQL: the rounding of core/money.py, for amounts that are sorted by or compared in lists.

Tests compare both.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, literal_column

from po_api.core.currencies import unusual_minor_units
from po_api.core.money import TaxRounding

# Multiplied by, since the decimals of a quotient are limited.
_PERCENT: ColumnElement[Any] = literal_column("0.01")

_BY_UNITS: defaultdict[int, list[str]] = defaultdict(list)
for _code, _units in sorted(unusual_minor_units().items()):
    _BY_UNITS[_units].append(_code)

Number = SQLColumnExpression[Decimal] | ColumnElement[Any]


def add_percent(quantity: Number, percent: Number) -> ColumnElement[Decimal]:
    """The quantity and a percentage of it, cut to four decimals as by `money.cut_quantity`."""
    return func.trunc(quantity * (100 + percent) * _PERCENT, 4)


def line_net(
    quantity: Number, unit_price: Number, discount_percent: Number, *, digits: ColumnElement[int]
) -> ColumnElement[Decimal]:
    """`money.line_net`; `digits` are the currency's minor units."""
    return func.round(quantity * unit_price * (100 - discount_percent) * _PERCENT, digits)


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


def minor_units(currency: SQLColumnExpression[str]) -> ColumnElement[int]:
    """`currencies.minor_units`, two for a currency that ISO 4217 has dropped."""
    return case(*((currency.in_(codes), units) for units, codes in _BY_UNITS.items()), else_=2)


def in_base_currency(amount: Number, rate: Number, *, digits: ColumnElement[int]) -> ColumnElement[Decimal]:
    """`money.in_base_currency`; `digits` are the base currency's minor units."""
    return func.round(amount * rate, digits)
