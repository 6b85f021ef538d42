"""What a session is made of: how long it lives, where it is used from, what its owner holds."""

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
    """`access` is an access token's, `absolute` a session's, `idle` how long a session may go without being used."""

    access: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(days=30)
    idle: timedelta = timedelta(days=7)


USUAL_LIFETIMES = Lifetimes()


@dataclass(frozen=True)
class Device:
    """Where a request comes from, as it says itself."""

    address: str | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        if self.user_agent is not None:
            object.__setattr__(self, "user_agent", self.user_agent[:MAX_USER_AGENT].replace("\x00", ""))
