"""Which server to connect to: of those that a URL names, the one that is wanted, wherever that is by now."""

import socket
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url

from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.driver import socket_of

# How the kernel finds out that the other end is gone and could not say so: a machine without power, a cut cable. Who is
# silent for 5 s is asked for a sign of life, three times, every 2 s; what is sent may go unheard for 10 s (in ms).
_LIFE_SIGNS = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}


class Hosts:
    """The servers that a URL of libpq's form names, as settings.postgresql_url leaves them.

    The one that was right last is tried first, so that only the first connection waits for one that does not answer.
    """

    def __init__(self, url: str, *, seconds: float, target: str = "any") -> None:
        """`seconds` is the time that there is for all of them. `target` is one of libpq's `target_session_attrs`, which
        the URL may name itself."""
        parsed = make_url(url)
        self._url = url
        self._hosts = _hosts(parsed)
        self._seconds = seconds / len(self._hosts)
        self._target = str(parsed.query.get("target_session_attrs", target))
        if self._target == "prefer-standby" and len(self._hosts) > 1:
            # Each is asked by itself, and so the first would do. A primary is not wanted here, for want of a standby.
            self._target = "standby"

    async def connect(self, **options: Any) -> Any:
        """A connection to the first that will do. What is wrong with the first of all is raised when none does."""
        trouble: Exception | None = None
        for host in self._hosts:
            try:
                connection: Any = await asyncpg.connect(
                    self._url, **host, timeout=self._seconds, target_session_attrs=self._target, **options
                )
            except asyncpg.TargetServerAttributeNotMatched:
                trouble = trouble or ConnectionRefusedError(f"the server is not {self._target}")
                continue
            except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
                trouble = trouble or error
                continue
            self._hosts = [host, *(other for other in self._hosts if other is not host)]
            _watch_for_life(connection)
            return connection
        assert trouble is not None
        raise trouble


def _hosts(url: URL) -> list[dict[str, Any]]:
    """How the driver is told of one host each; of a single one it reads in the URL."""
    named, ports = str(url.query.get("host", "")).split(","), str(url.query.get("port", "")).split(",")
    if len(named) == 1:
        return [{}]
    if len(ports) == 1:
        ports *= len(named)
    pairs = zip(named, ports, strict=True)
    return [{"host": host.strip("[]"), "port": int(port) if port else None} for host, port in pairs]


def _watch_for_life(connection: Any) -> None:
    wire = socket_of(connection)
    if wire.family == socket.AF_UNIX:
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _LIFE_SIGNS.items():
        if hasattr(socket, name):  # not every system has them all
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
