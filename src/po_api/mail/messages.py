"""A mail: a text and its files, built by the standard library."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, Policy
from email.utils import format_datetime

from po_api.mail.domain import envelope_sender, wire_address

# Any server takes ASCII; one that takes addresses in UTF-8 takes texts in it, too.
_ASCII = SMTP.clone(cte_type="7bit")


# How an encoded word of RFC 2047 begins.
_ENCODED_WORD = "=?"
# Of a subject; folded before it, the first line would be blank.
_LONG_WORD = 60


@dataclass(frozen=True)
class Attachment:
    """A file of a mail."""

    name: str
    media_type: str
    content: bytes

    @property
    def sent_type(self) -> tuple[str, str]:
        """The two parts of the media type under which it is sent. Texts and mails go as what has to be opened: servers
        on the way may change the former, and take the latter apart."""
        main, _, sub = self.media_type.partition("/")
        return (main, sub) if main in {"application", "image"} else ("application", "octet-stream")


@dataclass(frozen=True)
class Mail:
    """A mail to be sent. Addresses are bare; `message_id` is without brackets. Answers go to `reply_to`, without one to
    the sender."""

    sender: str
    to: Sequence[str]
    cc: Sequence[str]
    reply_to: str | None
    subject: str
    body: str
    locale: str
    message_id: str
    date: datetime
    files: Sequence[Attachment] = ()


@dataclass(frozen=True)
class Envelope:
    """A mail as a server takes it. With `needs_utf8`, addresses are not ASCII. `name` is unique among all mails."""

    name: str
    sender: str
    recipients: Sequence[str]
    content: bytes
    needs_utf8: bool


def enveloped(mail: Mail) -> Envelope:
    """The mail in the form of RFC 5322, and the addresses of its envelope."""
    answered = [] if mail.reply_to is None else [mail.reply_to]
    to, cc, reply_to = ([wire_address(item) for item in found] for found in (mail.to, mail.cc, answered))
    needs_utf8 = not all(address.isascii() for address in (*to, *cc, *reply_to))
    message = EmailMessage(SMTPUTF8 if needs_utf8 else _ASCII)
    message["From"] = _addresses("From", [wire_address(mail.sender)])
    if reply_to:
        message["Reply-To"] = _addresses("Reply-To", reply_to)
    message["To"] = _addresses("To", to)
    if cc:
        message["Cc"] = _addresses("Cc", cc)
    message["Subject"] = _subject(mail.subject)
    message["Date"] = format_datetime(mail.date)
    message["Message-ID"] = f"<{mail.message_id}>"
    # Programs that answer by themselves, such as those for absences, answer no mail of a program (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.body)
    message["Content-Language"] = mail.locale
    for file in mail.files:
        main, sub = file.sent_type
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=file.name)
    named_for = mail.files[0].name.rpartition(".")[0] if mail.files else "mail"
    name = f"{named_for}-{mail.message_id.partition('@')[0]}"
    sender = envelope_sender(mail.sender, mail.message_id)
    return Envelope(name, sender, [*to, *cc], message.as_bytes(), needs_utf8)


class _EncodedHeader(str):
    """A header in the form in which it is sent, whose lines are folded.

    The library's own headers decode what looks like an encoded word in the text or the address that they are given, and
    write the line breaks in it, by which headers could be added.
    """

    name: str

    def __new__(cls, name: str, text: str) -> "_EncodedHeader":
        header = super().__new__(cls, text)
        header.name = name
        return header

    def fold(self, *, policy: Policy) -> str:
        """What policies call of headers."""
        return f"{self.name}: {self}{policy.linesep}"


def _subject(text: str) -> _EncodedHeader:
    """The text in one line: as it is, or in encoded words if it would be read otherwise or cannot be folded."""
    line = " ".join(text.split())
    is_plain = line.isascii() and _ENCODED_WORD not in line and all(len(word) < _LONG_WORD for word in line.split())
    charset = "us-ascii" if is_plain else "utf-8"
    return _EncodedHeader("Subject", Header(line, charset, header_name="Subject").encode(linesep="\r\n"))


def _addresses(name: str, found: Sequence[str]) -> _EncodedHeader:
    """The addresses, each in a line; a local part that could be read as several is quoted."""
    split = (address.rpartition("@") for address in found)
    written = (Address(username=local, domain=domain).addr_spec for local, _, domain in split)
    return _EncodedHeader(name, ",\r\n ".join(written))
