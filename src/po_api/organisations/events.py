"""Changes of organisations that features above react to in the same transaction."""

from dataclasses import dataclass

from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class BaseCurrencyChanging(DomainEvent):
    """The base currency of the actor's organisation is to change; its row is locked, also against new documents.

    Listeners return a warning for all that has amounts in the present currency: any warning prevents the change.
    """

    actor: Actor
