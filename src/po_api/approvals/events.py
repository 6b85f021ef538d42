"""Changes of approvals that features above react to in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class StepsActivated(DomainEvent):
    """A pending request asks other members than before: steps of its run have become active or were closed, or the
    members of active steps have changed."""

    actor: Actor
    porf_id: int


@dataclass(frozen=True)
class RunEnded(DomainEvent):
    """A request does not wait for approval any more: its run has this `RunStatus`. `version` is the one that the
    request has now."""

    actor: Actor
    porf_id: int
    requester_id: int
    version: int
    status: str


@dataclass(frozen=True)
class ReminderDue(DomainEvent):
    """Those whom an active step asks are to be reminded, for the `n`-th time from 1 on."""

    actor: Actor
    porf_id: int
    step_id: int
    n: int


@dataclass(frozen=True)
class StepEscalated(DomainEvent):
    """An active step asks these members, too: it was not decided in time."""

    actor: Actor
    porf_id: int
    step_id: int
    user_ids: Sequence[int]


@dataclass(frozen=True)
class PeopleLost(DomainEvent):
    """A pending request was waiting for members who may not decide any more. `is_short`: one of its steps now has
    fewer people than it requires."""

    actor: Actor
    porf_id: int
    is_short: bool
