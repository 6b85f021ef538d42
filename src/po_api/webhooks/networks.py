"""Where webhooks may be sent to: addresses on the internet, and networks that the operator allows.

The lists are those of IANA's registries of special-purpose addresses (RFC 6890), so that they do not depend on the
version of Python.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from po_api.core.urls import is_local_host, web_url

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2000

LOOPBACK: Sequence[str] = ("127.0.0.0/8", "::1/128")

_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        """
        0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
        192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
        """.split(),
    )
)
# All others are special: loopback, link-local, unique local, multicast, mapped IPv4, NAT64 (64:ff9b::/96).
_UNICAST_IPV6 = IPv6Network("2000::/3")
# Protocols such as Teredo, documentation, 6to4.
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


@dataclass(frozen=True)
class Destinations:
    """The addresses that may be connected to: public ones, and those in the `allowed` networks."""

    allowed: Sequence[Network] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Self:
        """With networks in the form of the setting, `10.0.0.0/8`."""
        return cls(tuple(map(ip_network, networks)))

    def permits(self, address: Address) -> bool:
        return any(address in network for network in self.allowed) or _is_public(address)

    def checked_url(self, text: str) -> str:
        """The URL of an endpoint in one spelling. Raises ValueError with what is wrong, without a part of `text`.

        A name is not resolved: what it stands for is checked at each connection.
        """
        if len(text) > MAX_URL:
            raise ValueError(f"is longer than {MAX_URL} characters")
        base, mark, query = text.partition("?")
        url = web_url(base)
        # As in the part before; a query may have some characters more.
        if not query.isascii() or not query.isprintable() or any(character in query for character in ' #"<>\\^`{|}'):
            raise ValueError("has characters in its query that a URL cannot have")
        if url.scheme != "https" and not (is_local_host(url.host) and self._permits_loopback):
            raise ValueError("does not begin with https://")
        address = _literal(url.host)
        if address is not None and not self.permits(address):
            raise ValueError("has an address that is not on the internet")
        return str(url) + mark + query

    @property
    def _permits_loopback(self) -> bool:
        return any(network.is_loopback for network in self.allowed)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _UNICAST_IPV6 and not any(address in network for network in _SPECIAL_IPV6)
