"""Dependencies of the external references' handlers, and the filters of the lists of referenced entities."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.queries import SORTS, ExternalReferenceQueries
from po_api.external_references.service import ExternalReferenceService
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import filters, one
from po_api.web.schemas import Id, ShortText


async def _queries(request: Request, principal: PrincipalDep) -> ExternalReferenceQueries:
    return ExternalReferenceQueries(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> ExternalReferenceService:
    return ExternalReferenceService(session_of(request), principal.actor())


# For every list whose items may have external references.
BY_EXTERNAL_ID = (
    one("external_system", ShortText, "With an external reference of this system", "sap"),
    one("external_id", ShortText, "With this external id, in the system of `external_system` if it is given", "4711"),
)
_filters = filters(
    one("entity", ReferencedEntity, "Only references of entities of this kind"),
    one("entity_id", Id, "Only references of the entity with this id, in kinds that `entity` does not exclude"),
    *BY_EXTERNAL_ID,
)

ExternalReferenceQueriesDep = Annotated[ExternalReferenceQueries, Depends(_queries)]
ExternalReferenceServiceDep = Annotated[ExternalReferenceService, Depends(_service)]
ExternalReferenceFiltersDep = Annotated[Filters, Depends(_filters)]
ExternalReferencePaging = Annotated[PageRequest, Depends(paging(*SORTS))]
