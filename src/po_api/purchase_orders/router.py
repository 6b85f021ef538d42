"""/purchase-orders, and the conversion of a request into one."""

from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response

from po_api.core.permissions import Permission
from po_api.history.dependencies import HistoryPaging
from po_api.history.schemas import HistoryPage
from po_api.organisations.dependencies import ListenersDep
from po_api.porfs.allocation import RequestedLine
from po_api.porfs.router import PorfId
from po_api.porfs.schemas import ActionNote
from po_api.purchase_orders.dependencies import (
    DocumentServiceDep,
    PurchaseOrderFiltersDep,
    PurchaseOrderPaging,
    PurchaseOrderReadServiceDep,
    PurchaseOrderServiceDep,
)
from po_api.purchase_orders.document_service import Document
from po_api.purchase_orders.errors import PreviewAsIssued
from po_api.purchase_orders.events import DeliveryRequest
from po_api.purchase_orders.projections import TRADE_TERMS
from po_api.purchase_orders.schemas import (
    ConvertPorf,
    IssueOrder,
    PurchaseOrderCreate,
    PurchaseOrderLineUpdate,
    PurchaseOrderPage,
    PurchaseOrderRead,
    PurchaseOrderUpdate,
)
from po_api.purchase_orders.service import Conversion
from po_api.web.dependencies import DryRun, counts_of, page_of_json
from po_api.web.etags import IfMatch, created, set_version, shown
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import binary, problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID, Counts
from po_api.web.turns import while_connected

router = api_router(prefix="/purchase-orders", tags=["purchase orders"])
conversion_router = api_router(prefix="/porfs", tags=["porfs"])

OrderId = Annotated[int, Path(ge=1, le=MAX_ID)]
LineId = Annotated[int, Path(ge=1, le=MAX_ID)]
GroupBy = Annotated[
    Literal["status", "supplier_id", "currency", "created_by_id"], Query(description="The value to count by")
]
NO_NOTE = ActionNote()
ALL_REMAINING = ConvertPorf()
NOT_DELIVERED = IssueOrder()
PDF, XML = "application/pdf", "application/xml"

_READING = problems(403, 404)
_CHANGING = problems(403, 404, 409, 412, 428)


def _file(document: Document, media_type: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{document.name}"'}
    response = Response(document.content, media_type=media_type, headers=headers)
    if document.revision is not None:
        set_version(response, document.revision)
    return response


def _conversion(body: ConvertPorf, porf_ids: list[int]) -> Conversion:
    lines = [RequestedLine(line.line_id, line.quantity, f"/lines/{index}") for index, line in enumerate(body.lines)]
    terms = {name: getattr(body, name) for name in ("terms", "delivery_address", *TRADE_TERMS)}
    return Conversion(porf_ids, lines, body.supplier_id, terms)


@conversion_router.post(
    "/{porf_id}/purchase-orders",
    operation_id="convertPorf",
    summary="Convert a request into a purchase order",
    status_code=201,
    response_model=PurchaseOrderRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE, is_heavy=True),
)
async def convert_porf(
    service: PurchaseOrderServiceDep,
    porf_id: PorfId,
    expected: IfMatch,
    dry_run: DryRun,
    body: ConvertPorf = ALL_REMAINING,
) -> Response:
    """Create a draft order for all remaining quantities of a request, or for the given lines.

    Requires the role `buyer` or `admin`.
    """
    order = await service.convert(_conversion(body, [porf_id]), expected=expected)
    return created(order, router.prefix, dry_run=dry_run)


@router.get(
    "/counts",
    operation_id="countPurchaseOrders",
    summary="Count purchase orders",
    responses=problems(403),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def count_orders(
    orders: PurchaseOrderReadServiceDep, filters: PurchaseOrderFiltersDep, group_by: GroupBy
) -> Counts:
    """Count purchase orders by a value, with the filters of the list."""
    return counts_of(await orders.counts(filters, group_by))


@router.post(
    "",
    operation_id="createPurchaseOrder",
    summary="Create a purchase order from several requests",
    status_code=201,
    response_model=PurchaseOrderRead,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE, is_heavy=True),
)
async def create_order(service: PurchaseOrderServiceDep, dry_run: DryRun, body: PurchaseOrderCreate) -> Response:
    """Create a draft order from several requests of one supplier, currency and tax rounding.

    Requires the role `buyer` or `admin`."""
    order = await service.convert(_conversion(body, body.porf_ids))
    return created(order, router.prefix, dry_run=dry_run)


@router.get(
    "",
    operation_id="listPurchaseOrders",
    summary="List purchase orders",
    response_model=PurchaseOrderPage,
    responses=problems(403),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def list_orders(
    request: Request,
    orders: PurchaseOrderReadServiceDep,
    filters: PurchaseOrderFiltersDep,
    paging: PurchaseOrderPaging,
) -> Response:
    return page_of_json(request, await orders.page(filters, paging))


@router.get(
    "/{order_id}",
    operation_id="getPurchaseOrder",
    summary="Get a purchase order",
    response_model=PurchaseOrderRead,
    responses=_READING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def get_order(orders: PurchaseOrderReadServiceDep, order_id: OrderId) -> Response:
    return shown(await orders.whole(order_id))


@router.patch(
    "/{order_id}",
    operation_id="updatePurchaseOrder",
    summary="Update a draft order",
    response_model=PurchaseOrderRead,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE),
)
async def update_order(
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    body: PurchaseOrderUpdate,
) -> Response:
    """Update the terms or the addresses of a draft. Requires the role `buyer` or `admin`."""
    return shown(await service.update(order_id, expected=expected, values=body.model_dump()))


@router.patch(
    "/{order_id}/lines/{line_id}",
    operation_id="updatePurchaseOrderLine",
    summary="Update a line of a draft order",
    response_model=PurchaseOrderRead,
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE),
)
async def update_line(
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    line_id: LineId,
    expected: IfMatch,
    body: PurchaseOrderLineUpdate,
) -> Response:
    """Change a line of a draft. Requires the role `buyer` or `admin`. Returns the order.

    Cheaper is free; an order whose net exceeds what was approved is not issued (409 `above_approved`), nor is one that
    exceeds, with tax, what the approval limits of those who approved permit."""
    return shown(await service.update_line(order_id, line_id, expected=expected, values=body.model_dump()))


@router.post(
    "/{order_id}/issue",
    operation_id="issuePurchaseOrder",
    summary="Issue a purchase order",
    response_model=PurchaseOrderRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE, is_heavy=True),
)
async def issue_order(
    service: PurchaseOrderServiceDep,
    listeners: ListenersDep,
    order_id: OrderId,
    expected: IfMatch,
    dry_run: DryRun,
    body: IssueOrder = NOT_DELIVERED,
) -> Response:
    """Assign the number and freeze the content, of which the document is made. Requires the role `buyer` or `admin`.

    With `deliver`, the order is also sent to the supplier by mail, or not issued if that cannot be; API keys then also
    require the scope `deliveries:write`."""
    mail = body.deliver
    delivery = None if mail is None else DeliveryRequest(**mail.model_dump(), pointer="/deliver")
    order = await service.issue(order_id, expected=expected, delivery=delivery, listeners=listeners)
    return shown(order, dry_run=dry_run)


@router.post(
    "/{order_id}/cancel",
    operation_id="cancelPurchaseOrder",
    summary="Cancel a purchase order",
    response_model=PurchaseOrderRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE),
)
async def cancel_order(
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    dry_run: DryRun,
    body: ActionNote = NO_NOTE,
) -> Response:
    """Cancel a purchase order and release its allocations. An issued order requires a comment, which is part of its
    history.

    Requires the role `buyer` or `admin`."""
    order = await service.cancel(order_id, expected=expected, comment=body.comment)
    return shown(order, dry_run=dry_run)


@router.post(
    "/{order_id}/close",
    operation_id="closePurchaseOrder",
    summary="Close a purchase order",
    response_model=PurchaseOrderRead,
    dependencies=[IDEMPOTENT],
    responses=_CHANGING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_WRITE),
)
async def close_order(
    service: PurchaseOrderServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    dry_run: DryRun,
    body: ActionNote = NO_NOTE,
) -> Response:
    """Close an issued order: no more deliveries are expected. Requires the role `buyer` or `admin`."""
    order = await service.close(order_id, expected=expected, comment=body.comment)
    return shown(order, dry_run=dry_run)


@router.get(
    "/{order_id}/document.pdf",
    operation_id="getPurchaseOrderDocument",
    summary="Get the document of a purchase order",
    response_class=Response,
    responses=binary(PDF, has_etag=True) | problems(403, 404, 409),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def get_document(
    request: Request,
    documents: DocumentServiceDep,
    order_id: OrderId,
    preview: Annotated[bool, Query(description="Show a draft as it would be issued now, marked as a draft")] = False,
    issued_as: Annotated[
        Literal["issued"] | None, Query(alias="as", description="Show a cancelled order as it was issued")
    ] = None,
) -> Response:
    """The PDF of an issued order. That of a cancelled one is marked as cancelled, with the date; `as=issued` returns
    the one that the supplier has. Each is typeset soon after the issue or the cancellation, or when it is first read,
    then stored, and never changes.

    A draft has no document, but a preview without a number: it is not stored and has no ETag.
    """
    if preview and issued_as:
        raise PreviewAsIssued.at("/as", location="query")
    found = documents.preview(order_id) if preview else documents.stored(order_id, as_issued=issued_as is not None)
    return _file(await while_connected(request, found), PDF)


@router.get(
    "/{order_id}/document.xml",
    operation_id="getElectronicPurchaseOrder",
    summary="Get an order as an electronic order",
    response_class=Response,
    responses=binary(XML, has_etag=True) | problems(403, 404, 409, 422),
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def get_electronic_order(
    request: Request,
    documents: DocumentServiceDep,
    order_id: OrderId,
    issued_as: Annotated[
        Literal["issued"] | None, Query(alias="as", description="Show a cancelled order as it was issued")
    ] = None,
) -> Response:
    """An issued order in UBL 2.1, as Peppol BIS Order 3. What it lacks for that is listed by 422
    `electronic_order_incomplete` with a pointer into the order for each field: of a draft, it can be completed.
    """
    document = await while_connected(request, documents.electronic(order_id, as_issued=issued_as is not None))
    return _file(document, XML)


@router.get(
    "/{order_id}/history",
    operation_id="listPurchaseOrderHistory",
    summary="List the history of a purchase order",
    response_model=HistoryPage,
    responses=_READING,
    openapi_extra=requires(Permission.PURCHASE_ORDERS_READ),
)
async def list_history(
    request: Request, orders: PurchaseOrderReadServiceDep, order_id: OrderId, paging: HistoryPaging
) -> Response:
    """List the changes of a purchase order, with the comments on them.

    Requests and amounts are shown to members who see all orders: an order may contain lines of several requesters.
    """
    return page_of_json(request, await orders.history(order_id, paging))
