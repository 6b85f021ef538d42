"""What the sessions' handlers ask for."""

from typing import Annotated

from fastapi import Depends, Request

from po_api.core.pagination import PageRequest
from po_api.sessions.repository import SORTS
from po_api.sessions.service import SessionService
from po_api.web.dependencies import SessionDep, paging


def _service(request: Request, session: SessionDep) -> SessionService:
    return SessionService(session, key=request.app.state.secret_key)


SessionServiceDep = Annotated[SessionService, Depends(_service)]
SessionPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
