"""Dependencies of the handlers about deliveries."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.deliveries.domain import Channel, DeliveryStatus
from po_api.deliveries.queries import SORTS, DeliveryQueries
from po_api.deliveries.service import DeliveryService
from po_api.mail.transports import Mailer
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, any_of, filters
from po_api.web.schemas import Id, ShortText


async def _queries(request: Request, principal: PrincipalDep) -> DeliveryQueries:
    return DeliveryQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> DeliveryService:
    mailer: Mailer | None = request.app.state.mailer
    return DeliveryService(session_of(request), principal.actor(), sender=None if mailer is None else mailer.sender)


_filters = filters(
    any_of("status", DeliveryStatus, "Any of these statuses"),
    any_of("channel", Channel, "Any of these channels"),
    any_of("purchase_order_id", Id, "Of any of these orders"),
    any_of("requested_by_id", Id, "Requested by any of these members"),
    any_of("error_code", ShortText, "With any of these errors", ["mail_refused"]),
    *CREATED_AT,
)

DeliveryQueriesDep = Annotated[DeliveryQueries, Depends(_queries)]
DeliveryServiceDep = Annotated[DeliveryService, Depends(_service)]
DeliveryFiltersDep = Annotated[Filters, Depends(_filters)]
DeliveryPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
