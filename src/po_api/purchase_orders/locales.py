"""Dates, numbers, units and names as a language writes them, by CLDR (Babel)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Literal

from po_api.core.parties import Language
from po_api.purchase_orders.labels import LABELS, Labels, Names

if TYPE_CHECKING:
    from babel import Locale

_LOCALES = {Language.ENGLISH: "en_GB", Language.GERMAN: "de", Language.FRENCH: "fr", Language.SPANISH: "es"}

# Codes of UN/ECE Recommendation 20 with their unit in CLDR. Symbols of times are the same in all languages.
_SYMBOLS = {
    "MGM": "mass-milligram",
    "GRM": "mass-gram",
    "KGM": "mass-kilogram",
    "TNE": "mass-tonne",
    "LBR": "mass-pound",
    "ONZ": "mass-ounce",
    "MMT": "length-millimeter",
    "CMT": "length-centimeter",
    "MTR": "length-meter",
    "KMT": "length-kilometer",
    "INH": "length-inch",
    "FOT": "length-foot",
    "YRD": "length-yard",
    "MTK": "area-square-meter",
    "FTK": "area-square-foot",
    "MLT": "volume-milliliter",
    "LTR": "volume-liter",
    "MTQ": "volume-cubic-meter",
    "KWH": "energy-kilowatt-hour",
}
_WORDS = {"DAY": "duration-day", "WEE": "duration-week", "MON": "duration-month", "ANN": "duration-year"}
_TIMES = {"SEC": "s", "MIN": "min", "HUR": "h"}


@dataclass(frozen=True)
class Wording:
    """One language: its labels, and how it writes values. Nothing is rounded."""

    language: Language
    labels: Labels
    units: Mapping[str, Names]
    separators: Mapping[int, str]
    percent: str

    @property
    def _locale(self) -> "Locale":
        return _locale(self.language)

    def date(self, day: dt.date) -> str:
        """The day with the name of its month."""
        from babel.dates import format_date  # noqa: PLC0415

        return format_date(day, "long", locale=self._locale)

    def short_date(self, day: dt.date) -> str:
        """The day with a short name of its month, or its number."""
        from babel.dates import format_date  # noqa: PLC0415

        return format_date(day, "medium", locale=self._locale)

    def decimal(self, value: Decimal, digits: int = 0) -> str:
        """`value` with separators of thousands and at least `digits` decimals."""
        whole, _, fraction = f"{value:,f}".partition(".")
        fraction = fraction.rstrip("0").ljust(digits, "0")
        return (f"{whole}.{fraction}" if fraction else whole).translate(self.separators)

    def percentage(self, value: Decimal) -> str:
        """A percentage from 0 to 100."""
        return f"{self.decimal(value)}{self.percent}"

    def unit(self, code: str, quantity: Decimal) -> str:
        """The name of a unit as it stands after the quantity; the code if it has no name."""
        one, other = self.units.get(code, (code, code))
        return one if self._locale.plural_form(quantity.normalize()) == "one" else other

    def currency(self, code: str) -> str:
        """The code of a currency with its name, if it has one."""
        name = self._locale.currencies.get(code)
        return f"{code} ({name})" if name else code

    def country(self, code: str | None) -> str | None:
        """The name of a country, by its code of ISO 3166-1."""
        return code and self._locale.territories.get(code, code)


@cache
def wording_of(language: Language) -> Wording:
    """How documents in this language are written."""
    locale, labels = _locale(language), LABELS[language]
    symbols = locale.number_symbols["latn"]
    separators = str.maketrans({",": symbols["group"], ".": symbols["decimal"]})
    percent = locale.percent_formats[None].pattern.removeprefix("#,##0")
    names = {code: (symbol, symbol) for code, symbol in _TIMES.items()}
    names |= {code: _names(locale, unit, "short") for code, unit in _SYMBOLS.items()}
    names |= {code: _names(locale, unit, "long") for code, unit in _WORDS.items()}
    return Wording(language, labels, names | dict(labels.units), separators, percent)


@cache
def _locale(language: Language) -> "Locale":
    from babel import Locale  # noqa: PLC0415  (takes long to import)

    return Locale.parse(_LOCALES[language])


def _names(locale: "Locale", unit: str, length: Literal["short", "long"]) -> Names:
    from babel.units import format_unit  # noqa: PLC0415

    one, other = (format_unit(value, unit, length, locale=locale) for value in (1, 2))
    return one.removeprefix("1").strip(), other.removeprefix("2").strip()
