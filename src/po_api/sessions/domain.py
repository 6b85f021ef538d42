"""Values of sessions: lifetimes, the device that uses one, proofs of identity, and the front ends' addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from po_api.core.urls import web_url
from po_api.users.domain import Identity

# A JSON object from outside (claims, keys, metadata): every value is checked before it is used.
JsonObject = Mapping[str, Any]

MAX_USER_AGENT = 500

# Tabs of one browser may refresh at the same moment: within this time the second gets the same successor.
REFRESH_GRACE = timedelta(seconds=10)


@dataclass(frozen=True)
class Lifetimes:
    """Lifetimes of access tokens and of sessions; `idle` is how long a session may stay unused."""

    access: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(days=30)
    idle: timedelta = timedelta(days=7)


USUAL_LIFETIMES = Lifetimes()


@dataclass(frozen=True)
class Device:
    """The origin of a request; the user agent is the client's own statement."""

    address: str | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        if self.user_agent is not None:
            object.__setattr__(self, "user_agent", self.user_agent[:MAX_USER_AGENT].replace("\x00", ""))


@dataclass(frozen=True)
class Proof:
    """The identity that an ID token proves. The token, identified by its `digest`, can be used until `usable_until`."""

    identity: Identity
    digest: str
    usable_until: datetime


class FrontEnds:
    """The return addresses that are configured (FRONTEND_URL), each a URL without query; the first is the default."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = {str(url): url.origin for url in map(web_url, addresses)}

    def __bool__(self) -> bool:
        return bool(self._addresses)

    def has_origin(self, origin: str | None) -> bool:
        """Whether one of the addresses has this origin, as browsers write it in the header `Origin`."""
        return origin in self._addresses.values()

    def address(self, return_to: str | None, *, origin: str | None = None) -> str | None:
        """The configured address with the same scheme, host, port and path as `return_to`, and with its query.

        Without `return_to` it is the default, with an `origin` the first one there. None if there is no such address.
        The result begins with the configured text: no other program can find another host in it.
        """
        if return_to is None:
            return next((url for url, its in self._addresses.items() if origin in (None, its)), None)
        url, mark, query = return_to.partition("?")
        try:
            wanted = str(web_url(url))
        except ValueError:
            return None
        return wanted + mark + query if wanted in self._addresses and "#" not in query else None


def origin_of(address: str) -> str:
    """The origin of a return address, as browsers write it in the header `Origin`."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
