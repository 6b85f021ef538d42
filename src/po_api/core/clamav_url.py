"""Where ClamAV's daemon listens, as a URL of the configuration: `tcp://host:port` or `unix:/path/of/the/socket`."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

_DEFAULT_PORT = 3310


@dataclass(frozen=True)
class TcpAddress:
    """A host and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class UnixAddress:
    """The path of a socket."""

    path: str


def clamav_url(text: str) -> TcpAddress | UnixAddress:
    """The address in a URL. Raises ValueError with what is wrong."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("the host or the port is invalid") from None
    if parts.username or parts.query or parts.fragment:
        raise ValueError("expected tcp://host:3310 or unix:/path")
    if parts.scheme == "unix" and not parts.netloc and PurePosixPath(parts.path).is_absolute():
        return UnixAddress(parts.path)
    if parts.scheme == "tcp" and parts.hostname and parts.path in {"", "/"}:
        return TcpAddress(parts.hostname, port or _DEFAULT_PORT)
    raise ValueError("expected tcp://host:3310 or unix:/path")
