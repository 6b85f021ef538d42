"""Bodies of requests and responses about deliveries."""

from datetime import datetime

from pydantic import Field

from po_api.core.parties import Language
from po_api.deliveries.domain import Channel, DeliveryStatus
from po_api.purchase_orders.schemas import MailRequest
from po_api.web.schemas import Page, Schema


class DeliveryCreate(MailRequest):
    """A delivery of an order: a mail, or with the channel `manual` a record of who told the supplier and how, which is
    the `message`."""

    channel: Channel = Channel.EMAIL


class DeliveryRead(Schema):
    """The delivery of an order to its supplier."""

    id: int
    status: DeliveryStatus = Field(
        description="`sent`: the next server has accepted the mail, which is not yet read by anybody; `held`: waits for"
        " a retry, after a restore or while mail is not allowed",
        examples=["sent"],
    )
    purchase_order_id: int
    number: str = Field(examples=["PO-2026-000001"])
    revision: int
    channel: Channel
    to_addresses: list[str] = Field(examples=[["orders@mueller.example"]])
    cc_addresses: list[str] = Field(examples=[[]])
    reply_to: str | None = Field(examples=["bo@company.example"])
    subject: str | None = Field(examples=["Purchase order PO-2026-000001"])
    body: str | None = Field(
        description="The text, in which `{link}` stands for the address of the order", examples=["Dear Sir or Madam"]
    )
    locale: Language | None
    file_digest: str | None = Field(
        description="SHA-256 of the attached PDF; null until it is rendered", examples=["9f86d081884c7d65"]
    )
    message_id: str | None = Field(
        description="The Message-ID, the same at every attempt", examples=["1f0c9d3e8b7a4c21@company.example"]
    )
    attempts: int
    next_attempt_at: datetime | None
    error_code: str | None = Field(
        description="Why the last attempt has failed, or of a mail that was sent `recipients_refused`;"
        " docs/delivery.md lists all",
        examples=["mail_refused"],
    )
    error_detail: str | None = Field(description="The answer of the server", examples=["550 5.1.1 No such user"])
    requested_by_id: int
    requested_by_name: str = Field(examples=["Bo Buyer"])
    queued_at: datetime = Field(description="When it was requested last")
    sent_at: datetime | None
    bounced_at: datetime | None
    created_at: datetime


class DeliveryPage(Page):
    """One page of deliveries."""

    items: list[DeliveryRead]
