"""Bodies of responses about the audit trail."""

from datetime import datetime

from pydantic import Field

from po_api.audit import AuditedEntity
from po_api.core.actor import ActorKind
from po_api.web.schemas import Page, Schema

Attributes = dict[str, object] | None


class HistoryEvent(Schema):
    """An event in the history of an entity; `before` and `after` have the attributes that changed, and a comment."""

    id: int
    action: str = Field(examples=["porf.submit"])
    actor_kind: ActorKind | None
    actor_id: int | None = Field(description="The member, also for an API key; null for all other kinds of actors")
    actor_name: str | None = Field(examples=["Bo Buyer"])
    before: Attributes
    after: Attributes
    request_id: str | None = Field(examples=["6f1c2d"])
    created_at: datetime


class HistoryPage(Page):
    """One page of history, oldest first."""

    items: list[HistoryEvent]


class AuditEventRead(HistoryEvent):
    """An event of the organisation's audit trail: an event of the history of `entity`."""

    entity: AuditedEntity
    entity_id: int


class AuditEventPage(Page):
    """One page of events, newest first."""

    items: list[AuditEventRead]
