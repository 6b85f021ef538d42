"""/deliveries, and the deliveries of an order."""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.db.pagination import PageOf
from po_api.deliveries.dependencies import DeliveryFiltersDep, DeliveryPaging, DeliveryQueriesDep, DeliveryServiceDep
from po_api.deliveries.domain import Channel
from po_api.deliveries.errors import ManualOnly
from po_api.deliveries.queries import DeliveryRow
from po_api.deliveries.schemas import DeliveryCreate, DeliveryPage, DeliveryRead
from po_api.purchase_orders.events import DeliveryRequest
from po_api.purchase_orders.router import OrderId
from po_api.web.dependencies import DryRun, link_next
from po_api.web.etags import IfMatch
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/deliveries", tags=["deliveries"])
orders_router = api_router(prefix="/purchase-orders", tags=["deliveries"])

DeliveryId = Annotated[int, Path(ge=1, le=MAX_ID)]
BY_DEFAULT = DeliveryCreate()


def _manual_message(body: DeliveryCreate) -> str:
    """The message of a manual delivery. Raises ManualOnly if it is missing, or with it what belongs to a mail."""
    given = body.model_fields_set - {"channel", "message"}
    if body.message is None:
        given = given | {"message"}
    if given:
        raise ManualOnly.at(*(f"/{name}" for name in sorted(given)))
    assert body.message is not None
    return body.message


def _shown(request: Request, response: Response, page: PageOf[DeliveryRow]) -> DeliveryPage:
    items = [DeliveryRead.model_validate(row) for row in page.items]
    return DeliveryPage(items=items, **link_next(request, response, page))


@orders_router.post(
    "/{order_id}/deliveries",
    operation_id="deliverPurchaseOrder",
    summary="Send an order to its supplier",
    status_code=201,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409, 412, 428),
    openapi_extra=requires(Permission.DELIVERIES_WRITE),
)
async def deliver_order(
    response: Response,
    service: DeliveryServiceDep,
    order_id: OrderId,
    expected: IfMatch,
    dry_run: DryRun,
    body: DeliveryCreate = BY_DEFAULT,
) -> DeliveryRead:
    """Send an issued order to its supplier by mail, with its document and its electronic order (if there is one)
    attached, or record that it was sent otherwise.
    Requires the role `buyer` or `admin`. `If-Match` has the ETag of the order.

    A worker sends the mail a moment later. To send the order again, create another delivery."""
    if body.channel is Channel.MANUAL:
        delivery = await service.record(order_id, _manual_message(body), expected=expected)
    else:
        request = DeliveryRequest(**body.model_dump(exclude={"channel"}))
        delivery = await service.send(order_id, request, expected=expected)
    if not dry_run:
        response.headers["Location"] = f"{router.prefix}/{delivery.id}"
    return DeliveryRead.model_validate(delivery)


@orders_router.get(
    "/{order_id}/deliveries",
    operation_id="listPurchaseOrderDeliveries",
    summary="List the deliveries of an order",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.DELIVERIES_READ),
)
async def list_order_deliveries(
    request: Request, response: Response, deliveries: DeliveryQueriesDep, order_id: OrderId, paging: DeliveryPaging
) -> DeliveryPage:
    """List the deliveries of an order, newest first. Requires the role `buyer`, `admin` or `auditor`."""
    return _shown(request, response, await deliveries.of_order(order_id, paging))


@router.get(
    "",
    operation_id="listDeliveries",
    summary="List deliveries",
    responses=problems(403),
    openapi_extra=requires(Permission.DELIVERIES_READ),
)
async def list_deliveries(
    request: Request,
    response: Response,
    deliveries: DeliveryQueriesDep,
    filters: DeliveryFiltersDep,
    paging: DeliveryPaging,
) -> DeliveryPage:
    """List the deliveries of all orders. Requires the role `buyer`, `admin` or `auditor`."""
    return _shown(request, response, await deliveries.page(filters, paging))


@router.get(
    "/{order_delivery_id}",
    operation_id="getDelivery",
    summary="Get a delivery",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.DELIVERIES_READ),
)
async def get_delivery(deliveries: DeliveryQueriesDep, order_delivery_id: DeliveryId) -> DeliveryRead:
    """Get the delivery of an order. Requires the role `buyer`, `admin` or `auditor`."""
    return DeliveryRead.model_validate(await deliveries.get(order_delivery_id))


@router.post(
    "/{order_delivery_id}/retry",
    operation_id="retryDelivery",
    summary="Send a mail again",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.DELIVERIES_WRITE),
)
async def retry(service: DeliveryServiceDep, order_delivery_id: DeliveryId, dry_run: DryRun) -> DeliveryRead:
    """Send a mail again that has failed, has bounced or is held, to the same recipients. Requires the role `buyer` or
    `admin`."""
    return DeliveryRead.model_validate(await service.retry(order_delivery_id))


@router.post(
    "/{order_delivery_id}/cancel",
    operation_id="cancelDelivery",
    summary="Cancel a delivery",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.DELIVERIES_WRITE),
)
async def cancel(service: DeliveryServiceDep, order_delivery_id: DeliveryId, dry_run: DryRun) -> DeliveryRead:
    """Cancel a delivery that is queued or held. Requires the role `buyer` or `admin`."""
    return DeliveryRead.model_validate(await service.cancel(order_delivery_id))


@router.post(
    "/{order_delivery_id}/mark-bounced",
    operation_id="markDeliveryBounced",
    summary="Mark a delivery as bounced",
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.DELIVERIES_WRITE),
)
async def mark_bounced(service: DeliveryServiceDep, order_delivery_id: DeliveryId, dry_run: DryRun) -> DeliveryRead:
    """Note that a mail which was sent has come back. Requires the role `buyer` or `admin`."""
    return DeliveryRead.model_validate(await service.mark_bounced(order_delivery_id))
