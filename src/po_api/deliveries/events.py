"""Changes of deliveries that features above react to in the same transaction."""

from dataclasses import dataclass
from datetime import datetime

from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class DeliveryFailed(DomainEvent):
    """The mail with an order, which the member has requested, was not sent, and will not be attempted again; `code` is
    the last error's."""

    actor: Actor
    delivery_id: int
    order_id: int
    requested_by_id: int
    requested_at: datetime
    code: str
