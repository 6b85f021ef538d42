"""A server that takes mail, as real ones do or as bad ones do, and organisations that may send some."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import update

from po_api.core.actor import Actor
from po_api.core.clock import utc_now
from po_api.core.mail_url import SmtpServer, Tls
from po_api.db.database import enter_tenant
from po_api.deliveries.mailings import MAILS
from po_api.mail.transports import Mailer, SmtpTransport
from po_api.organisations.service import OrganisationService
from po_api.purchase_orders.delivery_models import Delivery
from support.organisations import Tenant, TestOrganisation, created, ok
from support.workers import work_until_idle

SENDER = "purchasing@po.example"
ORDERS = "orders@supplier.example"
OK = "250 Message accepted"
# Instead of an answer: the connection is cut, after the mail was kept.
CUT = "cut"
Json = dict[str, Any]


@dataclass
class Received:
    """A mail that the server has accepted, or that it had when the connection was cut."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def attachments(self) -> list[tuple[str, str, bytes]]:
        """The file name, type and content of each attachment."""
        return [
            (str(part.get_filename()), part.get_content_type(), part.get_content())
            for part in self.message.iter_attachments()
        ]

    @property
    def text(self) -> str:
        body = self.message.get_body(("plain",))
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")


@dataclass
class MailServer:
    """`answers` are those to the next mails, then OK; `refused` is the answer to a recipient, by address."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: deque[str] = field(default_factory=deque)
    refused: dict[str, str] = field(default_factory=dict)
    waits: asyncio.Event | None = None

    def mailer(
        self,
        tls: Tls = Tls.NONE,
        *,
        seconds: float = 5,
        public_url: str | None = None,
        document_url: str | None = None,
        **credentials: str,
    ) -> Mailer:
        server = SmtpServer("127.0.0.1", self.port, tls, **credentials)
        return Mailer(SmtpTransport(server, seconds=seconds), SENDER, public_url, document_url)

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
    ) -> AuthResult:
        return AuthResult(success=data == LoginPassword(b"po", b"secret"), handled=False)

    # What aiosmtpd calls.

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.popleft() if self.answers else OK
        if answer in {OK, CUT}:
            content = envelope.content
            assert isinstance(content, bytes)
            message = message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            self.received.append(Received(str(envelope.mail_from), [*envelope.rcpt_tos], message))
        if self.waits is not None:
            await self.waits.wait()
        if answer == CUT:
            # Not a subclass with uvloop.
            cast(asyncio.WriteTransport, server.transport).abort()
        return answer


@asynccontextmanager
async def mail_server(tls: SSLContext | None = None, *, is_implicit: bool = False) -> AsyncIterator[MailServer]:
    """A server in this process, with which `po` signs in by the password `secret`. It offers STARTTLS if it has a
    context, or encrypts from the beginning."""
    found = MailServer()
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.port = listener.getsockname()[1]
        options: Json = {"tls_context": tls, "authenticator": found.authenticate, "auth_require_tls": False}
        listening = await loop.create_server(
            lambda: SMTP(found, hostname="mail.example", loop=loop, **options),
            sock=listener,
            ssl=tls if is_implicit else None,
        )
        try:
            yield found
        finally:
            listening.close()


async def allow_mail(tenant: Tenant, per_day: int | None = 1000) -> None:
    """What `po-api organisations allow-mail` does."""
    async with tenant.database.sessions.begin() as session:
        await enter_tenant(session, tenant.organisation_id)
        actor = Actor.command_line(tenant.organisation_id)
        await OrganisationService(session).allow_mail(actor, per_day=per_day)


async def add_contact(organisation: TestOrganisation, email: str, **fields: str) -> int:
    """The id of a new contact of the supplier."""
    path = f"/suppliers/{organisation.supplier_id}/contacts"
    made = await created(organisation.buyer.post(path, etag="*", json={"email": email, "purpose": "orders", **fields}))
    contact_id: int = made.json()["id"]
    return contact_id


async def let_mail(organisation: TestOrganisation) -> None:
    """Let an organisation send mail, whose supplier has an address."""
    await allow_mail(organisation)
    await add_contact(organisation, ORDERS)


async def deliver(organisation: TestOrganisation, order_id: int, **body: object) -> Json:
    """The delivery that the buyer requests."""
    path = f"/purchase-orders/{order_id}/deliveries"
    shown: Json = (await created(organisation.buyer.post(path, etag="*", json=body))).json()
    return shown


async def deliveries_of(organisation: TestOrganisation, order_id: int) -> list[Json]:
    """The deliveries of an order, the newest first."""
    items: list[Json] = (await ok(organisation.auditor.get(f"/purchase-orders/{order_id}/deliveries"))).json()["items"]
    return items


async def send_mails(organisation: TestOrganisation, mailer: Mailer) -> None:
    """Send the mails of the organisation that are due."""
    await work_until_idle(organisation, names=frozenset({MAILS.name}), mailer=mailer)


async def delivery_in(organisation: TestOrganisation, status: str) -> int:
    """The id of a delivery by mail with this status, as if a worker had worked on it."""
    await allow_mail(organisation)
    order = (await organisation.issued()).json()
    await organisation.change_supplier(email="orders@supplier.example")
    delivery_id: int = (await deliver(organisation, order["id"]))["id"]
    if status == "queued":
        return delivery_id
    values: Json = {"status": status, "next_attempt_at": None, "finished_at": Delivery.created_at}
    if status == "sent":
        await organisation.buyer.get(f"/purchase-orders/{order['id']}/document.pdf")
        values["file_digest"] = "0" * 64
    async with organisation.database.sessions.begin() as session:
        await enter_tenant(session, organisation.organisation_id)
        await session.execute(update(Delivery).where(Delivery.id == delivery_id).values(**values))
    return delivery_id


def certificate(directory: Path) -> tuple[SSLContext, Path]:
    """The context of a server at 127.0.0.1, and its certificate, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    now = utc_now()
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = directory / "certificate.pem", directory / "key.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context, path
