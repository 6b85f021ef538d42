"""URLs of the configuration, which browsers are sent to or come from: one spelling, and nothing that two programs could
read differently."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Browsers read a host whose last label looks like this as an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class WebUrl:
    """An absolute http or https URL without query; `port` is None for the default one of the scheme."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def origin(self) -> str:
        """As browsers write it in the header `Origin`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")

    @property
    def is_secure(self) -> bool:
        """Whether its traffic cannot be read in transit: https, or the local machine."""
        return self.scheme == "https" or is_local_host(self.host)

    def __str__(self) -> str:
        return self.origin + self.path


def web_url(text: str) -> WebUrl:
    """The parts of a URL. Raises ValueError with what is wrong, such as "has a fragment", without a part of `text`."""
    for pattern, reason in (
        (r"[^\x00-\x7f]", "contains non-ASCII characters: write the host as xn--…"),
        (r"[\x00-\x20\x7f]", "contains white space or control characters"),
        (r"\*", "contains a wildcard"),
        (r"[\\^`{|}<>\"]", "contains characters that a URL cannot have"),
        (r"#", "has a fragment"),
        (r"\?", "has a query"),
    ):
        if re.search(pattern, text):
            raise ValueError(reason)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("has an invalid host") from None
    if parts.scheme not in _DEFAULT_PORTS or not text.lower().startswith(f"{parts.scheme}://"):
        raise ValueError("does not begin with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("has user information before the host (…@)")
    if any(unquote(segment) in {".", ".."} for segment in parts.path.split("/")):
        raise ValueError("has dot segments in its path")
    return WebUrl(parts.scheme, _host(parts), _port(parts), parts.path or "/")


def is_local_host(host: str) -> bool:
    """Whether this is the local machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_secure_url(url: str) -> bool:
    """Whether `url` is absolute and its traffic cannot be read in transit: https, or the local machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_local_host(host)))


def _host(parts: SplitResult) -> str:
    """In lower case; an IPv6 address without brackets, in its shortest form."""
    host = parts.hostname or ""
    labels = host.split(".")
    is_literal = parts.netloc.startswith("[")
    if is_literal or _NUMBER.fullmatch(labels[-1]):
        try:
            address = ip_address(host)
        except ValueError:
            raise ValueError("has an invalid host") from None
        if is_literal != isinstance(address, IPv6Address) or "%" in host:
            raise ValueError("has an invalid host")
        return str(address)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has an invalid host")
    return host


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("has an invalid port")
    return None if port == _DEFAULT_PORTS[parts.scheme] else port
