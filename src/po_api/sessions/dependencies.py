"""Dependencies of the sessions' handlers."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.db.pagination import PageRequest
from po_api.sessions.domain import Device
from po_api.sessions.queries import SORTS, SessionQueries
from po_api.sessions.service import SessionService
from po_api.sessions.sign_in import SignInService
from po_api.web.dependencies import BeginDep, address_of, executor_of, paging, session_of


async def _queries(request: Request) -> SessionQueries:
    state = request.app.state
    return SessionQueries(executor_of(request), key=state.secret_key, lifetimes=state.lifetimes)


async def _service(request: Request) -> SessionService:
    state = request.app.state
    return SessionService(session_of(request), key=state.secret_key, lifetimes=state.lifetimes)


async def _sign_in_service(request: Request, begin: BeginDep) -> SignInService:
    state = request.app.state
    return SignInService(
        begin,
        state.identity_provider,
        key=state.secret_key,
        lifetimes=state.lifetimes,
        front_ends=state.front_ends,
        listeners=state.listeners,
    )


async def _device(request: Request) -> Device:
    return Device(address_of(request), request.headers.get("user-agent"))


SessionQueriesDep = Annotated[SessionQueries, Depends(_queries)]
SessionServiceDep = Annotated[SessionService, Depends(_service)]
SignInServiceDep = Annotated[SignInService, Depends(_sign_in_service)]
DeviceDep = Annotated[Device, Depends(_device)]
SessionPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
