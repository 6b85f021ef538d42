"""Rounding and totals against an oracle of exact fractions, and domain.md's worked examples."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.currencies import CURRENCIES, minor_units
from po_api.core.money import (
    PricedLine,
    TaxRounding,
    base_nets,
    cut_quantity,
    in_base_currency,
    line_net,
    round_to_minor,
    totals,
)

# ISO 4217, table A.1, by hand: currencies of each number of decimals.
MINOR_UNITS = {"JPY": 0, "KRW": 0, "GBP": 2, "EUR": 2, "USD": 2, "KWD": 3, "TND": 3, "CLF": 4}


def decimals(maximum: str) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=0, max_value=Decimal(maximum), places=4, allow_nan=False, allow_infinity=False)


currencies = st.sampled_from(sorted(MINOR_UNITS))
percentages = decimals("100")
priced_lines = st.builds(
    PricedLine,
    quantity=decimals("99999999999999.9999"),
    unit_price=decimals("99999999999999.9999"),
    discount_percent=percentages,
    tax_rate=st.sampled_from([Decimal(0), Decimal(5), Decimal("5.0000"), Decimal("19.5")]) | percentages,
)


def half_up(amount: Fraction, currency: str) -> Fraction:
    """The oracle's rounding of an amount that is not negative."""
    scale = 10 ** MINOR_UNITS[currency]
    return Fraction(floor(amount * scale + Fraction(1, 2)), scale)


def expected_net(line: PricedLine, currency: str) -> Fraction:
    exact = Fraction(line.quantity) * Fraction(line.unit_price) * (1 - Fraction(line.discount_percent) / 100)
    return half_up(exact, currency)


def expected_taxes(lines: Sequence[PricedLine], currency: str, rounding: TaxRounding) -> dict[Fraction, Fraction]:
    taxes = {}
    for rate in {Fraction(line.tax_rate) for line in lines}:
        nets = [expected_net(line, currency) for line in lines if Fraction(line.tax_rate) == rate]
        if rounding is TaxRounding.LINE:
            taxes[rate] = sum((half_up(net * rate / 100, currency) for net in nets), Fraction(0))
        else:
            taxes[rate] = half_up(sum(nets, Fraction(0)) * rate / 100, currency)
    return taxes


def priced(quantity: str, price: str, *, discount: str = "0", rate: str = "0") -> PricedLine:
    return PricedLine(Decimal(quantity), Decimal(price), Decimal(discount), Decimal(rate))


@pytest.mark.parametrize(("currency", "units"), MINOR_UNITS.items())
def test_minor_units_are_those_of_the_standard(currency: str, units: int) -> None:
    assert minor_units(currency) == units


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "XDR", "EURO", "eur", ""])
def test_gold_and_test_codes_are_not_currencies(code: str) -> None:
    assert code not in CURRENCIES


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("100.5", "JPY", "101"),
        ("100.4999", "JPY", "100"),
        ("0.005", "GBP", "0.01"),
        ("0.0049", "GBP", "0.00"),
        ("2.675", "EUR", "2.68"),
        ("1.0005", "KWD", "1.001"),
        ("12.5", "GBP", "12.50"),
        ("0", "KWD", "0.000"),
    ],
)
def test_halves_are_rounded_up_to_the_minor_unit_and_shown_with_it(amount: str, currency: str, rounded: str) -> None:
    assert str(round_to_minor(Decimal(amount), currency)) == rounded


def test_two_lines_of_1_1_at_5_pence_total_12_pence() -> None:
    line = priced("1.100", "0.05")
    found = totals([line, line], currency="GBP", tax_rounding=TaxRounding.DOCUMENT)
    assert (line_net(line, "GBP"), found.total) == (Decimal("0.06"), Decimal("0.12"))


@pytest.mark.parametrize(("rounding", "tax"), [(TaxRounding.DOCUMENT, "0.03"), (TaxRounding.LINE, "0.02")])
def test_tax_of_14_and_11_pence_at_10_percent_depends_on_the_mode(rounding: TaxRounding, tax: str) -> None:
    lines = [priced("1", "0.14", rate="10"), priced("1", "0.11", rate="10")]
    found = totals(lines, currency="GBP", tax_rounding=rounding)
    assert (found.net, found.tax, found.total) == (Decimal("0.25"), Decimal(tax), Decimal("0.25") + Decimal(tax))


@given(priced_lines, currencies)
def test_a_lines_net_equals_that_in_exact_fractions(line: PricedLine, currency: str) -> None:
    net = line_net(line, currency)
    assert Fraction(net) == expected_net(line, currency)
    assert net.as_tuple().exponent == -MINOR_UNITS[currency]


@given(st.lists(priced_lines, max_size=6), currencies, st.sampled_from(TaxRounding))
def test_totals_equal_those_in_exact_fractions(lines: list[PricedLine], currency: str, rounding: TaxRounding) -> None:
    found = totals(lines, currency=currency, tax_rounding=rounding)
    taxes = expected_taxes(lines, currency, rounding)
    assert {Fraction(tax.rate): Fraction(tax.tax) for tax in found.taxes} == taxes
    assert Fraction(found.tax) == sum(taxes.values())
    assert Fraction(found.net) == sum(expected_net(line, currency) for line in lines)
    assert Fraction(found.total) == Fraction(found.net) + Fraction(found.tax)
    assert {amount.as_tuple().exponent for amount in (found.net, found.tax, found.total)} == {-MINOR_UNITS[currency]}


@given(st.lists(priced_lines, max_size=6), st.randoms(), st.sampled_from(TaxRounding))
def test_the_order_of_the_lines_changes_no_total(lines: list[PricedLine], random: object, mode: TaxRounding) -> None:
    shuffled = list(lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert totals(shuffled, currency="EUR", tax_rounding=mode) == totals(lines, currency="EUR", tax_rounding=mode)


@given(decimals("100000"), percentages)
def test_a_quantity_is_cut_never_rounded_up(quantity: Decimal, percent: Decimal) -> None:
    exact = Fraction(quantity) * (1 + Fraction(percent) / 100)
    cut = Fraction(cut_quantity(quantity * (1 + percent / 100)))
    assert cut == Fraction(floor(exact * 10_000), 10_000)


rates = st.decimals(min_value="0.0000000001", max_value=9_999_999_999, places=10)


@given(decimals("999999999999999.9999"), rates, currencies)
def test_an_amount_in_the_base_currency_is_rounded_half_up(amount: Decimal, rate: Decimal, currency: str) -> None:
    found = in_base_currency(amount, rate, currency)
    assert Fraction(found) == half_up(Fraction(amount) * Fraction(rate), currency)
    assert found.as_tuple().exponent == -MINOR_UNITS[currency]


@given(st.lists(decimals("1000000"), max_size=40), rates, currencies)
def test_the_nets_of_lines_in_the_base_currency_add_up(nets: list[Decimal], rate: Decimal, currency: str) -> None:
    total = in_base_currency(sum(nets, Decimal(0)), rate, currency)
    shares = base_nets(nets, rate, total, currency)
    assert sum(map(Fraction, shares), Fraction(0)) == Fraction(total)
    unit = Fraction(1, 10 ** MINOR_UNITS[currency])
    for net, share in zip(nets, shares, strict=True):
        assert share >= 0
        # Less than one unit and a half from the exact share: rounded, and at most one unit more or less.
        assert abs(Fraction(share) - Fraction(net) * Fraction(rate)) < 2 * unit


def test_what_rounding_leaves_goes_to_the_first_of_equal_lines() -> None:
    nets = [Decimal("33.33")] * 3
    assert base_nets(nets, Decimal("0.9215"), Decimal("92.14"), "EUR") == [
        Decimal(text) for text in ("30.72", "30.71", "30.71")
    ]
    # Three halves are rounded up, of which one unit and a half is too much.
    assert base_nets([Decimal("0.05")] * 3, Decimal("0.1"), Decimal("0.02"), "EUR") == [
        Decimal(text) for text in ("0.00", "0.01", "0.01")
    ]
