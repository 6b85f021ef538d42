"""Where mail is handed over: a server that speaks SMTP, or a directory, as a URL of the configuration.

`smtps://` is TLS from the beginning; `smtp://` begins without it. To another machine, STARTTLS with a valid certificate
is required, unless the URL ends in `?starttls=off`: that is for a relay in a network of one's own, and never with
credentials. On this machine nothing can be read in transit, and `?starttls=on` asks for it there, too.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from po_api.core.urls import is_local_host

_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
_OPTIONS = {"": None, "starttls=on": True, "starttls=off": False}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:.]+")


class Tls(StrEnum):
    """How the connection to a server is encrypted: from the beginning, by the command STARTTLS, or not at all."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True)
class SmtpServer:
    """A server that takes mail, and the credentials for it, if it wants some."""

    host: str
    port: int
    tls: Tls
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class MailDirectory:
    """A directory in which each mail is written as a file; None is the directory `mail` of PO_DATA_DIR."""

    path: Path | None


def mail_url(text: str) -> SmtpServer | MailDirectory:
    """The parts of a URL. Raises ValueError with what is wrong, without a part of `text`: it may have a password."""
    if text.startswith("file:"):
        return _directory(text.removeprefix("file:"))
    if re.search(r"[^\x21-\x7e]|[#\\]", text):
        raise ValueError("special characters of name and password have to be percent-encoded")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("the host or the port is invalid") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("expected smtp://, smtps:// or file:")
    host = (parts.hostname or "").lower()
    if parts.path not in {"", "/"} or not _HOST.fullmatch(host) or port == 0:
        raise ValueError("expected smtp://name:password@host:587 without a path")
    username, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    if (username is None) != (password is None):
        raise ValueError("a name and a password belong together")
    tls = _tls(parts, host, has_credentials=username is not None)
    return SmtpServer(host, port or _DEFAULT_PORTS[parts.scheme], tls, username, password)


def _tls(parts: SplitResult, host: str, *, has_credentials: bool) -> Tls:
    if parts.query not in _OPTIONS:
        raise ValueError("the only option is ?starttls=on or ?starttls=off")
    option, is_local = _OPTIONS[parts.query], is_local_host(host)
    if parts.scheme == "smtps":
        if option is not None:
            raise ValueError("smtps:// is encrypted from the beginning: STARTTLS is for smtp://")
        return Tls.IMPLICIT
    if option is False and has_credentials and not is_local:
        raise ValueError("credentials are not sent to another machine without TLS: remove ?starttls=off")
    uses_starttls = not is_local if option is None else option
    return Tls.STARTTLS if uses_starttls else Tls.NONE


def _directory(text: str) -> MailDirectory:
    path = text.removeprefix("//")
    if path and not path.startswith("/"):
        raise ValueError("expected file: or file:///an/absolute/path")
    return MailDirectory(Path(unquote(path)) if path else None)
