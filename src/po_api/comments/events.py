"""Changes of comments that features above react to in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from po_api.comments.identity import CommentedEntity
from po_api.core.actor import Actor
from po_api.db.listeners import DomainEvent


@dataclass(frozen=True)
class CommentAdded(DomainEvent):
    """A member, the `actor`, has added a comment to a request or an order. `mentioned` are members who may see it."""

    actor: Actor
    entity: CommentedEntity
    entity_id: int
    comment_id: int
    mentioned: Sequence[int]


@dataclass(frozen=True)
class CommentEdited(DomainEvent):
    """The author, the `actor`, has edited a comment; `mentioned` are the members that it did not mention before,
    `unmentioned` those that it does not mention any more."""

    actor: Actor
    entity: CommentedEntity
    entity_id: int
    comment_id: int
    mentioned: Sequence[int]
    unmentioned: Sequence[int]


@dataclass(frozen=True)
class CommentWithdrawn(DomainEvent):
    """The author or an admin, the `actor`, has deleted a comment."""

    actor: Actor
    entity: CommentedEntity
    entity_id: int
    comment_id: int
