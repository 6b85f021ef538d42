"""Signing in through the identity provider: by redirects, or with an ID token that a page already has.

Each step is a transaction of its own: no connection is held while the provider is called. State that may be used once
is deleted, and the deletion committed, before it is checked.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.clock import utc_now
from po_api.core.errors import AppError, FieldError, Unprocessable
from po_api.observability.logging import get_logger
from po_api.sessions import tokens
from po_api.sessions.domain import Device, Lifetimes
from po_api.sessions.errors import InvalidSignIn, InvalidSignInCode, SignInNotConfigured
from po_api.sessions.models import SignInAttempt, SignInCode
from po_api.sessions.oidc import IdentityProvider, refusal
from po_api.sessions.repository import SignInRepository
from po_api.sessions.service import Credentials, SessionService
from po_api.users.domain import Identity
from po_api.users.service import UserService

ATTEMPT_LIFETIME = timedelta(minutes=10)
CODE_LIFETIME = timedelta(seconds=60)
_log = get_logger(__name__)

Begin = Callable[[], AbstractAsyncContextManager[AsyncSession]]


@dataclass(frozen=True)
class SignInRedirect:
    """The URL to redirect the browser to, and the secret for its cookie, which identifies it at the callback."""

    url: str
    browser: str


@dataclass(frozen=True)
class ProvidersAnswer:
    """The parameters of the provider's redirect back."""

    state: str
    code: str | None
    error: str | None
    issuer: str | None


@dataclass(frozen=True)
class SignInResult:
    """The result of a sign-in; the browser is redirected to `return_to`.

    `code` is for the front end to exchange, `credentials` are for cookies; with `error` both are None.
    """

    return_to: str
    code: str | None = None
    credentials: Credentials | None = None
    error: AppError | None = None


class SignInService:
    """The sign-in flows. `begin` opens a transaction; errors are those of `sessions.errors` and `users.errors`."""

    def __init__(
        self, begin: Begin, provider: IdentityProvider, *, key: str, lifetimes: Lifetimes, front_ends: Sequence[str]
    ) -> None:
        self._begin = begin
        self._provider = provider
        self._key = key
        self._lifetimes = lifetimes
        self._front_ends = front_ends

    async def start(self, *, return_to: str | None, challenge: str | None, browser: str | None) -> SignInRedirect:
        """Start a sign-in that ends at `return_to`: with a code if there is a challenge, otherwise with cookies.

        `browser` is the secret of another sign-in in progress, in another tab; it is kept, so that both can complete.
        """
        return_to = self._allowed(return_to)
        state, nonce, verifier = (tokens.new_secret() for _ in range(3))
        browser = browser if browser and tokens.is_secret(browser) else tokens.new_secret()
        url = await self._provider.authorization_url(
            state=state, nonce=nonce, challenge=tokens.code_challenge(verifier)
        )
        attempt = SignInAttempt(
            state=tokens.digest(state),
            browser=tokens.digest(browser),
            nonce=nonce,
            code_verifier=verifier,
            return_to=return_to,
            code_challenge=challenge,
            expires_at=utc_now() + ATTEMPT_LIFETIME,
        )
        async with self._begin() as session:
            session.add(attempt)
        return SignInRedirect(url, browser)

    async def complete(self, answer: ProvidersAnswer, *, browser: str, device: Device) -> SignInResult:
        """Complete a sign-in after the provider's redirect; errors after this check are part of the result.

        Raises InvalidSignIn unless this browser has a sign-in in progress with this `state`.
        """
        async with self._begin() as session:
            attempt = await SignInRepository(session).take_attempt(
                tokens.digest(answer.state), tokens.digest(browser), utc_now()
            )
        if attempt is None:
            raise InvalidSignIn
        try:
            identity = await self._redeem(answer, attempt)
            return await self._finish(identity, attempt, device)
        except AppError as error:
            _log.warning("sign_in_failed", code=error.code)
            return SignInResult(attempt.return_to, error=error)

    async def exchange(self, code: str, *, verifier: str, device: Device) -> Credentials:
        """The tokens for a code, which is valid once. Raises InvalidSignInCode."""
        async with self._begin() as session:
            found = await SignInRepository(session).take_code(tokens.digest(code), utc_now())
        if found is None or tokens.code_challenge(verifier) != found.code_challenge:
            raise InvalidSignInCode
        async with self._begin() as session:
            user = await UserService(session).get(found.user_id)
            return await self._sessions(session).sign_in(user, device)

    async def with_id_token(self, id_token: str, *, nonce: str | None, device: Device) -> Credentials:
        """The tokens for an ID token, as issued to a page by the Google sign-in button."""
        identity = await self._provider.identity(id_token, nonce=nonce)
        async with self._begin() as session:
            user = await UserService(session).identified(identity)
            return await self._sessions(session).sign_in(user, device)

    def _allowed(self, return_to: str | None) -> str:
        """The return address, which must have the origin of a front end; others would make this an open redirect."""
        if not self._front_ends:
            raise SignInNotConfigured
        if return_to is None:
            return self._front_ends[0]
        if "#" in return_to or _origin(return_to) not in {_origin(url) for url in self._front_ends}:
            detail = "must be a URL of a front end (FRONTEND_URL) without fragment"
            raise Unprocessable(errors=(FieldError("/return_to", "unknown_front_end", detail, "query"),))
        return return_to

    async def _redeem(self, answer: ProvidersAnswer, attempt: SignInAttempt) -> Identity:
        await self._provider.require_own_answer(answer.issuer)
        if answer.code is None:
            raise refusal(answer.error)
        return await self._provider.redeem(answer.code, verifier=attempt.code_verifier, nonce=attempt.nonce)

    async def _finish(self, identity: Identity, attempt: SignInAttempt, device: Device) -> SignInResult:
        async with self._begin() as session:
            user = await UserService(session).identified(identity)
            if attempt.code_challenge is None:
                return SignInResult(attempt.return_to, credentials=await self._sessions(session).sign_in(user, device))
            code = tokens.new_secret()
            session.add(
                SignInCode(
                    code=tokens.digest(code),
                    user_id=user.id,
                    code_challenge=attempt.code_challenge,
                    expires_at=utc_now() + CODE_LIFETIME,
                )
            )
            return SignInResult(attempt.return_to, code=code)

    def _sessions(self, session: AsyncSession) -> SessionService:
        return SessionService(session, key=self._key, lifetimes=self._lifetimes)


def _origin(url: str) -> tuple[str, str]:
    """Scheme and authority, including user information: with it, the authority is a different one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc.lower()
