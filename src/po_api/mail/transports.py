"""Where mails are handed over: to a server that speaks SMTP, or as files in a directory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiosmtplib import (
    SMTP,
    SMTPConnectError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPResponseException,
)

from po_api.core.mail_url import SmtpServer, Tls
from po_api.core.text import printable
from po_api.mail.domain import MailProblem, NotSent
from po_api.mail.messages import Envelope
from po_api.settings import Settings

# For each answer of a server, in seconds.
ANSWER_SECONDS = 60
# Of an answer that is shown: the rest is boilerplate.
_SHOWN_CHARACTERS = 300
_TEMPORARY = 500


class Transport(Protocol):
    """Hands mails over. Methods raise NotSent."""

    async def send(self, envelope: Envelope) -> Sequence[str]:
        """Hand a mail over for its recipients; returns those that were refused, with the reason, if not all were."""


class SmtpTransport:
    """Hands mails over to a server. `seconds` is the time-out of each answer."""

    def __init__(self, server: SmtpServer, *, seconds: float = ANSWER_SECONDS) -> None:
        self._server = server
        self._seconds = seconds

    async def send(self, envelope: Envelope) -> Sequence[str]:
        async with self._connected() as client:
            try:
                return await _transmit(client, envelope)
            except SMTPNotSupported as error:
                raise NotSent(MailProblem.REFUSED, str(error), is_final=True) from None
            except SMTPResponseException as error:
                raise _refusal(error) from None
            except (SMTPException, OSError) as error:
                # After the mail it is not known whether it was accepted: it is sent again, with the same Message-ID.
                raise NotSent(MailProblem.UNAVAILABLE, type(error).__name__) from None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[SMTP]:
        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls is Tls.IMPLICIT,
            start_tls=server.tls is Tls.STARTTLS,
            timeout=self._seconds,
        )
        try:
            await _connect(client, server)
            yield client
        finally:
            # What matters was answered before; a server that does not answer QUIT is not waited for.
            client.close()


async def _connect(client: SMTP, server: SmtpServer) -> None:
    """Connect, encrypt and sign in."""
    try:
        await client.connect()
    except SMTPConnectError as error:
        raise NotSent(MailProblem.UNAVAILABLE, type(error).__name__) from None
    except (SMTPException, OSError) as error:
        # The server has answered before.
        problem = MailProblem.STARTTLS_FAILED if server.tls is Tls.STARTTLS else MailProblem.UNAVAILABLE
        raise NotSent(problem, type(error).__name__) from None
    if server.username is None or server.password is None:
        return
    try:
        await client.login(server.username, server.password)
    except (ConnectionError, TimeoutError) as error:
        raise NotSent(MailProblem.UNAVAILABLE, type(error).__name__) from None
    except SMTPException as error:
        raise NotSent(MailProblem.CREDENTIALS_REFUSED, str(getattr(error, "code", "not supported"))) from None


async def _transmit(client: SMTP, envelope: Envelope) -> Sequence[str]:
    """One mail. A recipient that is refused for now has all of them tried later: nobody gets the mail twice."""
    encoding = "utf-8" if envelope.needs_utf8 else "ascii"
    if envelope.needs_utf8 and not client.supports_extension("smtputf8"):
        raise SMTPNotSupported("the server does not take addresses with these characters (SMTPUTF8)")
    options = ["SMTPUTF8"] if envelope.needs_utf8 else []
    await client.mail(envelope.sender, options=options, encoding=encoding)
    refused = []
    for recipient in envelope.recipients:
        try:
            await client.rcpt(recipient, encoding=encoding)
        except SMTPRecipientRefused as error:
            if error.code < _TEMPORARY:
                raise
            refused.append(f"{recipient}: {_shown(error)}")
    if len(refused) == len(envelope.recipients):
        raise NotSent(MailProblem.RECIPIENTS_REFUSED, "; ".join(refused), is_final=True)
    await client.data(envelope.content)
    return refused


def _refusal(error: SMTPResponseException) -> NotSent:
    is_final = error.code >= _TEMPORARY
    return NotSent(MailProblem.REFUSED if is_final else MailProblem.DEFERRED, _shown(error), is_final=is_final)


def _shown(error: SMTPResponseException) -> str:
    """The answer of a server, which is a text of others."""
    return printable(f"{error.code} {error.message}".replace("\n", " "))[:_SHOWN_CHARACTERS]


class DirectoryTransport:
    """Writes each mail as a file, which a mail program opens. A mail that is sent again replaces its file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def send(self, envelope: Envelope) -> Sequence[str]:
        try:
            await asyncio.to_thread(self._write, envelope)
        except OSError as error:
            raise NotSent(MailProblem.DIRECTORY, type(error).__name__) from None
        return []

    def _write(self, envelope: Envelope) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        temporary = self._directory / f".{envelope.name}.tmp"
        temporary.write_bytes(envelope.content)
        temporary.replace(self._directory / f"{envelope.name}.eml")


@dataclass(frozen=True)
class Mailer:
    """How this installation sends mail: `transport` hands it over, `sender` is the address that it comes from.

    `public_url` is where suppliers reach this installation, `document_url` the front end in which members read
    documents; without them, mails have no links.
    """

    transport: Transport
    sender: str
    public_url: str | None = None
    document_url: str | None = None


def mailer_of(settings: Settings) -> Mailer | None:
    """How the installation sends mail; None if it sends none."""
    place = settings.mail_place
    if place is None or settings.mail_from is None:
        return None
    transport: Transport
    if isinstance(place, SmtpServer):
        transport = SmtpTransport(place)
    else:
        transport = DirectoryTransport(place.path or settings.po_data_dir / "mail")
    document_url = next(iter(settings.frontend_url), None)
    return Mailer(transport, settings.mail_from, settings.public_url, document_url)
