"""Dependencies of the organisations' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.listeners import Listeners
from po_api.organisations.queries import OrganisationQueries
from po_api.organisations.service import OrganisationService
from po_api.web.dependencies import executor_of, session_of


async def _queries(request: Request) -> OrganisationQueries:
    return OrganisationQueries(executor_of(request))


async def _service(request: Request) -> OrganisationService:
    return OrganisationService(session_of(request))


async def _listeners(request: Request) -> Listeners:
    listeners: Listeners = request.app.state.listeners
    return listeners


ListenersDep = Annotated[Listeners, Depends(_listeners)]
OrganisationQueriesDep = Annotated[OrganisationQueries, Depends(_queries)]
OrganisationServiceDep = Annotated[OrganisationService, Depends(_service)]
