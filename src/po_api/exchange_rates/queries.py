"""Reading exchange rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import ColumnElement, Date, Text, any_, bindparam, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from po_api.core.actor import Actor
from po_api.db.filters import Filters, condition
from po_api.db.pagination import Listing, PageOf, PageRequest
from po_api.db.query import ORGANISATION_ID, AnySelect, Query, QueryExecutor, columns_for
from po_api.exchange_rates.models import ExchangeRate
from po_api.exchange_rates.projections import is_recent
from po_api.organisations.models import Organisation

SORTS = ("rate_date", "created_at", "updated_at")
# The filter by the day of a document.
DAY = "date"


class ExchangeRateRow(NamedTuple):
    """An exchange rate."""

    id: int
    currency: str
    rate_date: date
    rate: Decimal
    source: str
    created_by_id: int
    created_at: datetime
    updated_at: datetime


_RATES = ExchangeRate.__table__
_IS_OWN = ExchangeRate.organisation_id == ORGANISATION_ID
_DAY = bindparam(DAY, type_=Date)
_LIST = Listing("exchange_rates.list", _RATES, ExchangeRateRow, sorts=SORTS, default="-rate_date")
_OF_CURRENCIES = Query(
    "exchange_rates.of_currencies",
    select(*columns_for(ExchangeRateRow, _RATES)).where(
        _IS_OWN, ExchangeRate.currency == any_(bindparam("currencies", type_=ARRAY(Text)))
    ),
    ExchangeRateRow,
)


@dataclass(frozen=True)
class _Chosen:
    """The rates of one organisation that fulfil the conditions of these names."""

    narrowed_by: frozenset[str]

    def __call__(self) -> AnySelect:
        conditions = [condition(_RATES, name) for name in sorted(self.narrowed_by - {DAY})]
        chosen = select(_RATES).where(_IS_OWN, *conditions)
        return chosen.where(*_taken_on_day()) if DAY in self.narrowed_by else chosen


def _taken_on_day() -> tuple[ColumnElement[bool], ...]:
    """The rates that documents of a day would get: of each currency the newest recent one."""
    later = _RATES.alias("later")
    newer = (
        select(true())
        .select_from(later)
        .where(
            later.c.organisation_id == ORGANISATION_ID,
            later.c.currency == _RATES.c.currency,
            later.c.rate_date > _RATES.c.rate_date,
            later.c.rate_date <= _DAY,
        )
        .correlate(_RATES)
    )
    age = select(Organisation.max_rate_age_days).where(Organisation.id == ORGANISATION_ID).scalar_subquery()
    return is_recent(_RATES, _DAY, age), ~newer.exists()


class ExchangeRateQueries:
    """Reads the exchange rates of the actor's organisation."""

    def __init__(self, executor: QueryExecutor, actor: Actor) -> None:
        self._executor = executor
        self._organisation_id = actor.organisation_id

    async def page(self, filters: Filters, request: PageRequest) -> PageOf[ExchangeRateRow]:
        given = filters.parameters()
        await self._executor.enter_tenant(self._organisation_id)
        parameters = {"organisation_id": self._organisation_id, **given}
        return await _LIST.page(self._executor, _Chosen(frozenset(given)), request, parameters)

    async def of(self, currencies: Sequence[str]) -> Sequence[ExchangeRateRow]:
        """All rates of these currencies, in no order."""
        await self._executor.enter_tenant(self._organisation_id)
        return await self._executor.rows(
            _OF_CURRENCIES, organisation_id=self._organisation_id, currencies=list(currencies)
        )
