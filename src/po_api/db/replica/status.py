"""The streaming replica: whether the server is one, and whether it is worth trying."""

import time
from enum import StrEnum
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.driver import pooled_connection
from po_api.observability.logging import get_logger

# Waiting longer for a connection would take more time than a query on the primary.
CONNECT_SECONDS = 1
AVOID_SECONDS = 5

# SQLSTATEs of failures of the replica itself: connections and resources, conflicts with the replay of the log, its
# disk. A cancelled statement (57014) took too long, and would on the primary as well.
_ITS_OWN = ("08", "40", "53", "57P", "58", "XX")

_IDENTITY = (
    "SELECT pg_is_in_recovery() AS is_standby, system_identifier, current_database(), current_user"
    " FROM pg_control_system()"
)

_log = get_logger(__name__)


class Trouble(StrEnum):
    """Why the replica is not in use."""

    NOT_TRIED = "not_tried"
    UNREACHABLE = "unreachable"
    BEHIND = "behind"
    INTERRUPTED = "interrupted"
    NO_REPLICA = "not_a_replica"


class NoUseError(Exception):
    """The replica cannot be used for this request; the primary can."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble)
        self.trouble = trouble


class Replica:
    """The replica's pool. After a failure it is not used for AVOID_SECONDS; then one request tries it again.

    This state concerns speed only: each request checks for itself that the replica is up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.trouble: Trouble | None = Trouble.NOT_TRIED
        self._next_try = 0.0

    def is_worth_trying(self) -> bool:
        if self.trouble is None:
            return True
        now = time.monotonic()
        if now < self._next_try:
            return False
        self._next_try = now + AVOID_SECONDS
        return True

    def failed(self, trouble: Trouble) -> None:
        self._next_try = time.monotonic() + AVOID_SECONDS
        if self.trouble is not trouble:
            _log.warning("replica_not_in_use", reason=trouble)
        self.trouble = trouble

    def worked(self) -> None:
        if self.trouble is not None:
            _log.info("replica_in_use")
        self.trouble = None


async def require_replica_of(primary: AsyncEngine, connection: Any) -> None:
    """Raise NoUseError unless `connection` is to a standby of the primary, to its database and as its role.

    An independent server could hold other data, such as another installation's organisation with the same id.
    """
    found = dict(await connection.fetchrow(_IDENTITY))
    pooled = await pooled_connection(primary)
    try:
        wanted = dict(await pooled.driver_connection.fetchrow(_IDENTITY))
    except BaseException:
        pooled.driver_connection.terminate()
        raise
    finally:
        pooled.close()
    if found != wanted | {"is_standby": True}:
        raise NoUseError(Trouble.NO_REPLICA)


def trouble_in(error: Exception) -> Trouble | None:
    """The failure of the replica that an error indicates; None if it would have occurred on the primary, too."""
    if isinstance(error, NoUseError):
        return error.trouble
    cause = (error.orig or error) if isinstance(error, DBAPIError) else error
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is not None:
        return Trouble.INTERRUPTED if sqlstate.startswith(_ITS_OWN) else None
    # The driver's errors about a statement's arguments are also ValueErrors.
    is_lost = isinstance(cause, CONNECTION_LOST) and not isinstance(cause, ValueError)
    return Trouble.UNREACHABLE if is_lost else None
