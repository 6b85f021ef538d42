"""Bodies of requests and responses about webhooks, and of the requests that are sent."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import MISSING, AfterValidator, Field, Strict, StrictBool

from po_api.events.schemas import Event, EventName
from po_api.web.schemas import Page, Schema, ShortText, SingleLine, unique
from po_api.webhooks.domain import (
    DEFAULT_OVERLAP,
    MAX_OVERLAP,
    SHOWN_BYTES,
    DisabledReason,
    WebhookDeliveryStatus,
)
from po_api.webhooks.networks import MAX_URL

_URL = "https://erp.example/hooks/po"

Url = Annotated[
    SingleLine,
    Field(
        max_length=MAX_URL,
        description="https:// only; the host has to be on the internet, or in a network that the operator allows",
        examples=[_URL],
    ),
]
EventTypes = Annotated[
    list[EventName],
    Field(
        min_length=1,
        max_length=100,
        description="The types of events to deliver; null for all, including those of later versions",
        examples=[["porf.approved", "purchase_order.issued"]],
    ),
    AfterValidator(unique),
]
Description = Annotated[ShortText, Field(examples=["ERP"])]


class WebhookEndpointCreate(Schema):
    """A new endpoint. It gets the events from now on."""

    url: Url
    description: Description | None = None
    event_types: EventTypes | None = None


class WebhookEndpointUpdate(Schema):
    """A merge patch: omitted fields keep their values."""

    url: Url | MISSING = MISSING
    description: Description | None | MISSING = MISSING
    event_types: EventTypes | None | MISSING = MISSING
    is_active: StrictBool | MISSING = MISSING


class WebhookSecretRotation(Schema):
    """How long the old secret signs beside the new one."""

    overlap_seconds: Annotated[int, Strict(), Field(ge=0, le=int(MAX_OVERLAP.total_seconds()))] = int(
        DEFAULT_OVERLAP.total_seconds()
    )


class WebhookEndpointRead(Schema):
    """An endpoint, without its secret."""

    id: int
    url: str = Field(examples=[_URL])
    description: str | None = Field(examples=["ERP"])
    event_types: list[str] | None = Field(
        description="null for all types", examples=[["porf.approved", "purchase_order.issued"]]
    )
    is_active: bool
    disabled_reason: DisabledReason | None = Field(
        description="by_admin; gone: it has answered 410; failing: no success for five days; secret_undecryptable: the"
        " server's SECRET_KEY has changed, rotate the secret. null while it is active",
        examples=["failing"],
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="The first failure after the last success")
    previous_secret_until: datetime | None = Field(description="Until when the previous secret signs, too")
    number: int = Field(description="Deliveries were made for the events up to this number", examples=[42])
    version: int
    created_at: datetime
    updated_at: datetime


class WebhookEndpointCreated(WebhookEndpointRead):
    """An endpoint with its new secret, which is shown only in this response."""

    secret: str = Field(
        description="Verifies the signatures (Standard Webhooks)", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )


class WebhookEndpointPage(Page):
    """One page of endpoints."""

    items: list[WebhookEndpointRead]


class WebhookDeliverySummary(Schema):
    """A delivery of a message to an endpoint; the answer is that to the last attempt."""

    id: int
    webhook_id: str = Field(
        description="The header `webhook-id`, the same at every attempt and for every endpoint",
        examples=["msg_1f0c9d3e8b7a4c215f0c9d3e8b7a4c21"],
    )
    type: str = Field(description="The type of the event, or `ping`", examples=["porf.approved"])
    number: int | None = Field(description="The number of the event; null for a ping", examples=[42])
    status: WebhookDeliveryStatus = Field(
        description="held: not attempted, since the endpoint was deactivated, or the database restored from a backup"
    )
    attempts: int = Field(examples=[1])
    next_attempt_at: datetime | None
    attempted_at: datetime | None = Field(description="The last attempt; also its `webhook-timestamp`")
    duration_ms: int | None = Field(description="Of the last attempt", examples=[87])
    response_status: int | None = Field(description="null if there was no answer", examples=[204])
    error_code: str | None = Field(
        description="forbidden_address, name_not_resolved, connection_failed, tls_failed, no_answer, timed_out,"
        " redirected, gone, unexpected_status; endpoint_disabled, secret_undecryptable: it was not sent; interrupted,"
        " unexpected_error: a fault of the server; null after a success",
        examples=["unexpected_status"],
    )
    created_at: datetime
    finished_at: datetime | None


class WebhookDeliveryRequest(Schema):
    """The request of the last attempt."""

    url: str | None = Field(description="null before the first attempt", examples=[_URL])
    body: str = Field(examples=['{"type":"ping","timestamp":"2026-11-22T10:00:00Z","data":{"webhook_endpoint_id":1}}'])


class WebhookDeliveryRead(WebhookDeliverySummary):
    """A delivery with the texts of the last attempt."""

    request: WebhookDeliveryRequest
    response_body: str | None = Field(description=f"The first {SHOWN_BYTES} bytes of the answer", examples=["ok"])


class WebhookDeliveryPage(Page):
    """One page of deliveries."""

    items: list[WebhookDeliverySummary]


class EventWebhook(Schema):
    """A message about an event; `data` is the event as `GET /events` shows it."""

    type: str = Field(description="That of the event", examples=["purchase_order.issued"])
    timestamp: datetime = Field(description="When the change was made")
    data: Event


class PingData(Schema):
    """The endpoint that is tested."""

    webhook_endpoint_id: int


class PingWebhook(Schema):
    """A message that tests an endpoint."""

    type: Literal["ping"]
    timestamp: datetime
    data: PingData
