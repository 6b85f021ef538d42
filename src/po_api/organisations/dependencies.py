"""What the organisations' handlers ask for."""

from typing import Annotated

from fastapi import Depends

from po_api.core.pagination import PageRequest
from po_api.organisations.repository import SORTS
from po_api.organisations.service import OrganisationService
from po_api.web.dependencies import SessionDep, paging


def _service(session: SessionDep) -> OrganisationService:
    return OrganisationService(session)


OrganisationServiceDep = Annotated[OrganisationService, Depends(_service)]
OrganisationPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
