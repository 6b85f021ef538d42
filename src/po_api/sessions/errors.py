"""Errors of sessions and of signing in."""

from po_api.core.errors import BadRequest, Forbidden, NotFound, Unauthenticated, Unavailable


class SessionNotFound(NotFound):
    """The caller has no session with this id."""

    code = "session_not_found"
    title = "Session not found"


class InvalidRefreshToken(Unauthenticated):
    """The refresh token is unknown, or its session has ended: sign in again."""

    code = "invalid_refresh_token"
    title = "Invalid refresh token"


class RefreshTokenReused(Unauthenticated):
    """The refresh token had already been used, which indicates a copy. The session was revoked: sign in again."""

    code = "refresh_token_reused"
    title = "Refresh token reused"
    is_outcome = True


class SignInNotConfigured(NotFound):
    """This installation has no identity provider configured for this sign-in: see GOOGLE_CLIENT_ID in .env.example."""

    code = "sign_in_not_configured"
    title = "Sign-in is not configured"


class InvalidSignIn(BadRequest):
    """This browser has no such sign-in in progress: it was completed, took longer than ten minutes, or was started in
    another browser."""

    code = "invalid_sign_in"
    title = "No such sign-in in progress"


class SignInRefused(Forbidden):
    """The provider denied access, or the user cancelled."""

    code = "sign_in_refused"
    title = "Sign-in refused by the identity provider"


class OriginNotAllowed(Forbidden):
    """A sign-in that ends with tokens is started by a page of the front end: the request's `Origin` has to be that of
    the return address, one of FRONTEND_URL."""

    code = "origin_not_allowed"
    title = "Not a page of the front end"


class InvalidSignInCode(Unauthenticated):
    """The code is unknown, already used or older than one minute, the verifier does not match the challenge, or the
    request has not the `Origin` of the front end that started the sign-in."""

    code = "invalid_sign_in_code"
    title = "Invalid sign-in code"


class InvalidIdToken(Unauthenticated):
    """The ID token was not issued by the provider to this application for this sign-in, has expired, was issued more
    than ten minutes ago, or has been used: get a new one."""

    code = "invalid_id_token"
    title = "Invalid ID token"


class EmailNotVerified(Forbidden):
    """The identity provider has not verified the user's e-mail address."""

    code = "email_not_verified"
    title = "E-mail address not verified"


class DomainNotAllowed(Forbidden):
    """Sign-in to this installation is restricted to certain domains."""

    code = "domain_not_allowed"
    title = "Domain not allowed"


class IdentityProviderUnavailable(Unavailable):
    """The identity provider is unreachable or its response is invalid; try again after `Retry-After` seconds."""

    code = "identity_provider_unavailable"
    title = "Identity provider unavailable"
