"""Secrets and signatures of webhooks, as Standard Webhooks 1.0 defines them."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def new_message_id() -> str:
    """A new `webhook-id`, by which receivers recognise what they have received before."""
    return f"msg_{secrets.token_hex(16)}"


def signature(secret: str, message_id: str, at: datetime, body: bytes) -> str:
    """The signature of a body under one secret: `v1,` and HMAC-SHA256 in base64."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{message_id}.{int(at.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets_: Iterable[str], message_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """The headers of a request, with a signature for each secret; `at` is the time of the attempt."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signature(secret, message_id, at, body) for secret in secrets_),
    }
