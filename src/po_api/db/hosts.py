"""Connections to the first suitable server of a URL with several hosts."""

import socket
from collections.abc import Mapping
from typing import Any

import asyncpg

from po_api.core.database_parameters import NOT_FOR_THE_DRIVER
from po_api.core.database_url import parse
from po_api.core.sqlstate import CONNECTION_LOST
from po_api.db.driver import socket_of

# The kernel detects a peer that vanished without closing the connection: a power failure, a cut cable. After 5 s of
# silence it sends three probes 2 s apart; data may stay unacknowledged for 10 s (here in ms). The names are those of
# the socket options and of libpq's parameters, which may change the values.
_KEEPALIVE = {
    "TCP_KEEPIDLE": ("keepalives_idle", 5),
    "TCP_KEEPINTVL": ("keepalives_interval", 2),
    "TCP_KEEPCNT": ("keepalives_count", 3),
    "TCP_USER_TIMEOUT": ("tcp_user_timeout", 10_000),
}


class Hosts:
    """The servers of a URL of core/database_url.py.

    The one that was suitable last is tried first, so that only one connection waits for a server that does not respond.
    """

    def __init__(self, url: str, *, seconds: float, target: str = "any") -> None:
        """`seconds` is the time-out for all of them together; `connect_timeout` of the URL may shorten that of each.
        `target` is one of libpq's `target_session_attrs`, unless the URL has one."""
        parsed = parse(url, may_have_settings=True)
        self._parameters = parsed.parameters
        self._url = str(parsed.without(NOT_FOR_THE_DRIVER))
        self._hosts: list[dict[str, Any]] = [{"host": host, "port": port} for host, port in parsed.hosts] or [{}]
        self._seconds = seconds / len(self._hosts)
        if (limit := int(self._parameters.get("connect_timeout", "0"))) > 0:
            self._seconds = min(self._seconds, limit)
        self._target = self._parameters.get("target_session_attrs", target)
        if self._target == "prefer-standby" and len(self._hosts) > 1:
            # Hosts are tried one by one: with `prefer-standby` each would be accepted, a primary as well.
            self._target = "standby"

    async def connect(self, *, server_settings: Mapping[str, str], **options: Any) -> Any:
        """A connection to the first suitable server. If there is none, raises the error of the first one tried.

        `server_settings` may have an `application_name`, unless the URL has one.
        """
        named = {name: value for name, value in self._parameters.items() if name == "application_name"}
        first_error: Exception | None = None
        for host in self._hosts:
            try:
                connection: Any = await asyncpg.connect(
                    self._url,
                    **host,
                    timeout=self._seconds,
                    target_session_attrs=self._target,
                    server_settings={**server_settings, **named},
                    **options,
                )
            except asyncpg.TargetServerAttributeNotMatched:
                first_error = first_error or ConnectionRefusedError(f"the server is not {self._target}")
                continue
            except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
                first_error = first_error or error
                continue
            self._hosts = [host, *(other for other in self._hosts if other is not host)]
            self._enable_keepalive(connection)
            return connection
        assert first_error is not None
        raise first_error

    def _enable_keepalive(self, connection: Any) -> None:
        wire = socket_of(connection)
        if wire.family == socket.AF_UNIX or self._parameters.get("keepalives") == "0":
            return
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, (parameter, default) in _KEEPALIVE.items():
            value = int(self._parameters.get(parameter, default))
            if value > 0 and hasattr(socket, option):  # not every system has them all; 0 is the system's default
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
