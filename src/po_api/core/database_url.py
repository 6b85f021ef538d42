"""URLs of PostgreSQL databases, read as libpq reads them, and written so that every program reads the same.

libpq, asyncpg and SQLAlchemy differ in what they accept: lists of hosts, characters that are not percent-encoded,
parameters of the query. What they could read differently is refused, and no error has a part of the URL.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from po_api.core import database_parameters

DEFAULT_PORT = 5432
MAX_PORT = 65535
_EXAMPLE = "postgresql://user:password@host:5432/name"
_NOT_A_URL = (
    f"not a database URL; expected {_EXAMPLE}, with special characters of the password percent-encoded"
    " (# as %23, / as %2F, ? as %3F, @ as %40, % as %25, a space as %20)"
)
_SCHEME = re.compile(r"(?:postgresql|postgres)(?:\+\w+)?")
_WHITE_SPACE_OR_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_INVALID_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
# A directory of sockets, an IPv6 address in brackets, or a name, each with or without a port.
_PLACE = re.compile(r"(/.*?|\[[^]]+\]|[^][:@,/?#\\^`{|}<>\"%\s]+)(?::([0-9]*))?")
_IN_AUTHORITY = {"user", "password", "dbname", "host", "port"}


@dataclass(frozen=True)
class DatabaseUrl:
    """The parts of a URL. Hosts may also be directories of sockets; without hosts, the programs' defaults apply."""

    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    database: str
    parameters: dict[str, str] = field(repr=False)

    def without(self, names: Iterable[str]) -> "DatabaseUrl":
        """The URL without hosts and without these parameters, for a program that gets them otherwise."""
        kept = {name: value for name, value in self.parameters.items() if name not in set(names)}
        return DatabaseUrl(self.user, self.password, (), self.database, kept)

    def __str__(self) -> str:
        password = "" if self.password is None else f":{_quoted(self.password)}"
        credentials = "" if self.user is None and self.password is None else f"{_quoted(self.user or '')}{password}@"
        place, query = self._place(), [f"{name}={_quoted(value)}" for name, value in self.parameters.items()]
        if self.hosts and not place:
            query = [f"host={quote(','.join(host for host, _ in self.hosts), safe=',/:')}", *self._ports(), *query]
        database = f"/{_quoted(self.database)}" if self.database else ""
        return f"postgresql://{credentials}{place}{database}" + (f"?{'&'.join(query)}" if query else "")

    def _place(self) -> str:
        """The host in the authority: not all programs understand several hosts there, or a directory."""
        if len(self.hosts) != 1 or self.hosts[0][0].startswith("/"):
            return ""
        host, port = self.hosts[0]
        return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")

    def _ports(self) -> list[str]:
        ports = [str(port or DEFAULT_PORT) for _, port in self.hosts]
        return [f"port={','.join(ports)}"] if len(ports) > 1 or self.hosts[0][1] else []


def postgresql_url(text: str) -> str:
    """`text` in the form that SQLAlchemy, asyncpg and libpq all accept. Raises ValueError with what is wrong."""
    return str(parse(text))


def parse(text: str, *, may_have_settings: bool = False) -> DatabaseUrl:
    """The parts of a URL of PostgreSQL. Raises ValueError with what is wrong, without a part of `text`.

    Several hosts may be given as in libpq, `host1:5432,host2:5432`, or as in SQLAlchemy,
    `?host=host1:5432&host=host2:5432`. Settings of the server are parameters of the driver (`may_have_settings`), and
    not of libpq.
    """
    scheme, separator, rest = text.partition("://")
    if separator and not _SCHEME.fullmatch(scheme):
        raise ValueError(f"only PostgreSQL is supported: {_EXAMPLE}")
    if not separator or not _is_escaped(rest):
        raise ValueError(_NOT_A_URL)
    head, _, query = rest.partition("?")
    authority, _, path = head.partition("/")
    credentials, at, places = authority.rpartition("@")
    # A password with one of these characters would be read as hosts, name and parameters.
    if "@" in credentials or "@" in path or "@" in query or "/" in path or "?" in query:
        raise ValueError(_NOT_A_URL)
    given = _parameters(query, may_have_settings=may_have_settings)
    user, colon, password = credentials.partition(":")
    named = {"user": user if at else "", "password": password if colon else "", "dbname": path, "host": places}
    for name, value in named.items():
        if value and given.get(name):
            raise ValueError(f"the parameter {name} contradicts the part of the URL before it: give it once")
    found = {name: unquote(value) for name, value in named.items()} | _single(given)
    return DatabaseUrl(
        user=found.get("user") or None,
        password=found["password"] if found["password"] or colon else None,
        hosts=_hosts([places] if places else given.get("host", []), given.get("port", [])),
        database=found["dbname"],
        parameters={name: value for name, value in found.items() if name not in _IN_AUTHORITY},
    )


def _is_escaped(text: str) -> bool:
    """Whether no character of `text` would have to be percent-encoded in any URL."""
    return "#" not in text and not _WHITE_SPACE_OR_CONTROL.search(text) and not _INVALID_ESCAPE.search(text)


def _parameters(query: str, *, may_have_settings: bool) -> dict[str, list[str]]:
    """The values of each parameter, not decoded; those without a value count as omitted, as in libpq."""
    given: dict[str, list[str]] = {}
    for number, item in enumerate(query.split("&") if query else [], start=1):
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(_NOT_A_URL)
        if not may_have_settings and not database_parameters.is_known(name):
            # The name could be a part of a password.
            raise ValueError(
                f"parameter {number} of the query is not one of libpq's; settings of the server are given as"
                " options=-c%20name=value"
            )
        if value:
            given.setdefault(name, []).append(value)
    return given


def _single(given: dict[str, list[str]]) -> dict[str, str]:
    """The decoded values, which are checked. Hosts and ports are not among them."""
    found = {}
    for name, values in given.items():
        if name in {"host", "port"}:
            continue
        if len(values) > 1:
            raise ValueError(f"the parameter {name} appears more than once")
        found[name] = unquote(values[0])
    return database_parameters.checked(found)


def _hosts(named: Sequence[str], ports: Sequence[str]) -> tuple[tuple[str, int | None], ...]:
    """Each host with its port, or that of the parameter `port`, which has one for all hosts or one for each."""
    hosts = [_host_and_port(part) for item in named for part in unquote(item).split(",")]
    listed = [_port(part) for item in ports for part in unquote(item).split(",")] or [None]
    if ports and not hosts:
        raise ValueError("the parameter port requires a host")
    if len(listed) == 1:
        listed *= len(hosts)
    if len(listed) != len(hosts):
        raise ValueError("the parameter port must have one value, or one for each host")
    return tuple((host, own or other) for (host, own), other in zip(hosts, listed, strict=True))


def _host_and_port(text: str) -> tuple[str, int | None]:
    """The parts of `host:5432`, `[::1]:5432` or a directory of sockets."""
    if _is_ipv6(text):
        return text, None
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError(_NOT_A_URL)
    host, port = found.groups()
    bare = host.removeprefix("[").removesuffix("]")
    if bare != host and not _is_ipv6(bare):
        raise ValueError(_NOT_A_URL)
    return bare, _port(port)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= MAX_PORT:
        raise ValueError(_NOT_A_URL)
    return int(text)


def _quoted(text: str) -> str:
    return quote(text, safe="")
