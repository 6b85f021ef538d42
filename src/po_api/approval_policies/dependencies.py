"""Dependencies of the handlers about approval policies."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.approval_policies.domain import PolicyStatus
from po_api.approval_policies.queries import RULE_SORTS, SORTS, PolicyQueries
from po_api.approval_policies.service import PolicyService
from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.db.query import TransactionExecutor
from po_api.web.cookies import SAFE_METHODS
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, any_of, filters


async def _queries(request: Request, principal: PrincipalDep) -> PolicyQueries:
    # The result of a change is read in its transaction.
    is_safe = request.method in SAFE_METHODS
    return PolicyQueries(
        executor_of(request) if is_safe else TransactionExecutor(session_of(request)), principal.actor()
    )


async def _service(request: Request, principal: PrincipalDep) -> PolicyService:
    return PolicyService(session_of(request), principal.actor())


_filters = filters(any_of("status", PolicyStatus, "Any of these statuses"), *CREATED_AT)

PolicyQueriesDep = Annotated[PolicyQueries, Depends(_queries)]
PolicyServiceDep = Annotated[PolicyService, Depends(_service)]
PolicyFiltersDep = Annotated[Filters, Depends(_filters)]
PolicyPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
RulePaging = Annotated[PageRequest, Depends(paging(*RULE_SORTS))]
