"""What the organisations' handlers ask for."""

from typing import Annotated

from fastapi import Depends

from po_api.core.pagination import PageRequest
from po_api.organisations.queries import SORTS
from po_api.organisations.reading import OrganisationReading
from po_api.organisations.service import OrganisationService
from po_api.web.dependencies import ReaderDep, SessionDep, paging


async def _reading(reader: ReaderDep) -> OrganisationReading:
    return OrganisationReading(reader)


async def _service(session: SessionDep) -> OrganisationService:
    return OrganisationService(session)


OrganisationReadingDep = Annotated[OrganisationReading, Depends(_reading)]
OrganisationServiceDep = Annotated[OrganisationService, Depends(_service)]
OrganisationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
