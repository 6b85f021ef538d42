"""Currencies: those of ISO 4217, and those that were legal tender once.

The table of ISO 4217 drops a currency that is withdrawn. Documents in it stay readable; there are no new ones.
"""

import datetime as dt
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache

from iso4217 import Currency

from po_api.core.errors import FieldError, Unprocessable

WITHDRAWN_CODE = "withdrawn_currency"
WITHDRAWN_DETAIL = "must be a current currency; this one was legal tender until {last}"

# Codes of ISO 4217 that have minor units: without gold, test codes and the like.
_MINOR_UNITS = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}
CURRENCIES = frozenset(_MINOR_UNITS)

# CLDR, which Babel contains, has the digits in everyday use. These are the ones of ISO 4217 where they differ, for
# currencies that are or may be withdrawn.
_ISO_DIGITS = {"IQD": 3} | dict.fromkeys(
    "AFN ALL COP HUF IDR IRR KPW LAK LBP MGA MMK MRO SLL SOS STD SYP YER ZMK ZWD".split(), 2
)

# Signs in use that CLDR does not have.
_FURTHER_SIGNS = {"CHF": ("Fr.", "SFr."), "RON": ("lei",)}


@lru_cache(maxsize=1024)
def minor_units(currency: str) -> int:
    """The number of decimals of a currency, current or withdrawn; 2 for an unknown one, as in CLDR."""
    if currency in _MINOR_UNITS:
        return _MINOR_UNITS[currency]
    if currency in _ISO_DIGITS:
        return _ISO_DIGITS[currency]
    from babel.numbers import get_currency_precision  # noqa: PLC0415  (takes long, and is rarely needed)

    return get_currency_precision(currency)


def unusual_minor_units() -> dict[str, int]:
    """The number of decimals of the currencies, current or withdrawn by now, that do not have two."""
    return {code: units for code, units in (_ISO_DIGITS | _MINOR_UNITS).items() if units != 2}


@lru_cache(maxsize=1024)
def smallest_amount(currency: str) -> Decimal:
    """One minor unit of the currency, such as 0.01."""
    return Decimal(1).scaleb(-minor_units(currency))


@lru_cache(maxsize=1024)
def symbols(currency: str) -> frozenset[str]:
    """The signs of a currency where it is used, and its code: $, US$ and USD."""
    from babel import UnknownLocaleError  # noqa: PLC0415
    from babel.core import get_global  # noqa: PLC0415
    from babel.languages import get_official_languages  # noqa: PLC0415
    from babel.numbers import get_currency_symbol  # noqa: PLC0415

    found = {currency, get_currency_symbol(currency, "en"), *_FURTHER_SIGNS.get(currency, ())}
    for territory, periods in get_global("territory_currencies").items():
        if not any(code == currency and end is None for code, _, end, _ in periods):
            continue
        for language in get_official_languages(territory):
            with suppress(UnknownLocaleError, ValueError):
                found.add(get_currency_symbol(currency, f"{language}_{territory}"))
    return frozenset("".join(symbol.split()) for symbol in found)


@lru_cache(maxsize=1024)
def last_day(currency: str) -> dt.date | None:
    """The last day on which a withdrawn currency was legal tender anywhere; None for current and unknown ones."""
    if currency in CURRENCIES:
        return None
    from babel.core import get_global  # noqa: PLC0415

    periods = [period for territory in get_global("territory_currencies").values() for period in territory]
    ends = [end for code, _, end, is_tender in periods if code == currency and is_tender and end is not None]
    return dt.date(*max(ends)) if ends else None


def require_current(currency: str) -> None:
    """Raise Unprocessable for a withdrawn currency in the field `currency` of a body."""
    if (last := last_day(currency)) is not None:
        detail = WITHDRAWN_DETAIL.format(last=last.isoformat())
        raise Unprocessable(errors=(FieldError("/currency", WITHDRAWN_CODE, detail),))
