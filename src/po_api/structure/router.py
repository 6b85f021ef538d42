"""/cost-centres"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.structure.dependencies import (
    CodedPaging,
    CostCentreFiltersDep,
    CostCentreQueriesDep,
    CostCentreServiceDep,
)
from po_api.structure.queries import CostCentreRow
from po_api.structure.schemas import CostCentreCreate, CostCentrePage, CostCentreRead, CostCentreUpdate
from po_api.web.dependencies import DryRun, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/cost-centres", tags=["cost centres"])

CostCentreId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CHANGING = problems(403, 404, 409, 412, 428)


def _read(response: Response, row: CostCentreRow) -> CostCentreRead:
    set_version(response, row.version)
    return CostCentreRead.model_validate(row)


@router.get(
    "",
    operation_id="listCostCentres",
    summary="List cost centres",
    responses=problems(403),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_cost_centres(
    request: Request,
    response: Response,
    cost_centres: CostCentreQueriesDep,
    filters: CostCentreFiltersDep,
    paging: CodedPaging,
) -> CostCentrePage:
    page = await cost_centres.page(filters, paging)
    items = [CostCentreRead.model_validate(row) for row in page.items]
    return CostCentrePage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createCostCentre",
    summary="Add a cost centre",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def create_cost_centre(
    response: Response,
    service: CostCentreServiceDep,
    cost_centres: CostCentreQueriesDep,
    body: CostCentreCreate,
) -> CostCentreRead:
    """Add a cost centre. Requires the role `admin`."""
    cost_centre_id = await service.create(body.model_dump())
    response.headers["Location"] = f"/api/v1/cost-centres/{cost_centre_id}"
    return _read(response, await cost_centres.get(cost_centre_id))


@router.get(
    "/{cost_centre_id}",
    operation_id="getCostCentre",
    summary="Get a cost centre",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def get_cost_centre(
    response: Response, cost_centres: CostCentreQueriesDep, cost_centre_id: CostCentreId
) -> CostCentreRead:
    return _read(response, await cost_centres.get(cost_centre_id))


@router.patch(
    "/{cost_centre_id}",
    operation_id="updateCostCentre",
    summary="Update a cost centre",
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def update_cost_centre(
    response: Response,
    service: CostCentreServiceDep,
    cost_centres: CostCentreQueriesDep,
    cost_centre_id: CostCentreId,
    expected: IfMatch,
    body: CostCentreUpdate,
) -> CostCentreRead:
    """Update a cost centre. Requires the role `admin`."""
    await service.update(cost_centre_id, expected=expected, values=body.model_dump())
    return _read(response, await cost_centres.get(cost_centre_id))


@router.post(
    "/{cost_centre_id}/deactivate",
    operation_id="deactivateCostCentre",
    summary="Deactivate a cost centre",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def deactivate_cost_centre(
    response: Response,
    service: CostCentreServiceDep,
    cost_centres: CostCentreQueriesDep,
    cost_centre_id: CostCentreId,
    expected: IfMatch,
    dry_run: DryRun,
) -> CostCentreRead:
    """Deactivate a cost centre: nothing new refers to it; none below it may be active. Requires the role `admin`."""
    await service.set_active(cost_centre_id, active=False, expected=expected)
    return _read(response, await cost_centres.get(cost_centre_id))


@router.post(
    "/{cost_centre_id}/activate",
    operation_id="activateCostCentre",
    summary="Reactivate a cost centre",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def activate_cost_centre(
    response: Response,
    service: CostCentreServiceDep,
    cost_centres: CostCentreQueriesDep,
    cost_centre_id: CostCentreId,
    expected: IfMatch,
    dry_run: DryRun,
) -> CostCentreRead:
    """Reactivate a deactivated cost centre. Requires the role `admin`."""
    await service.set_active(cost_centre_id, active=True, expected=expected)
    return _read(response, await cost_centres.get(cost_centre_id))


@router.get(
    "/{cost_centre_id}/history",
    operation_id="listCostCentreHistory",
    summary="List the history of a cost centre",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_cost_centre_history(
    request: Request,
    cost_centres: CostCentreQueriesDep,
    history: HistoryQueriesDep,
    cost_centre_id: CostCentreId,
    paging: HistoryPaging,
) -> Response:
    await cost_centres.get(cost_centre_id)
    return page_of_json(request, await history.of("cost_centre", cost_centre_id, paging))
