"""Money: ISO 4217 minor units, half-up. The only module that rounds, but for its form in SQL
(db/money_sql.py).

The rules are those of domain.md: a line's net is rounded to the currency's minor unit, tax is rounded per rate
(document mode) or per line (line mode), and the total is the sum of the rounded amounts.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, localcontext
from enum import StrEnum

from po_api.core.currencies import smallest_amount

# Wide enough for the product of two numeric(18,4) columns and three percentages without an inexact step.
_EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
_HUNDRED = Decimal(100)

# The largest amount a document can carry; a column bound (see the models) and an API bound.
MAX_AMOUNT = Decimal("999999999999999.9999")


class TaxRounding(StrEnum):
    """Where tax is rounded: once per rate on the document, or on every line."""

    DOCUMENT = "document"
    LINE = "line"


@dataclass(frozen=True)
class PricedLine:
    """The inputs of a line's amounts; percentages are 0–100."""

    quantity: Decimal
    unit_price: Decimal
    discount_percent: Decimal
    tax_rate: Decimal


@dataclass(frozen=True)
class TaxAmount:
    """The tax at one rate: `net` is the taxed amount, `tax` the tax on it."""

    rate: Decimal
    net: Decimal
    tax: Decimal


@dataclass(frozen=True)
class Totals:
    """A document's totals in its currency's minor units; `taxes` ascend by rate."""

    net: Decimal
    tax: Decimal
    total: Decimal
    taxes: tuple[TaxAmount, ...]


def round_to_minor(amount: Decimal, currency: str) -> Decimal:
    """`amount` rounded half-up to the currency's minor unit."""
    return amount.quantize(smallest_amount(currency), context=_EXACT)


def round_to_places(number: Decimal, places: int) -> Decimal:
    """`number` rounded half-up to decimals, in the precision of the caller's context."""
    return number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def cut_quantity(quantity: Decimal) -> Decimal:
    """`quantity` cut to four decimals: rounding up could exceed a tolerance."""
    return quantity.quantize(Decimal("0.0001"), rounding=ROUND_DOWN, context=_EXACT)


def line_net(line: PricedLine, currency: str) -> Decimal:
    """round_m(quantity × unit price × (1 − discount/100))."""
    with localcontext(_EXACT):
        exact = line.quantity * line.unit_price * (1 - line.discount_percent / _HUNDRED)
    return round_to_minor(exact, currency)


def totals(lines: Iterable[PricedLine], *, currency: str, tax_rounding: TaxRounding) -> Totals:
    """The totals of a document with these lines; zero for none."""
    nets = ((line.tax_rate, line_net(line, currency)) for line in lines)
    return taxed(nets, currency=currency, tax_rounding=tax_rounding)


def taxed(lines: Iterable[tuple[Decimal, Decimal]], *, currency: str, tax_rounding: TaxRounding) -> Totals:
    """The totals of a document whose lines have these (tax rate, net), the net rounded as `line_net` does."""
    taxes = taxes_by_rate(lines, currency=currency, tax_rounding=tax_rounding)
    with localcontext(_EXACT):
        net = round_to_minor(sum((tax.net for tax in taxes), Decimal(0)), currency)
        tax = round_to_minor(sum((tax.tax for tax in taxes), Decimal(0)), currency)
        # Inside the context, too: the default one would round a sum of more than 28 digits.
        return Totals(net=net, tax=tax, total=net + tax, taxes=taxes)


def taxes_by_rate(
    lines: Iterable[tuple[Decimal, Decimal]], *, currency: str, tax_rounding: TaxRounding
) -> tuple[TaxAmount, ...]:
    """The taxes of a document whose lines have these (tax rate, net), the lowest rate first."""
    nets: defaultdict[Decimal, list[Decimal]] = defaultdict(list)
    with localcontext(_EXACT):
        for rate, net in lines:
            nets[rate.normalize()].append(net)
        return tuple(_tax(rate, nets[rate], currency, tax_rounding) for rate in sorted(nets))


def _tax(rate: Decimal, nets: Sequence[Decimal], currency: str, tax_rounding: TaxRounding) -> TaxAmount:
    """The tax at one rate on lines with these nets: rounded line by line, or once for all of them."""
    net = sum(nets, Decimal(0))
    taxed_together = nets if tax_rounding is TaxRounding.LINE else [net]
    tax = sum((round_to_minor(part * rate / _HUNDRED, currency) for part in taxed_together), Decimal(0))
    return TaxAmount(rate, net, tax)


def in_base_currency(amount: Decimal, rate: Decimal, base_currency: str) -> Decimal:
    """`amount` of a document in the base currency: round_base(amount × rate), half-up.

    `rate` is in units of the base currency for one unit of the document's.
    """
    with localcontext(_EXACT):
        exact = amount * rate
    return round_to_minor(exact, base_currency)


def base_nets(nets: Sequence[Decimal], rate: Decimal, total: Decimal, base_currency: str) -> list[Decimal]:
    """The nets of a document's lines in the base currency, whose sum is `total`, the rounded net of the document.

    Each is rounded half-up. What is then missing or too much is distributed by minor units to the lines with the
    largest errors of rounding, the first of equal ones; it is less than a minor unit for each line.
    """
    unit = smallest_amount(base_currency)
    with localcontext(_EXACT):
        exact = [net * rate for net in nets]
        shares = [round_to_minor(amount, base_currency) for amount in exact]
        missing = total - sum(shares, Decimal(0))
        sign = 1 if missing > 0 else -1
        by_error = sorted(range(len(nets)), key=lambda index: (exact[index] - shares[index]) * -sign)
        for index in by_error[: int(abs(missing) / unit)]:
            shares[index] += sign * unit
    return shares
