"""/sessions: the caller's own sessions."""

from typing import Annotated

from fastapi import Path, Request, Response

from po_api.core.permissions import Permission
from po_api.sessions.dependencies import SessionPaging, SessionQueriesDep, SessionServiceDep
from po_api.sessions.schemas import SessionPage, SessionRead
from po_api.web.cookies import ACCESS_COOKIE, REFRESH_COOKIE, delete_cookies
from po_api.web.dependencies import PrincipalDep, link_next
from po_api.web.openapi import problems
from po_api.web.routing import api_router, requires
from po_api.web.schemas import MAX_ID

router = api_router(prefix="/sessions", tags=["sessions"])

SessionId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get(
    "",
    operation_id="listSessions",
    summary="List the caller's live sessions",
    openapi_extra=requires(Permission.SESSIONS),
)
async def list_sessions(
    request: Request, response: Response, principal: PrincipalDep, sessions: SessionQueriesDep, paging: SessionPaging
) -> SessionPage:
    page = await sessions.page(principal, paging)
    items = [SessionRead.of(row, current_id=principal.session_id) for row in page.items]
    return SessionPage(items=items, **link_next(request, response, page))


@router.get(
    "/current",
    operation_id="getCurrentSession",
    summary="Get the current session",
    openapi_extra=requires(Permission.SESSIONS),
)
async def get_current(principal: PrincipalDep, sessions: SessionQueriesDep) -> SessionRead:
    return SessionRead.of(await sessions.current(principal), current_id=principal.session_id)


@router.delete(
    "/current",
    operation_id="revokeCurrentSession",
    summary="Sign out of the current session",
    status_code=204,
    openapi_extra=requires(Permission.SESSIONS),
)
async def revoke_current(
    request: Request, response: Response, principal: PrincipalDep, service: SessionServiceDep
) -> None:
    await service.revoke_current(principal)
    delete_cookies(request, response, ACCESS_COOKIE, REFRESH_COOKIE)


@router.delete(
    "/{session_id}",
    operation_id="revokeSession",
    summary="Revoke a session",
    status_code=204,
    responses=problems(404),
    openapi_extra=requires(Permission.SESSIONS),
)
async def revoke_session(principal: PrincipalDep, service: SessionServiceDep, session_id: SessionId) -> None:
    await service.revoke(principal, session_id)


@router.delete(
    "",
    operation_id="revokeAllSessions",
    summary="Revoke all sessions of the caller",
    status_code=204,
    openapi_extra=requires(Permission.SESSIONS),
)
async def revoke_all(request: Request, response: Response, principal: PrincipalDep, service: SessionServiceDep) -> None:
    await service.revoke_all(principal)
    delete_cookies(request, response, ACCESS_COOKIE, REFRESH_COOKIE)
