"""What handlers ask for: the transaction, the signed-in user, the tenant, a page."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Protocol

from fastapi import Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.database import Database
from po_api.core.errors import AppError, Unauthenticated
from po_api.core.pagination import DEFAULT_LIMIT, MAX_CURSOR_LENGTH, MAX_LIMIT, PageOf, PageRequest
from po_api.core.reading import ConnectionReader, Reader, TransactionReader
from po_api.core.representations import page as page_json
from po_api.core.tenancy import Principal, Tenant
from po_api.web.cookies import SAFE_METHODS, CrossSiteRequest, access_cookie, require_own_site
from po_api.web.rate_limits import RateLimiter

DRY_RUN = "dry_run"


class UnitOfWork:
    """What one request does with the database: a safe one reads, any other has one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session: AsyncSession | None = None
        self.reader = ConnectionReader(database.engine)

    @property
    def session(self) -> AsyncSession:
        """The transaction; it begins with its first statement."""
        if self._session is None:
            self._session = self._database.sessions()
        return self._session

    async def complete(self) -> None:
        """The request's only commit, before the response is sent (`scope="function"`)."""
        await self.reader.close()
        if self._session is not None:
            async with self._session as session:
                await (session.rollback() if session.info.get(DRY_RUN) else session.commit())

    async def abandon(self, error: BaseException) -> None:
        """Undo what was done, unless the error is what the request came to."""
        if isinstance(error, Exception):
            await self.reader.close()
        else:
            self.reader.discard()
        if self._session is not None:
            async with self._session as session:
                is_outcome = isinstance(error, AppError) and error.is_outcome
                await (session.commit() if is_outcome else session.rollback())


async def _unit_of_work(request: Request) -> AsyncIterator[UnitOfWork]:
    unit = UnitOfWork(request.app.state.database)
    try:
        yield unit
    except BaseException as error:
        await unit.abandon(error)
        raise
    await unit.complete()


UnitOfWorkDep = Annotated[UnitOfWork, Depends(_unit_of_work, scope="function")]


async def _reader(unit: UnitOfWorkDep) -> Reader:
    return unit.reader


async def _session(unit: UnitOfWorkDep) -> AsyncSession:
    return unit.session


# Handlers of safe requests ask for the reader, all others for the session.
ReaderDep = Annotated[Reader, Depends(_reader)]
SessionDep = Annotated[AsyncSession, Depends(_session)]

Begin = Callable[[], AbstractAsyncContextManager[AsyncSession]]


async def _begin(request: Request) -> Begin:
    """For what waits for others in between: transactions one by one, each committed at its end."""
    database: Database = request.app.state.database
    return database.sessions.begin


BeginDep = Annotated[Begin, Depends(_begin)]


class Authenticator(Protocol):
    """How a token becomes a user; create_app plugs in the sessions' one."""

    async def __call__(
        self, reader: Reader, token: str, *, address: str | None, user_agent: str | None
    ) -> Principal: ...


_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="accessToken",
    bearerFormat="JWT",
    description="An access token of a session, or an API key",
)


def address_of(request: Request) -> str | None:
    """Where a request comes from; behind a trusted proxy, what that says."""
    return request.client.host if request.client else None


def _token(request: Request, credentials: HTTPAuthorizationCredentials | None, cookie: str | None) -> str:
    """The token that the caller chose to send, else the one that a browser sends of its own accord."""
    if credentials is not None:
        return credentials.credentials
    if cookie is None:
        raise Unauthenticated
    require_own_site(request)
    return cookie


async def _principal(
    request: Request,
    unit: UnitOfWorkDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    cookie: Annotated[str | None, Depends(access_cookie)],
) -> Principal:
    limiter: RateLimiter = request.app.state.rate_limiter
    address = address_of(request)
    authenticate: Authenticator = request.app.state.authenticate
    try:
        token = _token(request, credentials, cookie)
        reader = unit.reader if request.method in SAFE_METHODS else TransactionReader(unit.session)
        principal = await authenticate(reader, token, address=address, user_agent=request.headers.get("user-agent"))
    except (Unauthenticated, CrossSiteRequest):
        await limiter.hit_address(request.state, address)
        raise
    await limiter.hit_user(request.state, principal.user_id)
    request.state.user_id = principal.user_id
    principal.require(request.scope["route"].key_scope)
    return principal


PrincipalDep = Annotated[Principal, Depends(_principal)]


async def _count_sign_in(request: Request) -> None:
    limiter: RateLimiter = request.app.state.rate_limiter
    await limiter.hit_sign_in(request.state, address_of(request))


async def _count_address(request: Request) -> None:
    limiter: RateLimiter = request.app.state.rate_limiter
    await limiter.hit_address(request.state, address_of(request))


# Of operations that nobody has to be signed in for: where an attempt to sign in begins, and where it goes on.
SIGN_IN_LIMIT = Depends(_count_sign_in)
ADDRESS_LIMIT = Depends(_count_address)


async def _tenant(principal: PrincipalDep) -> Tenant:
    return principal.tenant()


TenantDep = Annotated[Tenant, Depends(_tenant)]


async def _dry_run(
    session: SessionDep,
    dry_run: Annotated[bool, Query(description="Answer what would happen, and change nothing")] = False,
) -> bool:
    session.info[DRY_RUN] = dry_run
    return dry_run


DryRun = Annotated[bool, Depends(_dry_run)]

_PAGING = frozenset({"limit", "cursor", "sort"})


def paging(*sorts: str) -> Callable[..., Awaitable[PageRequest]]:
    """The dependency of a list that can be sorted by `sorts`; a cursor is bound to the list's path and filters."""

    async def page_request(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on a page")] = DEFAULT_LIMIT,
        cursor: Annotated[
            str | None, Query(max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the page before")
        ] = None,
        sort: Annotated[
            str | None,
            Query(
                max_length=100,
                description=f"Comma-separated, a leading minus descends: {', '.join(sorts)}",
                examples=[f"-{sorts[0]}"],
            ),
        ] = None,
    ) -> PageRequest:
        filters = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _PAGING)
        scope = hashlib.sha256(repr((request.url.path, filters)).encode()).hexdigest()
        return PageRequest(limit=limit, cursor=cursor, sort=sort, scope=scope)

    return page_request


def link_next(request: Request, response: Response, page: PageOf[Any]) -> dict[str, Any]:
    """Add the `Link` to the next page; returns the page's fields besides its items."""
    if page.next_cursor is not None:
        url = request.url.include_query_params(cursor=page.next_cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return {"next_cursor": page.next_cursor, "has_more": page.next_cursor is not None}


def page_of_json(request: Request, page: PageOf[str]) -> Response:
    """The page whose items are JSON already."""
    response = Response(page_json(page.items, page.next_cursor), media_type="application/json")
    link_next(request, response, page)
    return response
