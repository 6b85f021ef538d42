"""Rate limits: of requests per user, of requests without a valid token per address, of sign-ins and of refreshes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import Storage
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from starlette.datastructures import State

from po_api.core.errors import TooManyRequests
from po_api.observability.logging import get_logger
from po_api.settings import Settings, SettingsError
from po_api.web.errors import unavailable
from po_api.web.request_counts import MemoryCounts, RequestCounts, StoredCounts

# The prefix length of the IPv6 networks that are assigned to one customer.
_IPV6_PREFIX = 64
_REDIS_OPTIONS: dict[str, Any] = {"implementation": "redispy", "socket_timeout": 1, "socket_connect_timeout": 1}
_log = get_logger(__name__)


@dataclass(frozen=True)
class Policy:
    """One limit: `name` in the headers, `counts` for the documentation page."""

    name: str
    counts: str
    item: RateLimitItem

    @property
    def header(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'


class RateLimiter:
    """Counts in memory for one process, or in Redis for several (`RATE_LIMIT_STORAGE_URI`)."""

    def __init__(self, settings: Settings) -> None:
        self._counts = _counts(settings.rate_limit_storage_uri)
        self._user = Policy("user", "Requests per signed-in user", parse(settings.rate_limit_per_user))
        self._address = Policy(
            "address", "Requests without a valid token per address", parse(settings.rate_limit_per_address)
        )
        self._sign_in = Policy("sign-in", "Sign-in attempts per address", parse(settings.rate_limit_sign_in))
        self._refresh = Policy("refresh", "Token refreshes per user", parse(settings.rate_limit_refresh))

    def __iter__(self) -> Iterator[Policy]:
        """The limits, for the documentation page."""
        return iter((self._user, self._address, self._sign_in, self._refresh))

    async def hit_user(self, state: State, user_id: int) -> None:
        """Count a request of a signed-in user. Raises TooManyRequests above the limit."""
        await self._hit(state, self._user, str(user_id))

    async def hit_address(self, state: State, address: str | None) -> None:
        """Count a request without a valid token. Raises TooManyRequests above the limit."""
        await self._hit(state, self._address, _network(address))

    async def hit_sign_in(self, state: State, address: str | None) -> None:
        """Count an attempt to sign in. Raises TooManyRequests above the limit."""
        await self._hit(state, self._sign_in, _network(address))

    async def hit_refresh(self, state: State, user_id: int) -> None:
        """Count a refresh of a token. Raises TooManyRequests above the limit."""
        await self._hit(state, self._refresh, str(user_id))

    async def _hit(self, state: State, policy: Policy, key: str) -> None:
        if state.unit_of_work.is_counted:
            return  # the request is a retry, or has waited for its turn
        try:
            counted = await self._counts.hit(policy.item, policy.name, key)
        except StorageError:
            # Not unlimited: an attacker could otherwise disable the limits through the store.
            _log.warning("rate_limit_store_unavailable")
            raise unavailable() from None
        wait = max(1, math.ceil(counted.reset_seconds))
        state.rate_limit = {
            "RateLimit-Policy": policy.header,
            "RateLimit": f'"{policy.name}";r={counted.remaining};t={wait}',
        }
        if not counted.is_allowed:
            raise TooManyRequests(headers={"Retry-After": str(wait)})


def _counts(uri: str) -> RequestCounts:
    """The counts in the storage at `uri`. Raises SettingsError if its client package is not installed."""
    uri = uri.removeprefix("async+")
    if uri.startswith("memory"):
        return MemoryCounts()
    try:
        storage = storage_from_string(f"async+{uri}", wrap_exceptions=True, **_REDIS_OPTIONS)
    except ConfigurationError:
        raise SettingsError("RATE_LIMIT_STORAGE_URI: the package redis is required and not installed") from None
    assert isinstance(storage, Storage)
    return StoredCounts(storage)


def _network(address: str | None) -> str:
    """The key that requests from `address` are counted under: the address, or the network of an IPv6 address."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((found, _IPV6_PREFIX), strict=False))
