"""The rules of rights and invitations: who may grant what, and how long an invitation is open."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from po_api.core.actor import Actor, ActorKind
from po_api.core.permissions import Role
from po_api.members.errors import KeyCannotGrant

INVITATION_LIFETIME = timedelta(days=14)
# The roles of the member who creates an organisation, and could give them to nobody else.
FOUNDERS_ROLES = (Role.ADMIN, Role.APPROVER, Role.BUYER, Role.REQUESTER)
# What a key may grant: a key that grants more could make itself a person with every right.
_GRANTED_BY_KEYS = frozenset({Role.REQUESTER})


@dataclass(frozen=True)
class Person:
    """A user who becomes a member: the account's id, canonical address and name."""

    user_id: int
    email: str
    name: str


class InvitationStatus(StrEnum):
    """The state of an invitation."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Invited(Protocol):
    """The times of an invitation."""

    @property
    def expires_at(self) -> datetime: ...

    @property
    def accepted_at(self) -> datetime | None: ...

    @property
    def declined_at(self) -> datetime | None: ...

    @property
    def revoked_at(self) -> datetime | None: ...


def status_of(invitation: Invited, now: datetime) -> InvitationStatus:
    """The state of an invitation at this time."""
    if invitation.accepted_at is not None:
        return InvitationStatus.ACCEPTED
    if invitation.declined_at is not None:
        return InvitationStatus.DECLINED
    if invitation.revoked_at is not None:
        return InvitationStatus.REVOKED
    return InvitationStatus.OPEN if now < invitation.expires_at else InvitationStatus.EXPIRED


def address_digest(email: str) -> str:
    """The digest of a canonical address by which its invitations are found: SHA-256 (hex)."""
    return hashlib.sha256(email.encode()).hexdigest()


def require_grantable_roles(actor: Actor, roles: Collection[str], *, before: Collection[str] = ()) -> None:
    """Raise KeyCannotGrant if the actor is an API key and the roles are more than it may grant."""
    if actor.kind is ActorKind.API_KEY and set(roles) - set(before) - _GRANTED_BY_KEYS:
        raise KeyCannotGrant


def require_grantable_limit(actor: Actor, limit: Decimal | None, *, before: Decimal | None) -> None:
    """Raise KeyCannotGrant if the actor is an API key and the approval limit rises; None is no limit."""
    rises = before is not None and (limit is None or limit > before)
    if actor.kind is ActorKind.API_KEY and rises:
        raise KeyCannotGrant
