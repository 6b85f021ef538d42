"""Values of sessions: lifetimes, and the device that uses one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

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
