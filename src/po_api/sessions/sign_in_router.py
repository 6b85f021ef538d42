"""/sessions without a signed-in user: the redirect flow, sign-in with ID tokens, and refreshing tokens.

None of these operations takes an `Idempotency-Key`: their responses contain secrets of which only digests are stored.
"""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from po_api.core.errors import FieldError, Unprocessable
from po_api.core.permissions import Permission
from po_api.sessions.dependencies import DeviceDep, SessionServiceDep, SignInServiceDep
from po_api.sessions.errors import InvalidRefreshToken, InvalidSignIn
from po_api.sessions.schemas import (
    IdTokenSignIn,
    RefreshRequest,
    Secret,
    SessionRead,
    SessionTokens,
    SignInCodeExchange,
    SignInMode,
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

Address = Annotated[str | None, Query(max_length=2000, pattern=r"^[!-~]+$")]
# Printable characters (RFC 6749, appendix A).
ProviderParameter = Annotated[str | None, Query(max_length=2048, pattern=r"^[ -~]*$")]


@router.get(
    "/oidc/start",
    operation_id="startSignIn",
    summary="Start a sign-in",
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
        Address, Query(description="Return address: a URL of a front end", examples=["https://po.example.com/"])
    ] = None,
    mode: Annotated[SignInMode, Query(description="How the tokens are delivered to the front end")] = SignInMode.BEARER,
    code_challenge: Annotated[
        Secret | None,
        Query(
            description="With `mode=bearer`: the S256 challenge (RFC 7636) of the verifier sent in the exchange",
            examples=["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"],
        ),
    ] = None,
) -> Response:
    """Redirect the browser to the identity provider."""
    if (code_challenge is None) == (mode is SignInMode.BEARER):
        detail = "is required with mode=bearer, and not allowed otherwise"
        raise Unprocessable(errors=(FieldError("/code_challenge", "code_challenge", detail, "query"),))
    redirection = await service.start(
        return_to=return_to, challenge=code_challenge, browser=cookie_of(request, SIGN_IN_COOKIE)
    )
    response = RedirectResponse(redirection.url, 303)
    set_cookie(response, SIGN_IN_COOKIE, redirection.browser, ATTEMPT_LIFETIME)
    return response


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
    if state is None or browser is None:
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
    service: SignInServiceDep, device: DeviceDep, body: SignInCodeExchange
) -> SessionTokens:
    return _tokens(await service.exchange(body.code, verifier=body.code_verifier, device=device))


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
