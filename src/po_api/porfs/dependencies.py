"""Dependencies of the requests' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.filters import Filters
from po_api.db.pagination import PageRequest
from po_api.external_references.dependencies import BY_EXTERNAL_ID
from po_api.organisations.dependencies import ListenersDep
from po_api.porfs.actions import PorfActions
from po_api.porfs.collaboration import PorfCollaboration
from po_api.porfs.domain import PorfStatus
from po_api.porfs.queries import LINE_SORTS, SORTS
from po_api.porfs.read_service import PorfReadService
from po_api.porfs.service import PorfService
from po_api.porfs.step_actions import PorfStepActions
from po_api.web.dependencies import PrincipalDep, executor_of, paging, session_of
from po_api.web.filters import CREATED_AT, UPDATED_AT, amounts, any_of, days, filters, flag, moments, search
from po_api.web.schemas import Id, KnownCurrency, ShortText


async def _read_service(request: Request, principal: PrincipalDep) -> PorfReadService:
    return PorfReadService(executor_of(request), principal.actor())


async def _service(request: Request, principal: PrincipalDep) -> PorfService:
    return PorfService(session_of(request), principal.actor())


async def _actions(request: Request, principal: PrincipalDep, listeners: ListenersDep) -> PorfActions:
    return PorfActions(session_of(request), principal.actor(), listeners)


async def _collaboration(request: Request, principal: PrincipalDep, listeners: ListenersDep) -> PorfCollaboration:
    return PorfCollaboration(session_of(request), principal.actor(), listeners)


async def _step_actions(request: Request, principal: PrincipalDep, listeners: ListenersDep) -> PorfStepActions:
    return PorfStepActions(session_of(request), principal.actor(), listeners)


_filters = filters(
    any_of("status", PorfStatus, "Any of these statuses"),
    any_of("number", ShortText, "Any of these numbers"),
    any_of("requester_id", Id, "Any of these requesters"),
    any_of("supplier_id", Id, "Any of these suppliers"),
    any_of("currency", KnownCurrency, "Any of these currencies"),
    any_of("cost_centre", ShortText, "Any of these cost centres"),
    any_of("cost_centre_id", Id, "With any of these cost centres, or a line with one"),
    any_of("category_id", Id, "With a line of any of these categories"),
    *BY_EXTERNAL_ID,
    *CREATED_AT,
    *UPDATED_AT,
    *moments("submitted_at"),
    *moments("decided_at"),
    *days("needed_by"),
    *amounts("total", "In the currency of each request"),
    search("The end of the number, or prefixes of words in number, title, cost centre, justification and lines"),
    flag("waiting_for_me", "Only requests that the caller may approve now"),
)


PorfReadServiceDep = Annotated[PorfReadService, Depends(_read_service)]
PorfServiceDep = Annotated[PorfService, Depends(_service)]
PorfActionsDep = Annotated[PorfActions, Depends(_actions)]
PorfCollaborationDep = Annotated[PorfCollaboration, Depends(_collaboration)]
PorfStepActionsDep = Annotated[PorfStepActions, Depends(_step_actions)]
PorfFiltersDep = Annotated[Filters, Depends(_filters)]
PorfPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
LinePaging = Annotated[PageRequest, Depends(paging(*LINE_SORTS))]
