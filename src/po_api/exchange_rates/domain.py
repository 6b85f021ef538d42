"""The rules of exchange rates: where they come from, which ones are too far from their neighbours, and what a document
keeps of the rate that it was made with."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from po_api.core.money import MAX_AMOUNT, in_base_currency
from po_api.core.text import plain
from po_api.exchange_rates.errors import BaseAmountTooLarge


class RateSource(StrEnum):
    """Where a rate comes from: entered, from a file, or published by the European Central Bank."""

    MANUAL = "manual"
    IMPORT = "import"
    ECB = "ecb"


class DatedRate(NamedTuple):
    """A rate from a day on."""

    currency: str
    rate_date: date
    rate: Decimal


@dataclass(frozen=True)
class BaseAmounts:
    """What a document keeps when it is submitted or issued: the columns of `models.BaseAmountColumns`.

    `base_rate_id` is that of the organisation's rate, None for documents in the base currency. All are None in drafts,
    and in documents in another currency of an organisation that had no rates.
    """

    base_currency: str | None = None
    base_rate: Decimal | None = None
    base_rate_date: date | None = None
    base_rate_id: int | None = None
    base_net: Decimal | None = None
    base_total: Decimal | None = None


NO_BASE_AMOUNTS = BaseAmounts()


class DocumentRate(Protocol):
    """The rate that a document would get now: 1 in the base currency, None without a recent rate."""

    @property
    def base_currency(self) -> str: ...
    @property
    def base_rate(self) -> Decimal | None: ...
    @property
    def base_rate_date(self) -> date | None: ...
    @property
    def base_rate_id(self) -> int | None: ...


def base_amounts(net: Decimal, total: Decimal, rate: DocumentRate) -> BaseAmounts:
    """The amounts of a document in the base currency; none without a rate. Raises BaseAmountTooLarge."""
    if rate.base_rate is None:
        return NO_BASE_AMOUNTS
    of_rate = (rate.base_currency, rate.base_rate, rate.base_rate_date, rate.base_rate_id)
    amounts = [in_base_currency(amount, rate.base_rate, rate.base_currency) for amount in (net, total)]
    if max(amounts) > MAX_AMOUNT:
        raise BaseAmountTooLarge
    return BaseAmounts(*of_rate, *amounts)


def recorded(amounts: Mapping[str, Any]) -> dict[str, object]:
    """What the events of submissions and issues say of the columns of `BaseAmounts`, as the API shows them."""
    rate = amounts["base_rate"]
    shown = {name: amounts[name] for name in ("base_currency", "base_total", "base_rate_date")}
    return shown | {"base_rate": None if rate is None else plain(rate)}


def jumps(rate: Decimal, last: Decimal, max_percent: Decimal) -> bool:
    """Whether a rate differs from the last one by more than a percentage of it."""
    return abs(rate - last) * 100 > max_percent * last


def neighbours(rates: Iterable[DatedRate]) -> Mapping[str, list[DatedRate]]:
    """The rates of each currency in the order of their days."""
    found: dict[str, list[DatedRate]] = {}
    for rate in sorted(rates, key=lambda rate: rate.rate_date):
        found.setdefault(rate.currency, []).append(rate)
    return found


def last_before(rate: DatedRate, known: Mapping[str, Sequence[DatedRate]]) -> DatedRate | None:
    """The rate of the same currency that a new one is compared with: the newest of an earlier day, else the oldest of a
    later one. `known` are those of `neighbours`; the one of the same day is what is corrected."""
    others = [other for other in known.get(rate.currency, ()) if other.rate_date != rate.rate_date]
    index = bisect_left(others, rate.rate_date, key=lambda other: other.rate_date)
    return others[index - 1] if index else next(iter(others), None)
