"""Currencies that ISO 4217 has no longer: their digits, and until when they were legal tender."""

import datetime as dt
from decimal import Decimal

import pytest

from po_api.core.currencies import CURRENCIES, last_day, minor_units
from po_api.core.money import round_to_minor


@pytest.mark.parametrize(
    ("currency", "units", "last"),
    [
        ("BGN", 2, dt.date(2026, 1, 31)),
        ("HRK", 2, dt.date(2023, 1, 14)),
        ("ANG", 2, dt.date(2025, 6, 30)),
        ("ITL", 0, dt.date(2002, 2, 28)),
        ("SLL", 2, dt.date(2023, 12, 31)),
    ],
)
def test_a_withdrawn_currency_has_its_digits_and_its_last_day(currency: str, units: int, last: dt.date) -> None:
    assert currency not in CURRENCIES
    assert (minor_units(currency), last_day(currency)) == (units, last)


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_a_current_currency_has_no_last_day(currency: str) -> None:
    assert last_day(currency) is None


@pytest.mark.parametrize("code", ["XXX", "XAU", "QQQ"])
def test_what_was_never_legal_tender_has_no_last_day_and_two_digits(code: str) -> None:
    assert last_day(code) is None
    assert round_to_minor(Decimal("1.005"), code) == Decimal("1.01")
