"""/categories"""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.structure.dependencies import (
    CategoryFiltersDep,
    CategoryQueriesDep,
    CategoryServiceDep,
    CodedPaging,
)
from po_api.structure.queries import CategoryRow
from po_api.structure.schemas import CategoryCreate, CategoryPage, CategoryRead, CategoryUpdate
from po_api.web.dependencies import DryRun, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/categories", tags=["categories"])

CategoryId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CHANGING = problems(403, 404, 409, 412, 428)


def _read(response: Response, row: CategoryRow) -> CategoryRead:
    set_version(response, row.version)
    return CategoryRead.model_validate(row)


@router.get(
    "",
    operation_id="listCategories",
    summary="List categories",
    responses=problems(403),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_categories(
    request: Request,
    response: Response,
    categories: CategoryQueriesDep,
    filters: CategoryFiltersDep,
    paging: CodedPaging,
) -> CategoryPage:
    page = await categories.page(filters, paging)
    items = [CategoryRead.model_validate(row) for row in page.items]
    return CategoryPage(items=items, **link_next(request, response, page))


@router.post(
    "",
    operation_id="createCategory",
    summary="Add a category",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def create_category(
    response: Response,
    service: CategoryServiceDep,
    categories: CategoryQueriesDep,
    body: CategoryCreate,
) -> CategoryRead:
    """Add a category. Requires the role `admin`."""
    category_id = await service.create(body.model_dump())
    response.headers["Location"] = f"/api/v1/categories/{category_id}"
    return _read(response, await categories.get(category_id))


@router.get(
    "/{category_id}",
    operation_id="getCategory",
    summary="Get a category",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def get_category(response: Response, categories: CategoryQueriesDep, category_id: CategoryId) -> CategoryRead:
    return _read(response, await categories.get(category_id))


@router.patch(
    "/{category_id}",
    operation_id="updateCategory",
    summary="Update a category",
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def update_category(
    response: Response,
    service: CategoryServiceDep,
    categories: CategoryQueriesDep,
    category_id: CategoryId,
    expected: IfMatch,
    body: CategoryUpdate,
) -> CategoryRead:
    """Update a category. Requires the role `admin`."""
    await service.update(category_id, expected=expected, values=body.model_dump())
    return _read(response, await categories.get(category_id))


@router.post(
    "/{category_id}/deactivate",
    operation_id="deactivateCategory",
    summary="Deactivate a category",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def deactivate_category(
    response: Response,
    service: CategoryServiceDep,
    categories: CategoryQueriesDep,
    category_id: CategoryId,
    expected: IfMatch,
    dry_run: DryRun,
) -> CategoryRead:
    """Deactivate a category: nothing new refers to it; none below it may be active. Requires the role `admin`."""
    await service.set_active(category_id, active=False, expected=expected)
    return _read(response, await categories.get(category_id))


@router.post(
    "/{category_id}/activate",
    operation_id="activateCategory",
    summary="Reactivate a category",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.STRUCTURE_WRITE),
)
async def activate_category(
    response: Response,
    service: CategoryServiceDep,
    categories: CategoryQueriesDep,
    category_id: CategoryId,
    expected: IfMatch,
    dry_run: DryRun,
) -> CategoryRead:
    """Reactivate a deactivated category. Requires the role `admin`."""
    await service.set_active(category_id, active=True, expected=expected)
    return _read(response, await categories.get(category_id))


@router.get(
    "/{category_id}/history",
    operation_id="listCategoryHistory",
    summary="List the history of a category",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.STRUCTURE_READ),
)
async def list_category_history(
    request: Request,
    categories: CategoryQueriesDep,
    history: HistoryQueriesDep,
    category_id: CategoryId,
    paging: HistoryPaging,
) -> Response:
    await categories.get(category_id)
    return page_of_json(request, await history.of("category", category_id, paging))
