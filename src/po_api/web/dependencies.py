"""Dependencies of handlers: the transaction, the signed-in user, the actor, a page."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.actor import Actor, Principal
from po_api.core.errors import Unauthenticated
from po_api.db.cursors import MAX_CURSOR_LENGTH
from po_api.db.database import Database
from po_api.db.json_sql import page as page_json
from po_api.db.pagination import DEFAULT_LIMIT, MAX_LIMIT, PageOf, PageRequest
from po_api.db.pagination import Counts as FoundCounts
from po_api.db.query import QueryExecutor, TransactionExecutor
from po_api.web.cookies import ACCESS_COOKIE, SAFE_METHODS, CrossSiteRequest, cookie_of, require_own_site
from po_api.web.rate_limits import RateLimiter
from po_api.web.schemas import Counts, GroupCount
from po_api.web.unit_of_work import UnitOfWork


def unit_of(request: Request) -> UnitOfWork:
    """The request's unit of work, which ApiRoute begins and ends."""
    unit: UnitOfWork = request.state.unit_of_work
    return unit


# Handlers of safe requests use the executor, all others the session. Neither is a FastAPI dependency: resolving one
# takes as long as ten lines of Python.
def executor_of(request: Request) -> QueryExecutor:
    return unit_of(request).executor


def session_of(request: Request) -> AsyncSession:
    """The request's transaction."""
    return unit_of(request).session


Begin = Callable[[], AbstractAsyncContextManager[AsyncSession]]


async def _begin(request: Request) -> Begin:
    """For requests that call other services: several transactions, each committed at its end."""
    unit_of(request).has_lasting_effects = True
    database: Database = request.app.state.database
    return database.sessions.begin


BeginDep = Annotated[Begin, Depends(_begin)]


class Authenticator(Protocol):
    """Authenticates a token; create_app injects the implementation."""

    async def __call__(
        self, executor: QueryExecutor, token: str, *, address: str | None, user_agent: str | None
    ) -> Principal: ...


def address_of(request: Request) -> str | None:
    """The client's address; behind a trusted proxy, the address that the proxy states."""
    return request.client.host if request.client else None


class _SignedIn(SecurityBase):
    """The authenticated principal: by the Authorization header, else by the cookie that a browser adds.

    This is one dependency, since FastAPI takes as long to resolve one as this takes to read a header.
    """

    model = HTTPBearerModel(bearerFormat="JWT", description="The access token of a session, or an API key")
    scheme_name = "accessToken"

    async def __call__(self, request: Request) -> Principal:
        unit = unit_of(request)
        if unit.principal is not None:
            return unit.principal
        is_safe = request.method in SAFE_METHODS
        return await self._counted(request, unit.executor.credentials if is_safe else TransactionExecutor(unit.session))

    async def before_its_turn(self, request: Request) -> Principal:
        """The same without a transaction, and without a connection afterwards: the request is about to wait, and is
        authenticated again when its turn has come."""
        unit = unit_of(request)
        principal = await self._counted(request, unit.executor.credentials)
        await unit.executor.close()
        unit.is_counted = True
        return principal

    async def _counted(self, request: Request, executor: QueryExecutor) -> Principal:
        limiter: RateLimiter = request.app.state.rate_limiter
        address = address_of(request)
        try:
            principal = await self._authenticated(request, executor, address)
        except (Unauthenticated, CrossSiteRequest):
            await limiter.hit_address(request.state, address)
            raise
        await limiter.hit_user(request.state, principal.user_id)
        request.state.user_id = principal.user_id
        principal.require_scope(request.scope["route"].permission)
        return principal

    async def _authenticated(self, request: Request, executor: QueryExecutor, address: str | None) -> Principal:
        authenticate: Authenticator = request.app.state.authenticate
        return await authenticate(
            executor, _token(request), address=address, user_agent=request.headers.get("user-agent")
        )


def _token(request: Request) -> str:
    scheme, credentials = get_authorization_scheme_param(request.headers.get("authorization"))
    if credentials and scheme.lower() == "bearer":
        return credentials
    cookie = cookie_of(request, ACCESS_COOKIE)
    if not cookie:
        raise Unauthenticated
    require_own_site(request)
    return cookie


SIGNED_IN = _SignedIn()
PrincipalDep = Annotated[Principal, Depends(SIGNED_IN)]


async def _count_sign_in(request: Request) -> None:
    limiter: RateLimiter = request.app.state.rate_limiter
    await limiter.hit_sign_in(request.state, address_of(request))


async def _count_address(request: Request) -> None:
    limiter: RateLimiter = request.app.state.rate_limiter
    await limiter.hit_address(request.state, address_of(request))


# For public operations: the start and the continuation of a sign-in.
SIGN_IN_LIMIT = Depends(_count_sign_in)
ADDRESS_LIMIT = Depends(_count_address)


async def _actor(principal: PrincipalDep) -> Actor:
    return principal.actor()


ActorDep = Annotated[Actor, Depends(_actor)]


async def _dry_run(
    request: Request,
    dry_run: Annotated[bool, Query(description="Return the result of the action without changing anything")] = False,
) -> bool:
    unit_of(request).is_dry_run = dry_run
    return dry_run


DryRun = Annotated[bool, Depends(_dry_run)]

_PAGING = frozenset({"limit", "cursor", "sort"})


def paging(*sorts: str) -> Callable[..., Awaitable[PageRequest]]:
    """The paging dependency of a list with these `sorts`; a cursor is bound to the list's path and filters."""

    async def page_request(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items per page")] = DEFAULT_LIMIT,
        cursor: Annotated[
            str | None, Query(max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the previous page")
        ] = None,
        sort: Annotated[
            str | None,
            Query(
                max_length=100,
                description=f"Comma-separated fields; a leading minus sorts in descending order: {', '.join(sorts)}",
                examples=[f"-{sorts[0]}"],
            ),
        ] = None,
    ) -> PageRequest:
        filters = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _PAGING)
        scope = hashlib.sha256(repr((request.url.path, filters)).encode()).hexdigest()
        return PageRequest(limit=limit, cursor=cursor, sort=sort, scope=scope)

    return page_request


def link_next(request: Request, response: Response, page: PageOf[Any]) -> dict[str, Any]:
    """Add the `Link` header for the next page; returns the page's fields other than `items`."""
    if page.next_cursor is not None:
        # Not by URL.include_query_params, which parses the URL twice more: 3 % of the time of a list.
        others = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        query = urlencode([*others, ("cursor", page.next_cursor)])
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return {"next_cursor": page.next_cursor, "has_more": page.next_cursor is not None}


def counts_of(found: FoundCounts) -> Counts:
    """The representation of the counts of a list."""
    items = [GroupCount(value=group.value, count=group.row_count) for group in found.groups]
    is_complete = sum(item.count for item in items) == found.total
    return Counts(group_by=found.group_by, count=found.total, has_more=not is_complete, items=items)


def page_of_json(request: Request, page: PageOf[str]) -> Response:
    """A page of items that are JSON already."""
    response = Response(page_json(page.items, page.next_cursor), media_type="application/json")
    link_next(request, response, page)
    return response
