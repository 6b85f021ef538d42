"""/sessions without a signed-in user: the redirect flow, sign-in with ID tokens, and refreshing tokens.

None of these operations takes an `Idempotency-Key`: their responses contain secrets of which only digests are stored.
"""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from po_api.core.permissions import Permission
from po_api.sessions.dependencies import DeviceDep, SessionServiceDep, SignInServiceDep
from po_api.sessions.errors import InvalidRefreshToken, InvalidSignIn
from po_api.sessions.schemas import (
    IdTokenSignIn,
    RefreshRequest,
    ReturnAddress,
    SessionRead,
    SessionTokens,
    SignInCodeExchange,
    SignInMode,
    SignInStart,
    SignInStarted,
)
from po_api.sessions.service import Credentials
from po_api.sessions.sign_in import ATTEMPT_LIFETIME, ProvidersAnswer, SignInResult
from po_api.web.cookies import (
    ACCESS_COOKIE,
    REFRESH_COOKIE,
    SIGN_IN_COOKIE,
    CrossSiteRequest,
    cookie_of,
    require_own_site,
    set_cookie,
)
from po_api.web.dependencies import ADDRESS_LIMIT, SIGN_IN_LIMIT, address_of
from po_api.web.openapi import problems, redirect
from po_api.web.rate_limits import RateLimiter
from po_api.web.routing import api_router, requires

router = api_router(prefix="/sessions", tags=["sessions"])

IN_COOKIE = RefreshRequest()

# Printable characters (RFC 6749, appendix A).
ProviderParameter = Annotated[str | None, Query(max_length=2048, pattern=r"^[ -~]*$")]


@router.get(
    "/oidc/start",
    operation_id="startSignIn",
    summary="Start a sign-in with cookies",
    status_code=303,
    response_class=RedirectResponse,
    dependencies=[SIGN_IN_LIMIT],
    responses=redirect("Redirect to the identity provider") | problems(404),
    openapi_extra=requires(Permission.PUBLIC),
)
async def start_sign_in(
    request: Request,
    service: SignInServiceDep,
    return_to: Annotated[
        ReturnAddress | None,
        Query(
            description="Return address: one of `FRONTEND_URL`, with any query; by default the first one",
            examples=["https://po.example.com/"],
        ),
    ] = None,
    mode: Annotated[
        Literal[SignInMode.COOKIE], Query(description="Sign-ins that end with tokens are started by POST")
    ] = SignInMode.COOKIE,
) -> Response:
    """Redirect the browser to the identity provider. Its session will be in cookies."""
    redirection = await service.start(return_to=return_to, browser=cookie_of(request, SIGN_IN_COOKIE))
    response = RedirectResponse(redirection.url, 303)
    set_cookie(response, SIGN_IN_COOKIE, redirection.browser, ATTEMPT_LIFETIME)
    return response


@router.post(
    "/oidc/start",
    operation_id="startTokenSignIn",
    summary="Start a sign-in with tokens",
    dependencies=[SIGN_IN_LIMIT],
    responses=problems(403, 404),
    openapi_extra=requires(Permission.PUBLIC),
)
async def start_token_sign_in(request: Request, service: SignInServiceDep, body: SignInStart) -> SignInStarted:
    """Start a sign-in for a page of the front end, whose `Origin` has to be that of the return address.

    The page then navigates to `authorization_url`, and exchanges the code that the browser returns with."""
    url = await service.start_for_tokens(
        return_to=body.return_to, challenge=body.code_challenge, origin=_origin_of(request)
    )
    return SignInStarted(authorization_url=url)


@router.get(
    "/oidc/callback",
    operation_id="completeSignIn",
    summary="Complete a sign-in",
    status_code=303,
    response_class=RedirectResponse,
    dependencies=[ADDRESS_LIMIT],
    responses=redirect(
        "Redirect to the front end with `#sign_in_code=…`, with cookies, or with `#error=<problem code>&request_id=…`"
    ),
    openapi_extra=requires(Permission.PUBLIC),
)
async def complete_sign_in(
    request: Request,
    service: SignInServiceDep,
    device: DeviceDep,
    state: ProviderParameter = None,
    code: ProviderParameter = None,
    error: ProviderParameter = None,
    iss: ProviderParameter = None,
) -> Response:
    """Accept the redirect from the identity provider and redirect the browser to the front end."""
    browser = cookie_of(request, SIGN_IN_COOKIE)
    if state is None:
        raise InvalidSignIn
    result = await service.complete(ProvidersAnswer(state, code, error, iss), browser=browser, device=device)
    response = RedirectResponse(_destination(request, result), 303)
    if result.credentials is not None:
        _set_cookies(response, result.credentials)
    return response


@router.post(
    "/oidc/exchange",
    operation_id="exchangeSignInCode",
    summary="Exchange a sign-in code for tokens",
    status_code=201,
    dependencies=[ADDRESS_LIMIT],
    responses=problems(401, 403),
    openapi_extra=requires(Permission.PUBLIC),
)
async def exchange_sign_in_code(
    request: Request, service: SignInServiceDep, device: DeviceDep, body: SignInCodeExchange
) -> SessionTokens:
    """Exchange the code for the tokens of a session. The request has the `Origin` of the page that started."""
    return _tokens(
        await service.exchange(body.code, verifier=body.code_verifier, origin=_origin_of(request), device=device)
    )


@router.post(
    "",
    operation_id="createSession",
    summary="Sign in with an ID token",
    status_code=201,
    dependencies=[SIGN_IN_LIMIT],
    responses=problems(401, 403, 404, 409),
    openapi_extra=requires(Permission.PUBLIC),
)
async def create_session(
    request: Request, response: Response, service: SignInServiceDep, device: DeviceDep, body: IdTokenSignIn
) -> SessionTokens:
    """Create a session from an ID token of the identity provider."""
    in_cookies = body.mode is SignInMode.COOKIE
    if in_cookies:
        require_own_site(request)
    credentials = await service.with_id_token(body.id_token, nonce=body.nonce, device=device)
    return _answer(response, credentials, in_cookies=in_cookies)


@router.post(
    "/refresh",
    operation_id="refreshSession",
    summary="Refresh the tokens of a session",
    responses=problems(401, 403),
    openapi_extra=requires(Permission.PUBLIC),
)
async def refresh_session(
    request: Request,
    response: Response,
    service: SessionServiceDep,
    device: DeviceDep,
    body: RefreshRequest = IN_COOKIE,
) -> SessionTokens:
    limiter: RateLimiter = request.app.state.rate_limiter
    try:
        token, in_cookies = _refresh_token(request, body)
    except (InvalidRefreshToken, CrossSiteRequest):
        # A front end checks in this way for a session; no token was guessed, so it is not counted as a sign-in attempt.
        await limiter.hit_address(request.state, address_of(request))
        raise
    try:
        credentials = await service.refresh(token, device)
    except InvalidRefreshToken:
        await limiter.hit_sign_in(request.state, address_of(request))
        raise
    await limiter.hit_refresh(request.state, credentials.session.user_id)
    return _answer(response, credentials, in_cookies=in_cookies)


def _origin_of(request: Request) -> str | None:
    """The origin of the page that sends the request, as its browser states it; None without exactly one."""
    stated = request.headers.getlist("origin")
    return stated[0] if len(stated) == 1 else None


def _refresh_token(request: Request, body: RefreshRequest) -> tuple[str, bool]:
    """The refresh token, and whether it was sent as a cookie."""
    if body.refresh_token is not None:
        return body.refresh_token, False
    cookie = cookie_of(request, REFRESH_COOKIE)
    if cookie is None:
        raise InvalidRefreshToken
    require_own_site(request)
    return cookie, True


def _answer(response: Response, credentials: Credentials, *, in_cookies: bool) -> SessionTokens:
    shown = _tokens(credentials)
    if not in_cookies:
        return shown
    _set_cookies(response, credentials)
    return shown.model_copy(update={"access_token": None, "refresh_token": None})


def _tokens(credentials: Credentials) -> SessionTokens:
    return SessionTokens(
        token_type="Bearer",  # noqa: S106 - the kind of token, not a token
        access_token=credentials.access_token,
        expires_in=int(credentials.access_lifetime.total_seconds()),
        refresh_token=credentials.refresh_token,
        session=SessionRead.of(credentials.session, current_id=credentials.session.id),
    )


def _set_cookies(response: Response, credentials: Credentials) -> None:
    set_cookie(response, ACCESS_COOKIE, credentials.access_token, credentials.access_lifetime)
    set_cookie(response, REFRESH_COOKIE, credentials.refresh_token, credentials.refresh_lifetime)


def _destination(request: Request, result: SignInResult) -> str:
    """The front end's URL. The result is in the fragment, which is never sent to a server or logged."""
    parameters = {}
    if result.code is not None:
        parameters = {"sign_in_code": result.code}
    if result.error is not None:
        parameters = {"error": result.error.code, "request_id": request.state.request_id}
    return f"{result.return_to}#{urlencode(parameters)}" if parameters else result.return_to
