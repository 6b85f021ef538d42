"""Dependencies of the delegations' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.approval_delegations.queries import ACTIVE_AT, SORTS, DelegationQueries
from po_api.approval_delegations.service import DelegationService
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.organisations.dependencies import ListenersDep
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import any_of, filters, moments, one
from po_api.web.schemas import Id, Moment


async def _queries(request: Request, principal: PrincipalDep) -> DelegationQueries:
    return DelegationQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep, listeners: ListenersDep) -> DelegationService:
    return DelegationService(session_of(request), principal.actor(), listeners)


_filters = filters(
    any_of("delegator_id", Id, "Only delegations by these members"),
    any_of("delegate_id", Id, "Only delegations to these members"),
    one(ACTIVE_AT, Moment, "Only delegations that are in effect at this time", "2026-07-01T00:00:00Z"),
    *moments("starts_at"),
)

DelegationQueriesDep = Annotated[DelegationQueries, Depends(_queries)]
DelegationServiceDep = Annotated[DelegationService, Depends(_service)]
DelegationFiltersDep = Annotated[Filters, Depends(_filters)]
DelegationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
