"""Dependencies of the notifications' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.notifications.queries import SORTS, NotificationQueries
from po_api.notifications.service import NotificationService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import filters, flag


async def _queries(request: Request, principal: PrincipalDep) -> NotificationQueries:
    return NotificationQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> NotificationService:
    return NotificationService(session_of(request), principal.actor())


_filters = filters(flag("unread", "Only notifications that are neither read nor resolved"))

NotificationQueriesDep = Annotated[NotificationQueries, Depends(_queries)]
NotificationServiceDep = Annotated[NotificationService, Depends(_service)]
NotificationFiltersDep = Annotated[Filters, Depends(_filters)]
NotificationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
