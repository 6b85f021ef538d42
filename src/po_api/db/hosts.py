"""Connections to the first suitable server of a URL with several hosts."""

import socket
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url

from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.driver import socket_of

# The kernel detects a peer that vanished without closing the connection: a power failure, a cut cable. After 5 s of
# silence it sends three probes 2 s apart; data may stay unacknowledged for 10 s (here in ms).
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}


class Hosts:
    """The servers of a URL in libpq's form, normalised by settings.postgresql_url.

    The one that was suitable last is tried first, so that only one connection waits for a server that does not respond.
    """

    def __init__(self, url: str, *, seconds: float, target: str = "any") -> None:
        """`seconds` is the time-out for all of them together. `target` is one of libpq's `target_session_attrs`, unless
        the URL has one."""
        parsed = make_url(url)
        self._url = url
        self._hosts = _hosts(parsed)
        self._seconds = seconds / len(self._hosts)
        self._target = str(parsed.query.get("target_session_attrs", target))
        if self._target == "prefer-standby" and len(self._hosts) > 1:
            # Hosts are tried one by one: with `prefer-standby` each would be accepted, a primary as well.
            self._target = "standby"

    async def connect(self, **options: Any) -> Any:
        """A connection to the first suitable server. If there is none, raises the error of the first one tried."""
        first_error: Exception | None = None
        for host in self._hosts:
            try:
                connection: Any = await asyncpg.connect(
                    self._url, **host, timeout=self._seconds, target_session_attrs=self._target, **options
                )
            except asyncpg.TargetServerAttributeNotMatched:
                first_error = first_error or ConnectionRefusedError(f"the server is not {self._target}")
                continue
            except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
                first_error = first_error or error
                continue
            self._hosts = [host, *(other for other in self._hosts if other is not host)]
            _enable_keepalive(connection)
            return connection
        assert first_error is not None
        raise first_error


def _hosts(url: URL) -> list[dict[str, Any]]:
    """The driver's arguments for each host; none for a single one, which it takes from the URL."""
    named, ports = str(url.query.get("host", "")).split(","), str(url.query.get("port", "")).split(",")
    if len(named) == 1:
        return [{}]
    if len(ports) == 1:
        ports *= len(named)
    pairs = zip(named, ports, strict=True)
    return [{"host": host.strip("[]"), "port": int(port) if port else None} for host, port in pairs]


def _enable_keepalive(connection: Any) -> None:
    wire = socket_of(connection)
    if wire.family == socket.AF_UNIX:
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has them all
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
