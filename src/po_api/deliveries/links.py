"""The addresses at which suppliers read their orders: tokens, of which only digests are stored."""

import hashlib
import re
import secrets
from dataclasses import dataclass

from po_api.deliveries.errors import SupplierLinkNotFound

_MAX_ID = 2**63 - 1
_TOKEN = re.compile(r"([1-9][0-9]{0,18})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class LinkToken:
    """The organisation that is looked in, and the digest (hex) of what its supplier knows."""

    organisation_id: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> "LinkToken":
        """The header of a request. Raises SupplierLinkNotFound for another text, as for an unknown token."""
        found = _TOKEN.fullmatch(text)
        if found is None or int(found[1]) > _MAX_ID:
            raise SupplierLinkNotFound
        return cls(int(found[1]), _digest(found[2]))


def new_link(public_url: str, organisation_id: int) -> tuple[str, str]:
    """A new address of an order, with 256 random bits, and the digest that is stored.

    They are in the fragment, which browsers send to no server: the token is in no path and no log.
    """
    token = secrets.token_urlsafe(32)
    return f"{public_url.rstrip('/')}/supplier#{organisation_id}.{token}", _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
