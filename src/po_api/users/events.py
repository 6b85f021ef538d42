"""Changes of members that features above react to in the same transaction."""

from dataclasses import dataclass
from datetime import datetime

from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class CredentialsRevoked(DomainEvent):
    """A user's sessions and API keys end at this time, permanently.

    It is published before the user's row is locked: requests lock the row of their session first, too.
    """

    user_id: int
    at: datetime


@dataclass(frozen=True)
class MemberChanged(DomainEvent):
    """A member's roles, limit or activity have changed."""

    actor: Actor
    user_id: int
