"""The requests that are sent to endpoints, for the section `webhooks` of the OpenAPI document."""

from typing import Annotated

from fastapi import APIRouter, Header

from po_api.webhooks.schemas import EventWebhook, PingWebhook

router = APIRouter()

_Id = Annotated[
    str,
    Header(
        alias="webhook-id",
        description="The same at every attempt: ignore a message that was received before",
        examples=["msg_1f0c9d3e8b7a4c215f0c9d3e8b7a4c21"],
    ),
]
_Timestamp = Annotated[
    int,
    Header(alias="webhook-timestamp", description="The time of the attempt (Unix, in seconds)", examples=[1795341600]),
]
_Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}` in base64; during the overlap"
        " of a rotation two of them, separated by a space",
        examples=["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
    ),
]


@router.post("event", operation_id="receiveEvent", summary="Receive an event", tags=["webhooks"], status_code=204)
def receive_event(body: EventWebhook, webhook_id: _Id, timestamp: _Timestamp, signature: _Signature) -> None:
    """Sent to the endpoints that are active and want the type. Any 2xx accepts it; 410 deactivates the endpoint; all
    other answers, redirects and time-outs (15 s) are followed by further attempts for about three days."""


@router.post("ping", operation_id="receivePing", summary="Receive a ping", tags=["webhooks"], status_code=204)
def receive_ping(body: PingWebhook, webhook_id: _Id, timestamp: _Timestamp, signature: _Signature) -> None:
    """Sent once by `POST /webhook-endpoints/{endpoint_id}/test`."""
