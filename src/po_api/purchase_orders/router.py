"""/purchase-orders, and the conversion of a request into one."""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.tenancy import Scope
from po_api.porfs.ordering import Wanted
from po_api.porfs.router import PorfId
from po_api.porfs.schemas import ActionNote
from po_api.purchase_orders.dependencies import (
    PurchaseOrderFiltersDep,
    PurchaseOrderPaging,
    PurchaseOrderServiceDep,
)
from po_api.purchase_orders.schemas import (
    ConvertPorf,
    PurchaseOrderCreate,
    PurchaseOrderPage,
    PurchaseOrderRead,
    PurchaseOrderSummary,
    PurchaseOrderUpdate,
)
from po_api.purchase_orders.service import Conversion, PurchaseOrderView
from po_api.web.dependencies import DryRun, link_next
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import binary, problems
from po_api.web.routing import api_router, takes
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/purchase-orders", tags=["purchase orders"])
conversion_router = api_router(prefix="/porfs", tags=["porfs"])

OrderId = Annotated[int, Path(ge=1, le=MAX_ID)]
NO_NOTE = ActionNote()
EVERYTHING_LEFT = ConvertPorf()
PDF = "application/pdf"

_READING = problems(403, 404)
_CHANGING = problems(403, 404, 409, 412, 428)


def _read(response: Response, view: PurchaseOrderView, *, dry_run: bool = False) -> PurchaseOrderRead:
    if not dry_run:
        set_version(response, view.header.version)
    return PurchaseOrderRead.of(view)


def _created(response: Response, view: PurchaseOrderView, *, dry_run: bool) -> PurchaseOrderRead:
    if not dry_run:
        response.headers["Location"] = f"/api/v1/purchase-orders/{view.header.id}"
    return _read(response, view, dry_run=dry_run)


def _conversion(body: ConvertPorf, porf_ids: list[int]) -> Conversion:
    wanted = [Wanted(line.line_id, line.quantity, f"/lines/{index}") for index, line in enumerate(body.lines)]
    return Conversion(porf_ids, wanted, body.supplier_id, body.terms, body.delivery_address)


@conversion_router.post(
    "/{porf_id}/purchase-orders",
    operation_id="convertPorf",
    summary="Order a request, or what is named of it (buyers, admins)",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=takes(Scope.PURCHASE_ORDERS_WRITE),
)
async def convert_porf(
    response: Response,
    service: PurchaseOrderServiceDep,
    porf_id: PorfId,
    expected: IfMatch,
    dry_run: DryRun,
    body: ConvertPorf = EVERYTHING_LEFT,
) -> PurchaseOrderRead:
    view = await service.convert(_conversion(body, [porf_id]), expected=expected)
    return _created(response, view, dry_run=dry_run)


@router.post(
    "",
    operation_id="createPurchaseOrder",
    summary="Order several requests together (buyers, admins)",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
)
async def create_order(
    response: Response, service: PurchaseOrderServiceDep, dry_run: DryRun, body: PurchaseOrderCreate
) -> PurchaseOrderRead:
    return _created(response, await service.convert(_conversion(body, body.porf_ids)), dry_run=dry_run)


@router.get("", operation_id="listPurchaseOrders", summary="List purchase orders", responses=problems(403))
async def list_orders(
    request: Request,
    response: Response,
    service: PurchaseOrderServiceDep,
    filters: PurchaseOrderFiltersDep,
    paging: PurchaseOrderPaging,
) -> PurchaseOrderPage:
    page = await service.page(filters, paging)
    items = [PurchaseOrderSummary.of(view) for view in page.items]
    return PurchaseOrderPage(items=items, **link_next(request, response, page))


@router.get("/{order_id}", operation_id="getPurchaseOrder", summary="One purchase order", responses=_READING)
async def get_order(response: Response, service: PurchaseOrderServiceDep, order_id: OrderId) -> PurchaseOrderRead:
    return _read(response, await service.view(order_id))


@router.patch(
    "/{order_id}", operation_id="updatePurchaseOrder", summary="Change a draft (buyers, admins)", responses=_CHANGING
)
async def update_order(
    response: Response,
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    body: PurchaseOrderUpdate,
) -> PurchaseOrderRead:
    return _read(response, await service.update(order_id, expected=expected, values=body.model_dump()))


@router.post(
    "/{order_id}/issue",
    operation_id="issuePurchaseOrder",
    summary="Give a draft its number and its document (buyers, admins)",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
)
async def issue_order(
    response: Response, service: PurchaseOrderServiceDep, order_id: OrderId, expected: IfMatch, dry_run: DryRun
) -> PurchaseOrderRead:
    return _read(response, await service.issue(order_id, expected=expected), dry_run=dry_run)


@router.post(
    "/{order_id}/cancel",
    operation_id="cancelPurchaseOrder",
    summary="Cancel an order; its requests get back what it held (buyers, admins)",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
)
async def cancel_order(
    response: Response,
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    dry_run: DryRun,
    body: ActionNote = NO_NOTE,
) -> PurchaseOrderRead:
    view = await service.cancel(order_id, expected=expected, comment=body.comment)
    return _read(response, view, dry_run=dry_run)


@router.post(
    "/{order_id}/close",
    operation_id="closePurchaseOrder",
    summary="Close an issued order (buyers, admins)",
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
)
async def close_order(
    response: Response,
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    dry_run: DryRun,
    body: ActionNote = NO_NOTE,
) -> PurchaseOrderRead:
    view = await service.close(order_id, expected=expected, comment=body.comment)
    return _read(response, view, dry_run=dry_run)


@router.get(
    "/{order_id}/document.pdf",
    operation_id="getPurchaseOrderDocument",
    summary="The document as it was issued",
    response_class=Response,
    responses=binary(PDF, has_etag=True) | problems(403, 404, 409),
)
async def get_document(service: PurchaseOrderServiceDep, order_id: OrderId) -> Response:
    content, header = await service.document(order_id)
    headers = {"Content-Disposition": f'attachment; filename="{header.number}.pdf"'}
    response = Response(content, media_type=PDF, headers=headers)
    set_version(response, header.revision)
    return response
