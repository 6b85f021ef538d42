"""What the keys' handlers ask for."""

from typing import Annotated

from fastapi import Depends

from po_api.api_keys.queries import SORTS
from po_api.api_keys.reading import ApiKeyReading
from po_api.api_keys.service import ApiKeyService
from po_api.core.pagination import PageRequest
from po_api.web.dependencies import ReaderDep, SessionDep, paging


async def _reading(reader: ReaderDep) -> ApiKeyReading:
    return ApiKeyReading(reader)


async def _service(session: SessionDep) -> ApiKeyService:
    return ApiKeyService(session)


ApiKeyReadingDep = Annotated[ApiKeyReading, Depends(_reading)]
ApiKeyServiceDep = Annotated[ApiKeyService, Depends(_service)]
ApiKeyPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
