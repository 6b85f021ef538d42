"""/exchange-rates"""

from typing import Annotated

from fastapi import Form, Path, Request, Response

from po_api.core.permissions import Permission
from po_api.exchange_rates.dependencies import (
    ExchangeRateFiltersDep,
    ExchangeRatePaging,
    ExchangeRateQueriesDep,
    ExchangeRateServiceDep,
)
from po_api.exchange_rates.domain import DatedRate
from po_api.exchange_rates.imports import MAX_FILE_BYTES
from po_api.exchange_rates.schemas import (
    ExchangeRateCreate,
    ExchangeRateImportBody,
    ExchangeRatePage,
    ExchangeRateRead,
    ExchangeRatesImported,
)
from po_api.web.dependencies import DryRun, link_next
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/exchange-rates", tags=["exchange rates"])

RateId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get(
    "",
    operation_id="listExchangeRates",
    summary="List exchange rates",
    responses=problems(403),
    openapi_extra=requires(Permission.EXCHANGE_RATES_READ),
)
async def list_exchange_rates(
    request: Request,
    response: Response,
    rates: ExchangeRateQueriesDep,
    filters: ExchangeRateFiltersDep,
    paging: ExchangeRatePaging,
) -> ExchangeRatePage:
    """List exchange rates. `?currency=USD&date=2026-03-04` returns the rate that documents of this day get, if any."""
    page = await rates.page(filters, paging)
    items = [ExchangeRateRead.model_validate(row) for row in page.items]
    return ExchangeRatePage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="putExchangeRate",
    summary="Add or correct an exchange rate",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409) | {200: {"model": ExchangeRateRead, "description": "Corrected, or there already"}},
    openapi_extra=requires(Permission.EXCHANGE_RATES_WRITE),
)
async def put_exchange_rate(
    response: Response, service: ExchangeRateServiceDep, body: ExchangeRateCreate, dry_run: DryRun
) -> ExchangeRateRead:
    """Add a rate. Requires the role `admin`. A rate of the same currency and day is corrected (200).

    Requests and orders that were submitted or issued keep the rate that they have."""
    rate = DatedRate(body.currency, body.rate_date, body.rate)
    found, is_new = await service.put(rate, source=body.source, confirm=body.confirm)
    response.status_code = 201 if is_new else 200
    return ExchangeRateRead.model_validate(found)


@router.post(
    "/import",
    operation_id="importExchangeRates",
    summary="Import exchange rates",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409, 413),
    openapi_extra=requires(Permission.EXCHANGE_RATES_WRITE, is_heavy=True),
)
async def import_exchange_rates(
    service: ExchangeRateServiceDep,
    body: Annotated[ExchangeRateImportBody, Form(media_type="multipart/form-data")],
    dry_run: DryRun,
) -> ExchangeRatesImported:
    """Add or correct the rates of a CSV file, all or none. Requires the role `admin`."""
    content = await body.file.read(MAX_FILE_BYTES + 1)
    imported = await service.import_file(content, confirm=body.confirm)
    return ExchangeRatesImported.model_validate(imported)


@router.delete(
    # Not /import, which has no DELETE.
    "/{rate_id:int}",
    operation_id="deleteExchangeRate",
    summary="Delete an exchange rate",
    status_code=204,
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.EXCHANGE_RATES_WRITE),
)
async def delete_exchange_rate(service: ExchangeRateServiceDep, rate_id: RateId) -> None:
    """Delete a rate that no request and no order has. Requires the role `admin`."""
    await service.delete(rate_id)
