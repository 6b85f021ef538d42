"""Access tokens: JWTs signed with the application's key. The only file that imports jose.

jose checks what it is asked to check and no more, so every claim is asked for by name, the algorithm is a constant and
the header is read by ourselves (security.md).
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from jose import jwt
from jose.exceptions import JOSEError

from po_api.core.clock import utc_now
from po_api.core.errors import Unauthenticated

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER = AUDIENCE = "po-api"
MAX_LENGTH = 8192
MIN_KEY_BYTES = 32
MAX_ID = 2**63 - 1
# How far ahead the clock of another process may be.
CLOCK_SKEW = timedelta(seconds=10)
_REQUIRED = ("exp", "iat", "aud", "iss", "sub")
_OPTIONS = {f"require_{claim}": True for claim in _REQUIRED} | {"leeway": 0}


@dataclass(frozen=True)
class AccessToken:
    """Whom a token speaks for."""

    user_id: int
    session_id: int


def digest(token: str) -> str:
    """What is stored of a token: SHA-256 (hex)."""
    return hashlib.sha256(token.encode()).hexdigest()


def sign(token: AccessToken, *, key: str, issued_at: datetime, lifetime: timedelta) -> str:
    """A compact JWT (RFC 9068); ValueError for a key that is too short."""
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
    """What the token says, if its signature and all of its claims hold; Unauthenticated otherwise."""
    if len(token) > MAX_LENGTH:
        raise Unauthenticated
    try:
        header = jwt.get_unverified_header(token)
        if header.get("typ") != TYPE or header.get("alg") != ALGORITHM or "crit" in header:
            raise Unauthenticated
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=dict(_OPTIONS)
        )
        # jose asks of `iat` only that it is a number.
        if claims["iat"] > (utc_now() + CLOCK_SKEW).timestamp():
            raise Unauthenticated
        return AccessToken(_id(claims["sub"]), _id(claims["sid"]))
    except (JOSEError, KeyError, TypeError, ValueError, OverflowError):
        raise Unauthenticated from None


def _id(text: str) -> int:
    number = int(text)
    if not 0 < number <= MAX_ID:
        raise ValueError("no row's id")
    return number
