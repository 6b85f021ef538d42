"""Changes of members that features above react to in the same transaction."""

from dataclasses import dataclass
from datetime import datetime

from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class MemberChanged(DomainEvent):
    """A member has changed: their roles, limit, activity or other data."""

    actor: Actor
    user_id: int


@dataclass(frozen=True)
class MembershipEnded(DomainEvent):
    """The user is no active member of the organisation from this time on: they have left, or were deactivated.

    It is published before the member's row is locked: requests lock the rows of their user and session first, too.
    With `is_deactivated`, the user's sessions end permanently, those of sign-ins in progress included.
    """

    organisation_id: int
    user_id: int
    at: datetime
    is_deactivated: bool


@dataclass(frozen=True)
class MembershipRestored(DomainEvent):
    """A deactivated member is to be active again. Listeners raise InvitationRequired if the user is not available."""

    organisation_id: int
    user_id: int


@dataclass(frozen=True)
class MemberPlaced(DomainEvent):
    """A member has another team or default cost centre, as far as they are given.

    Listeners raise UnknownTeam or UnknownCostCentre unless these are active.
    """

    actor: Actor
    team_id: int | None
    default_cost_centre_id: int | None
