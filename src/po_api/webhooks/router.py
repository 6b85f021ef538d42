"""/webhook-endpoints, for admins in sessions; and the requests that are sent, for the OpenAPI document.

The operations that create a secret take no `Idempotency-Key`: it is shown once, so the response could not be replayed.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import Path, Query, Request, Response

from po_api.core.permissions import Permission
from po_api.db.query import TransactionExecutor
from po_api.history.dependencies import HistoryPaging, HistoryQueriesDep
from po_api.history.schemas import HistoryPage
from po_api.web.dependencies import ActorDep, DryRun, link_next, page_of_json, session_of
from po_api.web.etags import IfMatch, set_version
from po_api.web.idempotency import IDEMPOTENT
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID
from po_api.webhooks.dependencies import DeliveryFiltersDep, WebhookPaging, WebhookQueriesDep, WebhookServiceDep
from po_api.webhooks.models import WebhookEndpoint
from po_api.webhooks.queries import DeliveryRow, DeliveryTextsRow, EndpointRow, WebhookQueries
from po_api.webhooks.schemas import (
    WebhookDeliveryPage,
    WebhookDeliveryRead,
    WebhookDeliveryRequest,
    WebhookDeliverySummary,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookEndpointPage,
    WebhookEndpointRead,
    WebhookEndpointUpdate,
    WebhookSecretRotation,
)

router = api_router(prefix="/webhook-endpoints", tags=["webhooks"])

EndpointId = Annotated[int, Path(ge=1, le=MAX_ID)]
DeliveryId = Annotated[int, Path(ge=1, le=MAX_ID)]
After = Annotated[int, Query(ge=0, le=MAX_ID, description="The number of an event; 0 for all events")]
USUAL_OVERLAP = WebhookSecretRotation()


def _read(response: Response, endpoint: WebhookEndpoint | EndpointRow) -> WebhookEndpointRead:
    set_version(response, endpoint.version)
    return WebhookEndpointRead.model_validate(endpoint)


def _created(response: Response, endpoint: WebhookEndpoint, secret: str) -> WebhookEndpointCreated:
    shown = _read(response, endpoint)
    return WebhookEndpointCreated(**shown.model_dump(), secret=secret)


def _delivery(delivery: DeliveryRow, texts: DeliveryTextsRow) -> WebhookDeliveryRead:
    request = WebhookDeliveryRequest(url=texts.url, body=texts.body)
    return WebhookDeliveryRead(**delivery._asdict(), request=request, response_body=texts.response_body)


@router.post(
    "",
    operation_id="createWebhookEndpoint",
    summary="Add a webhook endpoint",
    status_code=201,
    responses=problems(403, 409),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def create_webhook_endpoint(
    response: Response, service: WebhookServiceDep, body: WebhookEndpointCreate
) -> WebhookEndpointCreated:
    """Add an endpoint, to which the events from now on are delivered. Requires the role `admin`."""
    endpoint, secret = await service.create(**body.model_dump())
    response.headers["Location"] = f"/api/v1/webhook-endpoints/{endpoint.id}"
    return _created(response, endpoint, secret)


@router.get(
    "",
    operation_id="listWebhookEndpoints",
    summary="List webhook endpoints",
    responses=problems(403),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def list_webhook_endpoints(
    request: Request, response: Response, webhooks: WebhookQueriesDep, paging: WebhookPaging
) -> WebhookEndpointPage:
    """List the endpoints of the organisation. Requires the role `admin`."""
    page = await webhooks.page(paging)
    items = [WebhookEndpointRead.model_validate(row) for row in page.items]
    return WebhookEndpointPage(items=items, **link_next(request, response, page))


@router.get(
    "/{endpoint_id}",
    operation_id="getWebhookEndpoint",
    summary="Get a webhook endpoint",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def get_webhook_endpoint(
    response: Response, webhooks: WebhookQueriesDep, endpoint_id: EndpointId
) -> WebhookEndpointRead:
    """Get an endpoint. Requires the role `admin`."""
    return _read(response, await webhooks.get(endpoint_id))


@router.patch(
    "/{endpoint_id}",
    operation_id="updateWebhookEndpoint",
    summary="Update a webhook endpoint",
    responses=problems(403, 404, 412, 428),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def update_webhook_endpoint(
    response: Response,
    service: WebhookServiceDep,
    endpoint_id: EndpointId,
    expected: IfMatch,
    body: WebhookEndpointUpdate,
) -> WebhookEndpointRead:
    """Update an endpoint. Requires the role `admin`.

    To a deactivated endpoint nothing is delivered; once it is active again, it gets all that was missed.
    """
    return _read(response, await service.update(endpoint_id, expected=expected, values=body.model_dump()))


@router.delete(
    "/{endpoint_id}",
    operation_id="deleteWebhookEndpoint",
    summary="Delete a webhook endpoint",
    status_code=204,
    responses=problems(403, 404, 412, 428),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def delete_webhook_endpoint(service: WebhookServiceDep, endpoint_id: EndpointId, expected: IfMatch) -> None:
    """Delete an endpoint with its deliveries. Requires the role `admin`."""
    await service.delete(endpoint_id, expected=expected)


@router.post(
    "/{endpoint_id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Rotate the secret of a webhook endpoint",
    responses=problems(403, 404, 412, 428),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def rotate_webhook_secret(
    response: Response,
    service: WebhookServiceDep,
    endpoint_id: EndpointId,
    expected: IfMatch,
    body: WebhookSecretRotation = USUAL_OVERLAP,
) -> WebhookEndpointCreated:
    """Give an endpoint a new secret. Requires the role `admin`. During the overlap, requests have two signatures."""
    overlap = timedelta(seconds=body.overlap_seconds)
    endpoint, secret = await service.rotate_secret(endpoint_id, expected=expected, overlap=overlap)
    return _created(response, endpoint, secret)


@router.post(
    "/{endpoint_id}/test",
    operation_id="testWebhookEndpoint",
    summary="Test a webhook endpoint",
    status_code=202,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def check_webhook_endpoint(
    request: Request, actor: ActorDep, service: WebhookServiceDep, endpoint_id: EndpointId, dry_run: DryRun
) -> WebhookDeliveryRead:
    """Send a `ping`, also to a deactivated endpoint. Requires the role `admin`.

    It is attempted once, and says nothing about whether events are delivered. The delivery shows the result soon.
    """
    delivery_id = await service.test(endpoint_id)
    webhooks = WebhookQueries(TransactionExecutor(session_of(request)), actor)
    return _delivery(*await webhooks.delivery(endpoint_id, delivery_id))


@router.post(
    "/{endpoint_id}/replay",
    operation_id="replayWebhookEvents",
    summary="Replay events to a webhook endpoint",
    status_code=202,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def replay_webhook_events(
    response: Response, service: WebhookServiceDep, endpoint_id: EndpointId, after: After, dry_run: DryRun
) -> WebhookEndpointRead:
    """Deliver all events after a number, also those that were delivered before. Requires the role `admin`.

    Messages that were sent in the last 30 days have the same `webhook-id` as before.
    """
    return _read(response, await service.replay(endpoint_id, after=after))


@router.get(
    "/{endpoint_id}/deliveries",
    operation_id="listWebhookDeliveries",
    summary="List deliveries to a webhook endpoint",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def list_webhook_deliveries(
    request: Request,
    response: Response,
    webhooks: WebhookQueriesDep,
    endpoint_id: EndpointId,
    filters: DeliveryFiltersDep,
    paging: WebhookPaging,
) -> WebhookDeliveryPage:
    """List the deliveries to an endpoint, newest first. Requires the role `admin`. They are kept for 30 days."""
    page = await webhooks.deliveries(endpoint_id, filters, paging)
    items = [WebhookDeliverySummary.model_validate(row) for row in page.items]
    return WebhookDeliveryPage(items=items, **link_next(request, response, page))


@router.get(
    "/{endpoint_id}/deliveries/{delivery_id}",
    operation_id="getWebhookDelivery",
    summary="Get a delivery to a webhook endpoint",
    responses=problems(403, 404),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def get_webhook_delivery(
    webhooks: WebhookQueriesDep, endpoint_id: EndpointId, delivery_id: DeliveryId
) -> WebhookDeliveryRead:
    """Get a delivery with what was sent and answered. Requires the role `admin`."""
    return _delivery(*await webhooks.delivery(endpoint_id, delivery_id))


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/retry",
    operation_id="retryWebhookDelivery",
    summary="Retry a delivery to a webhook endpoint",
    status_code=202,
    dependencies=[IDEMPOTENT],
    responses=problems(403, 404, 409),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def retry_webhook_delivery(
    request: Request,
    actor: ActorDep,
    service: WebhookServiceDep,
    endpoint_id: EndpointId,
    delivery_id: DeliveryId,
    dry_run: DryRun,
) -> WebhookDeliveryRead:
    """Attempt a delivery now, whatever its status. Requires the role `admin`.

    One that is finished or held begins anew; one that waits for its next attempt does not wait any longer.
    """
    await service.retry(endpoint_id, delivery_id)
    webhooks = WebhookQueries(TransactionExecutor(session_of(request)), actor)
    return _delivery(*await webhooks.delivery(endpoint_id, delivery_id))


@router.get(
    "/{endpoint_id}/history",
    operation_id="listWebhookEndpointHistory",
    summary="List the history of a webhook endpoint",
    response_model=HistoryPage,
    responses=problems(403, 404),
    openapi_extra=requires(Permission.WEBHOOKS),
)
async def list_webhook_endpoint_history(
    request: Request,
    webhooks: WebhookQueriesDep,
    history: HistoryQueriesDep,
    endpoint_id: EndpointId,
    paging: HistoryPaging,
) -> Response:
    """List the changes of an endpoint. Requires the role `admin`."""
    await webhooks.get(endpoint_id)
    return page_of_json(request, await history.of("webhook_endpoint", endpoint_id, paging))
