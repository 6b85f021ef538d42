"""Tokens: our own access and refresh tokens, and the identity provider's ID tokens. The only file that imports jose.

jose checks only what its options require: hence every claim is required by name, the algorithm is a constant and the
header is checked here (security.md).
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from jose import jwt
from jose.exceptions import JOSEError

from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated
from po_api.sessions.domain import JsonObject
from po_api.sessions.errors import InvalidIdToken

ALGORITHM = "HS256"
PROVIDERS_ALGORITHM = "RS256"
TYPE = "at+jwt"
ISSUER = AUDIENCE = "po-api"
MAX_LENGTH = 8192
MIN_KEY_BYTES = 32
MAX_ID = 2**63 - 1
# The tolerance for clocks of other processes that are ahead.
CLOCK_SKEW = timedelta(seconds=10)
# The provider issues an ID token for a sign-in in progress; an older one has been kept somewhere.
MAX_ID_TOKEN_AGE = timedelta(minutes=10)
_REQUIRED = ("exp", "iat", "aud", "iss", "sub")
_OPTIONS = {f"require_{claim}": True for claim in _REQUIRED} | {"leeway": 0}
_SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
# jose also accepts padding and other characters: one token would have several spellings.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MALFORMED = (JOSEError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True)
class AccessToken:
    """The user and the session that an access token belongs to."""

    user_id: int
    session_id: int


@dataclass(frozen=True)
class IdToken:
    """The claims of a valid ID token; `digest` identifies it as long as it can be used, until `usable_until`."""

    claims: JsonObject
    digest: str
    usable_until: datetime


def digest(token: str) -> str:
    """The digest that is stored instead of a token: SHA-256 (hex)."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_secret() -> str:
    """256 random bits, 43 characters of base64url."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def is_secret(text: str) -> bool:
    """Whether `text` has the form of `new_secret`."""
    return _SECRET.fullmatch(text) is not None


def new_salt() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def successor(refresh_token: str, *, salt: bytes, key: str) -> str:
    """The refresh token that follows `refresh_token`: 256 bits, derived from it, the stored salt and the key.

    It is derived because parallel tabs have to get the same one, and no token is stored in plain text.
    """
    derived = hmac.digest(key.encode(), b"refresh token\x00" + salt + refresh_token.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(derived).decode().rstrip("=")


def code_challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def sign(token: AccessToken, *, key: str, issued_at: datetime, lifetime: timedelta) -> str:
    """A compact JWT (RFC 9068). Raises ValueError for a key that is too short."""
    if len(key.encode()) < MIN_KEY_BYTES:
        raise ValueError(f"a signing key has at least {MIN_KEY_BYTES} bytes")
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(token.user_id),
        "sid": str(token.session_id),
        "jti": secrets.token_hex(16),
        "iat": issued_at,
        "exp": issued_at + lifetime,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE})


def verify(token: str, *, key: str) -> AccessToken:
    """The content of the token. Raises Unauthenticated unless its signature and all of its claims are valid."""
    content, expires_at = _verified(token, key)
    if expires_at < utc_now().timestamp():
        raise Unauthenticated
    return content


# A front end sends the same token for a quarter of an hour. The result depends only on the token and the key; expiry
# and the state of the session are checked separately.
@lru_cache(maxsize=4096)
def _verified(token: str, key: str) -> tuple[AccessToken, int]:
    """The content of the token, and its expiry (seconds since 1970)."""
    try:
        header = _header(token)
        if header.get("typ") != TYPE or header.get("alg") != ALGORITHM or "crit" in header:
            raise Unauthenticated
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=dict(_OPTIONS)
        )
        _require_past(claims["iat"])
        return AccessToken(_id(claims["sub"]), _id(claims["sid"])), int(claims["exp"])
    except _MALFORMED:
        raise Unauthenticated from None


def id_token_key(token: str) -> str:
    """The id of the provider's key that the header of an ID token names. Raises InvalidIdToken."""
    try:
        header = _header(token)
        if header.get("alg") != PROVIDERS_ALGORITHM or "crit" in header or not isinstance(header["kid"], str):
            raise InvalidIdToken
        return header["kid"]
    except _MALFORMED:
        raise InvalidIdToken from None


def verify_id_token(
    token: str, *, key: JsonObject, issuers: Collection[str], client_id: str, nonce: str | None
) -> IdToken:
    """The content of an ID token (OpenID Connect Core, 3.1.3.7). Raises InvalidIdToken unless all claims are valid.

    `key` is the RSA key (JWK) that `id_token_key` named, `nonce` that of the sign-in or None.
    """
    # jose would use a public key that it takes for text as the secret of HMAC.
    if (
        key.get("kty") != "RSA"
        or key.get("use", "sig") != "sig"
        or key.get("alg", PROVIDERS_ALGORITHM) != (PROVIDERS_ALGORITHM)
    ):
        raise InvalidIdToken
    # The provider's access token is not used, so its hash is not checked.
    options = _OPTIONS | {"leeway": int(CLOCK_SKEW.total_seconds()), "verify_at_hash": False}
    try:
        claims: JsonObject = jwt.decode(
            token,
            dict(key),
            algorithms=[PROVIDERS_ALGORITHM],
            audience=client_id,
            issuer=tuple(issuers),
            options=options,
        )
        _require_recent(claims["iat"])
        if claims["sub"] == "" or claims.get("nonce") != nonce or not _is_for(claims, client_id):
            raise InvalidIdToken
        return IdToken(claims, _signed_digest(token), _usable_until(claims))
    except _MALFORMED:
        raise InvalidIdToken from None


def _signed_digest(token: str) -> str:
    """The digest of what is signed: the signature itself can be written in several ways, since base64 ignores the last
    bits of its last character."""
    return digest(token.rpartition(".")[0])


def _usable_until(claims: JsonObject) -> datetime:
    """From when on the token is refused for its age, whichever process checks it."""
    seconds = min(float(claims["exp"]), float(claims["iat"]) + MAX_ID_TOKEN_AGE.total_seconds())
    return datetime.fromtimestamp(seconds, UTC) + 2 * CLOCK_SKEW


def _header(token: str) -> JsonObject:
    if len(token) > MAX_LENGTH or not _COMPACT.fullmatch(token):
        raise ValueError("not a compact JWS")
    header: JsonObject = jwt.get_unverified_header(token)
    return header


def _is_for(claims: JsonObject, client_id: str) -> bool:
    """Whether the token was issued to this client: with several audiences, `azp` has to name it."""
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    return bool(claims.get("azp", None if several else client_id) == client_id)


def _require_past(issued_at: float) -> None:
    """jose only checks that `iat` is a number."""
    if issued_at > (utc_now() + CLOCK_SKEW).timestamp():
        raise ValueError("issued in the future")


def _require_recent(issued_at: float) -> None:
    """Raise ValueError unless the time is in the last MAX_ID_TOKEN_AGE; also for NaN, which equals no time."""
    now = utc_now()
    if not (now - MAX_ID_TOKEN_AGE).timestamp() <= issued_at <= (now + CLOCK_SKEW).timestamp():
        raise ValueError("issued in the future, or too long ago")


def _id(text: str) -> int:
    number = int(text)
    if not 0 < number <= MAX_ID:
        raise ValueError("not an id")
    return number
