"""The amounts of a request: its lines' nets and its totals."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from po_api.core.money import MAX_AMOUNT, PricedLine, TaxRounding, Totals, line_net, taxed, totals
from po_api.porfs import errors


class Priced(Protocol):
    """The attributes of a line that determine its amounts; percentages are 0–100."""

    @property
    def quantity(self) -> Decimal: ...
    @property
    def unit_price(self) -> Decimal: ...
    @property
    def discount_percent(self) -> Decimal: ...
    @property
    def tax_rate(self) -> Decimal: ...


def priced(line: Priced) -> PricedLine:
    """The part of a line that determines its amounts."""
    return PricedLine(line.quantity, line.unit_price, line.discount_percent, line.tax_rate)


def net_of(line: Priced, currency: str) -> Decimal:
    """A line's net. Raises AmountTooLarge above MAX_AMOUNT."""
    net = line_net(priced(line), currency)
    if net > MAX_AMOUNT:
        raise errors.AmountTooLarge
    return net


def totals_of(lines: Iterable[Priced], *, currency: str, tax_rounding: str) -> Totals:
    """A document's totals. Raises AmountTooLarge above MAX_AMOUNT."""
    priced_lines = (priced(line) for line in lines)
    return _bounded(totals(priced_lines, currency=currency, tax_rounding=TaxRounding(tax_rounding)))


def totals_of_nets(nets: Iterable[tuple[Decimal, Decimal]], *, currency: str, tax_rounding: str) -> Totals:
    """The totals of a document whose lines have these (tax rate, net), as `totals_of`."""
    return _bounded(taxed(nets, currency=currency, tax_rounding=TaxRounding(tax_rounding)))


def _bounded(sums: Totals) -> Totals:
    if sums.total > MAX_AMOUNT:
        raise errors.AmountTooLarge
    return sums


def require_equal(computed: Decimal, sent: Decimal | None, pointer: str) -> None:
    """Raise TotalMismatch if the client sent another amount than the computed one."""
    if sent is not None and sent != computed:
        raise errors.TotalMismatch.at(pointer, detail=f"the computed amount is {computed:f}")
