"""Dependencies of the webhooks' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, any_of, filters
from po_api.webhooks.domain import WebhookDeliveryStatus
from po_api.webhooks.queries import SORTS, WebhookQueries
from po_api.webhooks.service import WebhookService


async def _queries(request: Request, principal: PrincipalDep) -> WebhookQueries:
    return WebhookQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> WebhookService:
    state = request.app.state
    return WebhookService(
        session_of(request), principal.actor(), destinations=state.webhook_destinations, cipher=state.secret_cipher
    )


_filters = filters(any_of("status", WebhookDeliveryStatus, "Any of these statuses"), *CREATED_AT)

WebhookQueriesDep = Annotated[WebhookQueries, Depends(_queries)]
WebhookServiceDep = Annotated[WebhookService, Depends(_service)]
DeliveryFiltersDep = Annotated[Filters, Depends(_filters)]
WebhookPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
