"""The identity provider: metadata, endpoints, and verified identities (OpenID Connect Core, Discovery).

Every failure of the provider is reported within DEADLINE_SECONDS for each request to it, as one of `sessions.errors`.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

import httpx

from po_api.core.domains import u_label
from po_api.core.email import canonical_email
from po_api.core.text import has_forbidden_characters, is_visible, normalise
from po_api.core.urls import is_secure_url
from po_api.observability.logging import get_logger
from po_api.sessions import tokens
from po_api.sessions.domain import JsonObject, Proof
from po_api.sessions.errors import (
    DomainNotAllowed,
    EmailNotVerified,
    IdentityProviderUnavailable,
    InvalidIdToken,
    SignInNotConfigured,
    SignInRefused,
)
from po_api.settings import Settings
from po_api.users.domain import Identity

# Its tokens name the issuer with or without the scheme (developers.google.com/identity/openid-connect/openid-connect).
GOOGLE = "https://accounts.google.com"

DEADLINE_SECONDS = 5
_MAX_BYTES = 256 * 1024
_RETRY_AFTER = {"Retry-After": "10"}

# Providers announce a new key days before they sign with it.
_CACHED_SECONDS = 3600
# Seconds between two requests for keys because of an unknown key id, which anyone can send.
_UNKNOWN_KEY_SECONDS = 10

_ERROR_CODE = re.compile(r"[a-z_]{1,60}")
_MAX_SUBJECT = 255
_log = get_logger(__name__)


@dataclass(frozen=True)
class _Metadata:
    """The provider's metadata (Discovery, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    sends_issuer: bool
    takes_basic: bool


@dataclass(frozen=True)
class _Published:
    """The metadata and the signing keys (JWKs by their id), as of `fetched_at` (seconds, monotonic)."""

    metadata: _Metadata
    keys: Mapping[str, JsonObject]
    fetched_at: float


class IdentityProvider:
    """One provider, by its issuer. Errors are those of `sessions.errors`; SignInNotConfigured without a client id."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.google_client_secret
        self._issuer = settings.oidc_issuer
        self._client_id = settings.google_client_id
        self._client_secret = secret.get_secret_value() if secret else None
        self._redirect_uri = settings.google_redirect_uri
        # The settings have A-labels. Every address has its domain as U-label, and Google's `hd` may be either.
        self._domains = settings.oidc_hosted_domain
        self._spellings = (*self._domains, *map(u_label, self._domains))
        self._published: _Published | None = None
        self._fetched_for_unknown_key = float("-inf")
        self._fetching: asyncio.Task[_Published] | None = None

    def is_own_address(self, email: str) -> bool:
        """Whether the canonical address is in a domain to which sign-in is restricted (OIDC_HOSTED_DOMAIN)."""
        return email.rpartition("@")[2] in self._spellings

    async def authorization_url(self, *, state: str, nonce: str, challenge: str) -> str:
        """The URL to redirect the browser to; the provider redirects it back with `state` and a code."""
        client_id, redirect_uri = self._client()
        metadata = (await self._current()).metadata
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self._is_google and len(self._domains) == 1:
            query["hd"] = self._domains[0]
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{separator}{urlencode(query)}"

    async def require_own_answer(self, issuer: str | None) -> None:
        """Raise SignInRefused for the response of another provider (RFC 9207)."""
        metadata = (await self._current()).metadata
        if issuer != metadata.issuer and (issuer is not None or metadata.sends_issuer):
            raise SignInRefused("the response is from another provider")

    async def redeem(self, code: str, *, verifier: str, nonce: str) -> Proof:
        """Exchange the code of a redirect for a proof of the user's identity."""
        client_id, redirect_uri = self._client()
        metadata = (await self._current()).metadata
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth = None
        if self._client_secret is None:
            form["client_id"] = client_id
        elif metadata.takes_basic:
            # Both are form-encoded before they are base64-encoded (RFC 6749, 2.3.1).
            auth = httpx.BasicAuth(quote(client_id, safe=""), quote(self._client_secret, safe=""))
        else:
            form |= {"client_id": client_id, "client_secret": self._client_secret}
        response = await self._request("POST", metadata.token_endpoint, form=form, auth=auth)
        if not isinstance(response.get("id_token"), str):
            raise self._unavailable("no ID token in the response")
        return await self.proof(response["id_token"], nonce=nonce)

    async def proof(self, id_token: str, *, nonce: str | None) -> Proof:
        """The identity that an ID token proves, which is to be accepted once; `nonce` is that of the sign-in."""
        if self._client_id is None:
            raise SignInNotConfigured
        key = await self._key(tokens.id_token_key(id_token))
        metadata = (await self._current()).metadata
        issuers = {GOOGLE, GOOGLE.partition("://")[2]} if self._is_google else {metadata.issuer}
        token = tokens.verify_id_token(id_token, key=key, issuers=issuers, client_id=self._client_id, nonce=nonce)
        if token.claims.get("email_verified") is not True:
            raise EmailNotVerified
        identity = self._identity(token.claims)
        self._require_domain(token.claims, identity)
        return Proof(identity, token.digest, token.usable_until)

    def _identity(self, claims: JsonObject) -> Identity:
        subject, email, name = claims["sub"], claims.get("email"), claims.get("name")
        if not (subject.isascii() and subject.isprintable() and 0 < len(subject) <= _MAX_SUBJECT):
            raise InvalidIdToken
        try:
            email = canonical_email(email if isinstance(email, str) else "")
        except ValueError:
            raise InvalidIdToken from None
        if not isinstance(name, str) or has_forbidden_characters(name, multiline=False) or not is_visible(name):
            name = ""
        return Identity(self._issuer, subject, email, normalise(name)[:255].strip())

    def _require_domain(self, claims: JsonObject, identity: Identity) -> None:
        # A Google account may have an address of any domain; `hd` is the domain that manages the account.
        domain = claims.get("hd") if self._is_google else identity.email.rpartition("@")[2]
        if self._domains and domain not in self._spellings:
            raise DomainNotAllowed

    @property
    def _is_google(self) -> bool:
        return self._issuer.rstrip("/") == GOOGLE

    def _client(self) -> tuple[str, str]:
        if self._client_id is None or self._redirect_uri is None:
            raise SignInNotConfigured
        return self._client_id, self._redirect_uri

    async def _key(self, key_id: str) -> JsonObject:
        """The provider's signing key of this id; keys are fetched again for an unknown id. Raises InvalidIdToken."""
        published = await self._current()
        if key_id not in published.keys and self._may_fetch_again():
            published = await self._fetched()
        if key_id not in published.keys:
            raise InvalidIdToken
        return published.keys[key_id]

    def _may_fetch_again(self) -> bool:
        now = time.monotonic()
        allowed = now - self._fetched_for_unknown_key >= _UNKNOWN_KEY_SECONDS
        if allowed:
            self._fetched_for_unknown_key = now
        return allowed

    async def _current(self) -> _Published:
        """The metadata and keys, at most _CACHED_SECONDS old."""
        found = self._published
        if found is None or time.monotonic() - found.fetched_at > _CACHED_SECONDS:
            found = await self._fetched()
        return found

    async def _fetched(self) -> _Published:
        """The result of one fetch, shared by concurrent requests, so that they all wait for at most one deadline."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        # Shielded: the request that started the fetch may be cancelled while others wait for it.
        self._published = await asyncio.shield(self._fetching)
        return self._published

    async def _fetch(self) -> _Published:
        found = await self._request("GET", f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        metadata = self._read_metadata(found)
        keys = (await self._request("GET", metadata.jwks_uri)).get("keys")
        if not isinstance(keys, list):
            raise self._unavailable("no keys")
        by_id = {key["kid"]: key for key in keys if isinstance(key, dict) and isinstance(key.get("kid"), str)}
        return _Published(metadata, by_id, time.monotonic())

    def _read_metadata(self, found: JsonObject) -> _Metadata:
        issuer = found.get("issuer")
        # With the metadata of another issuer, its tokens would be accepted as this one's (Discovery, 4.3).
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._issuer.rstrip("/"):
            raise self._unavailable("metadata of another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        endpoints = {name: found.get(name) for name in names}
        if not all(isinstance(url, str) and is_secure_url(url) for url in endpoints.values()):
            raise self._unavailable("endpoints are not https URLs")
        methods = found.get("token_endpoint_auth_methods_supported")
        return _Metadata(
            issuer=issuer,
            **{name: str(url) for name, url in endpoints.items()},
            sends_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
        )

    async def _request(
        self, method: str, url: str, *, form: Mapping[str, str] | None = None, auth: httpx.Auth | None = None
    ) -> JsonObject:
        """The JSON object that the provider returns. Raises SignInRefused if it refuses a code."""
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client,
                client.stream(method, url, data=form, auth=auth) as response,
            ):
                body = await self._read(response)
        except TimeoutError:
            raise self._unavailable("no response in time", url) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unavailable(type(error).__name__, url) from None
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise self._unavailable("response is not JSON", url) from None
        if not isinstance(found, dict):
            raise self._unavailable("response is not a JSON object", url)
        if method == "POST" and response.status_code in (400, 401, 403):
            raise refusal(found.get("error"))
        if response.status_code != httpx.codes.OK:
            raise self._unavailable(f"status {response.status_code}", url)
        return found

    async def _read(self, response: httpx.Response) -> bytes:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MAX_BYTES:
                raise self._unavailable("response is too long", str(response.url))
        return body

    def _unavailable(self, reason: str, url: str | None = None) -> IdentityProviderUnavailable:
        _log.warning("identity_provider_unavailable", reason=reason, host=urlsplit(url or self._issuer).hostname)
        return IdentityProviderUnavailable(headers=_RETRY_AFTER)


def refusal(code: object) -> SignInRefused:
    """The error for the provider's error code (RFC 6749, 4.1.2.1 and 5.2), which is repeated if it is well-formed."""
    known = code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None
    _log.warning("identity_provider_refused", code=known)
    return SignInRefused(f"the identity provider returned {known}" if known else "")
