"""Changes of orders that features above react to in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from po_api.core.actor import Actor
from po_api.core.parties import Language
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class DeliveryRequest:
    """How a member wants an order to be sent to its supplier by mail; what is missing follows from the supplier.

    `to` are further addresses. `message` comes before the text of the template. `pointer` is where the request is in
    the body (RFC 6901).
    """

    contact_ids: Sequence[int] = ()
    to: Sequence[str] = ()
    cc: Sequence[str] = ()
    subject: str | None = None
    message: str | None = None
    locale: Language | None = None
    pointer: str = ""


@dataclass(frozen=True)
class OrderIssued(DomainEvent):
    """An order of requests of these requesters was issued; with a `delivery`, it is to be sent to its supplier."""

    actor: Actor
    order_id: int
    requester_ids: frozenset[int]
    delivery: DeliveryRequest | None
