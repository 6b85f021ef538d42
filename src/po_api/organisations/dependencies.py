"""What the organisations' handlers ask for."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.pagination import PageRequest
from po_api.organisations.queries import SORTS
from po_api.organisations.reading import OrganisationReading
from po_api.organisations.service import OrganisationService
from po_api.web.dependencies import executor_of, paging, session_of


async def _reading(request: Request) -> OrganisationReading:
    return OrganisationReading(executor_of(request))


async def _service(request: Request) -> OrganisationService:
    return OrganisationService(session_of(request))


OrganisationReadingDep = Annotated[OrganisationReading, Depends(_reading)]
OrganisationServiceDep = Annotated[OrganisationService, Depends(_service)]
OrganisationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
