"""What the keys' handlers ask for."""

from typing import Annotated

from fastapi import Depends

from po_api.api_keys.repository import SORTS
from po_api.api_keys.service import ApiKeyService
from po_api.core.pagination import PageRequest
from po_api.web.dependencies import SessionDep, paging


def _service(session: SessionDep) -> ApiKeyService:
    return ApiKeyService(session)


ApiKeyServiceDep = Annotated[ApiKeyService, Depends(_service)]
ApiKeyPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
