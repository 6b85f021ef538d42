"""Rate limits: so many requests per user, fewer per address that has not signed in."""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from starlette.datastructures import State

from po_api.core.errors import TooManyRequests
from po_api.settings import Settings


@dataclass(frozen=True)
class _Policy:
    name: str
    item: RateLimitItem

    @property
    def header(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'


class RateLimiter:
    """Counts in memory for one process, in Redis (`RATE_LIMIT_STORAGE_URI`) when several share."""

    def __init__(self, settings: Settings) -> None:
        uri = settings.rate_limit_storage_uri
        storage = storage_from_string(f"async+{uri.removeprefix('async+')}")
        assert isinstance(storage, Storage)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._user = _Policy("user", parse(settings.rate_limit_per_user))
        self._address = _Policy("address", parse(settings.rate_limit_per_address))

    async def hit_user(self, state: State, user_id: int) -> None:
        """Count a request of a signed-in user; TooManyRequests when the limit is used up."""
        await self._hit(state, self._user, str(user_id))

    async def hit_address(self, state: State, address: str | None) -> None:
        """Count a request without a valid token; TooManyRequests when the limit is used up."""
        await self._hit(state, self._address, address or "unknown")

    async def _hit(self, state: State, policy: _Policy, who: str) -> None:
        allowed = await self._limiter.hit(policy.item, policy.name, who)
        window = await self._limiter.get_window_stats(policy.item, policy.name, who)
        wait = max(1, math.ceil(window.reset_time - time.time()))
        state.rate_limit = {
            "RateLimit-Policy": policy.header,
            "RateLimit": f'"{policy.name}";r={max(0, window.remaining)};t={wait}',
        }
        if not allowed:
            raise TooManyRequests(headers={"Retry-After": str(wait)})
