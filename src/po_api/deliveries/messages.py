"""The mail with an order: a text and its document, built by the standard library."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from po_api.deliveries.domain import envelope_sender, wire_address

# Any server takes ASCII; one that takes addresses in UTF-8 takes texts in it, too.
_ASCII = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True)
class Mail:
    """A mail to be sent. Addresses are bare; `message_id` is without brackets, `document` a PDF."""

    sender: str
    to: Sequence[str]
    cc: Sequence[str]
    reply_to: str
    subject: str
    body: str
    locale: str
    message_id: str
    date: datetime
    document_name: str
    document: bytes


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
    to, cc, reply_to = ([wire_address(item) for item in found] for found in (mail.to, mail.cc, [mail.reply_to]))
    needs_utf8 = not all(address.isascii() for address in (*to, *cc, *reply_to))
    message = EmailMessage(SMTPUTF8 if needs_utf8 else _ASCII)
    message["From"] = _addresses([wire_address(mail.sender)])
    message["Reply-To"] = _addresses(reply_to)
    message["To"] = _addresses(to)
    if cc:
        message["Cc"] = _addresses(cc)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.date)
    message["Message-ID"] = f"<{mail.message_id}>"
    # Programs that answer by themselves, such as those for absences, answer no mail of a program (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.body)
    message["Content-Language"] = mail.locale
    message.add_attachment(mail.document, maintype="application", subtype="pdf", filename=mail.document_name)
    name = f"{mail.document_name.removesuffix('.pdf')}-{mail.message_id.partition('@')[0]}"
    sender = envelope_sender(mail.sender, mail.message_id)
    return Envelope(name, sender, [*to, *cc], message.as_bytes(), needs_utf8)


def _addresses(found: Sequence[str]) -> tuple[Address, ...]:
    # As parts rather than as text, in which a local part could be read as several addresses.
    split = (address.rpartition("@") for address in found)
    return tuple(Address(username=local, domain=domain) for local, _, domain in split)
