"""Delegations that features above react to in the same transaction."""

from dataclasses import dataclass
from datetime import datetime

from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class Delegated(DomainEvent):
    """The delegator has delegated, or an admin for them."""

    actor: Actor
    delegation_id: int
    delegator_id: int
    delegate_id: int
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class DelegationRevoked(DomainEvent):
    """The delegator, or an admin, has ended a delegation."""

    actor: Actor
    delegation_id: int
