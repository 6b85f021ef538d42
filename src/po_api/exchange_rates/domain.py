"""The rules of exchange rates: where they come from, which ones are too far from their neighbours, and what a document
keeps of the rate that it was made with."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
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


class KnownRates:
    """The rates that new ones are compared with: stored ones, and those that are written with them."""

    def __init__(self, stored: Iterable[DatedRate], written: Iterable[DatedRate] = ()) -> None:
        self._stored = {_key(rate): rate for rate in stored}
        known = self._stored | {_key(rate): rate for rate in written}
        self._by_currency: dict[str, list[DatedRate]] = {}
        for rate in sorted(known.values(), key=lambda rate: rate.rate_date):
            self._by_currency.setdefault(rate.currency, []).append(rate)

    def last_before(self, rate: DatedRate) -> DatedRate | None:
        """The rate of the same currency that a new one is compared with: the newest of an earlier day. The first rate
        of a currency is compared with the stored one that it corrects, or else with the next one."""
        others = self._by_currency.get(rate.currency, [])
        index = bisect_left(others, rate.rate_date, key=lambda other: other.rate_date)
        if index:
            return others[index - 1]
        later = (other for other in others[:2] if other.rate_date != rate.rate_date)
        return self._stored.get(_key(rate)) or next(later, None)


def _key(rate: DatedRate) -> tuple[str, date]:
    return rate.currency, rate.rate_date
