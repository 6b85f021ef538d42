"""The assertion by which a service account asks for an access token (RFC 7523); the other file that imports jose."""

from datetime import timedelta

from jose import jwt

from po_api.core.clock import utc_now
from po_api.core.service_account import ServiceAccount

ALGORITHM = "RS256"
# Google accepts at most an hour.
LIFETIME = timedelta(minutes=10)


def signed_assertion(account: ServiceAccount, *, scope: str) -> str:
    """A JWT of the account, for its token endpoint."""
    now = utc_now()
    claims = {"iss": account.email, "scope": scope, "aud": account.token_url, "iat": now, "exp": now + LIFETIME}
    return jwt.encode(claims, account.private_key, algorithm=ALGORITHM, headers={"kid": account.key_id})
