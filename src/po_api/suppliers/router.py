"""/suppliers"""

from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.suppliers.dependencies import SupplierFiltersDep, SupplierPaging, SupplierQueriesDep, SupplierServiceDep
from po_api.suppliers.models import Supplier
from po_api.suppliers.queries import SupplierRow
from po_api.suppliers.schemas import SupplierCreate, SupplierPage, SupplierRead, SupplierUpdate
from po_api.web.dependencies import DryRun, counts_of, link_next, page_of_json
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID, Counts

router = api_router(prefix="/suppliers", tags=["suppliers"])

SupplierId = Annotated[int, Path(ge=1, le=MAX_ID)]
GroupBy = Annotated[Literal["is_active"], Query(description="The value to count by")]


def _read(response: Response, supplier: Supplier | SupplierRow) -> SupplierRead:
    set_version(response, supplier.version)
    return SupplierRead.model_validate(supplier)


@router.get(
    "",
    operation_id="listSuppliers",
    summary="List suppliers",
    responses=problems(403),
    openapi_extra=requires(Permission.SUPPLIERS_READ),
)
async def list_suppliers(
    request: Request,
    response: Response,
    suppliers: SupplierQueriesDep,
    filters: SupplierFiltersDep,
    paging: SupplierPaging,
) -> SupplierPage:
    page = await suppliers.page(filters, paging)
    items = [SupplierRead.model_validate(row) for row in page.items]
    return SupplierPage(items=items, **link_next(request, response, page))


@router.get(
    "/counts",
    operation_id="countSuppliers",
    summary="Count suppliers",
    responses=problems(403),
    openapi_extra=requires(Permission.SUPPLIERS_READ),
)
async def count_suppliers(suppliers: SupplierQueriesDep, filters: SupplierFiltersDep, group_by: GroupBy) -> Counts:
    """Count suppliers by a value, with the filters of the list."""
    return counts_of(await suppliers.counts(filters, group_by))


@router.post(
    "",
    operation_id="createSupplier",
    summary="Add a supplier",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 409),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def create_supplier(response: Response, service: SupplierServiceDep, body: SupplierCreate) -> SupplierRead:
    """Add a supplier. Requires the role `buyer` or `admin`."""
    supplier = await service.create(**body.model_dump())
    response.headers["Location"] = f"/api/v1/suppliers/{supplier.id}"
    return _read(response, supplier)


@router.get(
    "/{supplier_id}",
    operation_id="getSupplier",
    summary="Get a supplier",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.SUPPLIERS_READ),
)
async def get_supplier(response: Response, suppliers: SupplierQueriesDep, supplier_id: SupplierId) -> SupplierRead:
    return _read(response, await suppliers.get(supplier_id))


@router.patch(
    "/{supplier_id}",
    operation_id="updateSupplier",
    summary="Update a supplier",
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def update_supplier(
    response: Response, service: SupplierServiceDep, supplier_id: SupplierId, expected: IfMatch, body: SupplierUpdate
) -> SupplierRead:
    """Update a supplier. Requires the role `buyer` or `admin`. Draft orders follow its contact data.

    After a change of what identifies it (name, legal name, tax id, VAT id, company id, electronic address), requests
    that were approved before are not converted, and draft orders are not issued (`supplier_changed`).

    `email` is the address of the first active contact for orders: it changes that contact or adds one. null deactivates
    the contact; then the next one is the first, if there is one.
    """
    return _read(response, await service.update(supplier_id, expected=expected, values=body.model_dump()))


@router.post(
    "/{supplier_id}/deactivate",
    operation_id="deactivateSupplier",
    summary="Deactivate a supplier",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def deactivate_supplier(
    response: Response, service: SupplierServiceDep, supplier_id: SupplierId, expected: IfMatch, dry_run: DryRun
) -> SupplierRead:
    """Deactivate a supplier. Requires the role `buyer` or `admin`."""
    return _read(response, await service.set_active(supplier_id, active=False, expected=expected))


@router.post(
    "/{supplier_id}/activate",
    operation_id="activateSupplier",
    summary="Reactivate a supplier",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.SUPPLIERS_WRITE),
)
async def activate_supplier(
    response: Response, service: SupplierServiceDep, supplier_id: SupplierId, expected: IfMatch, dry_run: DryRun
) -> SupplierRead:
    """Reactivate a deactivated supplier. Requires the role `buyer` or `admin`."""
    return _read(response, await service.set_active(supplier_id, active=True, expected=expected))


@router.get(
    "/{supplier_id}/history",
    operation_id="listSupplierHistory",
    summary="List the history of a supplier",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.SUPPLIERS_READ),
)
async def list_supplier_history(
    request: Request,
    suppliers: SupplierQueriesDep,
    history: HistoryQueriesDep,
    supplier_id: SupplierId,
    paging: HistoryPaging,
) -> Response:
    await suppliers.get(supplier_id)
    return page_of_json(request, await history.of("supplier", supplier_id, paging))
