"""The file of a Google service account, by which the application identifies itself."""

import json
from dataclasses import dataclass, field
from typing import Self

from po_api.core.urls import is_secure_url

_REQUIRED = ("client_email", "private_key_id", "private_key", "token_uri")


@dataclass(frozen=True)
class ServiceAccount:
    """A service account: its e-mail address, its RSA key (PEM) with the key's id, and where tokens are issued."""

    email: str
    key_id: str
    private_key: str = field(repr=False)
    token_url: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The account in the text of a key file (JSON). Raises ValueError with what is wrong, without a part of it."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("the file is not JSON") from None
        if not isinstance(found, dict) or found.get("type") != "service_account":
            raise ValueError("the file is not the key of a service account")
        values = [found.get(name) for name in _REQUIRED]
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"the file lacks one of {', '.join(_REQUIRED)}")
        email, key_id, private_key, token_url = map(str, values)
        if not is_secure_url(token_url):
            raise ValueError("token_uri in the file is not an https:// URL")
        _require_rsa(private_key)
        return cls(email, key_id, private_key, token_url)


def _require_rsa(pem: str) -> None:
    # Imported here: commands of installations without an account do not need it.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("private_key in the file is not a key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key in the file is not an RSA key")
