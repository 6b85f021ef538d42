"""Dependencies of the keys' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.api_keys.queries import SORTS, ApiKeyQueries
from po_api.api_keys.service import ApiKeyService
from po_api.db.pagination import PageRequest
from po_api.web.dependencies import executor_of, paging, session_of


async def _queries(request: Request) -> ApiKeyQueries:
    return ApiKeyQueries(executor_of(request))


async def _service(request: Request) -> ApiKeyService:
    return ApiKeyService(session_of(request))


ApiKeyQueriesDep = Annotated[ApiKeyQueries, Depends(_queries)]
ApiKeyServiceDep = Annotated[ApiKeyService, Depends(_service)]
ApiKeyPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
