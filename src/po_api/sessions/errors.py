"""What can go wrong with a session, and on the way to one."""

from po_api.core.errors import BadRequest, Forbidden, NotFound, Unauthenticated, Unavailable


class SessionNotFound(NotFound):
    """You have no such session."""

    code = "session_not_found"
    title = "There is no such session"


class InvalidRefreshToken(Unauthenticated):
    """The refresh token is unknown, or its session has ended: sign in again."""

    code = "invalid_refresh_token"
    title = "The refresh token is not valid"


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before, so somebody has a copy of it. The session was ended: sign in again."""

    code = "refresh_token_reused"
    title = "The refresh token was used before"
    is_outcome = True


class SignInNotConfigured(NotFound):
    """This installation names no identity provider for this way of signing in: see GOOGLE_CLIENT_ID in .env.example."""

    code = "sign_in_not_configured"
    title = "Signing in this way is not configured"


class InvalidSignIn(BadRequest):
    """This browser has no such sign-in under way: it was finished, took more than ten minutes, or began elsewhere."""

    code = "invalid_sign_in"
    title = "There is no such sign-in under way"


class SignInRefused(Forbidden):
    """The identity provider did not let the user in, or the user thought better of it."""

    code = "sign_in_refused"
    title = "The identity provider refused the sign-in"


class InvalidSignInCode(Unauthenticated):
    """The code is unknown, was used, or is older than a minute; or the verifier is not the challenge's."""

    code = "invalid_sign_in_code"
    title = "The sign-in code is not valid"


class InvalidIdToken(Unauthenticated):
    """The ID token was not issued by the provider to this application for this sign-in, or not just now."""

    code = "invalid_id_token"
    title = "The ID token is not valid"


class EmailNotVerified(Forbidden):
    """The identity provider has not verified the user's e-mail address."""

    code = "email_not_verified"
    title = "The e-mail address is not verified"


class DomainNotAllowed(Forbidden):
    """Only people of certain domains may sign in to this installation."""

    code = "domain_not_allowed"
    title = "People of this domain may not sign in"


class IdentityProviderUnavailable(Unavailable):
    """The identity provider cannot be reached or does not answer as it should; try again in `Retry-After` seconds."""

    code = "identity_provider_unavailable"
    title = "The identity provider does not answer"
