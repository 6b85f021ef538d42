"""What the keys' handlers ask for."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.api_keys.queries import SORTS
from po_api.api_keys.reading import ApiKeyReading
from po_api.api_keys.service import ApiKeyService
from po_api.db.pagination import PageRequest
from po_api.web.dependencies import executor_of, paging, session_of


async def _reading(request: Request) -> ApiKeyReading:
    return ApiKeyReading(executor_of(request))


async def _service(request: Request) -> ApiKeyService:
    return ApiKeyService(session_of(request))


ApiKeyReadingDep = Annotated[ApiKeyReading, Depends(_reading)]
ApiKeyServiceDep = Annotated[ApiKeyService, Depends(_service)]
ApiKeyPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
