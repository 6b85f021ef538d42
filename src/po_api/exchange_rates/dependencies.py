"""Dependencies of the exchange rates' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.exchange_rates.queries import DAY, SORTS, ExchangeRateQueries
from po_api.exchange_rates.service import ExchangeRateService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, any_of, days, filters, one
from po_api.web.schemas import IsoDate, KnownCurrency


async def _queries(request: Request, principal: PrincipalDep) -> ExchangeRateQueries:
    return ExchangeRateQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> ExchangeRateService:
    return ExchangeRateService(session_of(request), principal.actor())


_filters = filters(
    any_of("currency", KnownCurrency, "Only rates of these currencies", ["USD"]),
    one(DAY, IsoDate, "Only the rates that documents of this day get: for each currency one or none", "2026-03-04"),
    *days("rate_date"),
    *CREATED_AT,
    *UPDATED_AT,
)

ExchangeRateQueriesDep = Annotated[ExchangeRateQueries, Depends(_queries)]
ExchangeRateServiceDep = Annotated[ExchangeRateService, Depends(_service)]
ExchangeRateFiltersDep = Annotated[Filters, Depends(_filters)]
ExchangeRatePaging = Annotated[PageRequest, Depends(paging(*SORTS))]
