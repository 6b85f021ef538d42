"""A bounded queue for heavy work that organisations and their users share fairly.

The limiters of asyncio and anyio are first come, first served: an organisation with sixty requests at once would make
all others wait for them. PyPI has rate limiters, but none with shares.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from po_api.core.errors import TooManyRequests, Unavailable

_RETRY_AFTER = {"Retry-After": "5"}


class QueueFull(TooManyRequests):
    """The user or the organisation already has as many heavy requests waiting as allowed: imports, exports,
    conversions, issues, large bodies, documents that are typeset. Nothing was changed; try again after `Retry-After`
    seconds, with fewer requests at once."""

    code = "queue_full"
    title = "Too many heavy requests at once"


class QueueTimeout(Unavailable):
    """The request waited too long for other heavy requests. Nothing was changed; try again after `Retry-After`
    seconds."""

    code = "queue_timeout"
    title = "Waited too long for other requests"
    page = "/docs/limits"


@dataclass(frozen=True)
class Owner:
    """On whose behalf work is done; 0 is no organisation."""

    organisation_id: int
    user_id: int


@dataclass(frozen=True)
class Shares:
    """The most that run and wait at once, in one process, and the seconds after which a waiting one is refused."""

    running: int
    running_per_organisation: int
    running_per_user: int
    waiting: int = 512
    waiting_per_organisation: int = 128
    waiting_per_user: int = 64
    seconds: float = 30


class FairQueue:
    """Lets `shares.running` holders run at once; the others wait.

    The next one is of the organisation with the fewest running, among these the one that was served least recently, and
    in it of the user chosen in the same way.
    """

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self._running: Counter[Owner] = Counter()
        self._organisations: Counter[int] = Counter()
        # By organisation and user; who was served last is the last one.
        self._waiting: dict[int, dict[int, deque[asyncio.Future[None]]]] = {}

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def waiting(self) -> int:
        return sum(self._waiting_of(organisation_id) for organisation_id in self._waiting)

    @asynccontextmanager
    async def turn(self, owner: Owner) -> AsyncIterator[None]:
        """Wait for a turn, and hold it. Raises QueueFull at once, or QueueTimeout."""
        await self.acquire(owner)
        try:
            yield
        finally:
            self.release(owner)

    @property
    def is_busy(self) -> bool:
        """Whether everyone would have to wait."""
        return self.running >= self.shares.running

    def try_acquire(self, owner: Owner) -> bool:
        """Take a turn, to be given back by `release`, if there is no need to wait."""
        if not self._may_run(owner):
            return False
        self._begin(owner)
        return True

    async def acquire(self, owner: Owner) -> None:
        """Wait for a turn, to be given back by `release`. Raises QueueFull at once, or QueueTimeout."""
        if self.try_acquire(owner):
            return
        self._require_room(owner)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner.organisation_id, {}).setdefault(owner.user_id, deque()).append(turn)
        try:
            async with asyncio.timeout(self.shares.seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release(owner)  # it was given while this one gave up
            else:
                self._forget(owner, turn)
            if isinstance(error, TimeoutError):
                raise QueueTimeout(headers=_RETRY_AFTER) from None
            raise

    def release(self, owner: Owner) -> None:
        """Give the turn back; the next one runs."""
        self._running[owner] -= 1
        self._organisations[owner.organisation_id] -= 1
        # Without this, the counters would keep an entry of 0 for everyone who was ever here.
        self._running, self._organisations = +self._running, +self._organisations
        while (following := self._next()) is not None:
            turn = self._waiting[following.organisation_id][following.user_id][0]
            self._forget(following, turn)
            if turn.cancelled():
                continue  # it has given up, and its task is not aware of that yet
            self._move_last(following)
            self._begin(following)
            turn.set_result(None)

    def _begin(self, owner: Owner) -> None:
        self._running[owner] += 1
        self._organisations[owner.organisation_id] += 1

    def _may_run(self, owner: Owner) -> bool:
        shares = self.shares
        return (
            not self.is_busy
            and self._organisations[owner.organisation_id] < shares.running_per_organisation
            and self._running[owner] < shares.running_per_user
        )

    def _require_room(self, owner: Owner) -> None:
        shares, users = self.shares, self._waiting.get(owner.organisation_id, {})
        if (
            len(users.get(owner.user_id, ())) >= shares.waiting_per_user
            or self._waiting_of(owner.organisation_id) >= shares.waiting_per_organisation
        ):
            raise QueueFull(headers=_RETRY_AFTER)
        if self.waiting >= shares.waiting:
            raise QueueTimeout("Too many requests are waiting", headers=_RETRY_AFTER)

    def _waiting_of(self, organisation_id: int) -> int:
        return sum(map(len, self._waiting.get(organisation_id, {}).values()))

    def _next(self) -> Owner | None:
        """Whose turn it is; None if nobody waits who may run."""
        found = (self._next_of(organisation_id) for organisation_id in self._waiting)
        return _fewest((owner for owner in found if owner), lambda owner: self._organisations[owner.organisation_id])

    def _next_of(self, organisation_id: int) -> Owner | None:
        owners = (Owner(organisation_id, user_id) for user_id in self._waiting[organisation_id])
        return _fewest(filter(self._may_run, owners), self._running.__getitem__)

    def _forget(self, owner: Owner, turn: asyncio.Future[None]) -> None:
        users = self._waiting.get(owner.organisation_id, {})
        if turn not in users.get(owner.user_id, ()):
            return
        users[owner.user_id].remove(turn)
        if not users[owner.user_id]:
            del users[owner.user_id]
        if not users:
            del self._waiting[owner.organisation_id]

    def _move_last(self, owner: Owner) -> None:
        users = self._waiting.pop(owner.organisation_id, None)
        if users is not None:
            self._waiting[owner.organisation_id] = users
            turns = users.pop(owner.user_id, None)
            if turns is not None:
                users[owner.user_id] = turns


def _fewest(owners: Iterable[Owner], running: Callable[[Owner], int]) -> Owner | None:
    """The first owner of those with the fewest running."""
    return min(owners, key=running, default=None)
