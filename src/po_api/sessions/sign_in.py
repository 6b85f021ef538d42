"""Signing in through the identity provider: by redirects, or with an ID token that a page already has.

Each step is a transaction of its own: no connection is held while the provider is called. State that may be used once
is deleted, and the deletion committed, before it is checked.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from po_api.core.clock import utc_now
from po_api.core.errors import AppError, FieldError, Unprocessable
from po_api.db.listeners import Listeners
from po_api.observability.logging import get_logger
from po_api.sessions import tokens
from po_api.sessions.domain import Device, FrontEnds, Lifetimes, Proof, origin_of
from po_api.sessions.errors import (
    InvalidIdToken,
    InvalidSignIn,
    InvalidSignInCode,
    OriginNotAllowed,
    SignInNotConfigured,
)
from po_api.sessions.models import SignInAttempt, SignInCode
from po_api.sessions.oidc import IdentityProvider, refusal
from po_api.sessions.repository import SignInRepository
from po_api.sessions.service import Credentials, SessionService
from po_api.users.membership_service import MembershipService
from po_api.users.models import User
from po_api.users.service import UserService

ATTEMPT_LIFETIME = timedelta(minutes=10)
CODE_LIFETIME = timedelta(seconds=60)
_log = get_logger(__name__)

Begin = Callable[[], AbstractAsyncContextManager[AsyncSession]]


@dataclass(frozen=True)
class SignInRedirect:
    """The provider's URL to redirect the browser to, and the secret for its cookie, which identifies it later."""

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
        self,
        begin: Begin,
        provider: IdentityProvider,
        *,
        key: str,
        lifetimes: Lifetimes,
        front_ends: FrontEnds,
        listeners: Listeners,
    ) -> None:
        self._begin = begin
        self._provider = provider
        self._key = key
        self._lifetimes = lifetimes
        self._front_ends = front_ends
        self._listeners = listeners

    async def start(self, *, return_to: str | None, browser: str | None) -> SignInRedirect:
        """Start a sign-in that ends at `return_to` with cookies.

        `browser` is the secret of another sign-in in progress, in another tab; it is kept, so that both can complete.
        """
        address = self._address(return_to)
        browser = browser if browser and tokens.is_secret(browser) else tokens.new_secret()
        url = await self._begin_attempt(return_to=address, browser=tokens.digest(browser))
        return SignInRedirect(url, browser)

    async def start_for_tokens(self, *, return_to: str | None, challenge: str, origin: str | None) -> str:
        """Start a sign-in that ends at `return_to` with a code for the tokens; returns the provider's URL.

        `origin` is that of the page that sends the request. It has to be the front end itself, so that the challenge is
        that of its own verifier: with another one, its author could use the code. Raises OriginNotAllowed.
        """
        if self._front_ends and not self._front_ends.has_origin(origin):
            raise OriginNotAllowed
        address = self._address(return_to, origin=origin)
        if origin != origin_of(address):
            raise OriginNotAllowed
        return await self._begin_attempt(return_to=address, browser="", code_challenge=challenge)

    async def _begin_attempt(self, **values: str) -> str:
        state, nonce, verifier = (tokens.new_secret() for _ in range(3))
        url = await self._provider.authorization_url(
            state=state, nonce=nonce, challenge=tokens.code_challenge(verifier)
        )
        attempt = SignInAttempt(
            state=tokens.digest(state),
            nonce=nonce,
            code_verifier=verifier,
            expires_at=utc_now() + ATTEMPT_LIFETIME,
            **values,
        )
        async with self._begin() as session:
            session.add(attempt)
        return url

    async def complete(self, answer: ProvidersAnswer, *, browser: str | None, device: Device) -> SignInResult:
        """Complete a sign-in after the provider's redirect; errors after this check are part of the result.

        Raises InvalidSignIn unless there is a sign-in in progress with this `state`, of this browser if it ends with
        cookies.
        """
        async with self._begin() as session:
            attempt = await SignInRepository(session).take_attempt(
                tokens.digest(answer.state), tokens.digest(browser) if browser else None, utc_now()
            )
        if attempt is None:
            raise InvalidSignIn
        try:
            proof = await self._redeem(answer, attempt)
            return await self._finish(proof, attempt, device)
        except AppError as error:
            _log.warning("sign_in_failed", code=error.code)
            return SignInResult(attempt.return_to, error=error)

    async def exchange(self, code: str, *, verifier: str, origin: str | None, device: Device) -> Credentials:
        """The tokens for a code, which is valid once, for the front end that started. Raises InvalidSignInCode."""
        async with self._begin() as session:
            found = await SignInRepository(session).take_code(tokens.digest(code), utc_now())
        if (
            found is None
            or tokens.code_challenge(verifier) != found.code_challenge
            or origin is None
            or origin != found.origin
        ):
            raise InvalidSignInCode
        async with self._begin() as session:
            user = await UserService(session).get(found.user_id)
            if user.is_active and user.credentials_version != found.credentials_version:
                raise InvalidSignInCode
            return await self._sessions(session).sign_in(user, device)

    async def with_id_token(self, id_token: str, *, nonce: str | None, device: Device) -> Credentials:
        """The tokens for an ID token, as issued to a page by the Google sign-in button; it can be used once."""
        proof = await self._provider.proof(id_token, nonce=nonce)
        async with self._begin() as session:
            user = await self._user(session, proof)
            return await self._sessions(session).sign_in(user, device)

    def _address(self, return_to: str | None, *, origin: str | None = None) -> str:
        """The return address, which must be one of FRONTEND_URL; others would make this an open redirect."""
        if not self._front_ends:
            raise SignInNotConfigured
        address = self._front_ends.address(return_to, origin=origin)
        if address is None:
            detail = "must be a return address of FRONTEND_URL: the same scheme, host, port and path, without fragment"
            location = "query" if origin is None else "body"
            raise Unprocessable(errors=(FieldError("/return_to", "unknown_front_end", detail, location),))
        return address

    async def _redeem(self, answer: ProvidersAnswer, attempt: SignInAttempt) -> Proof:
        await self._provider.require_own_answer(answer.issuer)
        if answer.code is None:
            raise refusal(answer.error)
        return await self._provider.redeem(answer.code, verifier=attempt.code_verifier, nonce=attempt.nonce)

    async def _finish(self, proof: Proof, attempt: SignInAttempt, device: Device) -> SignInResult:
        async with self._begin() as session:
            user = await self._user(session, proof)
            if attempt.code_challenge is None:
                return SignInResult(attempt.return_to, credentials=await self._sessions(session).sign_in(user, device))
            code = tokens.new_secret()
            session.add(
                SignInCode(
                    code=tokens.digest(code),
                    user_id=user.id,
                    credentials_version=user.credentials_version,
                    code_challenge=attempt.code_challenge,
                    origin=origin_of(attempt.return_to),
                    expires_at=utc_now() + CODE_LIFETIME,
                )
            )
            return SignInResult(attempt.return_to, code=code)

    async def _user(self, session: AsyncSession, proof: Proof) -> User:
        """The user whose identity is proven, who may join by it. Raises InvalidIdToken if the token was used before.

        That it is used is committed with what comes of it: after an error, it can be sent again.
        """
        if not await SignInRepository(session).use_id_token(proof.digest, proof.usable_until):
            raise InvalidIdToken
        user = await UserService(session).identified(proof.identity)
        if self._provider.is_own_address(proof.identity.email):
            await MembershipService(session, self._listeners).take_up_only_invitation(user)
        return user

    def _sessions(self, session: AsyncSession) -> SessionService:
        return SessionService(session, key=self._key, lifetimes=self._lifetimes)
